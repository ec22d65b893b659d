"""``flow-loader load``: run one script and print what it holds, or what went wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loader import escape
from loader.cli import failure, formats, listing, options, words
from loader.cli.arguments import UsageError
from loader.cli.places import Places
from loader.cli.terminal import Style, of
from loader.errors import ProfileError, SourceError
from loader.models import Outcome, Status
from loader.sources import SIZE_CAP, display

STDIN = "-"
STDIN_NAME = "<stdin>"
CODES = {Status.LOADED: 0, Status.SANDBOX_UNAVAILABLE: 3}
"""Exit codes; every other status is the script's fault."""
SHOWN = 100
"""Flows that are shown, and specs: nobody reads more of them in a terminal."""
NOTICES = 50
"""Notices that are shown."""


def run(values: argparse.Namespace) -> int:
    """Load the script; returns the exit code. Raises UsageError."""
    formats.check(values.format)
    try:
        outcome = loaded(values)
    except (ProfileError, SourceError) as error:
        raise UsageError(str(error)) from None
    code = CODES.get(outcome.status, 1)
    if values.format == "text":
        return formats.write("text", {}, rendered(outcome, values.location, of(sys.stdout)), code)
    return formats.write(values.format, outcome.model_dump(mode="json"), "", code)


def loaded(values: argparse.Namespace) -> Outcome:
    """The outcome. Raises ProfileError, SourceError, UsageError."""
    with options.loader(values) as loader:
        text = text_of(values)
        if text is not None:
            return loader.load_text(text, name=STDIN_NAME, timeout=values.timeout)
        return loader.load(
            values.location, timeout=values.timeout, root=values.root, access=options.access(values)
        )


def name_of(values: argparse.Namespace) -> str:
    """Where the script is, or what one on standard input is called."""
    location: str = values.location
    return STDIN_NAME if location == STDIN else location


def text_of(values: argparse.Namespace) -> bytes | None:
    """The script on standard input, if that is what is named. Raises UsageError, SourceError."""
    if values.location != STDIN:
        return None
    if values.root is not None:
        raise UsageError("cannot use --root with standard input: such a script has no folder")
    return standard_input()


def standard_input() -> bytes:
    """All of standard input, one byte more than a script may have at most. Raises SourceError."""
    try:
        return sys.stdin.buffer.read(SIZE_CAP + 1)
    except (OSError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        raise SourceError(f"cannot read standard input: {reason}") from None


def rendered(outcome: Outcome, location: str, style: Style) -> str:
    """The outcome for reading."""
    places = Places(str(Path.cwd()), STDIN_NAME if location == STDIN else display(location))
    parts: list[list[str]] = []
    if outcome.error is not None:
        parts.append(failure.error_lines(outcome.status, outcome.error, places, style))
        if outcome.flows or outcome.specs:
            parts.append(["Found before that:"])
    parts += [listing.flow_lines(flow, places, style) for flow in outcome.flows[:SHOWN]]
    parts.append(beyond(len(outcome.flows), SHOWN, "flow"))
    parts += [listing.spec_lines(spec, places, style) for spec in outcome.specs[:SHOWN]]
    parts.append(beyond(len(outcome.specs), SHOWN, "deployment spec"))
    notices = [notice for notice in outcome.notices if notice.kind != "profile"]
    told = [item for notice in notices[:NOTICES] for item in listing.notice_lines(notice, places, style)]
    parts.append(told + beyond(len(notices), NOTICES, "notice"))
    failed = outcome.status is not Status.LOADED
    parts.append(listing.output_lines("standard output", outcome.stdout, style, tail=failed))
    parts.append(listing.output_lines("standard error", outcome.stderr, style, tail=failed))
    parts.append([summary(outcome, style)])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def beyond(number: int, shown: int, word: str) -> list[str]:
    """A line on how many of ``number`` things are not shown, if there are such."""
    return [words.more(number - shown, word)] if number > shown else []


def summary(outcome: Outcome, style: Style) -> str:
    """The last line: how it ended, what was found, under what, and for how long."""
    status = outcome.status.value
    found = f"{words.count(len(outcome.flows), 'flow')}, {words.count(len(outcome.specs), 'deployment spec')}"
    took = words.milliseconds(outcome.usage.wall_seconds)
    mark = style.good if outcome.status is Status.LOADED else style.bad
    return f"{mark(status)}: {found}; profile {escape.line(outcome.sandbox.profile)}, {took}"
