"""What answers a client may be broken or hostile: it is no answer, fills no memory, and draws nothing."""

import asyncio
import contextlib
import gzip
import json
import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loader import ClientError, DaemonClient, DaemonError, SourceError
from loader.daemon import asking, reaching
from loader.daemon.words import URN

ROOT = Path(__file__).parents[2]
NASTY = "\x1b]0;title\x07\x9b31m\u202e\r\nflow-loader: done"
OUTCOME = {
    "status": "loaded",
    "source": {"location": "x", "digest": "sha256:0", "size": 1},
    "sandbox": {"profile": "strict"},
}
PLANNED = {"name": "d", "valid": True, "problems": [], "warnings": [], "next_runs": []}
NO_ANSWERS = {
    "nothing": b"",
    "text": b"hello",
    "list": b"[1]",
    "deep": b"[" * 100_000,
    "fields": json.dumps({**OUTCOME, NASTY: 1}).encode(),
    "shape": json.dumps({**OUTCOME, "flows": 1, "specs": [{"name": [NASTY]}]}).encode(),
    "many": json.dumps({**OUTCOME, "flows": [1] * asking.MANY}).encode(),
    "hidden": json.dumps({**OUTCOME, "flows": [1] * 1000}).encode("utf-16"),
}


class Server(socketserver.ThreadingUnixStreamServer):
    """Answers at a socket with ``pieces()``, whatever it is asked."""

    pieces = staticmethod(lambda: ())
    connections = 0

    def says(self, body, status="200 OK", *headers):
        """Answer with this body."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.pieces = lambda: ("\r\n".join(head).encode() + body,)


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self):
        self.server.connections += 1
        with contextlib.suppress(OSError):  # the client left
            while self.rfile.readline():
                head = dict(line.lower().split(b":", 1) for line in iter(self.rfile.readline, b"\r\n"))
                self.rfile.read(int(head[b"content-length"]))
                for piece in self.server.pieces():
                    self.wfile.write(piece)


@pytest.fixture
def server(tmp_path):
    """Such a server."""
    with Server(str(tmp_path / "api.sock"), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def client(server):
    with DaemonClient(server.server_address) as made:
        yield made


def refusals(client, *kinds):
    """What a client's methods say of the answer, with and without an event loop."""
    for kind in kinds:
        for ask in (
            lambda kind=kind: getattr(client, kind)("/x.py"),
            lambda kind=kind: asyncio.run(getattr(client, f"{kind}_async")("/x.py")),
        ):
            with pytest.raises(DaemonError) as raised:
                ask()
            yield str(raised.value)


def command(server, *words):
    """What the command prints, in all, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "loader", *words, "--daemon", server.server_address],
        cwd=os.path.dirname(server.server_address),
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        capture_output=True,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def draws_nothing(printed):
    """Whether all of a text is as harmless as our own, its lines included."""
    lines = printed.split("\n")
    return all(map(str.isprintable, lines)) and "flow-loader: done" not in lines


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_said(server, client, body):
    """As one kind of error, with who said it, on one line."""
    server.says(body)
    for said in refusals(client, "load", "check", "specs", "deploy"):
        assert said.startswith(f"cannot understand the answer of the daemon at {server.server_address}: ")
        assert "something else that listens there" in said
        assert said.isprintable()


def test_another_status_is_said(server, client):
    """That of what is no daemon's problem."""
    server.says(NASTY.encode(), "302 Found", "Location: http://127.0.0.1:1/")
    assert all("its status is 302" in said for said in refusals(client, "load"))


def test_what_is_no_http_is_said_on_one_line(server, client):
    """The words of the libraries are the server's, too."""
    server.pieces = lambda: (NASTY.encode() + b"\r\n\r\n",)
    for said in refusals(client, "load"):
        assert said.startswith("cannot reach the daemon at ")
        assert said.isprintable()


def test_an_encoded_answer_is_not_decoded(server, client):
    """Nobody asked for one, and it may be a thousand times as large as it looks."""
    body = json.dumps(OUTCOME).encode()
    server.says(body)
    assert client.load("/x.py").status == "loaded"
    server.says(gzip.compress(body), "200 OK", "Content-Encoding: gzip")
    assert all("it is encoded (gzip)" in said for said in refusals(client, "load"))


def test_an_answer_without_an_end_is_read_no_further_than_to_the_cap(server, client, monkeypatch):
    """It is counted while it is read."""
    monkeypatch.setattr(reaching, "MOST", 1 << 20)

    def endless():
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    server.pieces = endless
    assert all("it is larger than 1 MiB" in said for said in refusals(client, "load"))


def test_a_connection_is_used_again(server, client):
    """An answer that was read to its end gives its connection back."""
    server.says(OUTCOME)
    for _ in range(3):
        assert client.load("/x.py").status == "loaded"
    assert server.connections == 1


def test_a_problem_that_a_request_cannot_come_to_is_no_answer(server, client):
    """A load has no place of deployments that could fail; what has one says so, on one line."""
    server.says({"type": f"{URN}client", "detail": NASTY}, "502 Bad Gateway")
    assert all("a load has none" in said for said in refusals(client, "load"))
    with pytest.raises(ClientError) as raised:
        client.specs("/x.py")
    assert str(raised.value).isprintable()


def test_the_status_of_a_problem_is_that_of_its_answer(server, client):
    """The body repeats it, and may say anything."""
    server.says({"type": f"{URN}queue", "detail": "cannot", "status": [NASTY]}, "503 Service Unavailable")
    with pytest.raises(DaemonError) as raised:
        client.load("/x.py")
    assert raised.value.problem["status"] == 503


def test_a_location_that_is_no_text_is_said_as_without_a_daemon(client):
    """It cannot be handed over, and cannot be loaded either."""
    with pytest.raises(SourceError, match="not UTF-8"):
        client.load("/a\udcff.py")


@pytest.mark.parametrize("kind", ["source", "client", NASTY])
def test_the_command_prints_a_problem_on_one_line(server, kind):
    """Nothing of it is taken for a line of the command's own, and none is a mistake of ours."""
    server.says({"type": URN + kind, "detail": NASTY, "status": "x"}, "503 Service Unavailable")
    code, printed = command(server, "load", "x.py")
    assert code in (2, 3)
    assert printed.count("\n") == 1
    assert draws_nothing(printed)


@pytest.mark.parametrize(
    "more",
    [
        {"result": NASTY},
        {"result": "created", "id": NASTY},
        {"result": "failed", "failure": NASTY},
        {"next_runs": [NASTY], "prefect": {"schedules": [{"timezone": NASTY}]}},
        {"prefect": {"schedules": NASTY, "work_pool": NASTY}},
        {"prefect": {"work_pool": {"name": [NASTY]}}, "schedule": {"interval": 10**400}},
    ],
)
def test_the_command_shows_a_plan_of_any_shape(server, more):
    """What a server says of a deployment moves no cursor, and what it leaves out ends nothing."""
    server.says({**OUTCOME, "specs": [{**PLANNED, **more}], "api": NASTY})
    code, printed = command(server, "deploy", "x.py", "--registry", "r.db")
    assert code in ((3,) if more == {"result": NASTY} else (0, 2))
    assert draws_nothing(printed)
