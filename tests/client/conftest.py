"""What the tests of clients share: Python programs in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def start_program():
    """A callable: starts Python on `code` with arguments, its output in a pipe. Killed when the test ends."""
    started = []

    def start(code, *arguments, before=()):
        command = [*before, sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_program(start_program):
    """A callable: what Python writes for `code`, which must end well."""

    def run(code, *arguments, before=()):
        process = start_program(code, *arguments, before=before)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    return run
