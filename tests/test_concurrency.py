"""One FlowLoader serves many threads and many event loops, and every answer is its own script's."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from loader import FlowLoader

FLOW = "from prefect import flow\n@flow\ndef {name}(): pass\n"
KINDS = {
    "loaded": "print({number})\n",
    "raises": "raise KeyError({number})\n",
    "exits": "import os\nos._exit({number} % 200 + 1)\n",
    "signals": "import os\nos.kill(os.getpid(), 9)\n",
    "allocates": "bytearray(1 << 42)\n",
    "hangs": "while True: pass\n",
    "floods": "print('x' * 400000)\n",
    "forges": "import os\nfor fd in range(3, 256):\n"
    "    try: os.write(fd, b'\\xff' * 9)\n    except OSError: pass\n",
}
EXPECTED = {
    "loaded": "loaded",
    "raises": "script_failed",
    "exits": "crashed",
    "signals": "crashed",
    "allocates": "out_of_memory",
    "hangs": "timed_out",
    "floods": "loaded",
    "forges": "violated_protocol",
}


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as held:
        yield held.warm()


def script(kind, number):
    return FLOW.format(name=f"flow_{number}") + KINDS[kind].format(number=number)


def check(kind, number, outcome):
    assert outcome.status == EXPECTED[kind], outcome.error
    if kind != "forges":
        assert [flow.name for flow in outcome.flows] == [f"flow-{number}"]
    if kind == "loaded":
        assert outcome.stdout.text == f"{number}\n"
    if kind == "raises":
        assert outcome.error.message == str(number)
    if kind == "exits":
        assert outcome.exit.code == number % 200 + 1


@pytest.mark.slow
def test_three_hundred_mixed_loads_from_eight_threads_are_each_right(loader):
    """Scripts that load, raise, exit, crash, hang, flood and forge, side by side: to each its own answer."""
    kinds = [kind for kind in KINDS if kind != "hangs"]
    jobs = [(kinds[number % len(kinds)], number) for number in range(285)]
    jobs += [("hangs", number) for number in range(285, 300)]

    def run(job):
        kind, number = job
        return loader.load_text(script(kind, number), timeout=0.5 if kind == "hangs" else 30)

    with ThreadPoolExecutor(8) as executor:
        outcomes = list(executor.map(run, jobs))
    for (kind, number), outcome in zip(jobs, outcomes, strict=True):
        check(kind, number, outcome)


def test_several_event_loops_share_a_loader(loader):
    """``load_async`` works from loops in different threads at once and blocks none of them."""

    async def work(first):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        numbers = range(first, first + 5)
        loads = [
            loader.load_text_async(script("loaded", number) + "import time; time.sleep(0.1)")
            for number in numbers
        ]
        outcomes = await asyncio.gather(*loads)
        ticking.cancel()
        for number, outcome in zip(numbers, outcomes, strict=True):
            check("loaded", number, outcome)
        return ticks

    with ThreadPoolExecutor(3) as executor:
        assert min(executor.map(lambda first: asyncio.run(work(first)), (0, 10, 20))) > 3


def test_a_cancelled_load_ends_its_worker_and_the_next_load_is_right(loader):
    """Cancelling does not wait for the script's time to run out."""

    async def work():
        load = asyncio.create_task(loader.load_text_async(script("hangs", 1), timeout=60))
        await asyncio.sleep(0.3)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
        return await loader.load_text_async(script("loaded", 2))

    started = time.monotonic()
    check("loaded", 2, asyncio.run(work()))
    assert time.monotonic() - started < 10


def test_two_loads_of_the_same_bytes_give_the_same_metadata(loader, tmp_path):
    """Byte for byte, by the same loader and by a fresh one: no addresses, no order of chance."""
    path = tmp_path / "same.py"
    path.write_text(
        "from prefect import flow\n"
        "from prefect.deployments import DeploymentSpec\n"
        "class Thing: pass\n"
        "@flow\ndef f(a=Thing(), b={'x', 'y', 'z'}, c=lambda: 0, d: set = frozenset('abc')): pass\n"
        "DeploymentSpec(name='d', flow=f, tags=['b', 'a'], parameters={'a': {'k': {1, 2}}})\n"
    )
    first = metadata(loader.load(path))
    assert metadata(loader.load(path)) == first
    with FlowLoader() as fresh:
        assert metadata(fresh.load(path)) == first
    assert b"0x7" not in first


def metadata(outcome):
    assert outcome.status == "loaded", outcome.error
    return outcome.model_dump_json(
        include={"status", "flows", "specs", "notices", "dialect", "source"}
    ).encode()


@pytest.mark.slow
def test_a_load_waits_only_as_long_as_its_own_script(loader):
    """A neighbour that hangs holds nobody up."""
    hanging = threading.Thread(target=loader.load_text, args=(script("hangs", 1),), kwargs={"timeout": 4})
    hanging.start()
    for number in range(5):
        check("loaded", number, loader.load_text(script("loaded", number)))
    assert hanging.is_alive()
    hanging.join()
