"""What the tests of clients share: Python programs in processes of their own, and HTTP servers."""

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def start_program():
    """A callable: starts Python on `code` with arguments, its output in a pipe. Killed when the test ends."""
    started = []

    def start(code, *arguments, before=()):
        command = [*before, sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_program(start_program):
    """A callable: what Python writes for `code`, which must end well."""

    def run(code, *arguments, before=()):
        process = start_program(code, *arguments, before=before)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    return run


class Handler(BaseHTTPRequestHandler):
    """Answers what ``server.answers`` says for a path: status, headers and body, or a callable."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is written in two pieces

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.requests.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        answer = self.server.answers.get(self.path.removeprefix("/api"), (404, {}, {"detail": "Not Found"}))
        status, headers, body = answer(self) if callable(answer) else answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if self.close_connection:
            time.sleep(0.05)  # the client must not see it coming

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815  # the names are the library's

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """A callable that starts an HTTP server with the given answers, and gives its URL."""
    running = []

    def start(answers=(), *, tls=None, host="127.0.0.1"):
        server = ThreadingHTTPServer((host, 0), Handler)
        server.handle_error = lambda *_: None  # clients that hang up are part of the tests
        server.answers, server.requests = {"/admin/version": (200, {}, "3.1.0"), **dict(answers)}, []
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        server.url = f"http{'' if tls is None else 's'}://{host}:{server.server_port}/api"
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()
