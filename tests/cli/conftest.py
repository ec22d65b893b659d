"""The real command as a subprocess, as the suite's own user and as an unprivileged one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
USERS = ("root", "nobody") if os.geteuid() == 0 else ("self",)


@dataclass
class Command:
    """``flow-loader`` as one user would call it, in the folder of the samples."""

    python: str
    code: Path
    folder: Path
    identity: dict

    def arguments(self, *words):
        """The command line of one call."""
        return [self.python, "-m", "loader", *map(str, words)]

    def environment(self, **more):
        """An environment without what the suite's own caller has set."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "PYTHONPATH": str(self.code), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80", **more}

    def __call__(self, *words, text=True, environment=None, **options):
        """Run it to its end."""
        return subprocess.run(
            self.arguments(*words),
            cwd=self.folder,
            env=self.environment(**environment or {}),
            capture_output=True,
            text=text,
            timeout=60,
            **self.identity,
            **options,
        )

    def start(self, *words, **options):
        """Start it."""
        return subprocess.Popen(
            self.arguments(*words), cwd=self.folder, env=self.environment(), **self.identity, **options
        )

    def json(self, *words, **options):
        """The exit code and the one object on standard output."""
        done = self(*words, "--format", "json", **options)
        assert done.stdout.count("\n") == 1, done
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="session")
def samples():
    """A copy of the samples that every user can read."""
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-samples-"))
    shutil.copytree(ROOT / "tests/samples", folder, dirs_exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def command(samples):
    """The command as the user who runs the tests."""
    return Command(sys.executable, ROOT, samples, {})


@pytest.fixture(scope="session")
def unprivileged(request, samples, command):
    """The command as a user without rights."""
    if os.geteuid() != 0:
        return command
    python, code = (request.getfixturevalue(name) for name in ("open_python", "open_code"))
    return Command(python, code, samples, {"user": NOBODY, "group": NOBODY, "extra_groups": []})


@pytest.fixture(scope="session", params=USERS)
def anyone(request, command):
    """The command as each user that the suite can be: root as well as one without rights."""
    return request.getfixturevalue("unprivileged") if request.param == "nobody" else command
