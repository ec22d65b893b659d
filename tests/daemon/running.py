"""A real daemon as a process of its own, and what asks it."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65533
"""A user who is neither root nor the one that workers of root become."""
FLOW = "from prefect import flow\n\n@flow\ndef {name}(n: int = 1):\n    pass\n"
WAITING = "import socket\nsocket.create_connection(('127.0.0.1', {port})).recv(1)\n" + FLOW
PATIENCE = 60
"""Seconds for which anything may take: the machine may have much else to do."""
SLOW = "import time\ntime.sleep({seconds})\n" + FLOW


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=PATIENCE):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


@dataclass
class Answer:
    """One answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Running:
    """A daemon that runs, in a folder of its own."""

    process: subprocess.Popen
    folder: Path
    socket: Path
    log: Path
    more: dict = field(default_factory=dict)

    def ask(self, method, path, data=None, headers=None, timeout=PATIENCE):
        """One request on a connection of its own."""
        connection = Connection(self.socket, timeout)
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        told = {} if body is None else {"Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request(method, path, body, {**told, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def post(self, what, **asked):
        return self.ask("POST", f"/v1/{what}", asked)

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def lines(self):
        """What it logged; a line may be half written."""
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1]]

    def logged(self, event, **values):
        """The lines of an event that have these values, in order."""
        wanted = {"event": event, **values}.items()
        return [line for line in self.lines() if wanted <= line.items()]

    def counted(self, name):
        """The sum of a metric's values."""
        text = self.get("/v1/metrics").body.decode()
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)]
        return sum(map(float, found))

    def until(self, true, seconds=PATIENCE):
        """Wait for something to be so."""
        latest = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < latest, self.log.read_text()
            time.sleep(0.02)

    def is_ready(self):
        """Whether it can load; fails when it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return self.answers("/v1/health/ready")

    def answers(self, path="/v1/health/live"):
        """Whether it is there, lets one in, and answers with a 200."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(path).status == 200
        return False

    def catch_up(self):
        """Let it begin with all that was sent: what comes later was answered meanwhile."""
        for _ in range(20):
            self.get("/v1/health/live")

    def end(self, number=signal.SIGTERM):
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def start(folder, *flags, python=sys.executable, code=ROOT, wait=True, prefix=(), **options):
    """A daemon in a folder; ``prefix`` is a command that becomes it."""
    place, log = folder / "run" / "api.sock", folder / "log"
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {
        "PYTHONPATH": str(code),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_DATA_HOME": str(folder / "data"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "HOME": str(folder),
    }
    given = ("--socket", place, "--log-format", "json", *map(str, flags))
    command = [*prefix, python, "-m", "loader", "serve", *given]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd="/", **options)
    running = Running(process, folder, place, log)
    if wait:
        try:
            running.until(running.is_ready)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return running


class Gate:
    """What scripts can wait at, with the profile `network`, until it is opened."""

    def __init__(self, end):
        self.end, self.waiting = end, []
        end.settimeout(PATIENCE)

    def asked(self, name="flow"):
        """What is asked for a script that waits."""
        script = WAITING.format(port=self.end.getsockname()[1], name=name)
        return {"text": script, "profile": "network", "timeout": 100}

    def until_waiting(self):
        """Wait until one more script waits."""
        self.waiting.append(self.end.accept()[0])

    def open(self):
        """Let those that wait go on."""
        while self.waiting:
            self.waiting.pop().close()


@pytest.fixture
def gate():
    """A gate that is closed."""
    with socket.create_server(("127.0.0.1", 0)) as end:
        made = Gate(end)
        yield made
        made.open()


@pytest.fixture
def place():
    """A folder with a short name that everybody can enter, for a daemon and its scripts."""
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-daemon-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def started(place):
    """A callable that starts a daemon with flags; all of them end with the test."""
    running = []

    def make(*flags, **options):
        running.append(start(place, *flags, **options))
        return running[-1]

    yield make
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture(scope="module")
def daemon():
    """One daemon for all tests of a module that leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-daemon-"))
    running = start(folder, "--log-level", "debug")
    yield running
    running.end()
    shutil.rmtree(folder)
