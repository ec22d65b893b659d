"""Values of JSON that are written in short, equal to the whole ones.

A library that judges a value writes it out again for each form that it does not fit, and keeps that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CUT = 300
"""Characters of a message: as many are written as they are of the whole value."""


def brief(value: Any) -> Any:
    """An equal value of JSON; of a repr of more than ``CUT`` characters it may have the beginning only."""
    if isinstance(value, list):
        return Items(map(brief, value))
    if isinstance(value, dict):
        return Members((brief(key), brief(item)) for key, item in value.items())
    return Text(value) if isinstance(value, str) and len(value) > CUT else value


class Text(str):
    """A long text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self[:CUT])


class Items(list[Any]):
    """A list."""

    __slots__ = ()

    def __repr__(self) -> str:
        return beginning(self)


class Members(dict[str, Any]):
    """An object."""

    __slots__ = ()

    def __repr__(self) -> str:
        return beginning(self)


def beginning(value: Any) -> str:
    """The repr of a value of JSON, or what it begins with if it is long."""
    written, length = [], 0
    for piece in pieces(value):
        written.append(piece)
        length += len(piece)
        if length > CUT:
            break
    return "".join(written)


def pieces(value: Any) -> Iterator[str]:
    """The repr of a value of JSON, piece by piece."""
    if isinstance(value, list):
        yield "["
        for number, item in enumerate(value):
            yield ", " * (number > 0)
            yield from pieces(item)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield f"{', ' * (number > 0)}{key!r}: "
            yield from pieces(item)
        yield "}"
    else:
        yield repr(value)
