"""Which interpreter runs scripts: what `--python` takes, what it refuses, what is said of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loader import FlowLoader, ProfileError, cli, process
from loader.interpreters import interpreter, unfit

SCRIPT = "import sys\nfrom prefect import flow\n@flow(name=str(sys.version_info[:2]))\ndef f(): ...\n"


def program(path, text):
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "flow.py").write_text(SCRIPT)
    return folder / "flow.py"


def test_own_interpreter_is_the_default():
    """Without a word scripts run where we do."""
    assert interpreter(None) == sys.executable


def test_environment_is_named_by_its_folder(prefect_python):
    """A folder stands for the Python in it; the link is kept, for it is what makes the environment."""
    folder = os.path.dirname(os.path.dirname(prefect_python))
    assert interpreter(folder) == prefect_python
    assert interpreter(folder + "/") == prefect_python


def test_word_is_looked_for_on_the_path(monkeypatch, prefect_python):
    """As a shell would."""
    monkeypatch.setenv("PATH", os.path.dirname(prefect_python))
    assert interpreter("python") == prefect_python


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\nexit 3\n", "does not answer as Python does"),
        ("#!/bin/sh\necho hello\n", "does not answer as Python does"),
        ("#!/bin/sh\necho cpython 3 12 1\n", "its answer is not Python's"),
        ("#!/bin/sh\necho cpython 3 12 1 7\n", "its answer is not Python's"),
        ("#!/bin/sh\necho cpython 3 8 1 -$5\n", "it is Python 3.8.1; workers need 3.9 or newer"),
        ("#!/bin/sh\necho pypy 3 10 1 -$5\n", "it is pypy; workers need CPython"),
        ("#!/nowhere/python\n", "No such file"),
        ("no program at all", "Exec format error"),
    ],
)
def test_program_that_is_no_python_is_refused_by_name(tmp_path, text, reason):
    """Nothing is started but the question what it is."""
    path = program(tmp_path / "bin/python", text)
    for given in (path, tmp_path):
        with pytest.raises(ProfileError, match=f"cannot use the interpreter {given}: .*{reason}"):
            FlowLoader(python=given)


def test_place_without_a_python_is_refused_by_name(tmp_path):
    """A folder that is no environment, a file that cannot be run, a path and a word that lead nowhere."""
    (tmp_path / "file").write_text("")
    for given, reason in (
        (tmp_path, "it has no bin/python"),
        (tmp_path / "file", "no program that this user can run"),
        (tmp_path / "gone", "there is no such file"),
        ("no-such-program-here", "there is no such program on PATH"),
    ):
        with pytest.raises(ProfileError, match=reason):
            interpreter(given)


@pytest.mark.slow
def test_outcome_says_which_interpreter_ran_the_script(script, prefect2_python):
    """Its path and version are facts; the script sees that environment."""
    with FlowLoader(python=prefect2_python) as loader:
        outcome = loader.load(script)
    (flow,) = outcome.flows
    version = outcome.sandbox.python.version
    assert outcome.sandbox.python.path == prefect2_python
    assert flow.name == str(tuple(map(int, version.split(".")[:2])))


@pytest.mark.slow
def test_command_takes_an_interpreter_and_a_dialect(capsys, script, prefect_python):
    """The seed API can be asked for where Prefect is installed."""
    words = ["load", str(script), "--python", prefect_python, "--format", "json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["dialect"]["name"] == "prefect3"
    assert cli.main([*words, "--dialect", "orion"]) == 0
    told = json.loads(capsys.readouterr().out)["dialect"]
    assert (told["name"], told["reason"]) == ("orion", "it was asked for")


@pytest.mark.parametrize("command", ["load", "specs"])
def test_mistaken_interpreter_or_dialect_is_the_callers(capsys, script, command):
    """Exit code 2, and a message that begins with what cannot be done."""
    words = [command, str(script), "--format", "json"]
    assert cli.main([*words, "--python", "/nowhere"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["message"].startswith("cannot use the interpreter")
    assert cli.main([*words, "--dialect", "prefect2"]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert message.startswith(f"cannot read scripts as prefect2: {sys.executable} has no such Prefect")


def test_prefect_that_cannot_be_imported_is_no_reason_to_guess(script, tmp_path):
    """A broken Prefect fails every load, in words that name it, and not as though there were none."""
    message = unfit("/x/python", "auto", None, "ImportError: no pydantic")
    assert message.startswith("cannot use the Prefect of /x/python: it cannot be imported: ImportError")
    assert unfit("/x/python", "orion", None, "ImportError") is None
    assert unfit("/x/python", "prefect3", "3.8.8", None) is None
    assert "it has Prefect 3.8.8" in unfit("/x/python", "prefect2", "3.8.8", None)


def test_unknown_dialect_is_refused():
    """The names are few and told."""
    with pytest.raises(ProfileError, match="there are auto, orion, prefect2, prefect3"):
        FlowLoader(dialect="prefect4")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment without anything, and the folder of its packages."""
    folder = tmp_path_factory.mktemp("made") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/*/site-packages")
    (packages / "prefect").mkdir()
    return folder, packages


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["import surely_not_installed"], "No module named 'surely_not_installed'"),
        (["raise SystemExit(3)"], "it cannot be imported: SystemExit: 3"),
        (["import os; os._exit(0)"], "it ends the process, or does not come to an end"),
        (["import time; time.sleep(60)"], "it ends the process, or does not come to an end"),
        (["flow = 1"], "no attribute '__version__'"),
        (["__version__ = '3.1'"], "Prefect 3.1 lacks prefect.flows.Flow"),
        (["__version__ = '3.1'", "class Flow: ..."], "cannot import name 'flow'"),
        (["__version__ = '2.1'", "Flow = 5"], "it cannot be imported: AttributeError"),
    ],
)
def test_broken_prefect_is_named_and_not_passed_over(script, environment, monkeypatch, files, reason):
    """The caller learns which and why, however it breaks, and what reads scripts without it."""
    folder, packages = environment
    for name, text in zip(("__init__.py", "flows.py"), [*files, ""], strict=False):
        (packages / "prefect" / name).write_text(text)
    monkeypatch.setattr(process, "START_SECONDS", 3.0)
    said = (
        f"cannot use the Prefect of {folder}/bin/python: it cannot be imported: .*; repair it, or --dialect"
    )
    with FlowLoader(python=folder) as loader, pytest.raises(ProfileError, match=said) as raised:
        loader.load(script)
    assert reason in str(raised.value)
    with FlowLoader(python=folder, dialect="orion") as loader:
        assert loader.load(script).status == "loaded"


@pytest.mark.slow
@pytest.mark.parametrize("last", ["exec sleep 1000", "exec yes", "exit 3"])
def test_program_that_is_asked_what_it_is_leaves_nothing(tmp_path, monkeypatch, last):
    """Whatever it starts ends with it, and no more is kept of what it says than a pipe holds."""
    monkeypatch.setattr(process, "INQUIRY_SECONDS", 1.0)
    path = program(tmp_path / "bin/python", f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/child\n{last}\n")
    with pytest.raises(ProfileError, match="does not answer as Python does"):
        FlowLoader(python=path)
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    until = time.monotonic() + 5
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_environment_that_hangs_is_named_and_ends_without_its_supervisor(script, environment, monkeypatch):
    """Before any code of ours runs in it, nobody else would end it."""
    folder, packages = environment
    (packages / "sitecustomize.py").write_text("import time\ntime.sleep(1000)\n")
    monkeypatch.setattr(process, "START_SECONDS", 2.0)
    with FlowLoader(python=folder) as loader:
        outcome = loader.load(script)
    assert (outcome.status, f"({folder}/bin/python)" in outcome.error.message) == (
        "sandbox_unavailable",
        True,
    )
    left, ours = os.pipe()
    with process.scratch_file() as said:
        started = process.execute(
            f"{folder}/bin/python", "broker", [left], (), process.FIXED_ENVIRONMENT, said
        )
        os.close(left)
        os.close(ours)
        assert started.wait(10) == -signal.SIGALRM
    (packages / "sitecustomize.py").unlink()
