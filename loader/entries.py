"""Entries of manifests of every kind: a spec with its place, or what is wrong with it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from loader.specs import DeploymentSpec
from loader.yaml_places import KeyPath, Position, Problem

WORD = 1 << 63
"""Integers from here on are not the same in every reader of JSON."""

Mistake = tuple[KeyPath, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One spec of a manifest, or what is wrong with it; both numbers count from 1, and are its first key's.

    Mistakes of a document or of the whole text are an entry of their own. ``written`` is the flow's location
    as the manifest has it; that of ``spec`` is joined to the manifest's folder. ``name`` is the spec's, as
    far as it can be told.
    """

    line: int
    column: int
    spec: DeploymentSpec | None = None
    problems: tuple[Problem, ...] = ()
    written: str | None = None
    name: str | None = None


def refused(position: Position, message: str) -> Entry:
    """An entry of a mistake alone."""
    return Entry(line=position.line, column=position.column, problems=(Problem(position, (), message),))


def text_of(data: Any, key: str) -> str | None:
    """What is under a key, if it is text."""
    value = data.get(key) if type(data) is dict else None
    return value if type(value) is str else None


def news(said: Iterable[Mistake], told: set[KeyPath]) -> Iterator[Mistake]:
    """The first mistake of each path that is not in ``told``."""
    told = set(told)
    for path, message in said:
        if path not in told:
            told.add(path)
            yield path, message


def odd(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Numbers that have no JSON form."""
    for path, value in leaves(data, ()):
        if isinstance(value, float) and not math.isfinite(value):
            yield path, "this is no number that JSON has; give another, or put text in quotes"
        elif isinstance(value, int) and not -WORD <= value < 2 * WORD:
            yield path, "the number takes more than 64 bits; put it in quotes"


def leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is no list or mapping, with its path."""
    if type(value) is dict:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def jsonable(value: Any) -> Any:
    """The same data with dates as ISO 8601 text."""
    if type(value) is dict:
        return {key: jsonable(item) for key, item in value.items()}
    if type(value) is list:
        return [jsonable(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
