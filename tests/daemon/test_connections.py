"""Connections: whoever was granted nothing, or has not shown the token yet, keeps nobody out."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess

import pytest

from tests.daemon.running import NOBODY, PATIENCE
from tests.daemon.test_peers import (  # noqa: F401 - fixtures
    BEARER,
    ROOT_ONLY,
    TOKEN,
    as_nobody,
    flows,
    granting,
)
from tests.daemon.test_tls import certified

pytestmark = pytest.mark.slow

MANY = 64
"""Connections that may be open: 8 of them of those who were granted nothing."""
FEW = ("--set", f"limits.connections={MANY}", "--set", "limits.request_seconds=600")
HEALTH = "GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOLD = """
import os, socket, sys
uid, path, data = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
held = []
for _ in range(64):
    end = socket.socket(socket.AF_UNIX)
    end.connect(path)
    held.append(end)
    if data:
        end.sendall(data)
        end.recv(1000)
print("there", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holding(daemon, uid, data=""):
    """Another user holds connections on which this was sent, and an answer awaited."""
    command = ["/usr/bin/env", "python3", "-c", HOLD, str(uid), str(daemon.socket), data]
    ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd="/", **ends) as held:
        assert held.stdout.readline() == "there\n"
        yield
        held.stdin.close()


def sockets(daemon):
    """How many sockets it holds."""
    folder, found = f"/proc/{daemon.process.pid}/fd", []
    for number in os.listdir(folder):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"{folder}/{number}"))
    return sum(one.startswith("socket:") for one in found)


@ROOT_ONLY
@pytest.mark.parametrize("data", ["", HEALTH], ids=["silent", "asking"])
def test_strangers_do_not_keep_peers_out(granting, data):  # noqa: F811
    """However many they are, and whether they ask anything: the oldest of their connections makes room."""
    daemon = granting(*FEW)
    with holding(daemon, NOBODY - 1, data), holding(daemon, NOBODY - 2, data):
        assert as_nobody(daemon, "GET", "/v1/version")[0] == 200
        assert daemon.get("/v1/version").status == 200


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tcp(request, started, place):
    """A daemon that listens at TCP, too; its port, and a callable: a connection for requests."""
    certificate, key = map(str, certified(place))
    token = place / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = {"port": port, "token_file": str(token)}
    if request.param:
        listen |= {"certificate": certificate, "key": key}
    file = place / "daemon.yaml"
    file.write_text(json.dumps({"listen": listen, "peers": [{"uid": "token"}]}))

    def connection():
        if not request.param:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        context = ssl.create_default_context(cafile=certificate)
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)

    return started("--config", file, *FEW), port, connection


def asked(connection):
    """The status of a request with the token, on a connection that stays open."""
    connection.request("GET", "/v1/version", headers=BEARER)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_who_shows_no_token_keeps_nobody_out_who_does(tcp):
    """Silent connections are few, also in their handshake; one that has shown the token is none of them."""
    daemon, port, connection = tcp
    before = most = sockets(daemon)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(contextlib.closing(connection()))
        assert asked(shown) == 200
        for _ in range(MANY):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert daemon.get("/v1/health/live").status == 200
            most = max(most, sockets(daemon))
        assert most - before < MANY // 2
        late = stack.enter_context(contextlib.closing(connection()))
        assert asked(late) == 200
        assert asked(shown) == 200


def test_the_share_of_the_token_is_that_of_a_peer(tcp):
    """Whoever has shown it too often is told so, and others are still told that they have not."""
    daemon, _, connection = tcp
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(contextlib.closing(connection())) for _ in range(MANY // 4 + 1)]
        assert [asked(end) for end in ends] == [200] * (MANY // 4) + [503]
        other = stack.enter_context(contextlib.closing(connection()))
        other.request("GET", "/v1/version")
        assert other.getresponse().status == 401
        ends.pop(0).close()
        again = stack.enter_context(contextlib.closing(connection()))
        daemon.until(lambda: asked(again) == 200)


@ROOT_ONLY
def test_who_sends_what_cannot_be_read_is_written_down(started):
    """In a line of its own, without a traceback."""
    daemon = started("--set", "socket_access=everyone")
    with holding(daemon, NOBODY, "GET * HTTP/1.1\r\n\r\n"):
        lines = daemon.logged("cannot read a request", level="info", caller=f"uid {NOBODY}")
    assert lines[0]["asked_by"] > 1
    assert not any("exception" in line for line in daemon.lines())
