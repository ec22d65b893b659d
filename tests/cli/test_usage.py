"""The caller's own mistakes: exit code 2, a message that helps, and one object where JSON was asked for."""

import json
import os
import subprocess
import sys

import pytest

MISTAKES = {
    "command": (["laod", "x.py"], "cannot run 'laod'", "did you mean load?"),
    "strange command": (["zzz"], "cannot run 'zzz'", "the commands are load, check, specs, scan, deploy"),
    "option": (["load", "single_flow.py", "--porfile", "strict"], "'--porfile'", "did you mean --profile?"),
    "option before the command": (["--format", "text", "load", "x"], "'--format'", "see flow-loader --help"),
    "no location": (["load"], "LOCATION", "see flow-loader load --help"),
    "one too many": (["load", "single_flow.py", "other.py"], "'other.py'", "see flow-loader load --help"),
    "format": (["load", "single_flow.py", "--format", "yaml"], "'yaml'", "see flow-loader load --help"),
    "no such file": (["load", "nowhere.py"], "nowhere.py: there is no such file", None),
    "folder": (["load", "siblings"], "it is a folder", None),
    "scheme": (["load", "gopher://x/y.py"], "scheme 'gopher'", None),
    "profile": (["load", "single_flow.py", "--profile", "strcit"], "did you mean 'strict'?", None),
    "timeout": (
        ["load", "single_flow.py", "--timeout", "soon"],
        "'soon' is not a number of seconds",
        "--help",
    ),
    "timeout out of bounds": (
        ["load", "single_flow.py", "--timeout", "0"],
        "cannot use a timeout of 0.0",
        None,
    ),
    "timeout without value": (
        ["load", "single_flow.py", "--timeout", "nan"],
        "cannot use a timeout of nan",
        None,
    ),
    "root": (["load", "single_flow.py", "--root", "siblings"], "outside the root", None),
    "root of text": (["load", "-", "--root", "."], "cannot use --root with standard input", None),
    "later option": (
        ["load", "single_flow.py", "--page", "x"],
        "cannot use the option '--page'",
        "--help",
    ),
    "profiles": (["profiles", "strikt"], "did you mean 'strict'?", None),
}


@pytest.mark.sampled
@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_named_with_its_remedy(command, name):
    """Standard output stays empty; the message says what and the hint what instead."""
    words, message, hint = MISTAKES[name]
    done = command(*words, input="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flow-loader: cannot ")
    assert message in done.stderr
    assert hint is None or hint in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.sampled
@pytest.mark.parametrize("name", [name for name in MISTAKES if name != "format"])
def test_mistake_is_one_object_too(command, name):
    """Who asked for JSON gets JSON, with the keys of an outcome's error."""
    words, message, hint = MISTAKES[name]
    code, answer = command.json(*words, input="")
    assert (code, list(answer), answer["status"]) == (2, ["status", "error"], "usage")
    assert list(answer["error"]) == ["stage", "type", "message", "frames", "traceback", "cause", "hint"]
    assert message in answer["error"]["message"]
    assert hint is None or hint in answer["error"]["hint"]


def test_profile_mistakes_come_with_their_lines(command, tmp_path):
    """Every mistake of a profile's file is listed at once."""
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        "description: Mine.\nextends: strict\nnetwrok:\n  hold: required\ncpu:\n  seconds: often\n"
    )
    done = command("load", "single_flow.py", "--profile", profile)
    assert done.returncode == 2
    assert "line 3" in done.stderr
    assert "line 6" in done.stderr


@pytest.mark.slow
def test_script_that_is_too_large_is_refused(command, tmp_path):
    """Standard input is bounded as files are."""
    script = tmp_path / "large.py"
    with script.open("wb") as file:
        file.truncate((8 << 20) + 1)
    with script.open("rb") as file:
        done = command("load", "-", stdin=file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "larger than" in done.stderr
    assert command("load", script).returncode == 2


@pytest.mark.slow
def test_standard_input_that_cannot_be_read(command):
    """Input that only can be written, or nothing at all, is the caller's mistake."""
    with open("/dev/null", "w") as unreadable:
        done = command("load", "-", stdin=unreadable)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot read standard input: " in done.stderr
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m loader load - <&-', command.python],
        cwd=command.folder,
        env=command.environment(),
        capture_output=True,
        text=True,
    )
    assert (closed.returncode, closed.stdout) == (2, "")
    assert "cannot read standard input: it is closed" in closed.stderr


@pytest.mark.slow
def test_file_name_that_is_no_text(command, tmp_path):
    """A name of bytes that are not UTF-8 is refused by name, in each format, without spoiling a terminal."""
    script = os.fsencode(tmp_path) + b"/\xff\xe2\x80\xae.py"
    with open(script, "w") as file:
        file.write("from prefect import flow\n\n@flow\ndef found():\n    pass\n")
    name = os.fsdecode(script)
    code, answer = command.json("load", name)
    assert (code, answer["status"]) == (2, "usage")
    assert "\\udcff\\u202e.py: its name is not UTF-8 text" in command("load", name).stderr
    assert command("load", name, "--format", "msgpack", text=False).returncode == 2


@pytest.mark.slow
def test_file_name_that_acts_on_a_terminal(command, tmp_path):
    """What turns the reading order is shown without effect; control characters are refused."""
    script = tmp_path / "\u202eyp.py"
    script.write_text("from prefect import flow\n\n@flow\ndef found():\n    pass\n")
    assert "\\u202eyp.py:3" in command("load", script).stdout
    assert command.json("load", script)[1]["source"]["location"] == str(script)
    refused = command("load", script.rename(tmp_path / "\x1b[31m.py"))
    assert refused.returncode == 2
    assert "\\x1b[31m.py: its name holds a control character; rename it" in refused.stderr


def test_help_lists_commands_and_exit_codes(command):
    """Help is found from anywhere."""
    shown = command("--help").stdout
    for word in ("load", "doctor", "profiles", "130"):
        assert f"  {word} " in shown
    assert "--timeout SECONDS" in command("load", "--help").stdout
    bare = command()
    assert (bare.returncode, bare.stdout) == (2, shown)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["load", "--help"], ["laod"]])
def test_short_answers_do_not_import_the_engine(command, words):
    """They come at once: what is slow to import is not imported for them."""
    code = (
        "import sys; from loader.cli import main; main(sys.argv[1:]);"
        "slow = {'pydantic', 'fsspec', 'yaml', 'msgpack', 'multiprocess', 'asyncio'} & set(sys.modules);"
        "sys.exit(f'imported {slow}' if slow else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=command.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_error_of_ones_own_is_not_called_the_scripts(command, tmp_path):
    """A mistake in flow-loader itself has an exit code of its own, and is one object too."""
    code = (
        "import sys; from loader.cli import main; from loader.flow_loader import FlowLoader;"
        "FlowLoader.load = lambda *_, **__: 1 / 0; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "load", "x.py", "--format", "json"],
        env=command.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 70
    assert json.loads(done.stdout)["status"] == "internal"
    assert "ZeroDivisionError" in done.stderr


OWN_MISTAKE = """
import sys
from loader.cli import entry
def dispatch(words): raise RuntimeError("\\x1b[2J \\u202e \\x9b\\r\\nflow-loader: done")
entry.dispatch = dispatch
sys.exit(entry.main(["load", "x.py"]))
"""


def test_mistake_of_our_own_is_told_without_acting_on_a_terminal(command):
    """A traceback has the words of others in it, and the message is one line."""
    done = subprocess.run(
        [sys.executable, "-c", OWN_MISTAKE], env=command.environment(), capture_output=True, text=True
    )
    told = done.stderr.split("\n")
    assert (done.returncode, told[0]) == (70, "Traceback (most recent call last):")
    assert all(map(str.isprintable, told))
    assert told[-3].startswith("flow-loader: cannot go on: ")
    assert told[-2] == "hint: please report this"
