"""A script is run in an interpreter of its own: running one changes the process for good."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import msgpack
import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@dataclass
class Ran:
    """What came of one script."""

    reply: dict
    found: list
    stdout: str
    stderr: str

    @property
    def tag(self):
        """`Loaded` or `Failed`."""
        return self.reply["tag"]

    @property
    def error(self):
        """The error of a script that failed."""
        return self.reply["error"]

    @property
    def flows(self):
        """The flows."""
        return self.reply["flows"]

    @property
    def specs(self):
        """The specs."""
        return self.reply["specs"]

    def notices(self, kind):
        """The notices of one kind."""
        return [notice for notice in self.reply["notices"] if notice["kind"] == kind]


@dataclass
class Runner:
    """Runs scripts in one folder."""

    folder: Path
    replies: Path

    def write(self, files):
        """Put files into the folder; text is dedented."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())

    def __call__(  # noqa: PLR0913 - each is one thing that a test may vary
        self,
        source,
        files=None,
        *,
        name="flow.py",
        forbids=(),
        rehearsals=0,
        python=sys.executable,
        text=False,
        fails=False,
        path=(),
        environment=None,
        details=False,
        trace=False,
    ):
        """Run `source` as the file `name`, or as text; `files` lie beside it. `fails` is what is expected."""
        source = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
        self.write({name: source, **(files or {})})
        reply = self.replies / f"{len(list(self.replies.iterdir()))}.json"
        request = {
            "path": [str(REPOSITORY), *path],
            "filename": "<stdin>" if text else str(self.folder / name),
            "module": "flow_script" if text else Path(name).stem,
            "source": source.decode("latin-1"),
            "root": str(self.folder),
            "forbids": list(forbids),
            "rehearsals": rehearsals,
            "details": details,
            "trace": trace,
            "reply": str(reply),
        }
        done = subprocess.run(
            [str(python), "-s", str(HERE / "run_script.py")],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
        )
        assert done.returncode == 0, done.stderr
        ran = Ran(stdout=done.stdout, stderr=done.stderr, **json.loads(reply.read_text()))
        assert ran.tag == ("Failed" if fails else "Loaded"), ran.reply
        return ran


@pytest.fixture
def run(tmp_path):
    """A callable that runs a script in a fresh interpreter and folder."""
    folder, replies = tmp_path / "scripts", tmp_path / "replies"
    folder.mkdir()
    replies.mkdir()
    return Runner(folder, replies)


@pytest.fixture(scope="session")
def packages():
    """The folder that holds msgpack, for interpreters that have none."""
    return Path(msgpack.__file__).parents[1]
