"""A worker holds its three standard streams, its channel and the fault handler's pipe, and nothing else."""


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
        ["socket", both],
    ]
    assert report["0"] == ["device", both]


def peers(kit):
    """Who is at the channel's other end, and whether it hands out descriptors or reads them."""
    import socket
    import struct

    with socket.socket(fileno=__import__("os").dup(kit.channel())) as end:
        credentials = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        so_peerpidfd = 77
        now = socket.MSG_DONTWAIT
        return {
            "peer": credentials[0],
            "peer's pidfd": kit.tried(end.getsockopt, socket.SOL_SOCKET, so_peerpidfd, 4),
            "receive": kit.tried(end.recvmsg, 1, 1000, now),
            "read": kit.tried(end.recv, 1, now),
        }


def test_the_channel_gives_nothing(escape):
    report = escape(peers).report
    assert report["receive"] == "EPERM"
    assert report["read"] == "EAGAIN"
    assert report["peer"] in (0, 1)


def opens_own(kit):
    """A descriptor of one's own gets the first free number."""
    import os

    return os.open("script.py", os.O_RDONLY)


def test_low_numbers_are_free(escape, profile):
    assert escape(opens_own, profile=profile).report == 3
