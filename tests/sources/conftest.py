"""What tests of sources share: small servers that answer as they are told, and refusals."""

import contextlib
import socket
import threading

import pytest

from loader.access import Access
from loader.errors import SourceError
from loader.sources import read

TLS = b"\x16"
"""How a client of TLS begins."""
LOOPBACK = frozenset({"127.0.0.1"})


class Server:
    """Answers each connection by calling ``answers[path]``, or sending it; counts what reached it."""

    def __init__(self, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.create_server((address, 0), family=family)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{self.port}"
        self.answers = {}
        self.requests = []
        self.connections = 0
        self.open = []
        self.threads = []
        self.closing = False
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            if self.closing:
                connection.close()
                return
            self.connections += 1
            self.open.append(connection)
            thread = threading.Thread(target=self.answer, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def answer(self, connection):
        with contextlib.suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request and not request.startswith(TLS):
                piece = connection.recv(65536)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            answer = self.answers.get([*request.split(), b"", b""][1].decode("latin-1"), NOT_FOUND)
            connection.sendall(answer) if isinstance(answer, bytes) else answer(connection)

    def close(self):
        self.closing = True
        socket.create_connection(self.socket.getsockname()[:2]).close()
        self.thread.join()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for connection in self.open:
            connection.close()
        self.socket.close()


def reply(body=b"", status="200 OK", **headers):
    """An HTTP answer."""
    known = {"Content-Length": len(body), "Connection": "close"}
    known |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


NOT_FOUND = reply(b"no", "404 Not Found")


@pytest.fixture
def server():
    """A web server on 127.0.0.1 that answers what is put into its ``answers``."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def servers_on():
    """A callable: a web server at an address of this machine."""
    running = []

    def start(address="127.0.0.1"):
        running.append(Server(address))
        return running[-1]

    yield start
    for item in running:
        item.close()


@pytest.fixture(name="reply")
def replying():
    return reply


@pytest.fixture
def near():
    """Access to 127.0.0.1, with some values changed."""
    return lambda **changes: Access(**{"hosts": LOOPBACK, "seconds": 20.0, **changes})


@pytest.fixture
def refused():
    """The message of a location that cannot be read."""

    def refuse(location, root=None, access=None):
        with pytest.raises(SourceError) as caught:
            read(location, root, access or Access())
        assert str(caught.value).startswith("cannot ")
        assert caught.value.__cause__ is None
        return str(caught.value)

    return refuse
