"""No process can be started, in whatever way; threads can."""


def starts(kit):
    """Every way to another process or program. A child that came to be would be told by its exit."""
    import multiprocessing
    import os
    import subprocess

    def fork(how, *arguments):
        made = how(*arguments)
        if made == 0:
            os._exit(0)

    program = [kit.library()]
    ways = {
        "os.fork": (fork, os.fork),
        "posix_spawn": (os.posix_spawn, program[0], program, {}),
        "subprocess": (subprocess.run, program),
        "execv": (os.execv, program[0], program),
        "execve by descriptor": (os.execve, os.open(program[0], os.O_RDONLY), program, {}),
        "multiprocessing": (multiprocessing.get_context("fork").Process(target=int).start,),
    }
    report = {way: kit.tried(*call) for way, call in ways.items()}
    report["os.system"] = "allowed" if os.system("true") == 0 else "refused"
    return report


def test_no_process_can_be_started(escape, profile):
    report = escape(starts, profile=profile).report
    assert report.pop("os.system") == "refused"
    assert set(report.values()) == {"EPERM"}


def clones(kit):
    """The bare calls, with flags that a filter could misread."""
    import ctypes
    import os
    import signal

    thread, vm, new_user, parent = 0x10000, 0x100, 0x10000000, 0x8000
    flags = {
        "plain": signal.SIGCHLD,
        "without a signal": 0,
        "sharing memory": vm | signal.SIGCHLD,
        "sibling": parent | signal.SIGCHLD,
        "thread in the high half": thread << 32 | signal.SIGCHLD,
        "thread and namespace": thread | new_user,
        "namespace": new_user | signal.SIGCHLD,
    }
    report = {}
    for name, value in flags.items():
        made = kit.raw(kit.number("clone"), value, 0, 0, 0, 0)
        if made == 0:
            os._exit(0)
        report[name] = -made
    arguments = ctypes.create_string_buffer(88)
    arguments[32] = signal.SIGCHLD
    report["clone3"] = -kit.raw(kit.number("clone3"), ctypes.byref(arguments), ctypes.c_ulong(88))
    for name in ("fork", "vfork"):
        if kit.number(name) is not None:
            made = kit.raw(kit.number(name))
            if made == 0:
                os._exit(0)
            report[name] = -made
    return report


def test_the_bare_calls_are_refused(escape, profile):
    report = escape(clones, profile=profile).report
    assert report.pop("clone3") == 38
    assert set(report.values()) == {1}


def threads(kit):
    """A few threads, each with a result."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as executor:
        return list(executor.map(lambda number: number * number, range(8)))


def test_threads_can_be_started(escape, profile):
    assert escape(threads, profile=profile).report == [0, 1, 4, 9, 16, 25, 36, 49]
