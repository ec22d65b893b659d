"""However a script ends its process or refuses to end it, the load ends, and says so."""

import pytest


def exits_at_once(kit):
    """No reply, but a good exit code."""
    import os

    os._exit(0)


def aborts(kit):
    """SIGABRT."""
    import os

    os.abort()


def reads_address_zero(kit):
    """SIGSEGV."""
    import ctypes

    ctypes.string_at(0)


def kills_itself(kit):
    """SIGKILL."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def overflows_the_stack(kit):
    """Recursion in compiled code."""
    import sys

    sys.setrecursionlimit(1 << 30)
    nest = []
    for _ in range(500_000):
        nest = [nest]
    repr(nest)


CRASHES = {
    exits_at_once: None,
    aborts: "SIGABRT",
    reads_address_zero: "SIGSEGV",
    kills_itself: "SIGKILL",
    overflows_the_stack: "SIGSEGV",
}


@pytest.mark.sampled
@pytest.mark.parametrize("attempt", CRASHES)
def test_an_end_without_a_reply_is_a_crash(escape, profile, attempt):
    seen = escape(attempt, profile=profile)
    assert seen.status == "crashed"
    assert seen.outcome["exit"]["signal"] == CRASHES[attempt]
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["harmless"]


def stops_itself(kit):
    """SIGSTOP, so that no signal but one is heard."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.slow
def test_a_stopped_worker_is_ended_in_time(escape, profile):
    seen = escape(stops_itself, profile=profile, timeout=1)
    assert seen.status == "timed_out"
    assert seen.outcome["exit"]["signal"] == "SIGKILL"


def leaves(kit):
    """A good exit, asked for as scripts do."""
    import sys

    sys.exit(0)


def test_a_system_exit_is_a_failed_script(escape, profile):
    seen = escape(leaves, profile=profile)
    assert (seen.status, seen.error["type"]) == ("script_failed", "SystemExit")


def will_not_end(kit):
    """Everything that runs when an interpreter ends, each for ever."""
    import atexit
    import gc
    import threading
    import time
    import weakref

    def hang(*arguments):
        print("still here", flush=True)
        time.sleep(1000)

    class Trap:
        __del__ = hang

    global trap, finalizer  # noqa: PLW0603
    trap = Trap()
    finalizer = weakref.finalize(trap, hang)
    atexit.register(hang)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    threading._register_atexit(hang)
    gc.callbacks.append(lambda phase, information: None)
    return "said"


def test_what_waits_for_the_interpreters_end_never_runs(escape, profile):
    seen = escape(will_not_end, profile=profile)
    assert seen.report == "said"
    assert seen.outcome["exit"] == {"code": 0, "signal": None}
    assert seen.outcome["usage"]["wall_seconds"] < 3


def collects(kit):
    """A collector's callback that never returns, and then much garbage."""
    import gc

    def hang(phase, information):
        while True:
            pass

    gc.callbacks.append(hang)
    gc.collect()


@pytest.mark.slow
def test_a_collection_without_end_ends_in_time(escape):
    assert escape(collects, timeout=1).status == "timed_out"


def speaks_and_stays(kit):
    """Reply, and then go on for ever."""
    import time

    kit.say(kit.loaded())
    time.sleep(1000)


def test_a_worker_that_stays_after_its_reply_is_ended(escape, profile):
    seen = escape(speaks_and_stays, profile=profile, timeout=10)
    assert seen.status == "loaded"
    assert seen.outcome["exit"]["signal"] == "SIGKILL"


def cleans_up(kit):
    """What runs before a script's end runs."""
    import contextlib
    import threading

    done = []
    with contextlib.ExitStack() as stack:
        stack.callback(done.append, "closed")
    thread = threading.Thread(target=done.append, args=("joined",))
    thread.start()
    thread.join()
    return done


def test_ordinary_cleaning_up_works(escape, profile):
    assert escape(cleans_up, profile=profile).report == ["closed", "joined"]
