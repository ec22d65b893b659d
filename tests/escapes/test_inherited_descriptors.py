"""A worker holds its three standard streams and the pipes of its answers and faults, and nothing else."""


def holds(kit):
    """What is open, and what can be read from it."""
    import fcntl
    import os

    links = kit.links()
    modes = {number: fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE for number in links}
    return {str(number): [kind, modes[number]] for number, kind in links.items()}


def test_nothing_is_inherited_but_what_a_worker_needs(escape, profile):
    report = escape(holds, profile=profile).report
    # Without mounts an interpreter in a closed home is reached by descriptors that only lead there.
    ways = {number for number, kind in report.items() if kind == ["folder", 0] and int(number) >= 200}
    kinds = sorted(kind for number, kind in report.items() if number not in ways)
    assert not ways or profile == "no-namespaces"
    writable, both = 1, 2
    assert kinds == [
        ["device", both],
        ["pipe", writable],
        ["pipe", writable],
        ["pipe", writable],
        ["pipe", writable],
    ]
    assert report["0"] == ["device", both]


def reads(kit):
    """Take back what was said, or what is told to others."""
    import os

    os.set_blocking(kit.channel(), False)
    return [kit.tried(os.read, kit.channel(), 1), kit.tried(os.read, 1, 1)]


def test_the_way_to_the_supervisor_leads_one_way(escape, profile):
    assert escape(reads, profile=profile).report == ["EBADF", "EBADF"]


def opens_own(kit):
    """A descriptor of one's own gets the first free number."""
    import os

    return os.open("script.py", os.O_RDONLY)


def test_low_numbers_are_free(escape, profile):
    assert escape(opens_own, profile=profile).report == 3
