"""Hostile text made fit for a terminal: the one way by which a script's words get there.

What comes out moves no cursor, sets no colour, reverses no reading order, hides nothing behind characters
without width, and cannot be mistaken for lines of our own where it is meant to stay on one.
"""

from __future__ import annotations

import unicodedata

LINE = 500
"""Characters kept of a text that goes on one line."""
BLOCK, LINES = 16_000, 120
"""Characters and lines kept of a text that keeps its lines."""
TAB = 4
SPACES = "Zs"


def visible(text: str) -> str:
    """``text`` with every character that is no letter, mark, number, sign or space written as its number."""
    if text.isprintable():
        return text
    return "".join(char if is_shown(char) else number(char) for char in text)


def kept_lines(text: str) -> str:
    """The same, but the ends of lines are kept and tabs become spaces."""
    return "\n".join(visible(item) for item in text.expandtabs(TAB).split("\n"))


def is_shown(char: str) -> bool:
    """Whether a terminal draws this character and does nothing else with it."""
    return char.isprintable() or unicodedata.category(char) == SPACES


def number(char: str) -> str:
    r"""A character as Python writes it: ``\x1b``, ``\u202e``."""
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def line(text: str, cap: int = LINE) -> str:
    """``text`` on one line of at most ``cap`` characters and a word on how many more there were."""
    return capped(visible(text[: cap + 1]), len(text), cap)


def first_line(text: str, cap: int = LINE) -> str:
    """The first line of ``text`` that is not blank, with a sign if more follow."""
    lines = [item for item in text.strip().split("\n", 2)[:2] if item.strip()]
    return line(lines[0].strip(), cap) + (" …" if len(lines) > 1 else "") if lines else ""


def capped(shown: str, length: int, cap: int) -> str:
    """``shown``, the escaped beginning of a text of ``length``, cut at ``cap``."""
    if length <= cap and len(shown) <= cap:
        return shown
    return shown[:cap] + f" … ({length} characters)"


def block(text: str, most: int = LINES, *, tail: bool = False) -> list[str]:
    """The lines of ``text``, each escaped; the first ``most`` of them, or with ``tail`` the last."""
    normal = text.replace("\r\n", "\n")
    kept = normal[-BLOCK:] if tail else normal[:BLOCK]
    lines = kept.rstrip("\n").split("\n")
    shown = [visible(item.expandtabs(TAB)) for item in (lines[-most:] if tail else lines[:most])]
    if len(kept) == len(normal) and len(shown) == len(lines):
        return shown
    left_out = f"… cut: {len(text)} characters in all, see --format json …"
    return [left_out, *shown] if tail else [*shown, left_out]
