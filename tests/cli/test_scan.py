"""What `flow-loader scan` prints, with which exit code, and what it leaves behind."""

import json
import os
import pty
import signal
import subprocess
import time

import pytest

from tests.cli.test_streams import descendants, is_alive, wait_until

FLOW = "from prefect import flow\n@flow\ndef {}(): pass\n"
HANGS = "# prefect flow\nwhile True: pass\n"


@pytest.fixture
def folder(tmp_path_factory, samples):
    """An empty folder that every user can read, in which only we can write."""
    made = samples / f"scan-{os.urandom(6).hex()}"
    made.mkdir(mode=0o755)
    made.chmod(0o755)
    return made


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No registry of the user who runs the tests is looked at."""
    monkeypatch.setenv("HOME", str(tmp_path))


def write(folder, **texts):
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.write_text(text)
        path.chmod(0o644)


def lines(done):
    """Every object of standard output: the files', and the summary."""
    *files, summary = map(json.loads, done.stdout.splitlines())
    return {os.path.basename(item["location"]): item for item in files}, summary


@pytest.mark.sampled
def test_a_line_for_each_file_and_a_summary(anyone, folder):
    """Each an outcome; the exit code is the worst."""
    write(folder, a=FLOW.format("a"), b=FLOW.format("b"), util="x = 1")
    done = anyone("scan", folder, "--format", "json")
    files, summary = lines(done)
    assert (done.returncode, sorted(files), done.stderr) == (0, ["a.py", "b.py"], "")
    for item in files.values():
        assert (item["status"], item["ok"], item["error"]) == ("loaded", True, None)
        assert item["source"]["digest"].startswith("sha256:")
    assert (summary["status"], summary["complete"]) == ("summary", True)
    assert (summary["ok"], summary["failed"], summary["skipped"]) == (2, 0, {"no_flow": 1})


@pytest.mark.slow
def test_the_worst_exit_code(anyone, folder):
    """A script's fault is told beside the others."""
    write(folder, a=FLOW.format("a"), fails=FLOW.format("b") + "1 / 0")
    done = anyone("scan", folder, "--format", "json", "--jobs", "1")
    files, _ = lines(done)
    assert done.returncode == 1
    assert [files[name]["ok"] for name in ("a.py", "fails.py")] == [True, False]
    assert files["fails.py"]["flows"][0]["name"] == "b"


@pytest.mark.slow
def test_what_may_not_be_read(unprivileged, folder):
    """A file and a folder of somebody else's: the rest is looked at, and the exit code is 2."""
    write(folder, a=FLOW.format("a"), shut=FLOW.format("b"))
    below = folder / "closed"
    below.mkdir()
    write(below, c=FLOW.format("c"))
    (folder / "shut.py").chmod(0)
    below.chmod(0)
    done = unprivileged("scan", folder, "--format", "json")
    below.chmod(0o755)
    files, summary = lines(done)
    assert (done.returncode, summary["failed"]) == (2, 2)
    assert {name: item["status"] for name, item in files.items()} == {
        "a.py": "loaded",
        "shut.py": "usage",
        "closed": "usage",
    }
    assert "may not read it" in files["closed"]["error"]["message"]


@pytest.mark.slow
def test_reading(anyone, folder):
    """A line for each file, what is wrong below it, and a summary; nothing acts on the terminal."""
    write(folder, a=FLOW.format("same"), b=FLOW.format("same"), fails="# prefect flow\n1 / 0")
    write(folder, **{"odd\u202e": FLOW.format("odd")})
    done = anyone("scan", folder)
    assert done.returncode == 1
    name = folder.name
    assert f"FAIL  {name}/fails.py  script_failed" in done.stdout
    assert f"{name}/fails.py:2: ZeroDivisionError" in done.stdout
    assert f"flow same: {name}/a.py:2, {name}/b.py:2" in " ".join(done.stdout.split())
    assert "Slowest:" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not ok: 3 files ok, 1 not ok, 3 flows")
    assert "\u202e" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
def test_interrupt_reports_what_was_done(anyone, folder, form):
    """Ctrl-C: exit code 130, the files and a summary up to there, and no process of ours is left."""
    write(folder, a=FLOW.format("a"), z=HANGS, y=HANGS)
    process = anyone.start(
        *("scan", folder, "--format", form),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    first = process.stdout.readline()
    assert "a.py" in first
    assert wait_until(lambda: len(descendants(process.pid)) >= 3)
    time.sleep(0.3)
    below = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=15)
    assert process.returncode == 130
    assert stderr == "flow-loader: cannot finish: interrupted after 1 file\n"
    last = stdout.splitlines()[-1]
    if form == "json":
        told = json.loads(last)
        assert (told["status"], told["complete"], told["ok"]) == ("interrupted", False, 1)
    else:
        assert last.startswith("interrupted: 1 file ok")
    assert wait_until(lambda: not any(is_alive(*item) for item in below), 5.0)


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it(command, folder):
    """Who reads only the first line (`| head`) has what they wanted, and nothing is left."""
    write(folder, a=FLOW.format("a"), z=HANGS)
    reading, writing = os.pipe()
    os.close(reading)
    process = command.start("scan", folder, "--timeout", "20", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, stderr = process.communicate(timeout=15)
    assert (process.returncode, stderr) == (0, b"")


@pytest.mark.slow
def test_progress_is_for_terminals(command, folder):
    """On standard error, and gone at the end."""
    write(folder, a=FLOW.format("a"), b=FLOW.format("b"))
    ours, theirs = pty.openpty()
    process = command.start("scan", folder, stdout=subprocess.DEVNULL, stderr=theirs)
    process.wait(timeout=30)
    os.close(theirs)
    shown = os.read(ours, 10_000)
    os.close(ours)
    assert b"looked at" in shown
    assert shown.endswith(b"\r\x1b[K")


@pytest.mark.sampled
@pytest.mark.parametrize(
    "words", [["-"], ["nowhere"], ["single_flow.py"], [".", "--jobs", "0"], [".", "--jobs", "many"]]
)
def test_the_callers_mistakes(command, words):
    """Exit code 2, and the reason on standard error."""
    done = command("scan", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flow-loader: cannot ")


@pytest.mark.slow
def test_an_empty_folder(command, folder):
    """Nothing is wrong with it."""
    done = command("scan", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: 0 files ok")


@pytest.mark.slow
def test_msgpack(command, folder):
    """One map after the other."""
    import msgpack

    write(folder, a=FLOW.format("a"))
    done = command("scan", folder, "--format", "msgpack", text=False)
    unpacker = msgpack.Unpacker(raw=False)
    unpacker.feed(done.stdout)
    assert [item["status"] for item in unpacker] == ["loaded", "summary"]
