"""Where something stands in a YAML text, and what is wrong there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SCALAR_CAP = 64
"""Longest unquoted number or date, in characters: turning digits into an integer takes quadratic time."""
PATH_CAP = 200
"""How much of a long path messages show, in characters."""

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the document's root, which is ``()``."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the text; both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, under which key, and what is wrong with it."""

    position: Position
    path: KeyPath
    message: str

    def __str__(self) -> str:
        return f"line {self.position.line}: {self.text}"

    @property
    def text(self) -> str:
        """The mistake without its line."""
        return f"key {shown(dotted(self.path), PATH_CAP)}: {self.message}" if self.path else self.message


def dotted(path: KeyPath) -> str:
    """A path as people write it: ``filesystem.read[0]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def shown(text: str, cap: int = SCALAR_CAP) -> str:
    """Foreign text for a message: quoted, without control characters, its first ``cap`` characters."""
    return repr(text if len(text) <= cap else text[:cap] + "…")


def place(text: str, index: int) -> Position:
    """Where the character at ``index`` is."""
    start = max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1
    return Position(breaks(text, start) + 1, index - start + 1)


def breaks(text: str, end: int) -> int:
    """How many line breaks there are before ``end``, as YAML counts them."""
    lone = text.count("\r", 0, end) - text.count("\r\n", 0, end)
    return text.count("\n", 0, end) + lone
