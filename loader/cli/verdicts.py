"""Verdicts on deployment specs as a table for reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from loader import escape
from loader.answers import Plan, Planned
from loader.cli import listing, words
from loader.cli.places import Places
from loader.cli.terminal import Style, fields, wrapped

SHOWN = 200
"""Specs that are listed."""
PROBLEMS = 10
"""Problems of one spec that are listed."""
INDENT = "    "
BAD = ("invalid", "failed")
"""Results that are marked."""


def table(
    plan: Plan,
    results: Sequence[str],
    places: Places,
    style: Style,
    more: Sequence[Sequence[str]] = (),
) -> list[str]:
    """A line for each spec with its result, name, flow and place, and below it what there is to say.

    ``more`` are further lines below each, in order.
    """
    rows = [
        (result, *names(item), places.place(item.spec.file, item.spec.line))
        for result, item in zip(results, plan.specs[:SHOWN], strict=False)
    ]
    if not rows:
        return []
    heads = ("", "deployment", "flow", "")
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(3)]
    lines = [style.dim(line_of(heads, widths))]
    for place, (row, item) in enumerate(zip(rows, plan.specs, strict=False)):
        mark = style.bad if row[0] in BAD else style.good
        lines += [line_of(row, widths, mark), *(more[place] if more else ()), *details(item, style)]
    left = len(plan.specs) - SHOWN
    return [*lines, words.more(left, "spec")] if left > 0 else lines


def names(item: Planned) -> tuple[str, str]:
    """A spec's name and its flow's, fit for a terminal."""
    listed = item.spec
    return escape.line(listed.name or "—", words.NAME), escape.line(listed.flow_name or "—", words.NAME)


def line_of(row: Sequence[str], widths: Iterable[int], mark: Any = str) -> str:
    """One line of the table."""
    first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
    return "  ".join([mark(first), *rest, row[-1]]).rstrip()


def details(item: Planned, style: Style) -> list[str]:
    """What is wrong with a spec, or what it sets and when it runs."""
    lines = []
    for problem in item.problems[:PROBLEMS]:
        lines += wrapped(escape.line(problem, 1000), style, indent=INDENT)
    if len(item.problems) > PROBLEMS:
        lines.append(INDENT + words.more(len(item.problems) - PROBLEMS, "problem"))
    for warning in item.warnings:
        lines += wrapped(escape.line(warning, 1000), style, "note: ", INDENT)
    if item.valid:
        lines += fields(listing.escaped(rows(item)), style, INDENT)
    return lines


def rows(item: Planned) -> listing.Rows:
    """What a valid spec sets, whatever shape that has: a daemon may have said so."""
    listed = item.spec
    part = listed.prefect or {"schedules": [] if listed.schedule is None else [listed.schedule]}
    schedules = words.as_list(part.get("schedules"))
    for schedule in schedules:
        inactive = "" if words.as_map(schedule).get("active", True) else " (not active)"
        yield "schedule", words.schedule(schedule) + inactive
    if schedules:
        zones = [words.as_map(schedule).get("timezone") for schedule in schedules]
        moments = [shown(moment, zones[0] if len(zones) == 1 else None) for moment in item.next_runs]
        yield "next", ", ".join(moments) or "never, or not to be found in time"
    yield from listing.parameter_rows(words.mapping(listed.parameters), len(listed.parameters))
    if listed.tags:
        yield "tags", words.tags(listed.tags)
    if listed.flow_runner is not None:
        yield "runner", words.runner(listed.flow_runner)
    if pool := words.as_map(part.get("work_pool")).get("name"):
        yield "work pool", words.said(pool)


def shown(moment: str, zone: Any) -> str:
    """A moment for reading, in the zone of the one schedule that it is of; as it is told if it is none."""
    try:
        at = datetime.fromisoformat(moment)
        return f"{at.astimezone(ZoneInfo(zone)) if isinstance(zone, str) else at:%Y-%m-%d %H:%M:%S %Z}"
    except (ValueError, KeyError, OSError, OverflowError):
        return words.cut(moment)


def counted(plan: Plan) -> str:
    """``3 deployment specs, 1 of them not valid``."""
    invalid = sum(not item.valid for item in plan.specs)
    total = words.count(len(plan.specs), "deployment spec")
    return f"{total}, {invalid} of them not valid" if invalid else total
