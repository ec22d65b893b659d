"""``flow-loader deploy``: create the deployments of a script or a manifest, each for itself."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loader import escape
from loader.batches import Batch, Verdict, unexpected
from loader.cli import formats, load, options, registering, specs, verdicts, words
from loader.cli.arguments import UsageError
from loader.cli.terminal import Style, of, wrapped
from loader.deploying import Deployer
from loader.errors import (
    ClientError,
    ProfileError,
    SandboxUnavailable,
    SourceError,
    SpecValidationError,
    StorageError,
)

FAILED = 2
"""Exit code when a valid spec could not be deployed: the place or the storage that the caller named."""
NOT_DONE = (ClientError, SourceError, StorageError, SpecValidationError)


@dataclass(frozen=True)
class Result:
    """What became of one spec: ``created``, ``updated``, ``would create``, ``invalid``, ``failed``."""

    word: str
    id: UUID | None = None
    failure: str | None = None

    def data(self) -> dict[str, Any]:
        """The result beside its verdict."""
        return {"result": self.word, "id": self.id and str(self.id), "failure": self.failure}


def run(values: argparse.Namespace) -> int:
    """Create the deployments; returns 0 when all of them were. Raises UsageError."""
    formats.check(values.format)
    if values.location == load.STDIN:
        raise UsageError("cannot deploy standard input: a deployment needs a script that stays where it is")
    try:
        with options.loader(values) as loader, registering.client(values) as client:
            found = specs.finder(values, loader)
            deployer = Deployer(client, found, values.work_pool, registering.storage(values))
            batch = specs.read(values, deployer)
            results = [result(verdict, deployer, values.dry_run) for verdict in batch.verdicts]
            address = client.address
    except (ProfileError, SourceError, ClientError) as error:
        raise UsageError(str(error)) from None
    except SandboxUnavailable as unavailable:
        return specs.refused(values, unavailable.outcome)
    code = code_of(batch, results)
    if values.format == "text":
        text = rendered(batch, results, values, address)
        return formats.write("text", {}, text, code)
    data = verdicts.data(batch, [item.data() for item in results])
    return formats.write(values.format, {**data, "api": address}, "", code)


def result(verdict: Verdict, deployer: Deployer, dry_run: bool) -> Result:
    """What becomes of one spec."""
    if verdict.valid is None:
        return Result("invalid")
    try:
        if dry_run:
            there = deployer.rehearse(verdict.valid)
            return Result("would update" if there else "would create", there)
        created = deployer.create(verdict.valid)
    except NOT_DONE as error:
        return Result("failed", failure=str(error))
    except Exception as error:  # what was done before must be told
        return Result("failed", failure=unexpected(error))
    return Result("created" if created.new else "updated", created.id)


def code_of(batch: Batch, results: list[Result]) -> int:
    """The exit code: the caller's fault, or what the verdicts come to."""
    judged = specs.code_of(batch)
    return (
        FAILED if judged != specs.UNAVAILABLE and any(item.word == "failed" for item in results) else judged
    )


def rendered(batch: Batch, results: list[Result], values: argparse.Namespace, address: str) -> str:
    """What was created and what was not, for reading."""
    style = of(sys.stdout)
    parts = specs.problem(batch, values.location, style)
    told = [told_of(item, style) for item in results]
    places = specs.places_of(values.location)
    parts.append(verdicts.table(batch, [item.word for item in results], places, style, told))
    parts.append([summary(batch, results, address, style)])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def told_of(item: Result, style: Style) -> list[str]:
    """The deployment's id, or why there is none."""
    if item.failure is not None:
        return wrapped(escape.line(item.failure, 2000), style, indent=verdicts.INDENT)
    return [f"{verdicts.INDENT}{style.dim('id')}  {item.id}"] if item.id else []


def summary(batch: Batch, results: list[Result], address: str, style: Style) -> str:
    """The last line: how many of each, and where."""
    counts: dict[str, int] = {}
    for item in results:
        counts[item.word] = counts.get(item.word, 0) + 1
    said = ", ".join(f"{number} {word}" for word, number in counts.items())
    good = code_of(batch, results) == 0
    mark = style.good if good else style.bad
    total = words.count(len(results), "deployment spec")
    word = "deployed" if good else "not all deployed"
    return f"{mark(word)}: {total}: {said or 'none'}; {escape.line(address)}"
