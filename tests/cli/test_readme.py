"""The README's examples do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loader.cli.arguments import COMMANDS
from loader.models import Status
from loader.profiles import builtin_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [body for language, body in BLOCKS if language == "python"]


@pytest.mark.sampled
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_library_example_runs(number, tmp_path):
    """As it stands, from the project's folder, without a guard for `__main__`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXAMPLES[number]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    marks = {"registry": "nightly 2 report", "check(": "[('unknown_parameter', 'nmae')]"}
    expected = next((said for mark, said in marks.items() if mark in EXAMPLES[number]), "loaded ")
    assert done.stdout.startswith(expected)


def test_first_example_prints_what_is_shown(command):
    """Only the time differs."""
    line = next(body for language, body in BLOCKS if language == "sh" and "flow-loader load" in body)
    shown = next(body for language, body in BLOCKS if language == "text" and "loaded:" in body)
    words = line.split("flow-loader ", 1)[1].split()
    done = subprocess.run(
        command.arguments(*words), cwd=ROOT, env=command.environment(), capture_output=True, text=True
    )
    assert re.sub(r"\d+ ms", "N ms", done.stdout) == re.sub(r"\d+ ms", "N ms", shown)


def test_test_command_is_there():
    """The second command is a file that can be run."""
    assert any(language == "sh" and body.strip() == ".ci/run" for language, body in BLOCKS)
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_nothing_is_left_out():
    """Every command, status and profile has its row."""
    for word in (*(f"flow-loader {name}" for name in COMMANDS), *Status, *builtin_names()):
        assert re.search(rf"^\| `{re.escape(word)}\b", README, re.MULTILINE), word
