"""No more files can be open than the profile allows."""


def opens_many(kit, until):
    """Open files, pipes and pairs of sockets until one is refused: its errno, and how many there were."""
    import os
    import socket

    report = []
    for how in (
        lambda: [os.open("script.py", os.O_RDONLY)],
        os.pipe,
        lambda: [s.detach() for s in socket.socketpair()],
    ):
        held, code = [], 0
        try:
            while len(held) < until:
                held += how()
        except OSError as error:
            code = error.errno
        report.append([code, len(held)])
        for descriptor in held:
            os.close(descriptor)
    return report


def test_open_files_are_capped(escape, profile):
    emfile = 24
    report = escape(opens_many, 100_000, profile=profile).report
    assert {code for code, _ in report} == {emfile}
    assert max(count for _, count in report) < 256


def raises_limits(kit):
    """Ask for more of everything, for this process and others."""
    import resource

    report = {}
    for name in ("AS", "CPU", "NOFILE", "NPROC", "FSIZE", "CORE", "STACK", "DATA", "MEMLOCK"):
        limit = getattr(resource, f"RLIMIT_{name}")
        soft, hard = resource.getrlimit(limit)
        report[name] = kit.tried(resource.setrlimit, limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        report[f"{name} of init"] = kit.tried(resource.prlimit, 1, limit, (soft, hard))
        report[f"{name} of init, read"] = kit.tried(resource.prlimit, 1, limit)
    return report


def test_limits_cannot_be_raised(escape, profile):
    assert set(escape(raises_limits, profile=profile).report.values()) <= {"EPERM", "ValueError"}


def test_the_files_that_the_profile_allows_can_be_opened(escape, profile):
    assert escape(opens_many, 100, profile=profile).report == [[0, 100]] * 3
