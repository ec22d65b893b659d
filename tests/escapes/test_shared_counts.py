"""What the kernel counts for a user, or keeps for everyone, one script cannot use up for the others."""

import fcntl
import os

import pytest


def arms_timers(kit):
    """Make timers until one is refused; how many there were, and why no more."""
    import ctypes

    made, timer = 0, ctypes.c_void_p()
    while made < 5000:
        if kit.libc.timer_create(1, None, ctypes.byref(timer)):
            return [made, ctypes.get_errno()]
        made += 1
    return [made, 0]


def test_timers_are_few_and_each_workers_own(escape):
    first, second = (escape(arms_timers).report for _ in range(2))
    assert first == second
    assert 50 < first[0] <= 128


def takes_locks(kit, path):
    """Lock files that others can open too."""
    import fcntl
    import time

    with open(path) as own, open("/dev/null") as shared:
        for file in (own, shared):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
        time.sleep(1)
    return "locked"


@pytest.mark.slow
def test_a_lock_of_a_script_holds_nobody_up(escape, profile, tmp_path):
    """Taking one succeeds, for its own sake, and is felt nowhere."""
    import threading

    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(escape(takes_locks, "script.py", profile=profile, timeout=10).report)
    )
    waiting.start()
    with open(os.devnull) as shared:
        while waiting.is_alive():
            fcntl.flock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(shared, fcntl.LOCK_UN)
            waiting.join(0.02)
    assert answers == ["locked"]


def grows_buffers(kit):
    """Ask for the kernel's memory by way of sockets."""
    import socket

    one, _ = socket.socketpair()
    return {
        "send": kit.tried(one.setsockopt, socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22),
        "receive": kit.tried(one.setsockopt, socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22),
        "linger": kit.tried(one.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\50\0\0\0"),
        "out of band": kit.tried(one.send, b"x", socket.MSG_OOB),
        "peer": kit.tried(one.getsockopt, socket.SOL_SOCKET, 77, 4),
        "kind": kit.tried(one.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE),
        "plain": kit.tried(one.send, b"x"),
    }


def test_sockets_have_no_options_that_cost_or_give(escape, profile):
    report = escape(grows_buffers, profile=profile).report
    assert {report.pop(name) for name in ("kind", "plain")} == {"allowed"}
    assert set(report.values()) == {"EPERM"}


def starts_small_threads(kit):
    """Threads with the least of stacks, until one is refused."""
    import threading

    threading.stack_size(32768)
    stop, started = threading.Event(), []
    try:
        while len(started) < 4000:
            started.append(threading.Thread(target=stop.wait, daemon=True))
            started[-1].start()
    except RuntimeError:
        pass
    stop.set()
    return len(started)


def test_without_namespaces_threads_end_before_the_hosts_numbers_do(escape):
    """No promise to one worker, but the host keeps its own."""
    assert escape(starts_small_threads, profile="no-namespaces", timeout=30).report < 2000


def asks_for_clocks(kit):
    """The processor time of other processes, by their numbers."""
    import time

    others = [(~pid << 3) | 2 for pid in range(1, 200)]
    return [
        kit.tried(time.clock_gettime, 2),
        sorted({kit.tried(time.clock_gettime, clock) for clock in others}),
    ]


def test_no_clock_but_ones_own_can_be_read(escape, profile):
    assert escape(asks_for_clocks, profile=profile).report == ["allowed", ["EPERM"]]
