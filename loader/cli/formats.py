"""What is written to standard output and standard error, in each format.

With ``json`` and ``msgpack`` standard output holds exactly one object, whatever happened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loader.cli import terminal
from loader.cli.arguments import PROGRAM, UsageError
from loader.escape import LINES, line


@dataclass(frozen=True)
class Failure:
    """Why a command has no answer of its own: ``usage`` or ``interrupted``."""

    status: str
    type: str
    message: str
    hint: str | None = None

    def data(self) -> dict[str, Any]:
        """The one object: its status, and an error with the keys of an outcome's error."""
        error: dict[str, Any] = {
            "stage": self.status,
            "type": self.type,
            "message": self.message,
            "frames": [],
            "traceback": "",
            "cause": None,
            "hint": self.hint,
        }
        return {"status": self.status, "error": error}


class OutputLost(Exception):
    """Standard output cannot be written to; ``code`` is the exit code that is left."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def check(form: str) -> None:
    """Refuse, before any work is done, what would spoil a terminal. Raises UsageError."""
    if form == "msgpack" and sys.stdout.isatty():
        raise UsageError(
            "cannot write msgpack to a terminal", "send it to a file or a pipe, or use --format json"
        )


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


def write_failure(form: str, failure: Failure) -> None:
    """Say why there is no outcome: on standard error, and as the one object if that was asked for."""
    warn(failure.message, failure.hint)
    if form == "json" or (form == "msgpack" and not sys.stdout.isatty()):
        write(form, failure.data(), "", 0)


def warn(message: str, hint: str | None = None) -> None:
    """A message to standard error, several lines if it has them; nobody may be listening."""
    style = terminal.of(sys.stderr)
    first, *rest = [line(item, 2000) for item in message.split("\n", LINES)]
    name = f"{PROGRAM}: "
    lines = terminal.paragraph(name + first, style) if sys.stderr.isatty() else [name + first]
    lines = [style.strong(name) + lines[0].removeprefix(name), *lines[1:], *rest]
    if hint:
        lines += terminal.wrapped(line(hint, 2000), style, "hint: ")
    try:
        sys.stderr.write("".join(f"{item}\n" for item in lines))
        sys.stderr.flush()
    except OSError:
        return
