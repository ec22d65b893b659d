"""From the command line to an exit code: picks the command, answers mistakes, survives a closed pipe.

Exit codes: 0 loaded, 1 the script's fault, 2 the caller's, 3 the host's, 4 selection, 70 ours, 130
interrupted.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from loader import escape
from loader.cli import arguments
from loader.cli.arguments import UsageError
from loader.cli.formats import Failure, OutputLost, write_failure
from loader.errors import DaemonError

USAGE, UNAVAILABLE, INTERNAL, INTERRUPTED = 2, 3, 70, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, by default the process's own; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    prepare()
    try:
        code = run(words)
        sys.stdout.flush()
    except OutputLost as lost:
        code = lost.code
    except KeyboardInterrupt:
        failure = Failure("interrupted", "KeyboardInterrupt", "cannot finish: interrupted")
        code = answer(failure, words, INTERRUPTED)
    except SystemExit as ended:  # argparse has printed its help
        code = ended.code if isinstance(ended.code, int) else 0
    except BrokenPipeError:
        code = 0
    except Exception as error:
        sys.stderr.writelines(f"{item}\n" for item in escape.block(traceback.format_exc(), tail=True))
        said = f"cannot go on: {escape.line(str(error))}"
        failure = Failure("internal", type(error).__name__, said, "please report this")
        code = answer(failure, words, INTERNAL)
    close()
    return code


def prepare() -> None:
    """Streams that take any text, and an interrupt that happens once: what it starts must be finished."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first interrupt ends the command in order; more of them do not disturb that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(words: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        return dispatch(words)
    except UsageError as error:
        return answer(Failure("usage", "UsageError", str(error), error.hint), words, USAGE)
    except DaemonError as error:
        code = USAGE if 400 <= error.problem.get("status", 503) < 500 else UNAVAILABLE
        status = "usage" if code == USAGE else "daemon_unavailable"
        return answer(Failure(status, "DaemonError", str(error)), words, code)


def dispatch(words: list[str]) -> int:
    """Find the command and run it. Raises UsageError."""
    if not words or words[0].startswith("-"):
        parser = arguments.top()
        if not parser.parse(words).version:
            parser.print_help()
            return 0 if words else USAGE
        version = importlib.import_module("loader.version").version()
        sys.stdout.write(f"{arguments.PROGRAM} {version}\n")
        return 0
    values = arguments.of(words[0]).parse(words[1:])
    code: int = importlib.import_module(arguments.COMMANDS[words[0]].module).run(values)
    return code


def answer(failure: Failure, words: Sequence[str], code: int) -> int:
    """Say why there is no outcome, in the format that was asked for; returns ``code``."""
    with contextlib.suppress(OutputLost):
        write_failure(arguments.asked_format(words), failure)
    return code


def close() -> None:
    """Let go of standard output; whoever read it may have left already."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
