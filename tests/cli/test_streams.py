"""Interrupts, pipes that close and terminals: the command ends in order and leaves nothing behind."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest


def descendants(pid):
    """Every process below ``pid``, as pairs of its id and start time."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                values = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = (int(values[1]), values[19])
    found, waiting = set(), [pid]
    while waiting:
        parent = waiting.pop()
        below = [child for child, (its, _) in parents.items() if its == parent]
        found |= {(child, parents[child][1]) for child in below}
        waiting += below
    return found


def is_alive(pid, started):
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return values[19] == started and values[0] != "Z"


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.sampled
@pytest.mark.parametrize("form", ["text", "json"])
def test_interrupt_ends_the_worker(anyone, form):
    """Ctrl-C: exit code 130, one object if JSON was asked for, and no process of ours is left."""
    process = anyone.start(
        "load",
        "failing/infinite_loop.py",
        "--format",
        form,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert wait_until(lambda: len(descendants(process.pid)) >= 3)
    time.sleep(0.5)
    below = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert stderr == "flow-loader: cannot finish: interrupted\n"
    assert json.loads(stdout)["status"] == "interrupted" if form == "json" else stdout == ""
    assert wait_until(lambda: not any(is_alive(*item) for item in below), 5.0)


@pytest.mark.sampled
def test_killed_command_leaves_no_process(anyone):
    """SIGKILL leaves no time to tidy up: the processes below notice by themselves."""
    process = anyone.start("load", "failing/infinite_loop.py", stdout=subprocess.DEVNULL)
    assert wait_until(lambda: len(descendants(process.pid)) >= 3)
    time.sleep(0.5)
    below = descendants(process.pid)
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(is_alive(*item) for item in below), 5.0)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "code"),
    [(["load", "single_flow.py"], 0), (["load", "failing/exits.py"], 1), (["--help"], 0), (["profiles"], 0)],
)
def test_closed_pipe_is_no_error(command, words, code):
    """Who reads only the first line (`| head`) has what they wanted."""
    reading, writing = os.pipe()
    os.close(reading)
    process = command.start(*words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (code, "")


@pytest.mark.slow
def test_full_disk_is_told(command):
    """An answer that could not be written is no success."""
    with open("/dev/full", "w") as full:
        process = command.start("load", "single_flow.py", stdout=full, stderr=subprocess.PIPE, text=True)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert stderr == "flow-loader: cannot write the answer: No space left on device\n"


@pytest.mark.slow
def test_output_that_is_closed(command):
    """There may be no standard output at all."""
    shell = '"$0" -m loader load single_flow.py >&-'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, command.python],
        cwd=command.folder,
        env=command.environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def on_terminal(command, *words, **environment):
    """What a terminal gets of the command's standard output."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command.arguments(*words),
        cwd=command.folder,
        env=command.environment(TERM="xterm", **environment),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # how Linux tells the end
            data = b""
        if not data:
            break
        shown += data
    os.close(ours)
    return process.wait(), shown.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_colours_are_for_terminals_that_want_them(command):
    """Colour only where a person looks, and never against their wish."""
    _, shown = on_terminal(command, "load", "failing/cause_chain.py")
    assert "\x1b[1;31mRuntimeError\x1b[0m" in shown
    _, plain = on_terminal(command, "load", "failing/cause_chain.py", NO_COLOR="1")
    assert "\x1b" not in plain
    assert "\x1b" not in command("load", "failing/cause_chain.py").stdout


def test_msgpack_does_not_go_to_a_terminal(command):
    """Bytes would spoil it."""
    code, shown = on_terminal(command, "load", "single_flow.py", "--format", "msgpack")
    assert (code, shown) == (2, "")


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("words", [["profiles"], ["profiles", "strict"]])
def test_lines_fit_the_terminal(command, columns, words):
    """Text is wrapped by us, below its own column, and not by the terminal."""
    done = command(*words, environment={"COLUMNS": str(columns)})
    assert max(map(len, done.stdout.splitlines())) <= columns
