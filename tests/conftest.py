"""What all tests share: skips that count as failures, and an interpreter that every user can reach."""

import compileall
import contextlib
import fcntl
import gc
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest

from loader.profiles import load_profile
from tests.prefect_server import (  # noqa: F401 - fixtures
    agent_python,
    installed,
    prefect2_python,
    prefect_python,
    prefect_url,
)
from tests.servers import s3_server  # noqa: F401 - the same

ROOT = Path(__file__).parent.parent
PACKAGES = ("loader", "worker", "sandbox_profiles")
NOBODY = 65534
NO_SKIP = "FLOW_LOADER_TESTS_NO_SKIP"
"""Environment variable: when it is 1, a test that is skipped has failed."""
INSTALLED = {"agent_python", "installed", "prefect2_python", "prefect_python", "prefect_url"}
"""Fixtures for which packages are installed."""


def pytest_configure():
    """Who runs tests in the background may ignore Ctrl-C, and so would every command that is tested.

    Nor does each of the thousand processes that are started compile the packages again: what is installed
    is compiled, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in PACKAGES:
        compileall.compile_dir(ROOT / name, quiet=2)
    gc.disable()  # what is collected stays to the end


def pytest_collection_finish():
    """What is made from here on is collected as ever; what is there already is not looked at each time."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Of a test that is marked as sampled, the first case is in the everyday subset; Prefect is in none."""
    seen = set()
    for item in items:
        if INSTALLED & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("sampled"):
            test = (item.path, item.originalname)
            if test in seen:
                item.add_marker(pytest.mark.slow)
            seen.add(test)


def refuse_skip(report):
    """A hidden skip is a lie: on a host that has everything, each test must run."""
    if report.skipped and os.environ.get(NO_SKIP) == "1" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: {reason}, and {NO_SKIP} is 1"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return refuse_skip((yield))


def reaches(python, uid):
    """Whether ``uid`` can run ``python`` and import what the project needs."""
    identity = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
    needs = "import croniter, fsspec, httpx, jsonschema, msgpack, multiprocess, pydantic, yaml, sys"
    needs += "; sys.exit(sys.version_info < (3, 11))"
    try:
        subprocess.run([python, "-c", needs], check=True, capture_output=True, cwd="/", **identity)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def is_recent(python):
    """Whether ``python`` is new enough for the project."""
    return subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode == 0


def is_ours(folder):
    """Whether nobody else can have made or changed ``folder``, whose name anyone can guess."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def make_environment(base, folder, requirements):
    """A virtual environment of interpreter ``base`` at ``folder``, complete or not there at all."""
    building = Path(tempfile.mkdtemp(prefix=folder.name + "-", dir=folder.parent))
    building.chmod(0o755)
    try:
        subprocess.run([base, "-m", "venv", "--without-pip", building], check=True, cwd="/", umask=0o022)
        install = [sys.executable, "-m", "pip", "--python", building / "bin/python", "install", "--quiet"]
        subprocess.run([*install, *requirements], check=True, cwd="/", umask=0o022)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


hypothesis.settings.register_profile("ours", deadline=None, database=None)
hypothesis.settings.load_profile("ours")


@pytest.fixture(scope="session")
def policy():
    """A callable: the policy of `profile`, with some of its values changed."""
    return lambda profile="strict", **changes: replace(load_profile(profile), **changes)


@pytest.fixture(scope="session")
def open_python():
    """An interpreter with the project's requirements that uid 65534 can run.

    The suite's own may be in a closed home. The environment that is made instead is kept for the next run.
    """
    if reaches(sys.executable, NOBODY):
        return sys.executable
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [f"python3.{minor}" for minor in range(11, 20)]
    found = (shutil.which(name, path="/usr/bin:/usr/local/bin") for name in ("python3", *names))
    for base in filter(is_recent, filter(None, found)):
        key = hashlib.sha256("\n".join([base, *requirements]).encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir(), f"flow-loader-tests-{key}")
        if not folder.exists():
            make_environment(base, folder, requirements)
        if folder.exists() and is_ours(folder) and reaches(folder / "bin/python", NOBODY):
            return str(folder / "bin/python")
    raise RuntimeError("cannot test as an unprivileged user: install Python 3.11 or newer for all users")


@pytest.fixture(scope="session")
def open_code():
    """A folder with a copy of the project's own packages that every user can read."""
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-code-"))
    folder.chmod(0o755)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def leased():
    """A context manager that holds a lease on a file: the kernel asks its holder before anybody opens it."""

    @contextlib.contextmanager
    def leasing(path):
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        descriptor = os.open(path, os.O_WRONLY)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            yield
        finally:
            os.close(descriptor)
            signal.signal(signal.SIGIO, before)

    return leasing
