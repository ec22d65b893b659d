"""Which files a folder's ignore files leave out: the rules of ``.gitignore``. Pure.

A folder that is scanned may be anybody's, and so may its ignore files be. A pattern costs at most the product
of its length and the name's: no regular expression is made of it, for those of libraries can take for ever.
All patterns and names of a walk together cost no more than a ``Budget``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

NAMES = (".gitignore", ".prefectignore")
"""Files whose rules count."""
SIZE = 256 << 10
"""Bytes of one of them that are read."""
RULES = 2_000
"""Rules that are in force at one place."""
STEPS, STEPS_EACH = 5_000_000, 5_000
"""What the rules of one walk may cost at once, and for each entry that they are asked about."""
ANY = "**"

Token = str | Callable[[str], bool] | None
"""One character or name, what says whether one fits, or None for any number of them."""


class Exhausted(Exception):
    """The rules cost more than they may."""


@dataclass
class Budget:
    """How many steps are left to the rules of one walk."""

    left: int = STEPS

    def spend(self) -> None:
        """Take one step. Raises Exhausted."""
        self.left -= 1
        if self.left < 0:
            raise Exhausted


@dataclass(frozen=True)
class Rule:
    """One line: what it matches, and whether that is left out or taken in again."""

    tokens: tuple[Token, ...]
    takes_in: bool
    folders_only: bool


@dataclass(frozen=True)
class Rules:
    """The rules of one file. ``depth`` is how many names lead to its folder."""

    depth: int
    rules: tuple[Rule, ...]
    budget: Budget

    def verdict(self, parts: Sequence[str], *, folder: bool) -> bool | None:
        """Whether the entry is left out; None where no rule says."""
        own = parts[self.depth :]
        for rule in reversed(self.rules):
            if (folder or not rule.folders_only) and fits(rule.tokens, own, self.budget):
                return not rule.takes_in
        return None


def is_left_out(chain: Sequence[Rules], parts: Sequence[str], *, folder: bool) -> bool:
    """Whether an entry is left out by the rules above it, the nearest first. Raises Exhausted."""
    for rules in reversed(chain):
        said = rules.verdict(parts, folder=folder)
        if said is not None:
            return said
    return False


def parse(content: bytes, depth: int, budget: Budget) -> Rules:
    """The rules of an ignore file that lies below ``depth`` names."""
    lines = content[:SIZE].decode("utf-8-sig", "surrogateescape").split("\n")
    found = (rule_of(line.removesuffix("\r"), budget) for line in lines[: 4 * RULES])
    return Rules(depth, tuple(rule for rule in found if rule is not None)[:RULES], budget)


def rule_of(line: str, budget: Budget) -> Rule | None:
    """The rule of one line, if it has one."""
    text = line.rstrip(" ")
    if text.endswith("\\") and len(text) < len(line):
        text += " "  # a blank that is wanted
    takes_in = text.startswith("!")
    text = text[takes_in:]
    if not text or (text.startswith("#") and not takes_in):
        return None
    folders_only = text.endswith("/")
    names = text.removesuffix("/")
    anchored = "/" in names
    parts = names.removeprefix("/").split("/") if anchored else [ANY, names]
    if parts[-1] == ANY and len(parts) > 1:
        parts.append("*")  # what is inside, and not the folder itself
    try:
        tokens = tuple(None if part == ANY else name_token(part, budget) for part in parts)
    except ValueError:
        return None
    return Rule(tokens, takes_in, folders_only) if any(parts) else None


def fits(tokens: Sequence[Token], items: Sequence[str], budget: Budget) -> bool:
    """Whether tokens cover all items. Only the last of the wildcards before is ever tried again."""
    here = place = 0
    star = again = -1
    while place < len(items):
        budget.spend()
        token = tokens[here] if here < len(tokens) else ""
        if token is None:
            star, again = here, place
            here += 1
        elif token == items[place] or (callable(token) and token(items[place])):
            here, place = here + 1, place + 1
        elif star >= 0:
            again += 1
            here, place = star + 1, again
        else:
            return False
    return all(token is None for token in tokens[here:])


def name_token(pattern: str, budget: Budget) -> Token:
    """What says whether a name fits a pattern without slashes. Raises ValueError."""
    tokens = tuple(characters(pattern))
    if all(isinstance(token, str) for token in tokens):
        return "".join(token for token in tokens if isinstance(token, str))
    if tokens[0] is None and all(isinstance(token, str) for token in tokens[1:]):
        end = "".join(token for token in tokens if isinstance(token, str))
        return lambda name: name.endswith(end)
    return lambda name: fits(tokens, name, budget)


def characters(pattern: str) -> Iterator[Token]:
    """The tokens of a pattern. Raises ValueError for one that has no end."""
    place = 0
    while place < len(pattern):
        char = pattern[place]
        place += 1
        if char == "\\":
            if place == len(pattern):
                raise ValueError(pattern)
            yield pattern[place]
            place += 1
        elif char == "*":
            while pattern[place : place + 1] == "*":
                place += 1
            yield None
        elif char == "?":
            yield lambda _: True
        elif char == "[":
            token, place = one_of(pattern, place)
            yield token
        else:
            yield char


def one_of(pattern: str, place: int) -> tuple[Token, int]:
    """The token of ``[abc]``, ``[a-z]`` or ``[!a]``, and where it ends. Raises ValueError."""
    other = pattern[place : place + 1] in ("!", "^")
    place += other
    chars: list[str] = []
    spans: list[tuple[str, str]] = []
    first = True
    while pattern[place] != "]" if place < len(pattern) and not first else True:
        if place >= len(pattern):
            raise ValueError(pattern)
        first = False
        place += pattern[place] == "\\"
        low = pattern[place : place + 1]
        place += 1
        if pattern[place : place + 1] == "-" and pattern[place + 1 : place + 2] not in ("", "]"):
            place += 1 + (pattern[place + 1] == "\\")
            spans.append((low, pattern[place : place + 1]))
            place += 1
        else:
            chars.append(low)
    held = frozenset(chars)

    def fitting(char: str) -> bool:
        return (char in held or any(low <= char <= high for low, high in spans)) is not other

    return fitting, place + 1
