"""``flow-loader specs``: the deployment specs of a script or a manifest, and whether they are valid."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from loader import batches, escape, sources
from loader.batches import Batch
from loader.cli import failure, formats, load, options, registering, verdicts
from loader.cli.arguments import UsageError
from loader.cli.places import Places
from loader.cli.terminal import Style, of
from loader.deploying import Deployer
from loader.errors import ClientError, ProfileError, SandboxUnavailable, SourceError
from loader.finding import Finder
from loader.flow_loader import FlowLoader
from loader.models import Outcome, Status
from loader.outcomes import profile_notices

UNAVAILABLE = 3


def run(values: argparse.Namespace) -> int:
    """Judge every spec; returns 0 when all of them are valid. Raises UsageError."""
    formats.check(values.format)
    try:
        batch = judged(values)
    except (ProfileError, SourceError, ClientError) as error:
        raise UsageError(str(error)) from None
    except SandboxUnavailable as unavailable:
        return refused(values, unavailable.outcome)
    code = code_of(batch)
    if values.format == "text":
        return formats.write("text", {}, rendered(batch, values.location, of(sys.stdout)), code)
    return formats.write(values.format, verdicts.data(batch), "", code)


def judged(values: argparse.Namespace) -> Batch:
    """The verdicts. Raises ProfileError, SourceError, ClientError, SandboxUnavailable."""
    with options.loader(values) as loader, registering.client(values) as client:
        return read(values, Deployer(client, finder(values, loader), storage=registering.storage(values)))


def finder(values: argparse.Namespace, loader: FlowLoader) -> Finder:
    """What finds the flows of specs, as the options say."""
    for notice in profile_notices(loader.policy):
        formats.warn(f"warning: {notice.message}")
    return Finder(loader, options.access(values), values.timeout, sources.pinned(values.root))


def read(values: argparse.Namespace, deployer: Deployer) -> Batch:
    """The verdicts on what the command names. Raises as ``judged``, and UsageError."""
    if values.location != load.STDIN:
        return batches.judge(values.location, deployer)
    if values.root is not None:
        raise UsageError("cannot use --root with standard input: such a script has no folder")
    return batches.of_script(sources.from_text(load.standard_input(), load.STDIN_NAME), deployer)


def code_of(batch: Batch) -> int:
    """The exit code: the host's fault, the author's, or nobody's."""
    if batch.outcome.status is Status.SANDBOX_UNAVAILABLE:
        return UNAVAILABLE
    good = batch.outcome.status is Status.LOADED and all(verdict.valid for verdict in batch.verdicts)
    return 0 if good else 1


def refused(values: argparse.Namespace, outcome: Outcome) -> int:
    """Say that the host cannot confine the scripts that specs name."""
    text = load.rendered(outcome, values.location, of(sys.stdout)) if values.format == "text" else ""
    return formats.write(values.format, outcome.model_dump(mode="json"), text, UNAVAILABLE)


def places_of(location: str) -> Places:
    """How files are called."""
    name = load.STDIN_NAME if location == load.STDIN else sources.display(location)
    return Places(str(Path.cwd()), name)


def rendered(batch: Batch, location: str, style: Style) -> str:
    """The verdicts for reading."""
    results = ["valid" if verdict.valid else "invalid" for verdict in batch.verdicts]
    parts = [*problem(batch, location, style), verdicts.table(batch, results, places_of(location), style)]
    good = code_of(batch) == 0
    last = f"{verdicts.counted(batch)}; profile {escape.line(batch.outcome.sandbox.profile)}"
    parts.append([(style.good if good else style.bad)("valid" if good else "not valid") + f": {last}"])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def problem(batch: Batch, location: str, style: Style) -> list[list[str]]:
    """What went wrong with the script or manifest as a whole."""
    outcome = batch.outcome
    if outcome.error is None:
        return []
    return [failure.error_lines(outcome.status, outcome.error, places_of(location), style)]
