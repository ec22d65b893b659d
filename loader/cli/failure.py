"""Why a load failed, for the script's author in a terminal: place first, as compilers put it.

The traceback is Python's own, with its marks, chain and notes; only its places are written shorter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from loader import escape
from loader.cli.places import Places
from loader.cli.terminal import Style, paragraph, wrapped
from loader.models import Error, Status

FRAME = re.compile(r'^(?P<bar>[ |+]*)File "(?P<file>.*)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
HEADER = "Traceback (most recent call last):"
MESSAGE = 1000
"""Characters of a message that its first line shows."""
LONGEST = 10_000
"""Characters of a traceback's line that may name a frame: two paths are shorter."""


def error_lines(status: Status, error: Error, places: Places, style: Style) -> list[str]:
    """The whole error."""
    lines = title(status, error, places, style)
    body = list(traceback_lines(error, places, style))
    if body:
        lines += ["", *body]
    if error.hint:
        lines += ["", *wrapped(escape.line(error.hint, 4000), style, "hint: ")]
    return lines


def title(status: Status, error: Error, places: Places, style: Style) -> list[str]:
    """``path:line: Type: message``; for what is not the script's fault, no place in it."""
    message = escape.first_line(error.message, MESSAGE)
    kind = escape.line(error.type)
    said = f"{style.bad(kind)}: {message}" if message else style.bad(kind)
    if status is Status.SANDBOX_UNAVAILABLE:
        first, *rest = paragraph(f"{kind}: {message}", style)
        return [style.bad(kind) + first.removeprefix(kind), *rest]
    return [f"{style.strong(places.blamed(error.frames))}: {said}"]


def traceback_lines(error: Error, places: Places, style: Style) -> Iterator[str]:
    """The traceback without its header, and without a last line that the title has said."""
    lines = escape.block(error.traceback.strip("\n"), tail=True) if error.traceback.strip() else []
    if lines and lines[-1] == last_words(error):
        lines.pop()
    for item in lines:
        if item == HEADER:
            continue
        frame = FRAME.match(item) if len(item) <= LONGEST else None
        if frame is None:
            yield "  " + item if item else ""
            continue
        mark = style.strong if places.is_own(frame["file"]) else style.dim
        where = f", in {frame['function']}" if frame["function"] else ""
        yield f"  {frame['bar']}{mark(places.path(frame['file']) + ':' + frame['line'])}{where}"


def last_words(error: Error) -> str:
    """How a traceback ends, unless the message is longer than any that is shown."""
    return f"{error.type[: escape.BLOCK]}: {error.message[: escape.BLOCK]}".removesuffix(": ")
