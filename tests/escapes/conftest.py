"""Attempts to escape: each is a function that runs as a script in a worker of the real engine.

``escape(attempt, *arguments)`` sends the function's own source, with ``kit`` beside it, and returns what
it reported and how the load ended. Every test that takes it runs once for each identity that a
supervisor can have here. The supervisor is a process of its own, so that it can be measured.
"""

import inspect
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
NOBODY = 65534
IDENTITIES = ("as_root", "as_nobody") if os.geteuid() == 0 else ("as_user",)
SECRET = "FLOW_LOADER_TESTS_SECRET"
LOAD_SECONDS = 60
SETTLE_SECONDS = 5

SCRIPT = """\
import json
import kit
from prefect import flow

{source}
@flow
def harmless():
    pass

print(json.dumps({name}(kit, *json.loads({arguments!r}))), flush=True)
"""


@dataclass(frozen=True)
class Seen:
    """How one attempt ended: the outcome as callers get it, and what the script reported."""

    outcome: dict[str, Any]
    folder: Path

    @property
    def status(self) -> str:
        """The load's status."""
        return self.outcome["status"]

    @property
    def report(self) -> Any:
        """What the attempt returned; fails when it could not return."""
        assert self.status == "loaded", self.outcome
        return json.loads(self.outcome["stdout"]["text"].splitlines()[-1])

    @property
    def error(self) -> dict[str, Any]:
        """The load's error, which there must be."""
        assert self.outcome["error"] is not None
        return self.outcome["error"]

    @property
    def lines(self) -> list[str]:
        """The source lines where the script was when it ended."""
        return [frame["source"] for frame in self.error["frames"]]


class Engine:
    """A supervisor under one identity, and what it holds when it is at rest."""

    def __init__(self, python: str, uid: int, code: Path, base: Path) -> None:
        self.uid, self.base = uid, base
        self.secret = f"hidden-{secrets.token_hex(16)}"
        self.temporary = base / f"temporary-{uid}-{secrets.token_hex(4)}"
        self.temporary.mkdir(mode=0o700)
        os.chown(self.temporary, uid, -1)
        identity = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
        environment = {
            "PYTHONPATH": str(code),
            SECRET: self.secret,
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
        }
        self.process = subprocess.Popen(
            [python, "-B", code / "supervise.py"],
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **identity,
        )
        self.waiting: dict[int, Future[dict[str, Any]]] = {}
        self.numbers = itertools.count()
        self.profiles: set[str] = set()
        self.rest: tuple[int, int] = (0, 0)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        """Hand out answers as they come."""
        for line in self.process.stdout:
            answer = json.loads(line)
            self.waiting.pop(answer["id"]).set_result(answer)

    def start(self, location: Path, profile: str, timeout: float | None) -> "Future[dict[str, Any]]":
        """Ask for a load."""
        number, future = next(self.numbers), Future()
        self.waiting[number] = future
        request = {"id": number, "profile": profile, "location": str(location), "timeout": timeout}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return future

    def warm(self, profile: str, script: Path) -> None:
        """Bring up the workers of ``profile`` and note what the supervisor holds at rest."""
        if profile in self.profiles:
            return
        self.settled()
        answer = self.start(script, profile, None).result(LOAD_SECONDS)
        assert answer.get("outcome", {}).get("status") == "loaded", answer
        self.profiles.add(profile)
        held, since = self.holds(), time.monotonic()
        while time.monotonic() - since < 0.3:
            time.sleep(0.02)
            if self.holds() != held:
                held, since = self.holds(), time.monotonic()
        self.rest = held

    def holds(self) -> tuple[int, int]:
        """Processes below the supervisor, and its open descriptors."""
        return len(descendants(self.process.pid)), len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settled(self) -> bool:
        """Whether the supervisor comes to hold what it held at rest."""
        until = time.monotonic() + SETTLE_SECONDS
        while self.profiles and self.holds() != self.rest:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def family(self) -> list[int]:
        """The supervisor and every process below it, by their numbers on the host."""
        return [self.process.pid, *sorted(descendants(self.process.pid))]

    def peak(self) -> int:
        """Most memory the supervisor ever held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024

    def close(self) -> None:
        """End the supervisor, and with it all that is below it."""
        self.process.stdin.close()
        self.process.wait(LOAD_SECONDS)
        self.reader.join()
        self.process.stdout.close()


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
    found, waiting = set(), [pid]
    while waiting:
        parent = waiting.pop()
        children = {child for child, its in parents.items() if its == parent} - found
        found |= children
        waiting += children
    return found


@dataclass
class Engines:
    """The supervisors of a test session, started when first asked for."""

    python: str
    code: Path
    base: Path
    running: dict[tuple[str, int], Engine] = field(default_factory=dict)

    def engine(self, identity: str, profile: str) -> Engine:
        """The supervisor for ``identity`` with an interpreter that ``profile`` can use."""
        uid = NOBODY if identity == "as_nobody" else os.geteuid()
        # Only mounts can show a worker an interpreter in a home that is closed to it.
        own = identity != "as_nobody" and profile != "no-namespaces"
        python = sys.executable if own else self.python
        key = (python, uid)
        if key not in self.running:
            self.running[key] = Engine(python, uid, self.code, self.base)
        return self.running[key]


@pytest.fixture(scope="session")
def base():
    """A folder that every user can enter, for all that a session makes."""
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-escapes-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engines(open_python, open_code, base):
    shutil.copy(HERE / "supervise.py", open_code)
    running = Engines(open_python, open_code, base)
    yield running
    for engine in running.running.values():
        engine.close()


@dataclass
class Escape:
    """Runs attempts under one identity."""

    identity: str
    engines: Engines

    def engine(self, profile: str = "strict") -> Engine:
        """The supervisor that serves ``profile``."""
        return self.engines.engine(self.identity, profile)

    @property
    def supervisor(self) -> int:
        """Process id of the supervisor."""
        return self.engine().process.pid

    def folder(self, mode: int = 0o700) -> Path:
        """A new folder of the identity's own."""
        made = Path(tempfile.mkdtemp(dir=self.engines.base))
        self.give(made, mode)
        return made

    def give(self, path: Path, mode: int) -> None:
        """Make ``path`` the identity's own."""
        path.chmod(mode)
        os.chown(path, self.engine().uid, -1, follow_symlinks=False)

    def write(self, path: Path, text: str) -> Path:
        """A file of the identity's own, which others cannot read."""
        path.write_text(text)
        self.give(path, 0o600)
        return path

    def script(self, attempt: Any, arguments: tuple[Any, ...], folder: Path) -> Path:
        """The script that runs ``attempt``, and beside it the kit."""
        source = textwrap.dedent(inspect.getsource(attempt))
        text = SCRIPT.format(source=source, name=attempt.__name__, arguments=json.dumps(arguments))
        path = folder / "script.py"
        for target, content in ((path, text), (folder / "kit.py", (HERE / "kit.py").read_text())):
            target.write_text(content)
            self.give(target, 0o644)
        return path

    def start(
        self, attempt: Any, *arguments: Any, profile: str = "strict", timeout: float = 10, folder: Any = None
    ):
        """Begin a load; call what is returned to wait for it."""
        engine = self.engine(profile)
        # Without mounts a worker of root's is a stranger to root's own closed folders.
        mode = 0o755 if profile == "no-namespaces" else 0o700
        folder = folder or self.folder(mode)
        if profile not in engine.profiles:
            engine.warm(profile, self.script(harmless, (), self.folder(mode)))
        future = engine.start(self.script(attempt, arguments, folder), profile, timeout)

        def wait() -> Seen:
            answer = future.result(LOAD_SECONDS)
            assert "outcome" in answer, answer
            return Seen(answer["outcome"], folder)

        return wait

    def __call__(self, attempt: Any, *arguments: Any, **options: Any) -> Seen:
        """Run one attempt to its end."""
        return self.start(attempt, *arguments, **options)()


def harmless(kit):
    """A script that attempts nothing."""
    return "nothing"


def first_of(*names):
    """Parameters of which the first is in the everyday subset."""
    return [names[0], *(pytest.param(name, marks=pytest.mark.slow) for name in names[1:])]


@pytest.fixture(params=first_of(*IDENTITIES))
def escape(request, engines):
    return Escape(request.param, engines)


@pytest.fixture(params=first_of("strict", "no-namespaces"))
def profile(request):
    """Both ways of confinement; a test that takes it is about what they promise alike."""
    return request.param


@pytest.fixture(autouse=True, scope="module")
def nothing_left(request, engines):
    """Whatever a module attempts, afterwards each supervisor holds what it held, and no more files."""
    yield
    for engine in engines.running.values():
        assert engine.process.poll() is None, "the supervisor has ended"
        assert engine.settled(), f"(processes, descriptors) are {engine.holds()}, not {engine.rest}"
        assert not list(engine.temporary.iterdir())
