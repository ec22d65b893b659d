"""Work in threads that nobody waits for any more."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from loader import waking


@pytest.mark.parametrize("stop", [None, lambda: None])
def test_a_failure_that_nobody_waits_for_is_not_told(stop):
    """Whether the end of the work is waited for or not."""
    told = []

    async def given_up():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        began, go = threading.Event(), threading.Event()

        def fail(_):
            began.set()
            assert go.wait(30)
            raise ValueError

        with ThreadPoolExecutor(1) as executor:
            task = asyncio.create_task(waking.in_thread(executor, fail, stop))
            await asyncio.to_thread(began.wait)
            task.cancel()
            await asyncio.sleep(0)
            go.set()
            await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(given_up())
    assert told == []
