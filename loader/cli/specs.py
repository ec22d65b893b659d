"""``flow-loader specs``: the deployment specs of a script or a manifest, and whether they are valid."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loader import escape, sources
from loader.answers import Plan
from loader.cli import failure, formats, load, options, registering, verdicts
from loader.cli.arguments import UsageError
from loader.cli.places import Places
from loader.cli.terminal import Style, of
from loader.errors import ClientError, ProfileError, SourceError
from loader.models import Outcome, Status

UNAVAILABLE = 3


def run(values: argparse.Namespace) -> int:
    """Judge every spec; returns 0 when all of them are valid. Raises UsageError."""
    formats.check(values.format)
    try:
        with options.loader(values) as loader, registering.client(values) as client:
            plan = loader.specs(load.name_of(values), **registering.how(values, client))
    except (ProfileError, SourceError, ClientError) as error:
        raise UsageError(str(error)) from None
    if plan.outcome.status is Status.SANDBOX_UNAVAILABLE:
        return refused(values, plan.outcome)
    code = code_of(plan)
    text = rendered(plan, values.location, of(sys.stdout)) if values.format == "text" else ""
    return formats.write(values.format, plan.data(), text, code)


def code_of(plan: Plan) -> int:
    """The exit code: the author's fault, or nobody's."""
    good = plan.outcome.status is Status.LOADED and all(item.valid for item in plan.specs)
    return 0 if good else 1


def refused(values: argparse.Namespace, outcome: Outcome) -> int:
    """Say that the host cannot confine the scripts."""
    text = load.rendered(outcome, values.location, of(sys.stdout)) if values.format == "text" else ""
    return formats.write(values.format, outcome.model_dump(mode="json"), text, UNAVAILABLE)


def places_of(location: str) -> Places:
    """How files are called."""
    name = load.STDIN_NAME if location == load.STDIN else sources.display(location)
    return Places(str(Path.cwd()), name)


def rendered(plan: Plan, location: str, style: Style) -> str:
    """The verdicts for reading."""
    results = ["valid" if item.valid else "invalid" for item in plan.specs]
    parts = [*problem(plan, location, style), verdicts.table(plan, results, places_of(location), style)]
    good = code_of(plan) == 0
    last = f"{verdicts.counted(plan)}; profile {escape.line(plan.outcome.sandbox.profile)}"
    parts.append([(style.good if good else style.bad)("valid" if good else "not valid") + f": {last}"])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def problem(plan: Plan, location: str, style: Style) -> list[list[str]]:
    """What went wrong with the script or manifest as a whole."""
    outcome = plan.outcome
    if outcome.error is None:
        return []
    return [failure.error_lines(outcome.status, outcome.error, places_of(location), style)]
