"""Fetched projects: their scripts find their siblings, tell their own names, and nothing is left behind."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from pathlib import Path

import fsspec
import pytest

from loader import FlowLoader, SourceError, Status
from loader.process import FIXED_ENVIRONMENT
from loader.projects import GROWTH, PATHS, Namer, placed
from loader.sources import Project, read

ROOT = Path(__file__).parents[1]
MAIN = """\
import helper
from . import helper as same
from prefect import flow
from prefect.deployments import DeploymentSpec

@flow(name=helper.NAME)
def main(file: str = __file__): pass

DeploymentSpec(name="d", flow=main)
assert same is helper
assert open("data.txt").read() == "data"
print(__file__)
"""
FILES = {"flows/main.py": MAIN, "flows/helper.py": 'NAME = "helped"\n', "flows/data.txt": "data"}


@pytest.fixture
def archive(tmp_path):
    """A callable: a zip archive of some files."""

    def write(files=FILES):
        path = tmp_path / "project.zip"
        with zipfile.ZipFile(path, "w") as made:
            for name, text in files.items():
                made.writestr(name, text)
        return path

    return write


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder in which temporary ones are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["strict", "no-namespaces"])
def loader(request):
    with FlowLoader(request.param) as made:
        yield made


def test_a_script_in_an_archive_finds_its_siblings(loader, archive, temporary):
    """And is told by its own location, wherever it lay meanwhile."""
    location = f"zip://flows/main.py::{archive()}"
    outcome = loader.load(location)
    assert outcome.status is Status.LOADED, outcome.error
    (flow,), (spec,) = outcome.flows, outcome.specs
    assert (flow.name, flow.file, flow.entrypoint) == ("helped", location, "main.py:main")
    assert flow.parameters["properties"]["file"]["default"] == location
    assert (spec.file, spec.line, spec.flow_location) == (location, 9, location)
    assert outcome.stdout.text == location + "\n"
    assert list(temporary.iterdir()) == []


def test_a_remote_folder_is_a_project(loader, temporary):
    """Named as the root, all of it is fetched; without, the script alone."""
    files = fsspec.filesystem("memory")
    for name, text in FILES.items():
        files.pipe(f"/team/{name}", text.encode())
    try:
        outcome = loader.load("memory://team/flows/main.py", root="memory://team")
        assert outcome.status is Status.LOADED, outcome.error
        assert outcome.flows[0].file == "memory://team/flows/main.py"
        alone = loader.load("memory://team/flows/main.py")
        assert (alone.status, alone.error.type) == (Status.SCRIPT_FAILED, "ModuleNotFoundError")
        assert alone.error.frames[-1].file == "memory://team/flows/main.py"
        assert 'File "memory://team/flows/main.py", line 1' in alone.error.traceback
    finally:
        files.rm("/team", recursive=True)
    assert list(temporary.iterdir()) == []


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("1 / 0", Status.SCRIPT_FAILED),
        ("import os; os._exit(3)", Status.CRASHED),
        ("import time; time.sleep(60)", Status.TIMED_OUT),
        ("while True: pass", Status.TIMED_OUT),
    ],
)
def test_a_project_is_gone_however_its_load_ends(archive, temporary, code, status):
    with FlowLoader() as loader:
        location = f"zip://flows/main.py::{archive({'flows/main.py': code})}"
        outcome = loader.load(location, timeout=0.5)
    assert outcome.status is status
    assert {frame.file for frame in outcome.error.frames} <= {location}
    assert list(temporary.iterdir()) == []


def test_a_script_cannot_write_into_its_project(loader, archive, temporary):
    """Nor change its modes, however the folder is shown to it."""
    code = (
        "import os\n"
        "for act in (lambda: open('x', 'w'), lambda: os.chmod('.', 0o777), lambda: os.remove(__file__)):\n"
        "    try: act()\n    except OSError: pass\n    else: raise SystemError\n"
        "from prefect import flow\nflow(lambda: 0, name='f')\nf = flow(lambda: 0, name='f')\n"
    )
    outcome = loader.load(f"zip://flows/main.py::{archive({'flows/main.py': code})}")
    assert outcome.status is Status.LOADED, outcome.error


def test_two_loads_of_a_project_tell_the_same(loader, archive, temporary):
    """The folder's name of the moment is nowhere in what is told."""
    location = f"zip://flows/main.py::{archive()}"
    first, second = (loader.load(location).model_dump(mode="json") for _ in range(2))
    for told in (first, second):
        del told["usage"]
    assert first == second
    assert "flow-loader-" not in str(first)


KILLED = """\
    import sys
    from loader import FlowLoader
    with FlowLoader() as loader:
        loader.warm()
        print("ready", flush=True)
        loader.load(sys.argv[1])
"""


def test_a_killed_supervisor_leaves_no_project_behind(archive, tmp_path):
    """SIGKILL at the moment when the project lies on the disk."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(KILLED))
    location = f"zip://flows/main.py::{archive({'flows/main.py': 'import time; time.sleep(60)'})}"
    process = subprocess.Popen(
        [sys.executable, program, location],
        env={**os.environ, **FIXED_ENVIRONMENT, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        until = time.monotonic() + 10
        while not any(folder.glob("flow-loader-*/flows/main.py")) and time.monotonic() < until:
            time.sleep(0.01)
        assert any(folder.iterdir())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    until = time.monotonic() + 5
    while any(folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert list(folder.iterdir()) == []


def test_a_project_is_this_users_and_its_readers_cannot_change_it(archive, temporary):
    """Who may read it as a group can neither write into it nor rename in it: nothing there is given away."""
    script = read(f"zip://flows/main.py::{archive()}")
    group = 65534 if os.geteuid() == 0 else os.getegid()
    with placed(script, group) as place:
        place.fill()
        for path in (temporary / place.script.root.path, *Path(place.script.root.path).rglob("*")):
            status = path.stat()
            assert (status.st_uid, status.st_gid) == (os.geteuid(), group)
            assert status.st_mode & 0o777 == (0o750 if path.is_dir() else 0o640)


def test_a_project_that_cannot_be_written_is_said(archive, tmp_path, monkeypatch):
    """A machine without room for it is no crash."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with FlowLoader() as loader, pytest.raises(SourceError, match=r"cannot be written to .*TMPDIR"):
        loader.load(f"zip://flows/main.py::{archive()}")


def test_long_locations_do_not_make_outcomes_without_end():
    """What a script says of its folder grows by its name, up to a bound."""
    project = Project(url="memory://" + "a" * 1900, entry="m.py", files={"m.py": b""})
    said = "/tmp/x/m.py " * 200_000
    told = Namer("/tmp/x", project).rename(said)
    assert len(told) <= len(said) + GROWTH
    assert told.startswith("memory://")
    assert told.endswith("/tmp/x/m.py ")


class Counting(Project):
    """A project that counts how often it is asked for a file's name."""

    asked = 0

    def display(self, name):
        Counting.asked += 1
        return super().display(name)


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("/tmp/x/m.py " * 300_000, 1),
        ("/tmp/x/m.py/" + "a" * (4 << 20), 0),
        (" ".join(f"/tmp/x/{number}" for number in range(300_000)), PATHS),
        (" ".join(f"/tmp/x/{'a' * 1000}{number}" for number in range(4000)), PATHS),
    ],
    ids=["same", "long", "many", "many and long"],
)
def test_names_are_made_a_bounded_number_of_times(monkeypatch, said, most):
    """However often a script says its folder: what it says is read when its time is over."""
    monkeypatch.setattr(Counting, "asked", 0)
    project = Counting(url="memory://" + "a" * 20, entry="m.py", files={"m.py": b""})
    told = Namer("/tmp/x", project).rename(said)
    assert Counting.asked <= most
    assert told.startswith("memory://") == bool(most)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_a_project_that_does_not_fit_leaves_nothing_open(archive, temporary):
    """A disk that is full, or a limit on files: said each time, and the next load is unaffected."""
    location = f"zip://flows/main.py::{archive({'flows/main.py': '#' * 50_000})}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with FlowLoader() as loader:
        loader.warm()
        held = descriptors()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            for _ in range(3):
                with pytest.raises(SourceError, match="cannot be written"):
                    loader.load(location)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert descriptors() == held
        assert loader.load(location).status is Status.SCRIPT_FAILED
    assert list(temporary.iterdir()) == []
