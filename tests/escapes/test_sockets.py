"""No socket of any kind can be made, but for a pair that stays within the process."""

import pytest


def opens(kit):
    """Ask for every kind of socket, by the library and by the bare call."""
    import socket

    families = {
        "unix": 1,
        "inet": 2,
        "inet6": 10,
        "netlink": 16,
        "packet": 17,
        "alg": 38,
        "vsock": 40,
        "xdp": 44,
    }
    kinds = {"stream": 1, "dgram": 2, "raw": 3, "seqpacket": 5}
    report = {}
    for family, number in families.items():
        for kind, of in kinds.items():
            report[f"{family} {kind}"] = kit.tried(socket.socket, number, of, 0)
            for high in (0, 1 << 32):
                report[f"{family} {kind} {high}"] = kit.called("socket", number | high, of | high, 0)
    return report


def test_no_socket_can_be_made(escape, profile):
    report = escape(opens, profile=profile).report
    assert {name: result for name, result in report.items() if result != "EPERM"} == {}


def pairs(kit):
    """Pairs of other kinds, and what the descriptors at hand could be turned into."""
    import array
    import socket

    report = {}
    for family, kind in (
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
        (2, 1),
    ):
        report[f"pair {family} {kind}"] = kit.tried(socket.socketpair, family, kind)
    one, other = socket.socketpair()
    report["connect"] = kit.tried(one.connect, "/run/socket")
    report["bind"] = kit.tried(one.bind, "\0name")
    report["listen"] = kit.tried(one.listen)
    report["accept"] = kit.tried(one.accept)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
    report["sendmsg"] = kit.tried(one.sendmsg, [b"x"], rights)
    report["recvmsg"] = kit.tried(other.recvmsg, 1, 100)
    report["sendto"] = kit.tried(one.sendto, b"x", "/run/socket")
    report["fromfd"] = kit.tried(socket.create_connection, ("127.0.0.1", 80), 1)
    report["resolver"] = kit.tried(socket.getaddrinfo, "example.org", 80)
    return report


def test_a_pair_cannot_be_turned_into_anything_else(escape, profile):
    report = escape(pairs, profile=profile).report
    assert [name for name, result in report.items() if result == "allowed"] == []


def talks_to_itself(kit):
    """A pair carries bytes both ways, and an event loop runs on one."""
    import asyncio
    import socket

    one, other = socket.socketpair()
    one.sendall(b"there")
    other.sendall(b"back")

    async def wait():
        await asyncio.sleep(0.01)
        return await asyncio.to_thread(lambda: "loop")

    return [other.recv(10).decode(), one.recv(10).decode(), asyncio.run(wait())]


@pytest.mark.parametrize("profile", ["strict", "no-namespaces", "network"])
def test_a_pair_and_an_event_loop_work(escape, profile):
    assert escape(talks_to_itself, profile=profile).report == ["there", "back", "loop"]
