"""Nobody but the worker itself can be signalled."""

import time


def signals(kit, targets):
    """Signal each target in every way, and then everybody."""
    import ctypes
    import os
    import signal

    information = ctypes.create_string_buffer(128)
    report = {}
    targets = [target for target in targets if target != os.getpid()]
    for target in [*targets, 1, os.getppid(), -1, 0, -os.getpid(), -targets[0]]:
        for number in (0, signal.SIGTERM, signal.SIGSTOP):
            report[f"kill {target} {number}"] = kit.tried(os.kill, target, number)
            report[f"tkill {target} {number}"] = kit.called("tkill", target, number)
            report[f"tgkill {target} {number}"] = kit.called("tgkill", target, target, number)
            report[f"queue {target} {number}"] = kit.called("rt_sigqueueinfo", target, number, information)
            report[f"queue to thread {target} {number}"] = kit.called(
                "rt_tgsigqueueinfo", target, target, number, information
            )
        report[f"pidfd_open {target}"] = kit.called("pidfd_open", target, 0)
        report[f"priority {target}"] = kit.tried(os.setpriority, os.PRIO_PROCESS, target, 19)
        report[f"affinity {target}"] = kit.tried(os.sched_setaffinity, target, [0])
    report["owner of a pipe"] = kit.tried(__import__("fcntl").fcntl, 1, 8, targets[0])
    return report


def waits(kit):
    """A neighbour that lives until it finds a file beside it."""
    import os
    import time

    while not os.path.exists("over"):
        time.sleep(0.02)
    return "alive"


def test_nobody_else_can_be_signalled(escape, profile):
    engine = escape.engine(profile)
    folder = escape.folder(0o755)
    neighbour = escape.start(waits, profile=profile, timeout=60, folder=folder)
    time.sleep(0.2)
    own = engine.family()
    report = escape(signals, own, profile=profile).report
    assert {
        name: result for name, result in report.items() if result not in ("EPERM", "ESRCH", "EINVAL")
    } == {}
    (folder / "over").touch()
    assert neighbour().report == "alive"
    assert engine.process.poll() is None


def signals_itself(kit):
    """Handle signals that the worker sends itself."""
    import os
    import signal
    import threading

    got = []
    signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    return len(got)


def test_a_worker_can_signal_itself(escape, profile):
    assert escape(signals_itself, profile=profile).report == 3
