"""What tests of the daemon's parts share: a warm loader, and a folder of scripts that is old enough."""

import textwrap
import time

import pytest

from loader import FlowLoader
from loader.daemon import traces
from tests.daemon.running import daemon, place, started  # noqa: F401 - fixtures

FLOW = """
from prefect import flow

@flow(name={name!r})
def first(x: int = 0): ...
"""


def flow(name="first"):
    """A script with one flow of that name."""
    return FLOW.format(name=name)


def settled():
    """Let what was just written be older than what comes now."""
    time.sleep(2.5 * traces.SLACK / 1e9)


@pytest.fixture(scope="session")
def loader():
    """A warm loader."""
    with FlowLoader() as warm:
        yield warm


@pytest.fixture
def folder(tmp_path):
    """A folder for scripts."""
    made = tmp_path / "flows"
    made.mkdir()
    return made


@pytest.fixture
def write(folder):
    """A callable: write files by their names, and wait until they are old enough."""

    def writing(files):
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        settled()

    return writing
