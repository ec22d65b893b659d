"""``flow-loader deploy``: create the deployments of a script or a manifest, each for itself."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from loader import escape
from loader.answers import Plan, Planned
from loader.cli import formats, load, options, registering, specs, verdicts, words
from loader.cli.arguments import UsageError
from loader.cli.terminal import Style, of, wrapped
from loader.errors import ClientError, ProfileError, SourceError
from loader.models import Status

FAILED = 2
"""Exit code when a valid spec could not be deployed: the place or the storage that the caller named."""


def run(values: argparse.Namespace) -> int:
    """Create the deployments; returns 0 when all of them were. Raises UsageError."""
    formats.check(values.format)
    if values.location == load.STDIN:
        raise UsageError("cannot deploy standard input: a deployment needs a script that stays where it is")
    try:
        with options.loader(values) as loader, registering.client(values) as client:
            plan = loader.deploy(
                values.location,
                dry_run=values.dry_run,
                work_pool=values.work_pool,
                **registering.how(values, client),
            )
    except (ProfileError, SourceError, ClientError) as error:
        raise UsageError(str(error)) from None
    if plan.outcome.status is Status.SANDBOX_UNAVAILABLE:
        return specs.refused(values, plan.outcome)
    code = code_of(plan)
    text = rendered(plan, values) if values.format == "text" else ""
    return formats.write(values.format, plan.data(), text, code)


def code_of(plan: Plan) -> int:
    """The exit code: the caller's fault, or what the verdicts come to."""
    return FAILED if any(item.result == "failed" for item in plan.specs) else specs.code_of(plan)


def rendered(plan: Plan, values: argparse.Namespace) -> str:
    """What was created and what was not, for reading."""
    style = of(sys.stdout)
    parts = specs.problem(plan, values.location, style)
    told = [told_of(item, style) for item in plan.specs]
    places = specs.places_of(values.location)
    parts.append(verdicts.table(plan, [item.result or "" for item in plan.specs], places, style, told))
    parts.append([summary(plan, style)])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def told_of(item: Planned, style: Style) -> list[str]:
    """The deployment's id, or why there is none."""
    if item.failure is not None:
        return wrapped(escape.line(item.failure, 2000), style, indent=verdicts.INDENT)
    return [f"{verdicts.INDENT}{style.dim('id')}  {escape.line(item.id)}"] if item.id else []


def summary(plan: Plan, style: Style) -> str:
    """The last line: how many of each, and where."""
    counts = Counter(item.result for item in plan.specs)
    said = ", ".join(f"{number} {word}" for word, number in counts.items())
    good = code_of(plan) == 0
    mark = style.good if good else style.bad
    total = words.count(len(plan.specs), "deployment spec")
    word = "deployed" if good else "not all deployed"
    return f"{mark(word)}: {total}: {said or 'none'}; {escape.line(plan.api or '')}"
