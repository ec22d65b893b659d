"""Each failing sample: status, exit code, place, what was found before, and a hint that helps."""

from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.slow


@dataclass
class Expected:
    """What its author must learn of one failing script. ``frames`` are the script's own."""

    status: str
    type: str
    message: str
    frames: list
    hint: str | None
    flows: int = 0
    title: str = ""


MODULE = "<module>"
SAMPLES = {
    "syntax_error": Expected("script_failed", "SyntaxError", "invalid syntax", [(5, MODULE)], None),
    "cause_chain": Expected(
        "script_failed", "RuntimeError", "settings are incomplete", [(20, MODULE), (17, "table")], None, 1
    ),
    "exits": Expected("script_failed", "SystemExit", "nothing to do", [(11, MODULE)], "ends itself", 1),
    "missing_module": Expected(
        "script_failed", "ModuleNotFoundError", "surely_not", [(1, MODULE)], "pip install surely_not"
    ),
    "infinite_loop": Expected(
        "timed_out",
        "TimeLimitExceeded",
        "within 1 seconds",
        [(13, MODULE), (10, "wait_for_ever")],
        "--timeout",
        1,
    ),
    "memory_hog": Expected("out_of_memory", "MemoryError", "memory", [(11, MODULE)], "memory.size", 1),
    "early_exit": Expected("crashed", "ProcessEnded", "exit code 7", [], "os._exit", 1),
    "segfault": Expected(
        "crashed", "ProcessCrashed", "SIGSEGV", [(15, MODULE), (12, "read_nowhere")], "compiled code", 1
    ),
    "abort": Expected("crashed", "ProcessCrashed", "SIGABRT", [(11, MODULE)], "signalled itself", 1),
    "reads_shadow": Expected(
        "script_failed", "FileNotFoundError", "/etc/shadow", [(3, MODULE)], "filesystem.read"
    ),
    "opens_socket": Expected(
        "script_failed", "PermissionError", "not permitted", [(5, MODULE)], "network.outbound"
    ),
    "nothing_to_load": Expected("script_failed", "NothingToLoad", "cannot find a flow", [], "@flow"),
    "uses_a_flows_result": Expected(
        "script_failed", "TypeError", "not subscriptable", [(9, MODULE)], "flows and tasks are not run", 1
    ),
    "prints_a_lot": Expected("script_failed", "ValueError", "two\nlines", [(6, MODULE)], None),
    "exception_group": Expected("script_failed", "ExceptionGroup", "two problems", [(1, MODULE)], None),
}


def test_every_failing_sample_has_a_row(samples):
    """No sample is there for show."""
    assert {path.stem for path in (samples / "failing").glob("*.py")} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_failing_sample_is_told_as_data(anyone, samples, name):
    """Status, exit code, frames, hint and what was found before are those of the script."""
    wanted = SAMPLES[name]
    file = f"failing/{name}.py"
    code, outcome = anyone.json("load", file, "--timeout", "1")
    error = outcome["error"]
    own = [
        (frame["line"], frame["function"])
        for frame in error["frames"]
        if frame["file"] == str(samples / file)
    ]
    assert (code, outcome["status"], error["type"]) == (1, wanted.status, wanted.type)
    assert wanted.message in error["message"]
    assert own == wanted.frames
    assert len(outcome["flows"]) == wanted.flows
    if wanted.hint is None:
        assert error["hint"] is None
    else:
        assert wanted.hint in error["hint"]


@pytest.mark.parametrize("name", SAMPLES)
def test_failing_sample_is_told_to_its_reader(command, name):
    """The place comes first, the hint after the traceback, the summary last; all of it is harmless."""
    wanted = SAMPLES[name]
    file = f"failing/{name}.py"
    done = command("load", file, "--timeout", "1")
    place = f"{file}:{wanted.frames[-1][0]}" if wanted.frames else file
    first, *_, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert done.stderr == ""
    assert first.startswith(f"{place}: {wanted.type}: ")
    assert wanted.message.splitlines()[0] in first
    assert last.startswith(f"{wanted.status}: {wanted.flows} flow")
    assert ("\nhint: " in done.stdout) == (wanted.hint is not None)
    assert ("\nFound before that:\n" in done.stdout) == bool(wanted.flows)
    assert all(char == "\n" or char.isprintable() for char in done.stdout)


def test_cause_notes_and_marks_are_shown(command):
    """What Python would print of an exception is there, with its places written short."""
    shown = command("load", "failing/cause_chain.py").stdout
    assert shown.startswith("""\
failing/cause_chain.py:17: RuntimeError: the settings are incomplete

    failing/cause_chain.py:13, in table
      return SETTINGS["table"]
""")
    assert (
        """
  KeyError: 'table'

  The above exception was the direct cause of the following exception:

    failing/cause_chain.py:20, in <module>
      TABLE = table()
"""
        in shown
    )
    assert "\n  settings are read from SETTINGS\n" in shown


def test_long_output_does_not_hide_the_error(command):
    """What a script printed is cut at what a screen shows; the end of it is kept."""
    shown = command("load", "failing/prints_a_lot.py").stdout
    assert "    line 999" in shown
    assert len(shown.splitlines()) < 60
    assert "characters in all, see --format json" in shown
