"""Descriptors that others send: nobody can hold up the daemon with one that is slow to be closed."""

import contextlib
import platform
import signal
import socket
import struct
import subprocess
import sys

import pytest

from loader.daemon import sockets
from tests.daemon.running import NOBODY, PATIENCE
from tests.daemon.test_peers import ROOT_ONLY

SEND = """
import array, os, socket, struct, sys
uid, seconds, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
end = socket.socket(socket.AF_UNIX)
end.connect(path)
server, slow = socket.create_server(("127.0.0.1", 0)), socket.socket()
slow.connect(server.getsockname())
other = server.accept()[0]
slow.setblocking(False)
try:
    while True:
        slow.send(bytes(1 << 16))
except BlockingIOError:
    pass
slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [slow.fileno()]))
try:
    end.sendmsg([b"G"], [rights])
    print("sent", flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
slow.close()
if sys.stdin.readline():
    print(end.recv(1 << 16), flush=True)
    sys.stdin.read()
"""
"""What a user sends who means ill: a connection of its own that is not closed for as long as it says."""
HAND = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What the service manager does before it runs a daemon."""
OLD = """
import ctypes, os, struct, sys
rules = ctypes.create_string_buffer(bytes.fromhex(sys.argv[1]))
program = struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(rules))
call = ctypes.CDLL(None, use_errno=True).prctl
assert not call(38, 1, 0, 0, 0) and not call(22, 2, ctypes.c_char_p(program), 0, 0), ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A kernel that does not know the option: a seccomp filter answers as it would."""
NUMBERS = {"x86_64": (54, 55), "aarch64": (208, 209)}
"""Of setsockopt and getsockopt."""
ALLOW, UNKNOWN = 0x7FFF0000, 0x00050000 | 92


def load(offset):
    return struct.pack("HBBI", 0x20, 0, 0, offset)


def skip(value, same, other):
    return struct.pack("HBBI", 0x15, same, other, value)


def old_kernel():
    """The command that becomes another, under a kernel without the option."""
    first, second = NUMBERS[platform.machine()]
    rules = [
        *(load(0), skip(first, 1, 0), skip(second, 0, 4)),
        *(load(24), skip(socket.SOL_SOCKET, 0, 2), load(32), skip(sockets.PASSRIGHTS, 1, 0)),
        *(struct.pack("HBBI", 6, 0, 0, value) for value in (ALLOW, UNKNOWN)),
    ]
    return [sys.executable, "-c", OLD, b"".join(rules).hex()]


@contextlib.contextmanager
def sending(path, uid=NOBODY):
    """A user who sends a descriptor; the first line says what became of it."""
    command = ["/usr/bin/env", "python3", "-c", SEND, str(uid), str(10 * PATIENCE), str(path)]
    ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd="/", **ends) as sender:
        try:
            yield sender
        finally:
            sender.kill()


def received(sender):
    """What it is answered."""
    sender.stdin.write("\n")
    sender.stdin.flush()
    return sender.stdout.readline()


@pytest.fixture
def handed(place):
    """A socket that listens as the service manager made it, and how a daemon is started that has it."""
    run = place / "run"
    run.mkdir()
    run.chmod(0o711)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(run / "api.sock"))
        (run / "api.sock").chmod(0o666)
        end.listen()
        prefix = [sys.executable, "-c", HAND, str(end.fileno())]
        yield run / "api.sock", {"prefix": prefix, "pass_fds": [end.fileno()]}


@ROOT_ONLY
def test_descriptors_cannot_be_sent(started):
    """Neither by others nor by the owner, at a socket of the daemon's own; also when it was put back."""
    daemon = started("--set", "socket_access=everyone")
    for uid in (NOBODY, 0):
        with sending(daemon.socket, uid) as sender:
            assert sender.stdout.readline() == "PermissionError\n"
            assert daemon.answers()
    daemon.socket.unlink()
    daemon.until(daemon.answers)
    with sending(daemon.socket) as sender:
        assert sender.stdout.readline() == "PermissionError\n"
        assert daemon.answers()


@ROOT_ONLY
def test_who_was_there_before_the_daemon_cannot_hold_it_up(started, handed):
    """Others are told to connect again, the owner is answered; then nobody can send any."""
    path, options = handed
    early = socket.socket(socket.AF_UNIX)
    with early, sending(path) as sender:
        early.connect(str(path))
        early.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sender.stdout.readline() == "sent\n"
        daemon = started(**options)
        assert "it was here before the daemon; connect again" in received(sender)
        early.settimeout(PATIENCE)
        assert early.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        with sending(path) as late:
            assert late.stdout.readline() == "PermissionError\n"
            assert daemon.answers()
        assert daemon.end() == 0


def test_without_the_option_others_cannot_be_let_in(started):
    """It is said at the start, with what can be done."""
    daemon = started("--set", "socket_access=everyone", prefix=old_kernel(), wait=False)
    assert daemon.process.wait(PATIENCE) == 2
    said = daemon.log.read_text()
    assert "cannot let others connect to " in said
    assert all(word in said for word in ("Linux 6.16", "SO_PASSRIGHTS", "socket_access: owner"))


@pytest.mark.slow
def test_without_the_option_a_socket_for_others_cannot_be_handed_over(started, handed):
    """One that is the owner's alone can."""
    path, options = handed
    options["prefix"] = [*old_kernel(), *options["prefix"]]
    daemon = started(wait=False, **options)
    assert daemon.process.wait(PATIENCE) == 2
    assert "cannot let others connect to descriptor 3: " in daemon.log.read_text()
    path.chmod(0o600)
    assert started(**options).post("load", text="1/0").json["status"] == "script_failed"


@pytest.mark.slow
@ROOT_ONLY
def test_without_the_option_the_owner_is_served_and_nobody_else(started):
    """Whoever comes though the socket was opened later is sent away, and waited for by nobody."""
    daemon = started(prefix=old_kernel())
    assert daemon.get("/v1/version").status == 200
    daemon.socket.chmod(0o666)
    daemon.socket.parent.chmod(0o711)
    daemon.process.send_signal(signal.SIGSTOP)
    with sending(daemon.socket) as first, sending(daemon.socket) as second:
        senders = (first, second)
        assert [sender.stdout.readline() for sender in senders] == ["sent\n"] * 2
        daemon.process.send_signal(signal.SIGCONT)
        assert all(" 503 " in received(sender) for sender in senders)
        assert daemon.answers()
        assert daemon.end() == 0
