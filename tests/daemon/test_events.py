"""Events reach whoever listens, in order, and nobody waits for a slow reader."""

import asyncio
import contextlib
import json
import threading

import pytest

from loader.daemon import events as module
from loader.daemon.events import Events, Stream


async def take(reader, count):
    """The next events of a reader: kinds, and numbers in them."""
    return [await asyncio.wait_for(anext(reader), 60) for _ in range(count)]


def numbers(events):
    return [json.loads(event.data).get("n", event.kind) for event in events]


def tell(bus, *values):
    for value in values:
        bus.publish("counted", {"n": value})


async def listening(bus, last=None):
    """A reader that is known to the bus already."""
    reader = bus.listen(last)
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)

    async def joined():
        try:
            yield await first
            async for event in reader:
                yield event
        finally:
            await reader.aclose()

    return joined()


@pytest.fixture
def bus():
    return Stream(history=5, backlog=3)


def run(test):
    asyncio.run(asyncio.wait_for(test, 60))


def test_every_reader_gets_every_event_in_order(bus):
    """From the moment it listens."""

    async def test():
        tell(bus, 0)
        one, other = await listening(bus), await listening(bus)
        tell(bus, 1, 2)
        assert numbers(await take(one, 2)) == numbers(await take(other, 2)) == [1, 2]

    run(test())


def test_other_threads_may_tell(bus):
    """Loads end in threads; a reader that waits is woken."""

    async def test():
        reader = await listening(bus)
        threading.Timer(0.05, tell, [bus, 1]).start()
        assert numbers(await take(reader, 1)) == [1]

    run(test())


def test_who_comes_back_gets_what_was_missed(bus):
    """By the last event that was seen."""

    async def test():
        tell(bus, 1, 2, 3)
        seen = bus.past[0].id
        reader = bus.listen(seen)
        assert numbers(await take(reader, 2)) == [2, 3]
        tell(bus, 4)
        assert numbers(await take(reader, 1)) == [4]
        await reader.aclose()

    run(test())


@pytest.mark.parametrize(
    "last", ["", "5", "other-2", "{run}-0", "{run}-99", "{run}-x", "{run}-" + "9" * 5000]
)
def test_who_missed_more_is_told_so(bus, last):
    """What is no longer held, an earlier daemon's, or nobody's."""

    async def test():
        tell(bus, *range(8))
        reader = bus.listen(last.format(run=bus.run))
        assert numbers(await take(reader, 6)) == ["gap", 3, 4, 5, 6, 7]
        await reader.aclose()

    run(test())


def test_who_saw_the_last_one_missed_nothing(bus):
    """Nor who comes before there is anything."""

    async def test():
        for _ in range(2):
            reader = await listening(bus, f"{bus.run}-{bus.number}")
            tell(bus, 1)
            assert numbers(await take(reader, 1)) == [1]
            await reader.aclose()

    run(test())


def test_a_slow_reader_is_dropped_with_a_word(bus):
    """Others go on; what waited for it is gone, and it may come back where it was."""

    async def test():
        slow, quick = await listening(bus), await listening(bus)
        tell(bus, 0)
        [seen] = await take(slow, 1)
        for n in range(1, 6):
            tell(bus, n)
            assert numbers(await take(quick, 1)) == ([0] if n == 1 else [n - 1])
        assert numbers([event async for event in slow]) == ["gap"]
        assert len(bus.readers) == 1
        assert numbers(await take(bus.listen(seen.id), 5)) == [1, 2, 3, 4, 5]

    run(test())


def test_who_leaves_is_forgotten(bus):
    """However it leaves."""

    async def test():
        async with contextlib.aclosing(await listening(bus)) as reader:
            tell(bus, 1)
            await take(reader, 1)
        left = await listening(bus)
        waiting = asyncio.ensure_future(anext(left))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await left.aclose()
        assert bus.readers == set()

    run(test())


def test_a_closed_loop_ends_nobody(bus):
    """A reader whose loop is gone is dropped like one that is slow."""
    reader = bus.listen()
    loop = asyncio.new_event_loop()
    bus.publish("counted", {"n": 0})
    assert loop.run_until_complete(anext(bus.listen(f"{bus.run}-0"))).kind == "counted"
    first = loop.create_task(anext(reader))
    loop.run_until_complete(asyncio.sleep(0))
    first.cancel()
    loop.run_until_complete(asyncio.gather(first, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    tell(bus, *range(10))
    assert bus.readers == set()


def test_history_is_bounded_in_number_and_size(bus):
    """A thousand large ones are not held, and none that is too large is told whole."""
    tell(bus, *range(50))
    assert (len(bus.past), bus.size) == (5, sum(len(event.data) for event in bus.past))
    bus.most = 2_000
    for _ in range(9):
        bus.publish("large", {"text": "x" * 900})
    assert len(bus.past) == 2
    assert bus.publish("large", {"text": "x" * module.LARGEST}).data == "{}"


def test_an_event_is_one_line_of_plain_characters(bus):
    """Names are foreign text, and a stream is read by lines."""
    data = bus.publish("named", {"name": "a\nb\r\u2028\x1b"}).data
    assert data.isascii()
    assert data.isprintable()
    assert json.loads(data) == {"name": "a\nb\r\u2028\x1b"}


def test_nobody_s_numbers_tell_what_others_do():
    """Nor does a gap, what is held no longer, or being behind: each has a stream of its own."""

    async def test():
        events = Events(history=20, backlog=3)
        events.publish("counted", {"n": 1}, "mine")
        before = events.of("mine").past[0].id
        reader, gap = await listening(events.of("mine")), await take(events.of("mine").listen("none"), 1)
        for n in range(50):
            events.publish("counted", {"n": n}, "other")
            events.publish("watched", {"n": n})
        assert await take(events.of("mine").listen("none"), 1) == gap
        events.publish("counted", {"n": 2}, "mine")
        [after] = await take(reader, 1)
        assert [before, after.id] == [f"{events.of('mine').run}-{n}" for n in (1, 2)]
        assert numbers(await take(events.of("mine").listen(before), 1)) == [2]
        assert numbers(await take(events.of(None).listen(before), 2)) == ["gap", 40]
        assert len(events.of("mine").past) == 2
        assert len(events.of("other").past) == 5
        events.end()
        for name in ("mine", "new", None):
            assert numbers([event async for event in events.of(name).listen()]) == ["gap"]
        await reader.aclose()

    run(test())
