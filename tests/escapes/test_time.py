"""No script takes longer than its time, wherever it hangs, and it is told where."""

import pytest


def spins(kit):
    """Python code without end."""
    count = 0
    while True:  # here
        count += 1  # here


def sleeps(kit):
    """The kernel, for ever."""
    import time

    time.sleep(1e6)  # here


def holds_the_interpreter(kit):
    """Compiled code that lets nobody else run."""
    return len(str(7 ** (10**9)))  # here


def matches(kit):
    """A regular expression that tries everything."""
    import re

    re.match("(a+)+$", "a" * 64 + "b")  # here


def locks(kit):
    """A lock that is never released."""
    import threading

    lock = threading.Lock()
    with lock:
        lock.acquire()  # here


@pytest.mark.sampled
@pytest.mark.parametrize("attempt", [spins, sleeps, holds_the_interpreter, matches, locks])
def test_a_time_out_says_where_it_hung(escape, profile, attempt):
    seen = escape(attempt, profile=profile, timeout=0.5)
    assert seen.status == "timed_out"
    assert any(line and line.endswith("# here") for line in seen.lines)
    assert seen.outcome["usage"]["wall_seconds"] < 2
    assert seen.outcome["exit"]["signal"] == "SIGKILL"


def ignores_signals(kit):
    """Block or take over every signal that can be, then hang."""
    import faulthandler
    import signal

    faulthandler.unregister(signal.SIGXCPU)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        signal.alarm(0)


@pytest.mark.slow
def test_signals_that_are_blocked_do_not_help(escape, profile):
    seen = escape(ignores_signals, profile=profile, timeout=0.5)
    assert seen.status == "timed_out"
    assert seen.outcome["usage"]["wall_seconds"] < 2


def spins_in_threads(kit):
    """Burn the processor on every core, also while no Python runs."""
    import hashlib
    import threading

    def burn():
        while True:
            hashlib.sha256(bytes(1 << 20)).digest()

    for _ in range(4):
        threading.Thread(target=burn).start()
    burn()


def test_processor_time_is_bounded_by_itself(escape, base):
    path = base / "one-second.yaml"
    path.write_text("description: A second.\nextends: strict\ncpu:\n  seconds: 1\n")
    path.chmod(0o644)
    seen = escape(spins_in_threads, profile=str(path), timeout=20)
    assert seen.status == "timed_out"
    assert "processor time" in seen.error["message"]
    assert seen.outcome["usage"]["cpu_seconds"] < 4


def waits_briefly(kit):
    """Well within the time."""
    import time

    time.sleep(0.2)
    return "in time"


def test_waiting_within_the_time_is_permitted(escape, profile):
    assert escape(waits_briefly, profile=profile, timeout=5).report == "in time"
