"""Real Prefect: environments with each generation, kept between runs, and a server on this machine."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUIREMENTS = [
    "prefect==3.8.8",
    "fastapi<0.140",  # later ones refuse a word that this version of Prefect uses
    "sqlalchemy<2.1",  # with later ones scheduling fails
]
REQUIREMENTS_OF_2 = ["prefect==2.20.*"]
START_SECONDS = 120
STOP_SECONDS = 20


@pytest.fixture(scope="session")
def prefect_python():
    """An interpreter that has Prefect 3."""
    return newest()


def newest():
    """The interpreter of an environment with Prefect 3."""
    return environment_with(sys.executable, [sys.version, sys.base_prefix], REQUIREMENTS)


@pytest.fixture(scope="session")
def agent_python():
    """An interpreter that has Prefect 3 and what the project needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*REQUIREMENTS, *project["dependencies"]]
    return environment_with(sys.executable, [sys.version, sys.base_prefix], requirements)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder with the project as an installation has it: for ``PYTHONPATH``, entry points included."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("loader", "worker", "sandbox_profiles"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, source]
    subprocess.run(install, check=True, cwd="/")
    return target


@pytest.fixture(scope="session")
def prefect2_python():
    """An interpreter of an older Python that has Prefect 2."""
    python = older_python()
    return environment_with(python, [python], REQUIREMENTS_OF_2)


def environment_with(python, known_by, requirements):
    """The interpreter of an environment of `python` with some requirements, made if there is none yet."""
    from tests.conftest import is_ours, make_environment  # late, so that it may import these fixtures

    key = hashlib.sha256("\n".join([*known_by, *requirements]).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"flow-loader-tests-prefect-{key}")
    if not folder.exists():
        make_environment(python, folder, requirements)
    if not is_ours(folder):
        raise RuntimeError(
            f"cannot use {folder}: it is not a folder that only this user can change; remove it"
        )
    return str(folder / "bin/python")


def older_python():
    """An interpreter that Prefect 2 runs on: Python 3.10 if there is one, or its neighbours."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for minor in (10, 9, 11, 12):
        found = [shutil.which(f"python3.{minor}"), *map(str, sorted(pyenv.glob(f"3.{minor}.*/bin/python")))]
        for python in filter(None, found):
            asked = [python, "-c", "import sys; print(sys.version_info[:2] + (sys.executable,))"]
            answer = subprocess.run(asked, capture_output=True, text=True)
            if answer.returncode == 0 and answer.stdout.startswith(f"(3, {minor},"):
                return python
    raise RuntimeError("cannot test with Prefect 2: install Python 3.9, 3.10, 3.11 or 3.12")


@pytest.fixture(scope="session")
def prefect_url(prefect_python, tmp_path_factory):
    """The URL of the API of a Prefect server that runs as long as the tests do."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = [prefect_python, "-m", "prefect", "server", "start", "--no-services"]  # nothing is to be run
    command = [*start, "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(home), cwd=home, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/api"
        await_health(url, process, home / "server.log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(home):
    """Variables for a server that keeps to its folder and talks to nobody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
    return kept | {
        "DO_NOT_TRACK": "1",
        "HOME": str(home),
        "PREFECT_HOME": str(home),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
    }


def await_health(url, process, log):
    """Return when the server answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with opener.open(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"cannot start a Prefect server: {log.read_text(errors='replace')[-2000:]}")


def asking(prefect_url):
    """A callable that asks a server itself, past our client."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(prefect_url + path, data=data, method=method, headers=headers)
        with opener.open(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    return ask
