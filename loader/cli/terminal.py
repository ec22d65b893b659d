"""How wide the terminal is and whether it shows colours."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

NARROWEST, WIDEST = 60, 120
"""Columns between which text is wrapped: longer lines are hard to read however wide the window."""


@dataclass(frozen=True)
class Style:
    """Columns, and marks for words; without colour the words are left as they are."""

    width: int = 80
    colour: bool = False

    def strong(self, text: str) -> str:
        """What a thing is called."""
        return self.mark("1", text)

    def dim(self, text: str) -> str:
        """What only explains."""
        return self.mark("2", text)

    def bad(self, text: str) -> str:
        """What failed."""
        return self.mark("1;31", text)

    def good(self, text: str) -> str:
        """What holds."""
        return self.mark("32", text)

    def mark(self, code: str, text: str) -> str:
        """``text`` between the terminal's codes."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def of(stream: TextIO) -> Style:
    """The style for a stream: colours only on a terminal and where the environment does not refuse them."""
    columns = shutil.get_terminal_size().columns
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(width=max(NARROWEST, min(columns, WIDEST)), colour=colour)


def wrapped(text: str, style: Style, label: str = "", indent: str = "") -> list[str]:
    """Escaped ``text`` over several lines after a ``label``, the later ones below the first."""
    lines = textwrap.wrap(
        text,
        style.width - len(indent) - len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
    first, *rest = lines or [""]
    return [f"{indent}{style.strong(label)}{first}", *(indent + " " * len(label) + item for item in rest)]


def paragraph(text: str, style: Style) -> list[str]:
    """Escaped ``text`` over several lines, the later ones set in."""
    return textwrap.wrap(
        text, style.width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def fields(rows: Iterable[tuple[str, str]], style: Style, indent: str = "    ") -> list[str]:
    """Names and values in two columns, values wrapped below themselves; a name that repeats is said once."""
    held = list(rows)
    column = max((len(name) for name, _ in held), default=0) + 2
    lines: list[str] = []
    last = ""
    for name, value in held:
        shown = "" if name == last else name
        last = name
        first, *rest = wrapped(value, style, indent=indent + " " * column)
        start = indent + (style.dim(shown) if shown else "") + " " * (column - len(shown))
        lines += [start + first[len(indent) + column :], *rest]
    return lines
