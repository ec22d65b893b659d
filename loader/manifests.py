"""Deployment manifests: YAML text in, deployment specs and every mistake with its place out. Pure.

A manifest is one or more documents, each a spec's mapping or a list of them, or Prefect's project file. A
mistake in one spec takes nothing from the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic import ValidationError

from loader import prefect_yaml
from loader.declared import INTERVAL_DUE
from loader.entries import Entry, Mistake, jsonable, leaves, news, odd, refused, text_of
from loader.errors import SourceError
from loader.lineage import NOWHERE
from loader.sources import Origin, beside
from loader.sources.parsing import URL
from loader.specs import DeploymentSpec, mistakes
from loader.strict_yaml import Document, Limits, read_each
from loader.yaml_places import KeyPath, Position, Problem, place, shown
from worker.protocol import SPEC

LIMITS = Limits(
    size=1 << 20,
    problems=200,
    quiet=frozenset({"flow_storage", "env", "build", "push", "pull", "job_variables"}),
)
"""A thousand specs of a kilobyte each; storage, environment and steps may hold secrets."""
ENTRY_CAP = 1_000
"""Most specs in one manifest."""
SHOWN_CAP = 50
"""Most mistakes that a message lists."""
MESSAGE_CAP = 300
"""Longest text of one mistake in a message, in characters."""
KEYS = tuple(name for name in SPEC if name != "flow")
"""The keys of a spec in a manifest, which cannot hold a flow itself."""
TEXTS = ("name", "flow_name", "flow_location")


def parse(text: str | bytes, location: str, origin: Origin = NOWHERE) -> tuple[Entry, ...]:
    """The entries of the manifest at ``location``, a path or URL, in order. Bytes are UTF-8.

    The files of modules are looked for below ``origin`` alone. Raises nothing: what cannot be read is a
    problem of an entry.
    """
    if isinstance(text, bytes):
        try:
            text = decoded(text)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            return (refused(place(before, len(before)), "this is not UTF-8 text; save it as UTF-8"),)
    reading = read_each(text, replace(LIMITS, aliases=prefect_yaml.MARK.search(text) is not None))
    found: list[Entry] = []
    for document in reading.documents:
        found += islice(entries(document, location, origin), ENTRY_CAP + 1 - len(found))
        if len(found) > ENTRY_CAP:
            beyond = found[ENTRY_CAP]
            message = f"there are more than {ENTRY_CAP} specs; split the manifest"
            return (*found[:ENTRY_CAP], refused(Position(beyond.line, beyond.column), message))
    found += [refused(problem.position, problem.message) for problem in reading.problems]
    if not reading.complete and not reading.problems:
        message = "there are too many mistakes; what follows was not read"
        found.append(refused(found[-1].problems[-1].position, message))
    return tuple(found)


def explain(location: str, entries: Iterable[Entry]) -> str:
    """The text of a ManifestError: a line for each mistake, sorted by place, up to ``SHOWN_CAP``."""
    found = sorted(
        (problem for entry in entries for problem in entry.problems),
        key=lambda problem: (problem.position.line, problem.position.column),
    )
    file = one_line(location)
    lines = [
        f"{file}:{problem.position.line}:{problem.position.column}: {one_line(problem.text)}"
        for problem in found[:SHOWN_CAP]
    ]
    if len(found) > SHOWN_CAP:
        lines.append(f"and {len(found) - SHOWN_CAP} more")
    count = "a mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return f"cannot use the manifest {file}: it has {count} to mend\n  " + "\n  ".join(lines)


def decoded(content: bytes) -> str:
    """The text of a file, without what is beyond the size that is read. Raises UnicodeDecodeError."""
    most = 4 * (LIMITS.size + 1)
    return content[:most].decode("utf-8", "strict" if len(content) <= most else "replace")


def entries(document: Document, location: str, origin: Origin) -> Iterator[Entry]:
    """The entries of one document, and one of the mistakes that belong to none of them."""
    data, problems = document.data, document.problems
    if prefect_yaml.is_project(data, location):
        yield from prefect_yaml.entries(document, location, origin)
    elif type(data) is list:
        yield from listed(document, location)
    elif not document.complete:
        if problems:
            first = document.position(next((path for path in document.positions if path), ()))
            yield Entry(line=first.line, column=first.column, problems=problems)
    elif data is not None or problems:
        yield Draft(document, (), location).entry(data, problems)


def listed(document: Document, location: str) -> Iterator[Entry]:
    """The same for a document that is a list."""
    own: dict[int, list[Problem]] = {index: [] for index in range(len(document.data))}
    rest: list[Problem] = []
    for problem in document.problems:
        index = problem.path[0] if problem.path else None
        (own.get(index, rest) if type(index) is int else rest).append(problem)
    for index, item in enumerate(document.data):
        yield Draft(document, (index,), location).entry(item, own[index])
    if rest:
        note = "" if document.complete else "; what follows in this document was not read"
        rest[-1] = replace(rest[-1], message=rest[-1].message + note)
        first = rest[0].position
        yield Entry(line=first.line, column=first.column, problems=tuple(rest))


@dataclass(frozen=True)
class Draft:
    """A spec in the making: the data at ``path`` of a document."""

    document: Document
    path: KeyPath
    location: str

    def entry(self, data: Any, problems: Iterable[Problem]) -> Entry:
        """The spec that the data make, or all that is wrong with them: in the YAML, and in what it says."""
        key = next(iter(data), None) if type(data) is dict else None
        first = self.document.position(self.path if key is None else (*self.path, key))
        found = [replace(problem, path=problem.path[len(self.path) :]) for problem in problems]
        spec = None
        if type(data) is dict:
            spec, said = self.spec(data, {problem.path for problem in found})
            found += [Problem(self.document.position((*self.path, *path)), path, text) for path, text in said]
        elif not found:
            message = f"a spec is due: a mapping of {', '.join(KEYS)}"
            found = [Problem(first, (), message)]
        return Entry(
            line=first.line,
            column=first.column,
            spec=None if found or spec is None else spec.at(self.location, first.line),
            problems=tuple(sorted(found, key=lambda problem: problem.position.line)),
            written=text_of(data, "flow_location"),
            name=text_of(data, "name"),
        )

    def spec(
        self, data: dict[str, Any], refused: set[KeyPath]
    ) -> tuple[DeploymentSpec | None, list[Mistake]]:
        """The spec and what is wrong with it; ``refused`` paths have been complained of already."""
        said = list(news([*checked(data), *odd(data)], refused))
        values = {key: jsonable(value) for key, value in data.items() if key in KEYS}
        written = values.get("flow_location")
        if type(written) is str:
            try:
                values["flow_location"] = self.joined(written)
            except SourceError as error:
                said.append((("flow_location",), str(error)))
        try:
            return DeploymentSpec.model_validate(values), said
        except ValidationError as error:
            told = refused | {path for path, _ in said}
            return None, [*said, *news(mistakes(error), told)]

    def joined(self, written: str) -> str:
        """A flow's location, which is relative to the manifest's folder. Raises SourceError."""
        is_absolute = written.startswith("/") or URL.match(written)
        return written if is_absolute else beside(self.location, written)


def checked(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """What a manifest must say more exactly than a script, since YAML guesses what is text."""
    for key in data:
        if key == "flow":
            yield (key,), "a manifest cannot hold a flow; give its file as flow_location"
        elif key not in KEYS:
            close = get_close_matches(key[:100], KEYS, n=1)
            yield (key,), "there is no such key" + (f"; did you mean {close[0]!r}?" if close else "")
    for key in TEXTS:
        if type(data.get(key)) not in {str, type(None)}:
            yield (key,), "text is due; put it in quotes"
    if data.get("flow_location") is None:
        yield ("flow_location",), "it must be given: where the flow's script is"
    tags = data.get("tags")
    if type(tags) is list:
        yield from (
            (("tags", i), "text is due; put it in quotes")
            for i, tag in enumerate(tags)
            if type(tag) is not str
        )
    elif tags is not None:
        yield ("tags",), "a list of texts is due"
    yield from checked_parts(data)


def checked_parts(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """The same for the parts of a spec, each a model of its own that would take numbers for other things."""
    schedule = data.get("schedule")
    if type(schedule) is dict:
        if type(schedule.get("interval")) is bool:
            yield ("schedule", "interval"), INTERVAL_DUE
        if type(schedule.get("anchor_date")) in {int, float}:
            yield ("schedule", "anchor_date"), "a date is due, like 2022-05-01"
    for part in ("flow_runner", "flow_storage"):
        config = data[part].get("config") if type(data.get(part)) is dict else None
        for path, value in leaves(config, (part, "config")):
            if isinstance(value, (float, date)) and "options" not in path:
                yield path, "text is due; put it in quotes"


def one_line(text: str) -> str:
    """Text that may be foreign, for one line of a message."""
    text = text if len(text) <= MESSAGE_CAP else text[:MESSAGE_CAP] + "…"
    return "".join(character if character.isprintable() else shown(character)[1:-1] for character in text)
