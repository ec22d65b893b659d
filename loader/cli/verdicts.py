"""Verdicts on deployment specs as a table for reading, and as data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from loader import escape
from loader.batches import Batch, Verdict
from loader.cli import listing, words
from loader.cli.places import Places
from loader.cli.terminal import Style, fields, wrapped
from loader.errors import SpecValidationError
from loader.schedules import Schedule
from loader.upcoming import next_runs

RUNS = 3
"""Next runs that are told of a spec with a schedule."""
EACH, SECONDS = 0.7, 5.0
"""How long finding those of one spec may take, and those of all."""
SHOWN = 200
"""Specs that are listed."""
PROBLEMS = 10
"""Problems of one spec that are listed."""
INDENT = "    "
BAD = ("invalid", "failed")
"""Results that are marked."""


def data(batch: Batch, more: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The outcome, whose specs also say whether they are valid, what is wrong, and when they run.

    ``more`` is added to each spec's, in order.
    """
    specs, clock = [], Clock()
    for place, verdict in enumerate(batch.verdicts):
        told = {
            **asdict(verdict.listed),
            "valid": verdict.valid is not None,
            "problems": list(verdict.problems),
            "warnings": list(verdict.warnings),
            "next_runs": [moment.isoformat() for moment in clock.upcoming(verdict)],
        }
        specs.append({**told, **(more[place] if more else {})})
    return {**batch.outcome.model_dump(mode="json"), "specs": specs}


class Clock:
    """Says when specs run next, for as long as that may take for all of a batch together."""

    def __init__(self) -> None:
        self.left = SECONDS

    def upcoming(self, verdict: Verdict) -> tuple[datetime, ...]:
        """The next runs of a valid spec with a schedule; none where they cannot be found in time."""
        found: set[datetime] = set()
        for schedule in schedules_of(verdict):
            if self.left <= 0:
                return ()
            begun = time.monotonic()
            try:
                found.update(next_runs(schedule, RUNS, seconds=min(self.left, EACH)))
            except SpecValidationError:
                return ()
            finally:
                self.left -= time.monotonic() - begun
        return tuple(sorted(found)[:RUNS])


def schedules_of(verdict: Verdict) -> tuple[Schedule, ...]:
    """The schedules by which a valid spec runs."""
    if verdict.valid is None:
        return ()
    spec = verdict.valid.spec
    if spec.prefect is not None:
        return spec.prefect.coming
    return () if spec.schedule is None else (spec.schedule,)


def table(
    batch: Batch,
    results: Sequence[str],
    places: Places,
    style: Style,
    more: Sequence[Sequence[str]] = (),
) -> list[str]:
    """A line for each spec with its result, name, flow and place, and below it what there is to say.

    ``more`` are further lines below each, in order.
    """
    rows = [
        (result, *names(verdict), places.place(verdict.listed.file, verdict.listed.line))
        for result, verdict in zip(results, batch.verdicts[:SHOWN], strict=False)
    ]
    if not rows:
        return []
    heads = ("", "deployment", "flow", "")
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(3)]
    lines, clock = [style.dim(line_of(heads, widths))], Clock()
    for place, (row, verdict) in enumerate(zip(rows, batch.verdicts, strict=False)):
        mark = style.bad if row[0] in BAD else style.good
        lines += [line_of(row, widths, mark), *(more[place] if more else ()), *details(verdict, style, clock)]
    left = len(batch.verdicts) - SHOWN
    return [*lines, words.more(left, "spec")] if left > 0 else lines


def names(verdict: Verdict) -> tuple[str, str]:
    """A spec's name and its flow's, fit for a terminal."""
    listed = verdict.listed
    return escape.line(listed.name or "—", words.NAME), escape.line(listed.flow_name or "—", words.NAME)


def line_of(row: Sequence[str], widths: Iterable[int], mark: Any = str) -> str:
    """One line of the table."""
    first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
    return "  ".join([mark(first), *rest, row[-1]]).rstrip()


def details(verdict: Verdict, style: Style, clock: Clock) -> list[str]:
    """What is wrong with a spec, or what it sets and when it runs."""
    lines = []
    for problem in verdict.problems[:PROBLEMS]:
        lines += wrapped(escape.line(problem, 1000), style, indent=INDENT)
    if len(verdict.problems) > PROBLEMS:
        lines.append(INDENT + words.more(len(verdict.problems) - PROBLEMS, "problem"))
    for warning in verdict.warnings:
        lines += wrapped(escape.line(warning, 1000), style, "note: ", INDENT)
    if verdict.valid is not None:
        lines += fields(listing.escaped(rows(verdict, clock)), style, INDENT)
    return lines


def rows(verdict: Verdict, clock: Clock) -> listing.Rows:
    """What a valid spec sets."""
    listed = verdict.listed
    part = listed.prefect or {"schedules": [] if listed.schedule is None else [listed.schedule]}
    for schedule in part["schedules"]:
        inactive = "" if schedule.get("active", True) else " (not active)"
        yield "schedule", words.schedule(schedule) + inactive
    if schedules_of(verdict):
        moments = [f"{moment:%Y-%m-%d %H:%M:%S %Z}" for moment in clock.upcoming(verdict)]
        yield "next", ", ".join(moments) or "never, or not to be found in time"
    yield from listing.parameter_rows(words.mapping(listed.parameters), len(listed.parameters))
    if listed.tags:
        yield "tags", words.tags(listed.tags)
    if listed.flow_runner is not None:
        yield "runner", words.runner(listed.flow_runner)
    if part.get("work_pool", {}).get("name"):
        yield "work pool", part["work_pool"]["name"]


def counted(batch: Batch) -> str:
    """``3 deployment specs, 1 of them not valid``."""
    invalid = sum(verdict.valid is None for verdict in batch.verdicts)
    total = words.count(len(batch.verdicts), "deployment spec")
    return f"{total}, {invalid} of them not valid" if invalid else total
