"""Who is let in when: bounded, fair, by priority, in time, and without traces of those who went away."""

import asyncio
import time
from collections import Counter

import hypothesis
import pytest
from hypothesis import strategies

from loader.daemon.admission import Admission, Draining, Priority, QueueFull, TooLate

URGENT, USUAL, WATCHING = Priority
LONG = 60.0


class Crowd:
    """Callers at one door. Each stays inside until it is told to leave."""

    def __init__(self, **limits):
        limits = {"concurrent": 1, "waiting": 1000, "patience": LONG} | limits
        self.door = Admission(**limits)
        self.inside = []
        self.tasks = {}
        self.leave = {}

    async def come(self, name, priority=USUAL, until=None, caller=None, owner=True):
        """Begin to ask for a turn."""
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(
            self.stay(name, caller or name.split("/")[0], priority, until, owner)
        )
        await settled()

    async def stay(self, name, caller, priority, until, owner=True):
        async with self.door.turn(caller, priority, until, owner=owner) as waited:
            self.inside.append(name)
            await self.leave[name].wait()
            return waited

    async def go(self, name):
        """Let one leave."""
        self.leave[name].set()
        await settled()

    async def order(self):
        """The order in which all come in, one leaving after the other."""
        seen = 0
        while seen < len(self.inside):
            seen += 1
            await self.go(self.inside[seen - 1])
        return self.inside


async def settled():
    """Until everybody did what can be done now."""
    for _ in range(6):
        await asyncio.sleep(0)


def is_clean(door):
    """Whether nothing is left of anybody."""
    return not door.inside and not door.callers and not door.lines and door.empty.is_set()


def run(test):
    """A test that is a coroutine. It ends in ten seconds, come what may."""

    def ran():
        asyncio.run(asyncio.wait_for(test(), 60))

    ran.__name__, ran.__doc__ = test.__name__, test.__doc__
    return ran


@run
async def test_no_more_are_inside_than_may_be():
    """The others wait, and come in as soon as there is room."""
    crowd = Crowd(concurrent=2)
    for name in "abc":
        await crowd.come(name)
    assert (crowd.inside, crowd.door.inside, crowd.door.waiting()) == (["a", "b"], 2, 1)
    await crowd.go("b")
    assert crowd.inside == ["a", "b", "c"]
    assert (await crowd.order(), is_clean(crowd.door)) == (["a", "b", "c"], True)


@run
async def test_callers_take_turns():
    """One that asks a hundred times does not come before one that asks once."""
    crowd = Crowd()
    await crowd.come("first")
    for number in range(4):
        await crowd.come(f"many/{number}")
    await crowd.come("few/0")
    await crowd.come("few/1")
    await crowd.come("one/0")
    assert await crowd.order() == "first many/0 few/0 one/0 many/1 few/1 many/2 many/3".split()


@run
async def test_a_caller_with_long_turns_does_not_take_all_places():
    """Whoever has the fewest inside is next."""
    crowd = Crowd(concurrent=2)
    for number in range(4):
        await crowd.come(f"slow/{number}")
    for number in range(3):
        await crowd.come(f"fast/{number}")
    await crowd.go("slow/0")
    for number in range(2):
        await crowd.go(f"fast/{number}")
    assert crowd.inside == ["slow/0", "slow/1", "fast/0", "fast/1", "fast/2"]
    await crowd.order()


@run
async def test_what_is_urgent_goes_first():
    """Before a run, then for a person, then watching; in each, first come first served."""
    crowd = Crowd()
    await crowd.come("x")
    for number, priority in enumerate([WATCHING, USUAL, URGENT, WATCHING, URGENT, USUAL]):
        await crowd.come(f"{priority}/{number}", priority, caller="one")
    assert [name.split("/")[0] for name in (await crowd.order())[1:]] == [
        *("before_run", "before_run", "interactive", "interactive"),
        *("watching", "watching"),
    ]


@run
async def test_watching_never_starves():
    """Of eight turns one is the longest waiter's, however many that are urgent keep coming."""
    crowd = Crowd()
    await crowd.come("x")
    await crowd.come("watch", WATCHING)
    for number in range(20):
        await crowd.come(f"agent/{number}", URGENT)
    assert (await crowd.order()).index("watch") == 7


@run
async def test_a_peer_never_has_all_places():
    """However often it asks: others need not wait for it. The only place there is it may have."""
    crowd = Crowd(concurrent=3)
    for number in range(4):
        await crowd.come(f"peer/{number}", URGENT, owner=False)
    assert crowd.inside == ["peer/0", "peer/1"]
    await crowd.come("owner", WATCHING)
    assert crowd.inside == ["peer/0", "peer/1", "owner"]
    await crowd.go("owner")
    assert crowd.inside[3:] == []
    crowd.door.resize(concurrent=1, waiting=10, patience=LONG)
    assert (await crowd.order())[3:] == ["peer/2", "peer/3"]
    assert is_clean(crowd.door)


@run
async def test_peers_together_never_have_all_places():
    """Nor what is watched, which is theirs as well; whoever leaves makes room for another of them."""
    crowd = Crowd(concurrent=3)
    await crowd.come("one/0", owner=False)
    await crowd.come("watching/0", WATCHING, owner=False)
    await crowd.come("two/0", URGENT, owner=False)
    assert crowd.inside == ["one/0", "watching/0"]
    await crowd.come("owner", WATCHING)
    assert crowd.inside == ["one/0", "watching/0", "owner"]
    await crowd.go("watching/0")
    assert crowd.inside[3:] == ["two/0"]
    await crowd.order()
    assert (is_clean(crowd.door), crowd.door.others) == (True, 0)


@run
async def test_peers_leave_room_in_the_queue():
    """One of them has a quarter of it, and all together half, whatever a caller may have."""
    crowd = Crowd(waiting=8)
    await crowd.come("owner/0")
    for name in ("one/0", "one/1", "two/0", "two/1"):
        await crowd.come(name, owner=False)
        if name == "one/1":
            with pytest.raises(QueueFull, match=r"2 .* of this caller wait .* share of limits\.queue is 2"):
                await crowd.stay("one/2", "one", URGENT, None, owner=False)
    with pytest.raises(QueueFull, match=r"4 requests of all but the owner .* limits\.queue is 4") as caught:
        await crowd.stay("three/0", "three", URGENT, None, owner=False)
    assert (caught.value.option, caught.value.limit) == ("limits.queue", 4)
    for number in range(1, 5):
        await crowd.come(f"owner/{number}")
    assert crowd.door.waiting() == 8
    await crowd.order()
    assert is_clean(crowd.door)


@run
async def test_urgency_of_a_peer_counts_among_its_own_requests_only():
    """To others it is interactive at most; the owner's own is more urgent."""
    crowd = Crowd()
    await crowd.come("peer/0", owner=False)
    await crowd.come("peer/1", USUAL, owner=False)
    await crowd.come("peer/2", URGENT, owner=False)
    await crowd.come("other/0", USUAL, owner=False)
    await crowd.come("owner/0", USUAL)
    await crowd.come("owner/1", URGENT)
    assert (await crowd.order())[1:] == ["owner/1", "other/0", "peer/2", "owner/0", "peer/1"]


@run
async def test_a_full_queue_says_so_at_once():
    """With the number, the limit, its key and when to come back; whoever waits is not touched."""
    crowd = Crowd(waiting=3, per_caller=2)
    await crowd.come("a/0")
    await crowd.come("a/1")
    await crowd.come("a/2")
    with pytest.raises(QueueFull, match=r"^cannot wait .* limits\.queue_per_caller is 2") as caught:
        await crowd.stay("a/3", "a", USUAL, None)
    assert (caught.value.waiting, caught.value.limit, caught.value.retry_after) == (2, 2, 1)
    await crowd.come("b/0")
    with pytest.raises(QueueFull, match=r"3 requests wait already and limits\.queue is 3") as caught:
        await crowd.stay("c/0", "c", USUAL, None)
    assert caught.value.option == "limits.queue"
    assert len(await crowd.order()) == 4
    assert is_clean(crowd.door)


@run
async def test_without_a_queue_only_those_come_in_for_whom_there_is_room():
    """A queue of none is no wait at all."""
    crowd = Crowd(waiting=0)
    await crowd.come("a")
    with pytest.raises(QueueFull):
        await crowd.stay("b", "b", URGENT, None)
    await crowd.go("a")
    await crowd.come("c")
    assert crowd.inside == ["a", "c"]
    await crowd.order()


@pytest.mark.parametrize("own", [True, False])
def test_a_deadline_counts_the_waiting(own):
    """Whoever cannot begin in time hears it then, with whose limit it was, and is no longer in line."""

    @run
    async def test():
        crowd = Crowd(patience=LONG if own else 0.05)
        await crowd.come("a")
        began = time.monotonic()
        with pytest.raises(TooLate, match=r"^cannot begin in time: .* seconds") as caught:
            await crowd.stay("b", "b", USUAL, began + 0.05 if own else began + LONG)
        assert 0.05 <= time.monotonic() - began < 60
        assert caught.value.option == ("wait" if own else "limits.wait_seconds")
        assert crowd.door.waiting() == 0
        with pytest.raises(TooLate):
            await crowd.stay("c", "c", USUAL, time.monotonic() - 1)
        await crowd.order()
        assert is_clean(crowd.door)

    test()


@run
async def test_the_time_waited_is_told():
    """Whoever came in knows what is left of its deadline."""
    crowd = Crowd()
    await crowd.come("a")
    await crowd.come("b")
    await asyncio.sleep(0.5)
    await crowd.order()
    assert await crowd.tasks["a"] < 0.4
    assert await crowd.tasks["b"] >= 0.5


@run
async def test_a_waiter_that_goes_away_leaves_no_trace():
    """Neither in line, nor when its turn came in the same moment."""
    crowd = Crowd()
    await crowd.come("a")
    for name in "bcd":
        await crowd.come(name)
    crowd.tasks["c"].cancel()
    await settled()
    assert crowd.door.waiting() == 2
    crowd.leave["a"].set()
    await asyncio.sleep(0)  # b's turn has come, and b does not know it yet
    await asyncio.sleep(0)
    crowd.tasks["b"].cancel()
    await settled()
    assert crowd.inside == ["a", "d"]
    await crowd.order()
    assert is_clean(crowd.door)


@pytest.mark.parametrize("steps", range(6))
def test_a_cancellation_at_any_moment_gives_the_turn_back(steps):
    """Whatever had happened by then, the next one comes in."""

    @run
    async def test():
        crowd = Crowd()
        for name in "abc":
            await crowd.come(name)
        crowd.leave["a"].set()
        for _ in range(steps):
            await asyncio.sleep(0)
        crowd.tasks["b"].cancel()
        await settled()
        assert crowd.inside[-1] == "c"
        await crowd.go("c")
        assert is_clean(crowd.door)

    test()


@run
async def test_a_turn_that_fails_is_over():
    """What is raised inside goes through, and the place is free."""
    door = Admission(concurrent=1, waiting=0, patience=1)
    with pytest.raises(KeyError):
        async with door.turn("a"):
            raise KeyError
    assert is_clean(door)


@run
async def test_draining_finishes_what_came_before():
    """Who comes now is refused; who is inside or waits is served."""
    crowd = Crowd()
    await crowd.come("a")
    await crowd.come("b")
    drained = asyncio.create_task(crowd.door.drain(LONG))
    await settled()
    with pytest.raises(Draining, match="the daemon is ending"):
        await crowd.stay("c", "c", URGENT, None)
    assert await crowd.order() == ["a", "b"]
    assert await drained
    assert await crowd.door.drain(0)


@run
async def test_draining_has_an_end():
    """Who waits still when the time is over is refused, also if cancelled just then; who is inside stays."""
    crowd = Crowd()
    for name in "abc":
        await crowd.come(name)
    drained = asyncio.create_task(crowd.door.drain(0.02))
    await asyncio.sleep(0.01)
    assert not await drained
    crowd.tasks["c"].cancel()
    with pytest.raises(Draining):
        await crowd.tasks["b"]
    with pytest.raises(asyncio.CancelledError):
        await crowd.tasks["c"]
    assert (crowd.door.inside, crowd.door.waiting()) == (1, 0)
    await crowd.go("a")
    assert is_clean(crowd.door)


@run
async def test_other_limits_hold_from_now_on():
    """More places are filled at once; with fewer nobody is sent away."""
    crowd = Crowd()
    for name in "abc":
        await crowd.come(name)
    crowd.door.resize(concurrent=2, waiting=1, patience=LONG)
    await settled()
    assert crowd.inside == ["a", "b"]
    crowd.door.resize(concurrent=1, waiting=0, patience=LONG)
    await crowd.go("a")
    assert (crowd.inside, crowd.door.inside) == (["a", "b"], 1)
    await crowd.go("b")
    assert crowd.inside == ["a", "b", "c"]
    await crowd.order()


@run
async def test_when_to_come_back_follows_from_how_long_turns_take():
    """Never less than a second, never more than a minute."""
    crowd = Crowd()
    assert crowd.door.retry_after() == 1
    crowd.door.expected = 4.0
    await crowd.come("a")
    await crowd.come("b")
    assert crowd.door.retry_after() == 8
    crowd.door.expected = 400.0
    assert crowd.door.retry_after() == 60
    await crowd.order()
    assert crowd.door.expected < 400


STEP = strategies.one_of(
    strategies.tuples(
        strategies.just("come"), strategies.sampled_from("abc"), strategies.sampled_from(Priority)
    ),
    strategies.tuples(strategies.just("go"), strategies.integers(0, 30), strategies.none()),
    strategies.tuples(strategies.just("cancel"), strategies.integers(0, 30), strategies.none()),
    strategies.tuples(strategies.just("resize"), strategies.integers(1, 3), strategies.none()),
    strategies.tuples(strategies.just("tick"), strategies.integers(0, 2), strategies.none()),
)


@hypothesis.settings(max_examples=150)
@hypothesis.given(steps=strategies.lists(STEP, max_size=40))
def test_whatever_happens_nothing_is_lost(steps):
    """Places are never overfilled nor left empty while somebody waits, and in the end all are free."""

    async def test():
        crowd = Crowd(waiting=6)
        door, most = crowd.door, 1
        for number, (act, what, priority) in enumerate(steps):
            names = list(crowd.tasks)
            if act == "come":
                await crowd.come(f"{what}/{number}", priority, owner=what == "a")
            elif act == "resize":
                most = max(door.inside, what)
                door.resize(concurrent=what, waiting=6, patience=LONG)
            elif act == "tick":
                for _ in range(what):
                    await asyncio.sleep(0)
            elif names and act == "go":
                crowd.leave[names[what % len(names)]].set()
            elif names:
                crowd.tasks[names[what % len(names)]].cancel()
            most = max(door.concurrent, min(most, door.inside))
            assert door.inside <= most
            idle = door.inside < door.concurrent
            assert not idle or not any(door._may_enter(door.callers[name]) for _, name in door.lines)
            assert door.waiting() <= 6
            counted = Counter({name: caller.inside for name, caller in door.callers.items()})
            assert counted.total() == door.inside
            assert door.others == counted["b"] + counted["c"]
        for event in crowd.leave.values():
            event.set()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        assert is_clean(door)

    asyncio.run(asyncio.wait_for(test(), 60))
