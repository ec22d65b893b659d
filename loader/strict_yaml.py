"""YAML without surprises: text in, plain data and the place of every key out; nothing is opened.

Tags and duplicate keys are refused, and unless they are asked for aliases, anchors and merge keys, as are
numbers that readers of YAML take for different ones. Size and depth, also of what aliases come to, are capped
while the text is scanned, so that reading takes time in proportion to the text. The scanner is PyYAML's own,
written in Python: the one in C overflows its stack on deeply nested text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from loader.yaml_aliases import MERGE, copied, merged, weight
from loader.yaml_places import SCALAR_CAP, KeyPath, Position, Problem, breaks, place, shown

SIZE_CAP = 64 * 1024
"""Longest text, in characters."""
DEPTH_CAP = 32
"""How deeply lists and mappings may nest."""
PROBLEM_CAP = 20
"""After so many mistakes the rest of the text is not read."""

_TEXT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "value", "merge")}
_NUMBER_TAGS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_REFUSED = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML does not allow, and what shows a text to people in other lines or another order than it has."""
_SEPARATOR = re.compile(r"(?:\A|(?<=[\n\r]))---(?![^ \t\n\r])")
"""Where a document begins whatever comes before: no scalar may hold such a line, not even a quoted one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is read: characters, documents, values with their keys, and mistakes.

    No message shows a value below a key of ``quiet``. With ``aliases`` they stand for what they name, and
    what all of them come to has no more characters than the text may have.
    """

    size: int = SIZE_CAP
    documents: int = 1_000
    values: int = 50_000
    problems: int = PROBLEM_CAP
    quiet: frozenset[str] = frozenset()
    aliases: bool = False


LIMITS = Limits()


@dataclass(frozen=True)
class Document:
    """One document's data, of None, bool, int, float, str, date, datetime, list and dict[str, ...] only.

    ``positions`` holds the place of each key and list item by its path, and of the root. ``problems`` are
    what is refused in it; None stands for a value that cannot be read. A document that is not ``complete``
    was read up to the last of them: its data are the finished items of the list that it is, or else None.
    """

    data: Any
    positions: Mapping[KeyPath, Position]
    problems: tuple[Problem, ...] = ()
    complete: bool = True

    def position(self, path: KeyPath) -> Position:
        """Where ``path`` is, or else the nearest thing around it."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]


@dataclass(frozen=True)
class Reading:
    """Each document of a text with its own mistakes, and the mistakes of the text as a whole.

    One that is not ``complete`` ends where a limit was reached.
    """

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...] = ()
    complete: bool = True


class StrictYamlError(ValueError):
    """The text cannot be used; ``problems`` lists every mistake that was found, in order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


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
    reading = read_each(text)
    problems = [problem for document in reading.documents for problem in document.problems]
    if problems or reading.problems:
        raise StrictYamlError([*problems, *reading.problems])
    return list(reading.documents)


def read_each(text: str, limits: Limits = LIMITS) -> Reading:
    """Every document of ``text``, in order, whatever is wrong with the others."""
    text = text.removeprefix("\ufeff")
    if len(text) > limits.size:
        message = f"the text has more than {limits.size} characters"
        return Reading((), (Problem(place(text, limits.size), (), message),), complete=False)
    if odd := _REFUSED.search(text):
        message = f"the character {odd[0]!r} is not allowed"
        return Reading((), (Problem(place(text, odd.start()), (), message),), complete=False)
    budget = _Budget(limits)
    documents: list[Document] = []
    for document in _documents(text, budget):
        if len(documents) == limits.documents:
            budget.overrun = Problem(
                document.position(()), (), f"there are more than {limits.documents} documents"
            )
            break
        documents.append(document)
    whole = (budget.overrun,) if budget.overrun else ()
    return Reading(tuple(documents), whole, complete=not budget.is_spent)


def _documents(text: str, budget: _Budget) -> Iterator[Document]:
    """The documents one by one; after a broken one reading goes on where the next one begins for sure."""
    separators = [match.start() for match in _SEPARATOR.finditer(text)]
    composer = _Composer(text, 0, budget)
    while (document := composer.next_document()) is not None:
        yield document
        if document.complete:
            continue
        following = bisect_right(separators, composer.begun)
        if budget.is_spent or following == len(separators):
            return
        composer = _Composer(text, separators[following], budget)


class _StopReading(Exception):
    """The rest of the document is not worth a look: the mistake is noted already."""


@dataclass
class _Budget:
    """What is left of the limits while a text is read."""

    limits: Limits
    values: int = field(init=False)
    problems: int = field(init=False)
    written: int = 0
    overrun: Problem | None = None

    def __post_init__(self) -> None:
        self.values, self.problems = self.limits.values, self.limits.problems

    @property
    def is_spent(self) -> bool:
        """Whether the rest of the text is not to be read."""
        return self.problems <= 0 or self.overrun is not None


class _Composer(yaml.SafeLoader):
    """PyYAML's events made into plain data, positions and problems, from the document at ``start`` on."""

    def __init__(self, text: str, start: int, budget: _Budget) -> None:
        super().__init__(text[start:])
        self.line = breaks(text, start)
        self.start = self.begun = start
        self.budget = budget
        self.positions: dict[KeyPath, Position] = {}
        self.problems: list[Problem] = []
        self.items: list[Any] | None = None
        self.named_values: dict[str, Any] | None = {} if budget.limits.aliases else None

    def next_document(self) -> Document | None:
        """The document that comes next, as far as it can be read; ``begun`` is where it begins."""
        self.positions, self.problems, self.items = {}, [], None
        if self.named_values is not None:
            self.named_values = {}
        try:
            event = self.next_event()
            if isinstance(event, yaml.StreamStartEvent):
                event = self.next_event()
            if isinstance(event, yaml.StreamEndEvent):
                return None
            self.begun = self.start + event.start_mark.index
            event = self.next_event()
            self.positions[()] = _position(event.start_mark)
            data = self.value(event, ())
            if not self.next_event().explicit:
                self.next_event(peek=True)  # what follows without a separator is this document's mistake
            return Document(data, self.positions, tuple(self.problems))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.problems.append(Problem(_position(mark), (), _reason(error)))
            self.budget.problems -= 1
        except _StopReading:
            pass
        last = self.problems[-1] if self.problems else self.budget.overrun
        self.positions.setdefault((), last.position if last else Position(1, 1))
        return Document(self.items, self.positions, tuple(self.problems), complete=False)

    def next_event(self, *, peek: bool = False) -> Any:
        """The next event, which stays the next one for ``peek``. Raises MarkedYAMLError and _StopReading."""
        try:
            return self.peek_event() if peek else self.get_event()
        except (ValueError, OverflowError):  # PyYAML lets those of chr() and int() through
            self.refuse(self.get_mark(), (), "an escape or a number is out of range")
            raise _StopReading from None

    def refuse(self, mark: Any, path: KeyPath, message: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(_position(mark), path, message))
        self.budget.problems -= 1
        if self.budget.is_spent:
            raise _StopReading

    def named(self, text: str, path: KeyPath) -> str:
        """Foreign text within a message, or nothing where it may be a secret."""
        return " " + shown(text) if self.budget.limits.quiet.isdisjoint(path) else ""

    def spend(self, event: Any, values: int, characters: int = 0) -> None:
        """Count what comes with ``event``. Raises _StopReading when it is too much."""
        self.budget.values -= values
        self.budget.written += characters
        most = self.budget.limits
        message = None
        if self.budget.values < 0:
            message = f"there are more than {most.values} keys and values"
        elif self.budget.written > most.size:
            message = f"what the aliases stand for has more than {most.size} characters"
        if message is not None:
            self.budget.overrun = Problem(_position(event.start_mark), (), message)
            raise _StopReading

    def value(self, event: Any, path: KeyPath) -> Any:
        """The data that begins with ``event`` and is found at ``path``."""
        self.spend(event, 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        if event.anchor is None:
            return self.content(event, path)
        if self.named_values is None:
            name = self.named(f"&{event.anchor}", path)
            self.refuse(event.start_mark, path, f"the anchor{name} is not allowed; take it out")
            return self.content(event, path)
        self.named_values.pop(event.anchor, None)  # it may not stand for itself
        found = self.named_values[event.anchor] = self.content(event, path)
        return found

    def alias(self, event: Any, path: KeyPath) -> Any:
        """What an alias stands for."""
        name = self.named(f"*{event.anchor}", path)
        if self.named_values is None:
            self.refuse(event.start_mark, path, f"the alias{name} is not allowed; repeat the value")
        elif event.anchor not in self.named_values:
            self.refuse(event.start_mark, path, f"the alias{name} stands for nothing above it")
        else:
            found = self.named_values[event.anchor]
            values, characters, levels = weight(found)
            self.spend(event, values, characters)
            if len(path) + levels > DEPTH_CAP:
                self.refuse(event.start_mark, (), f"lists and mappings nest more than {DEPTH_CAP} deep")
                raise _StopReading
            return copied(found)
        return None

    def content(self, event: Any, path: KeyPath) -> Any:
        """The same for what is no alias, whatever its anchor."""
        if event.tag is not None:
            name = self.named(event.tag, path)
            self.refuse(event.start_mark, path, f"the tag{name} is not allowed; take it out")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path)
        if len(path) >= DEPTH_CAP:
            self.refuse(event.start_mark, (), f"lists and mappings nest more than {DEPTH_CAP} deep")
            raise _StopReading
        return self.mapping(path) if isinstance(event, yaml.MappingStartEvent) else self.sequence(path)

    def sequence(self, path: KeyPath) -> list[Any]:
        """The list whose start was just read."""
        items: list[Any] = []
        if not path:
            self.items = items
        while not isinstance(event := self.next_event(), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.positions[here] = _position(event.start_mark)
            items.append(self.value(event, here))
        return items

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        """The mapping whose start was just read."""
        items: dict[str, Any] = {}
        under: dict[str, Any] = {}
        while not isinstance(event := self.next_event(), yaml.MappingEndEvent):
            key = self.key(event, path)
            here = (*path, key)
            is_merge = self.is_merge(event)
            if key in items or (is_merge and here in self.positions):
                first = self.positions[here].line
                self.refuse(event.start_mark, here, f"it is there already, on line {first}")
            self.positions.setdefault(here, _position(event.start_mark))
            found = self.value(self.next_event(), here)
            if not is_merge:
                items[key] = found
            elif (parts := merged(found)) is not None:
                under = parts
            else:
                self.refuse(event.start_mark, here, "a mapping to merge is due, or a list of them")
        for key in under.keys() - items.keys():
            self.positions[*path, key] = self.positions[*path, MERGE]
        return under | items

    def is_merge(self, event: yaml.ScalarEvent) -> bool:
        """Whether a key is the one whose mappings are merged."""
        return self.named_values is not None and event.value == MERGE and event.implicit[0]

    def key(self, event: yaml.Event, path: KeyPath) -> str:
        """A mapping's key."""
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse(event.start_mark, path, "a key is not text")
            raise _StopReading
        if self.is_merge(event):
            return event.value
        if event.value == MERGE and event.implicit[0]:
            self.refuse(event.start_mark, path, "the merge key '<<' is not allowed; write the keys out")
        elif type(self.value(event, path)) is not str:
            name = self.named(event.value, path)
            self.refuse(event.start_mark, path, f"the key{name} is not text; put it in quotes")
        return event.value

    def scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        """Text, number, truth value, date or None, as PyYAML's safe loader understands it.

        ``1:30:00`` is text: only YAML 1.1 takes it for a number to the base of 60.
        """
        tag = self.resolve(yaml.ScalarNode, event.value, event.implicit)
        try:
            if tag in _TEXT_TAGS or (tag in _NUMBER_TAGS and ":" in event.value):
                event.value.encode()
                return event.value
            if len(event.value) > SCALAR_CAP:
                raise ValueError
            if tag in _NUMBER_TAGS and _OCTAL.fullmatch(event.value):
                name = self.named(event.value, path)
                message = f"the number{name} may be octal; write it without the zero, or put it in quotes"
                self.refuse(event.start_mark, path, message)
                return None
            return self.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, OverflowError):
            name = self.named(event.value, path)
            self.refuse(event.start_mark, path, f"the value{name} cannot be read; put text in quotes")
            return None


def _reason(error: yaml.MarkedYAMLError) -> str:
    """What the scanner says, without the name of a tag, which may be part of a secret."""
    said = error.problem or "this is not YAML"
    if said.startswith("found undefined tag handle"):
        return "the tag is not allowed; take it out"
    start, end = error.context_mark, error.problem_mark
    if error.context and start and end and start.line < end.line:
        return f"{said}, {error.context} that begins on line {start.line + 1}"
    return said


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
