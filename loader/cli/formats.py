"""What is written to standard output and standard error, in each format.

With ``json`` and ``msgpack`` standard output holds exactly one object, whatever happened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from loader.cli import terminal
from loader.cli.arguments import UsageError
from loader.cli.escape import line


class OutputLost(Exception):
    """Standard output cannot be written to; ``code`` is the exit code that is left."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def check(form: str) -> None:
    """Refuse, before any work is done, what would spoil a terminal. Raises UsageError."""
    if form == "msgpack" and sys.stdout.isatty():
        raise UsageError("cannot write msgpack to a terminal", "send it to a file or a pipe, or use --format json")


def write(form: str, data: Mapping[str, Any], text: str, code: int) -> int:
    """Write an answer, either ``data`` or ``text``; returns ``code``. Raises OutputLost."""
    if form == "json":
        emit(json.dumps(data, ensure_ascii=True, allow_nan=False) + "\n", code)
    elif form == "msgpack":
        emit(packed(data), code)
    else:
        emit(text, code)
    return code


def packed(data: Mapping[str, Any]) -> bytes:
    """One msgpack map; text that UTF-8 cannot carry is escaped."""
    import msgpack  # noqa: PLC0415 - mistakes are answered without it

    return bytes(msgpack.packb(data, use_bin_type=True, unicode_errors="backslashreplace"))


def emit(content: str | bytes, code: int) -> None:
    """Write to standard output. Raises OutputLost, after saying why unless its reader left."""
    try:
        if isinstance(content, bytes):
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputLost(code) from None
    except OSError as error:
        warn(f"cannot write the answer: {error.strerror}")
        raise OutputLost(2) from None


def failure(status: str, kind: str, message: str, hint: str | None) -> dict[str, Any]:
    """The object of a command that has no outcome; its error has the keys of an outcome's error."""
    error = {
        "stage": status,
        "type": kind,
        "message": message,
        "frames": [],
        "traceback": "",
        "cause": None,
        "hint": hint,
    }
    return {"status": status, "error": error}


def write_failure(form: str, status: str, kind: str, message: str, hint: str | None) -> None:
    """Say that there is no outcome and why: for people on standard error, and as the object if asked for."""
    warn(message, hint)
    if form == "json" or (form == "msgpack" and not sys.stdout.isatty()):
        write(form, failure(status, kind, message, hint), "", 0)


def warn(message: str, hint: str | None = None) -> None:
    """A message to standard error, several lines if it has them; nobody may be listening."""
    style = terminal.of(sys.stderr)
    first, *rest = message.split("\n")
    lines = [f"{style.strong('flow-loader:')} {line(first, 2000)}", *(line(item, 2000) for item in rest)]
    if hint:
        lines += terminal.wrapped(line(hint, 2000), style, "hint: ")
    try:
        sys.stderr.write("".join(f"{item}\n" for item in lines))
        sys.stderr.flush()
    except OSError:
        return
