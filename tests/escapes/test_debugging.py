"""No other process can be traced, read, written or robbed of its descriptors."""

import time


def debugs(kit, targets):
    """Reach into each target's memory and descriptors."""
    import ctypes
    import os

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    buffer = ctypes.create_string_buffer(8)
    vector = Vector(ctypes.addressof(buffer), 8)
    traceme, attach, seize = 0, 16, 0x4206
    report = {"traceme": kit.called("ptrace", traceme, 0, 0, 0)}
    for target in [*targets, 1, os.getpid()]:
        for request in (attach, seize):
            report[f"ptrace {request} {target}"] = kit.called("ptrace", request, target, 0, 0)
        for call in ("process_vm_readv", "process_vm_writev"):
            vectors = ctypes.byref(vector), 1, ctypes.byref(vector), 1
            report[f"{call} {target}"] = kit.called(call, target, *vectors, 0)
        report[f"kcmp {target}"] = kit.called("kcmp", os.getpid(), target, 0, 0, 0)
        report[f"pidfd_open {target}"] = kit.called("pidfd_open", target, 0)
    for descriptor in kit.links():
        report[f"pidfd_getfd {descriptor}"] = kit.called("pidfd_getfd", descriptor, 0, 0)
    for target in set(targets) - {os.getpid()}:
        for name in ("mem", "maps", "environ", "fd", "root", "cwd"):
            report[f"/proc/{target}/{name}"] = kit.tried(os.open, f"/proc/{target}/{name}", os.O_RDONLY)
    return report


def lingers(kit):
    """A neighbour that lives until it finds a file beside it."""
    import os
    import time

    while not os.path.exists("over"):
        time.sleep(0.02)
    return "alive"


def test_nobody_else_can_be_debugged(escape, profile):
    engine = escape.engine(profile)
    folder = escape.folder(0o755)
    neighbour = escape.start(lingers, profile=profile, timeout=60, folder=folder)
    time.sleep(0.2)
    report = escape(debugs, engine.family(), profile=profile).report
    assert set(report.values()) <= {"EPERM", "ENOENT", "EACCES"}
    (folder / "over").touch()
    assert neighbour().report == "alive"


def reads_its_own_memory(kit):
    """Where every thread is, and a value of one's own by its address."""
    import ctypes
    import sys

    value = b"in plain sight"
    return ctypes.string_at(id(value) + bytes.__basicsize__ - 1, len(value)).decode(), len(
        sys._current_frames()
    )


def test_a_worker_can_look_at_itself(escape, profile):
    assert escape(reads_its_own_memory, profile=profile).report == ["in plain sight", 1]
