"""Under ``network`` connections go out and nothing comes in; the rest is as under ``strict``."""

import contextlib
import socket
import threading

import pytest


@pytest.fixture
def listener():
    """A TCP and a UDP service on one port of this host: each answers what it was sent."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(tcp.getsockname())

        def serve_tcp():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = tcp.accept()
                    with connection:
                        connection.sendall(connection.recv(100))

        def serve_udp():
            with contextlib.suppress(OSError):
                while (received := udp.recvfrom(100))[0]:
                    udp.sendto(*received)

        threads = [threading.Thread(target=serve, daemon=True) for serve in (serve_tcp, serve_udp)]
        for thread in threads:
            thread.start()
        yield tcp.getsockname()[1]
        for end in (tcp, udp):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


def connects(kit, port):
    """Speak to the services."""
    import socket

    report = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as end:
            end.settimeout(5)
            end.connect(("127.0.0.1", port))
            end.sendall(b"hello")
            report.append(end.recv(10).decode())
    return report


def test_connections_go_out(escape, listener):
    assert escape(connects, listener, profile="network").report == ["hello", "hello"]


def test_under_other_profiles_they_do_not(escape, listener, profile):
    seen = escape(connects, listener, profile=profile)
    assert (seen.status, seen.error["type"]) == ("script_failed", "PermissionError")
    assert "network" in seen.error["hint"]


def serves(kit):
    """Become reachable, and use sockets that are not the internet's."""
    import socket

    report = {}
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
    ):
        with socket.socket(family, kind) as end:
            report[f"bind {family} {kind}"] = kit.tried(end.bind, address)
            report[f"listen {family} {kind}"] = kit.tried(end.listen)
            end.setblocking(False)
            report[f"accept {family} {kind}"] = kit.tried(end.accept)
    for family in (socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            report[f"{family} {kind}"] = kit.tried(socket.socket, family, kind)
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind, protocol in ((3, 255), (3, 1), (2, 1), (2, 136), (1, 132), (1, 262), (5, 132)):
            report[f"{family} {kind} {protocol}"] = kit.tried(socket.socket, family, kind, protocol)
    return report


def test_nothing_comes_in_and_other_kinds_are_refused(escape):
    report = escape(serves, profile="network").report
    assert {name: result for name, result in report.items() if result not in ("EPERM", "EACCES")} == {}


def escapes_otherwise(kit, canary):
    """A few ways that have nothing to do with sockets."""
    import os
    import subprocess

    report = {
        "open": kit.tried(open, canary),
        "fork": kit.tried(os.fork),
        "run": kit.tried(subprocess.run, [kit.library()]),
        "unshare": kit.called("unshare", 0x10000000),
        "io_uring": kit.called("io_uring_setup", 1, 0),
        "kill": kit.tried(os.kill, 1, 9),
        "write": kit.tried(open, "script.py", "a"),
    }
    return report, [entry for entry in os.listdir("/proc") if entry.isdigit()] == [str(os.getpid())]


def test_the_rest_is_as_under_strict(escape):
    canary = escape.write(escape.folder() / "canary", "secret")
    report, alone = escape(escapes_otherwise, str(canary), profile="network").report
    assert report.pop("open") == "ENOENT"
    assert report.pop("write") in ("EROFS", "EACCES")
    assert set(report.values()) == {"EPERM"}
    assert alone
