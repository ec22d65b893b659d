"""``flow-loader scan``: every script and manifest below a folder, and what they come to.

Each is told as soon as it is known: with ``json`` a line each, and the summary as the last line.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from loader import escape
from loader.answers import Scanned, Summary
from loader.cli import failure, formats, load, options, registering, words
from loader.cli.arguments import UsageError
from loader.cli.places import Places
from loader.cli.terminal import Style, of, wrapped
from loader.errors import ClientError, ProfileError, SourceError
from loader.models import Status
from loader.raising import holds_nothing
from loader.scanning import USAGE, Scan, Wish
from loader.sources import display, pinned

INTERRUPTED = 130
EVERY = 0.1
"""Seconds between two changes of the line that shows progress."""
PROBLEMS = 5
"""Problems of one spec that are shown."""
SKIPPED = {
    "no_flow": "mention no flow",
    "ignored": "ignored",
    "link": "symbolic links",
    "special": "no regular files",
}


def run(values: argparse.Namespace) -> int:
    """Scan; returns the worst exit code. Raises UsageError."""
    formats.check(values.format)
    if values.location == load.STDIN:
        raise UsageError("cannot scan standard input: name a folder, or load it")
    try:
        with options.loader(values) as loader, registering.client(values) as client:
            wish = Wish(
                folder=values.location,
                jobs=values.jobs,
                client=client if registering.chosen(values) else None,
                storage=registering.storage(values),
                timeout=values.timeout,
                root=pinned(values.root),
                access=options.access(values),
            )
            with Scan(loader, wish) as scan:
                return told(scan, values.format)
    except (ProfileError, SourceError, ClientError) as error:
        raise UsageError(str(error)) from None


def told(scan: Scan, form: str) -> int:
    """Write each result and the summary; returns the worst exit code, or that of an interrupt."""
    code = 0
    style, progress = of(sys.stdout), Progress()
    try:
        for item in scan:
            code = max(code, code_of(item))
            progress.clear()
            formats.write(form, data(item), rendered(item, style) if form == "text" else "", code)
            progress.show(scan)
    except KeyboardInterrupt:
        code = INTERRUPTED
        scan.stop()
    finally:
        progress.clear()
    scan.close()
    summary = scan.summary
    if code == INTERRUPTED:
        formats.warn(f"cannot finish: interrupted after {words.count(summary.ok + summary.failed, 'file')}")
    text = summed(summary, style) if form == "text" else ""
    status = "summary" if summary.complete else "interrupted"
    return formats.write(form, {"status": status, **summary.model_dump(mode="json")}, text, code)


def code_of(item: Scanned) -> int:
    """One file's exit code."""
    if item.status == USAGE:
        return 2
    if item.status == Status.SANDBOX_UNAVAILABLE.value:
        return 3
    return 0 if item.ok else 1


def data(item: Scanned) -> dict[str, Any]:
    """One file's line: its outcome, whose specs also say whether they are valid; or why there is none."""
    told = {"location": item.location, "ok": item.ok, "seconds": item.seconds}
    if item.outcome is None:
        return {**formats.Failure(USAGE, "SourceError", item.problem or "").data(), **told}
    specs = [
        {
            **judged.model_dump(mode="json")["spec"],
            "valid": judged.valid,
            "problems": list(judged.problems),
            "warnings": list(judged.warnings),
        }
        for judged in item.specs
    ]
    return {**item.outcome.model_dump(mode="json"), "specs": specs, **told}


def rendered(item: Scanned, style: Style) -> str:
    """One file for reading: a line, and below it what is wrong."""
    places = Places(str(Path.cwd()), shown(item.location))
    outcome = item.outcome
    mark = style.good if item.ok else style.bad
    lines = [f"{mark('ok  ' if item.ok else 'FAIL')}  {places.path(item.location)}  {found(item)}"]
    if outcome is None:
        lines += wrapped(escape.line(item.problem or "", 1000), style, indent="      ")
    elif outcome.error is not None and not holds_nothing(outcome):
        title = failure.title(outcome.status, outcome.error, places, style)
        lines += [f"      {line}" for line in title]
    for judged in item.specs if outcome is not None and outcome.error is None else ():
        name = escape.line(judged.spec.name or "—", words.NAME)
        place = places.place(judged.spec.file, judged.spec.line)
        for problem in judged.problems[:PROBLEMS]:
            lines += wrapped(f"{place}: {name}: {escape.line(problem, 1000)}", style, indent="      ")
    return "".join(f"{line}\n" for line in lines)


def shown(location: str) -> str:
    """What messages call a file."""
    try:
        return display(location)
    except SourceError:
        return location


def found(item: Scanned) -> str:
    """What one file holds, and how long it took."""
    if item.outcome is None:
        return "cannot be read"
    took = words.milliseconds(item.seconds)
    if holds_nothing(item.outcome):
        return f"holds no flow, {took}"
    held = [
        words.count(number, word)
        for number, word in ((len(item.outcome.flows), "flow"), (len(item.specs), "deployment spec"))
        if number
    ]
    status = [] if item.outcome.status is Status.LOADED else [item.outcome.status.value]
    return ", ".join([*status, *held, took])


def summed(summary: Summary, style: Style) -> str:
    """The summary for reading."""
    places = Places(str(Path.cwd()), "")
    parts: list[list[str]] = []
    if summary.twice:
        lines = ["Names that several files use:"]
        for item in summary.twice:
            where = ", ".join(map(places.path, item.places))
            name = escape.line(item.name, words.NAME)
            lines += wrapped(f"{item.kind} {name}: {where}", style, indent="    ")
        parts.append(lines)
    if summary.ok + summary.failed > 1:
        lines = ["Slowest:"]
        for slow in summary.slowest:
            lines.append(f"    {words.milliseconds(slow.seconds):>8}  {places.path(slow.location)}")
        parts.append(lines)
    left = [f"{number} {SKIPPED.get(why, why)}" for why, number in sorted(summary.skipped.items()) if number]
    if left:
        parts.append([f"Skipped: {', '.join(left)}"])
    parts.append([last(summary, style)])
    gap = "\n" if summary.ok + summary.failed else ""
    return gap + "\n\n".join("\n".join(part) for part in parts) + "\n"


def last(summary: Summary, style: Style) -> str:
    """The last line: how it went, and how much there was."""
    counted = [
        f"{words.count(summary.ok, 'file')} ok",
        f"{summary.failed} not ok",
        words.count(summary.flows, "flow"),
        words.count(summary.specs, "deployment spec"),
        words.milliseconds(summary.seconds),
    ]
    if not summary.complete:
        return f"{style.bad('interrupted')}: {', '.join(counted)}"
    good = not summary.failed
    return f"{(style.good if good else style.bad)('ok' if good else 'not ok')}: {', '.join(counted)}"


class Progress:
    """A line on standard error that says how far it is, where that is a terminal."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.next = 0.0
        self.there = False

    def show(self, scan: Scan) -> None:
        """Say how far it is, unless that was said just now."""
        if self.on and (now := time.monotonic()) >= self.next:
            self.next = now + EVERY
            self.there = True
            bad, seen = scan.tally.failed, scan.tally.ok + scan.tally.failed
            left = sum(scan.skipped.values())
            self.write(f"\r{seen} looked at, {bad} not ok, {left} skipped …\x1b[K")

    def clear(self) -> None:
        """Take the line away."""
        if self.there:
            self.there = False
            self.write("\r\x1b[K")

    def write(self, text: str) -> None:
        """Write to standard error; nobody may be listening."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.on = False
