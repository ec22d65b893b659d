"""What the kernel offers beyond computing is refused, and what is unknown does not exist."""


def calls(kit):
    """Calls that have been ways out of sandboxes before."""
    import ctypes

    zeros = ctypes.create_string_buffer(256)
    rare = {
        "io_uring_setup": (8, zeros),
        "bpf": (5, zeros, 128),
        "userfaultfd": (1,),
        "perf_event_open": (zeros, 0, -1, -1, 0),
        "keyctl": (0, -3, 1),
        "personality": (0x0040000,),
        "seccomp": (1, 0, zeros),
        "vmsplice": (1, zeros, 0, 0),
        "ptrace": (0, 0, 0, 0),
    }
    return {name: kit.called(name, *arguments) for name, arguments in rare.items()}


def test_rare_calls_are_refused(escape, profile):
    assert set(escape(calls, profile=profile).report.values()) == {"EPERM"}


def numbers(kit):
    """Numbers beyond the table, and the same table by other names."""
    x32, getpid = 0x40000000, kit.number("getpid")
    unknown = [*range(459, 600), 1 << 20, x32 | getpid, x32 | 512, -1, 0x80000000]
    return {hex(number): kit.raw(number) for number in unknown}


def test_unknown_numbers_do_not_exist(escape, profile):
    enosys = -38
    assert set(escape(numbers, profile=profile).report.values()) == {enosys}


def computes(kit):
    """What computing needs of the kernel."""
    import os
    import threading
    import time

    threading.Timer(0.001, int).start()
    time.sleep(0.001)
    return [len(os.urandom(8)), os.cpu_count() > 0, time.time() > 0, os.uname().sysname]


def test_ordinary_calls_work(escape, profile):
    assert escape(computes, profile=profile).report == [8, True, True, "Linux"]
