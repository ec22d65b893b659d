"""Hostile text made fit for a terminal: the one way by which a script's words get there.

What comes out moves no cursor, sets no colour, reverses no reading order, hides nothing behind characters
without width, and cannot be mistaken for lines of our own where it is meant to stay on one. Letters that are
written from right to left are numbers too: beside them a terminal reorders whatever else is on the line.
"""

from __future__ import annotations

import re
import unicodedata

LINE = 500
"""Characters kept of a text that goes on one line."""
BLOCK, LINES = 16_000, 120
"""Characters and lines kept of a text that keeps its lines."""
TAB = 4
SPACES = "Zs"
REMEMBERED = 0x10000
"""Numbers of characters that may come often in one text: higher ones are few, for they take four bytes."""
TO_THE_LEFT = frozenset({"R", "AL", "AN"})
"""Directions that reorder what stands beside them."""
UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What is printable and nobody sees: Unicode's Default_Ignorable_Code_Point, and the blank of braille."""


class Written(dict[int, str]):
    """What each character becomes: judged once for a whole text, which may be of millions."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        written = char if is_shown(char) else number(char)
        if code < REMEMBERED:
            self[code] = written
        return written


def visible(text: str) -> str:
    """``text`` with every character written as its number that a terminal does not just draw in its place."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(Written())


def kept_lines(text: str) -> str:
    """The same, but the ends of lines are kept and tabs become spaces."""
    return text.expandtabs(TAB).translate(Written({ord("\n"): "\n"}))


def is_shown(char: str) -> bool:
    """Whether a terminal draws this character and does nothing else with it."""
    drawn = char.isprintable() or unicodedata.category(char) == SPACES
    return drawn and not UNSEEN.match(char) and unicodedata.bidirectional(char) not in TO_THE_LEFT


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
