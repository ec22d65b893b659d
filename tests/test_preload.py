"""Preloads: what a profile names is imported once, before any script, and must leave a zygote fit to fork."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loader import FlowLoader
from loader.errors import ProfileError
from loader.profiles import describe, load_profile

USES = """\
import sys
before = set(sys.modules)
import pandas
from prefect import flow

@flow(name=f"{'pandas' in before}, {len(pandas.DataFrame({'a': [1, 2]}))} rows")
def f(): ...
"""
THREADS = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"

READS = """\
import ctypes, os
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
held = os.open(__file__, os.O_RDONLY)
mapped = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, held, ctypes.c_long(0))
os.close(held)
"""

HANDLES = """\
import os, signal
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, lambda *_: os._exit(3))
"""
SIGNALS = """\
import contextlib, os, signal, time
from prefect import flow
@flow
def f(): ...
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    with contextlib.suppress(PermissionError):
        os.kill(1, number)
[mask] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigBlk")]
print(int(mask, 16))
child = os.fork()
if child == 0:
    while True:
        time.sleep(0.01)
ended = 0, 0
while ended == (0, 0):
    os.kill(child, signal.SIGTERM)
    time.sleep(0.01)
    ended = os.waitpid(child, os.WNOHANG)
print(os.waitstatus_to_exitcode(ended[1]))
"""
ALL = (1 << 64) - 1 & ~(1 << signal.SIGKILL - 1 | 1 << signal.SIGSTOP - 1)


def family(pid):
    """Every process below ``pid``."""
    found = []
    with contextlib.suppress(OSError):  # It ended while we looked.
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *family(child)]
    return found


def blocked(pid):
    """The signals that the first process of a worker's namespace has blocked; None for other processes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    numbers = status["NSpid"].split()
    return int(status["SigBlk"], 16) if len(numbers) > 2 and numbers[-1] == "1" else None


@pytest.fixture
def profile(tmp_path):
    """A profile that preloads."""

    def make(*modules, extends="strict"):
        path = tmp_path / "own.yaml"
        path.write_text(f"description: Mine.\nextends: {extends}\npreload: [{', '.join(modules)}]\n")
        return str(path)

    return make


@pytest.fixture
def environment(tmp_path):
    """The folder of an environment with modules of the test's own, each a text by its name."""

    def make(**modules):
        folder = tmp_path / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = folder.glob("lib/*/site-packages")
        for name, text in modules.items():
            (packages / f"{name}.py").write_text(text)
        return folder

    return make


@pytest.mark.slow
@pytest.mark.parametrize("extends", ["strict", "no-namespaces"])
def test_preloaded_modules_are_there_before_the_script(profile, extends):
    """A script imports them as ever; they were imported before it."""
    with FlowLoader(profile("numpy", "pandas", extends=extends)) as loader:
        outcome = loader.load_text(USES)
    assert outcome.error is None
    assert [flow.name for flow in outcome.flows] == ["True, 2 rows"]


def test_script_beside_a_module_of_a_preloaded_name_gets_its_own(profile, environment, tmp_path):
    """The folder comes first, however early the other was imported."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "shared.py").write_text("WHOSE = 'mine'\n")
    script = folder / "flows.py"
    script.write_text("import shared\nfrom prefect import flow\n@flow(name=shared.WHOSE)\ndef f(): ...\n")
    python = environment(shared="WHOSE = 'the environment'\n")
    with FlowLoader(profile("shared"), python=python) as loader:
        assert [flow.name for flow in loader.load(script).flows] == ["mine"]
        alone = script.rename(tmp_path / "alone.py")
        assert [flow.name for flow in loader.load(alone).flows] == ["the environment"]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (THREADS, "it starts 1 thread"),
        ("kept = open('/dev/null')\n", "it leaves open what every script would share: /dev/null"),
        ("import surely_not_there\n", "ModuleNotFoundError: No module named 'surely_not_there'"),
        ("raise ValueError('no\\x1b[2J')\n", r"ValueError: no\x1b[2J"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("import os\nos._exit(0)\n", "it ends the process"),
        ("import ctypes\nctypes.string_at(0)\n", "it ends the process"),
        ("import os, time\nos.fork() or time.sleep(60)\n", "it starts a process"),
        ("import mmap\nkept = mmap.mmap(-1, 4096)\n", "it holds memory that every script could write to"),
        (
            "import mmap\nkept = mmap.mmap(-1, 4096, prot=mmap.PROT_READ)\n",
            "it holds memory that every script could write to",
        ),
    ],
    ids="thread descriptor dependency raises exits ends dies forks shares hides".split(),
)
def test_module_that_cannot_be_preloaded_is_refused_by_its_own_name(profile, environment, text, reason):
    """The profile's mistake is told before any script is sent: which of its modules, where, and why."""
    python = environment(good="", bad=text, later="")
    with (
        FlowLoader(profile("json", "good", "bad", "later"), python=python) as loader,
        pytest.raises(ProfileError) as caught,
    ):
        loader.load_text("from prefect import flow\n")
    message = str(caught.value)
    assert message.startswith(f"cannot preload bad with {python}/bin/python, as profile /")
    assert reason in message


def test_no_handler_that_was_preloaded_runs_beside_the_worker(profile, environment):
    """The first process of its namespace shares the zygote's memory: whatever is sent to it, it sleeps on."""
    path = profile("handles")
    with open(path, "a") as file:
        file.write("processes: {count: 2}\n")
    with FlowLoader(path, python=environment(handles=HANDLES)) as loader:
        outcome = loader.load_text(SIGNALS)
        assert (outcome.error, outcome.stdout.text) == (None, "0\n3\n")
        assert loader.load_text(SIGNALS).error is None
        masks = [mask for mask in map(blocked, family(os.getpid())) if mask is not None]
    assert set(masks) == {ALL}


@pytest.mark.parametrize("held", ["mmap.mmap(-1, 4096)", "multiprocessing.Lock()"])
def test_memory_that_an_environment_brings_along_is_refused(environment, held):
    """What is imported without being asked for is looked after too: no two loads share what they write."""
    python = environment()
    (packages,) = python.glob("lib/*/site-packages")
    (packages / "shares.pth").write_text(f"import sys, mmap, multiprocessing; sys.kept = {held}\n")
    with FlowLoader(python=python) as loader:
        outcome = loader.load_text("")
    assert outcome.status == "sandbox_unavailable"
    assert "memory that all scripts would share" in outcome.error.message
    assert ".pth" in outcome.error.hint


def test_memory_that_nobody_can_write_to_may_be_preloaded(profile, environment):
    """A file that was opened to be read stays what it is, whoever has it mapped."""
    python = environment(reads=READS)
    with FlowLoader(profile("reads"), python=python) as loader:
        assert loader.load_text("import reads\nassert reads.mapped\n").error.type == "NothingToLoad"


@pytest.mark.slow
def test_module_that_does_not_come_to_an_end_is_refused_by_its_name(profile, environment, monkeypatch):
    """A start has a time limit, and who used it up is known."""
    monkeypatch.setattr("loader.process.START_SECONDS", 3.0)
    python = environment(bad="import time\ntime.sleep(60)\n")
    with (
        FlowLoader(profile("bad"), python=python) as loader,
        pytest.raises(ProfileError, match=r"cannot preload bad .* does not come to an end"),
    ):
        loader.load_text("")


def test_missing_module_is_refused_with_the_interpreter(profile):
    """What is not installed cannot be preloaded; the remedy is said."""
    with FlowLoader(profile("surely_not_there.inside")) as loader, pytest.raises(ProfileError) as caught:
        loader.load_text("")
    assert f"{sys.executable} has no module surely_not_there; install" in str(caught.value)


def test_nothing_but_packages_of_the_interpreter_is_preloaded(profile, environment, tmp_path):
    """A project that lies on the path is not yet trusted: its modules are imported for a script alone."""
    python = environment()
    (packages,) = python.glob("lib/*/site-packages")
    project = tmp_path / "project"
    project.mkdir()
    (project / "flows_of_mine.py").write_text("")
    (packages / "project.pth").write_text(f"{project}\n")
    with (
        FlowLoader(profile("flows_of_mine"), python=python) as loader,
        pytest.raises(ProfileError, match="it does not lie among the packages of"),
    ):
        loader.load_text("")


@pytest.mark.parametrize(
    ("written", "must"),
    [("pandas", "must be a list"), ("[a-b]", "'a-b' is not one"), ("[worker]", "must not hold 'worker'")],
)
def test_what_is_no_list_of_modules_is_a_mistake_of_the_profile(tmp_path, written, must):
    """It is found with its line before anything is started."""
    path = tmp_path / "own.yaml"
    path.write_text(f"description: Mine.\nextends: strict\npreload: {written}\n")
    with pytest.raises(ProfileError, match=rf"line 3.*preload.*{must}"):
        FlowLoader(str(path))


def test_profile_explains_its_preloads(profile):
    """Whoever asks what a profile comes to is told what is imported before the script."""
    assert describe(load_profile(profile("numpy", "pandas.io"))).endswith(
        " imports numpy, pandas.io once, before any script"
    )
