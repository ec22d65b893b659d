"""YAML without surprises: text in, plain data and the place of every key out; nothing is opened.

Aliases, anchors, merge keys, tags and duplicate keys are refused, and size and depth are capped while
the text is scanned, so that reading takes time in proportion to the text. The scanner is PyYAML's own,
written in Python: the one in C overflows its stack on deeply nested text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

SIZE_CAP = 64 * 1024
"""Longest text, in characters."""
DEPTH_CAP = 32
"""How deeply lists and mappings may nest."""
SCALAR_CAP = 64
"""Longest unquoted number or date, in characters: turning digits into an integer takes quadratic time."""

PROBLEM_CAP = 20
"""After so many mistakes the rest of the text is not read."""

_TEXT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "value", "merge")}

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the document's root, which is ``()``."""


@dataclass(frozen=True)
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
        key = f"key {dotted(self.path)!r}: " if self.path else ""
        return f"line {self.position.line}: {key}{self.message}"


@dataclass(frozen=True)
class Document:
    """One document's data, of None, bool, int, float, str, date, datetime, list and dict[str, ...] only.

    ``positions`` holds the place of each key and list item by its path, and of the root.
    """

    data: Any
    positions: Mapping[KeyPath, Position]

    def position(self, path: KeyPath) -> Position:
        """Where ``path`` is, or else the nearest thing around it."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]


class StrictYamlError(ValueError):
    """The text cannot be used; ``problems`` lists every mistake that was found, in order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def dotted(path: KeyPath) -> str:
    """A path as people write it: ``filesystem.read[0]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def read(text: str) -> Document:
    """The only document of ``text``. Raises StrictYamlError, also when there is none or more than one."""
    documents = read_all(text)
    if len(documents) == 1:
        return documents[0]
    if not documents:
        raise StrictYamlError([Problem(Position(1, 1), (), "there is nothing in it")])
    second = documents[1].position(())
    raise StrictYamlError([Problem(second, (), "a second document begins; only one is expected")])


def read_all(text: str) -> list[Document]:
    """Every document of ``text``, in order. Raises StrictYamlError."""
    if len(text) > SIZE_CAP:
        message = f"the text has more than {SIZE_CAP} characters"
        raise StrictYamlError([Problem(_place(text, SIZE_CAP), (), message)])
    problems: list[Problem] = []
    documents = []
    try:
        composer = _Composer(text, problems)
        composer.next_event()
        while isinstance(composer.next_event(), yaml.DocumentStartEvent):
            documents.append(composer.document())
    except yaml.reader.ReaderError as error:
        message = f"the character {chr(cast(int, error.character))!r} is not allowed"
        problems.append(Problem(_place(text, error.position), (), message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.append(Problem(_position(mark), (), error.problem or "this is not YAML"))
    except _StopReading:
        pass
    if problems:
        raise StrictYamlError(problems)
    return documents


class _StopReading(Exception):
    """The rest of the text is not worth a look: the mistake is in the list of problems already."""


class _Composer(yaml.SafeLoader):
    """PyYAML's events made into plain data and positions. Mistakes go into ``problems``."""

    def __init__(self, text: str, problems: list[Problem]) -> None:
        super().__init__(text)
        self.problems = problems
        self.positions: dict[KeyPath, Position] = {}

    def document(self) -> Document:
        """The document whose start was just read."""
        self.positions = {}
        event = self.next_event()
        self.positions[()] = _position(event.start_mark)
        data = self.value(event, ())
        self.next_event()
        return Document(data, self.positions)

    def next_event(self) -> Any:
        """The next event. Raises YAMLError and _StopReading."""
        try:
            return self.get_event()
        except (ValueError, OverflowError):  # PyYAML lets those of chr() and int() through
            self.refuse(self.get_mark(), (), "an escape or a number is out of range")
            raise _StopReading from None

    def refuse(self, mark: Any, path: KeyPath, message: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(_position(mark), path, message))
        if len(self.problems) >= PROBLEM_CAP:
            raise _StopReading

    def value(self, event: Any, path: KeyPath) -> Any:
        """The data that begins with ``event`` and is found at ``path``."""
        if isinstance(event, yaml.AliasEvent):
            self.refuse(
                event.start_mark, path, f"the alias '*{event.anchor}' is not allowed; repeat the value"
            )
            return None
        if event.anchor is not None:
            self.refuse(event.start_mark, path, f"the anchor '&{event.anchor}' is not allowed; take it out")
        if event.tag is not None:
            self.refuse(event.start_mark, path, f"the tag {event.tag!r} is not allowed; take it out")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path)
        if len(path) >= DEPTH_CAP:
            self.refuse(event.start_mark, (), f"lists and mappings nest more than {DEPTH_CAP} deep")
            raise _StopReading
        return self.mapping(path) if isinstance(event, yaml.MappingStartEvent) else self.sequence(path)

    def sequence(self, path: KeyPath) -> list[Any]:
        """The list whose start was just read."""
        items: list[Any] = []
        while not isinstance(event := self.next_event(), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.positions[here] = _position(event.start_mark)
            items.append(self.value(event, here))
        return items

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        """The mapping whose start was just read."""
        items: dict[str, Any] = {}
        while not isinstance(event := self.next_event(), yaml.MappingEndEvent):
            key = self.key(event, path)
            here = (*path, key)
            if key in items:
                first = self.positions[here].line
                self.refuse(event.start_mark, here, f"it is there already, on line {first}")
            self.positions.setdefault(here, _position(event.start_mark))
            items[key] = self.value(self.next_event(), here)
        return items

    def key(self, event: yaml.Event, path: KeyPath) -> str:
        """A mapping's key."""
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse(event.start_mark, path, "a key is not text")
            raise _StopReading
        if event.value == "<<" and event.implicit[0]:
            self.refuse(event.start_mark, path, "the merge key '<<' is not allowed; write the keys out")
        elif type(self.value(event, path)) is not str:
            self.refuse(event.start_mark, path, f"the key {_shown(event)} is not text; put it in quotes")
        return event.value

    def scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        """Text, number, truth value, date or None, as PyYAML's safe loader understands it."""
        tag = self.resolve(yaml.ScalarNode, event.value, event.implicit)
        try:
            if tag in _TEXT_TAGS:
                event.value.encode()
                return event.value
            if len(event.value) > SCALAR_CAP:
                raise ValueError
            return self.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, OverflowError):
            self.refuse(
                event.start_mark, path, f"the value {_shown(event)} cannot be read; put text in quotes"
            )
            return None


def _shown(event: yaml.ScalarEvent) -> str:
    return repr(event.value if len(event.value) <= SCALAR_CAP else event.value[:SCALAR_CAP] + "…")


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _place(text: str, index: int) -> Position:
    return Position(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))
