"""What a script holds, for reading in a terminal. Everything in it is a claim and is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from loader import escape
from loader.cli import words
from loader.cli.places import Places
from loader.cli.terminal import Style, fields, paragraph, wrapped
from loader.models import Flow, Notice, Output, Spec

Rows = Iterator[tuple[str, str]]
INDENT = "    "
SHOWN = 30
"""Lines of a stream that are shown: what a script printed must not push the rest off the screen."""
PARAMETERS = 50
"""Parameters of one flow or spec that are shown."""
ROW = 3000
"""Characters of one fact that are shown: more than its words take, unless many are escaped."""


def flow_lines(flow: Flow, places: Places, style: Style) -> list[str]:
    """One flow: its name and place, what it says of itself, its parameters."""
    title = (
        f"{style.strong('flow ' + escape.line(flow.name))}  {style.dim(places.place(flow.file, flow.line))}"
    )
    about = escape.first_line(flow.description or "")
    described = wrapped(about, style, indent=INDENT) if about else []
    return [title, *described, *fields(escaped(flow_rows(flow)), style, INDENT)]


def flow_rows(flow: Flow) -> Rows:
    """A flow's facts that differ from what flows usually are."""
    yield from parameter_rows(words.parameters(flow.parameters), len(words.properties(flow.parameters)))
    settings = ["async"] if flow.is_async else []
    settings += [words.count(flow.retries, "retry").replace("retrys", "retries")] if flow.retries else []
    settings += [f"timeout {flow.timeout_seconds:g} s"] if flow.timeout_seconds else []
    if settings:
        yield "runs", ", ".join(settings)
    if flow.tags:
        yield "tags", words.tags(flow.tags)


def spec_lines(spec: Spec, places: Places, style: Style) -> list[str]:
    """One deployment spec: its name and place, and what it sets."""
    name = escape.line(spec.name or spec.flow_name or "without a name")
    title = f"{style.strong('deployment ' + name)}  {style.dim(places.place(spec.file, spec.line))}"
    return [title, *fields(escaped(spec_rows(spec, places)), style, INDENT)]


def spec_rows(spec: Spec, places: Places) -> Rows:
    """What a spec sets."""
    if spec.flow_name:
        yield "flow", escape.line(spec.flow_name)
    if spec.flow_location and (spec.flow_location != spec.file or not spec.flow_name):
        yield "location", places.path(spec.flow_location)
    if spec.schedule is not None:
        yield "schedule", words.schedule(spec.schedule)
    yield from parameter_rows(words.mapping(spec.parameters), len(spec.parameters))
    if spec.tags:
        yield "tags", words.tags(spec.tags)
    if spec.flow_runner is not None:
        yield "runner", words.runner(spec.flow_runner)


def parameter_rows(parameters: Iterable[str], number: int) -> Rows:
    """The first of ``number`` parameters, and how many more there are."""
    for parameter in islice(parameters, PARAMETERS):
        yield "parameters", parameter
    if number > PARAMETERS:
        yield "parameters", words.more(number - PARAMETERS)


def escaped(rows: Iterable[tuple[str, str]]) -> Rows:
    """Rows whose values are fit for a terminal."""
    for name, value in rows:
        yield name, escape.line(value, ROW)


def notice_lines(notice: Notice, places: Places, style: Style) -> list[str]:
    """One notice, its place first if it has one."""
    place = places.place(notice.file, notice.line) + ": " if notice.file else ""
    return paragraph(place + escape.line(notice.message, 2000), style)


def output_lines(name: str, output: Output, style: Style, *, tail: bool) -> list[str]:
    """What the script wrote to one stream, below a label; nothing when it wrote nothing."""
    if not output.bytes:
        return []
    label = f"{name} ({words.count(output.bytes, 'byte')}{', cut' if output.truncated else ''}):"
    return [style.dim(label), *(INDENT + item for item in escape.block(output.text, SHOWN, tail=tail))]
