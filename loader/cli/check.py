"""``flow-loader check``: one verdict before a run, with every reason why it may not go ahead."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NoReturn

from loader import checking, escape, sources
from loader.answers import Kind, Reason, Recorded, Verdict
from loader.checking import Question
from loader.cli import failure, formats, listing, load, options, registering, specs, words
from loader.cli.arguments import UsageError
from loader.cli.terminal import Style, of, wrapped
from loader.client.interface import Client
from loader.errors import ClientError, ObjectNotFound, ProfileError, SourceError
from loader.models import Status
from loader.outcomes import profile_notices
from loader.sources.entrypoints import split

SELECTION = 4
CODES = {
    Kind.SANDBOX_UNAVAILABLE: 3,
    Kind.FLOW_MISSING: SELECTION,
    Kind.FLOW_AMBIGUOUS: SELECTION,
    Kind.DEPLOYMENT_MISSING: SELECTION,
    Kind.DEPLOYMENT_AMBIGUOUS: SELECTION,
    Kind.UNKNOWN_PARAMETER: 2,
    Kind.MISSING_PARAMETER: 2,
    Kind.WRONG_PARAMETER: 2,
}
"""Exit codes of reasons; every other is the script's fault."""
WEIGHT = (3, SELECTION, 1, 2, 0)
"""Of several exit codes the first of these: what has to be mended before the next can be."""
SHOWN = 50
"""Reasons that are shown."""


def run(values: argparse.Namespace) -> int:
    """Ask; returns 0 when the run may go ahead. Raises UsageError."""
    formats.check(values.format)
    parameters = read_parameters(values.parameters)
    try:
        verdict = asked(values, parameters)
    except (ProfileError, SourceError, ClientError) as error:
        raise UsageError(str(error)) from None
    code = code_of(verdict)
    if values.format == "text":
        return formats.write("text", {}, rendered(verdict, values.location, of(sys.stdout)), code)
    return formats.write(values.format, verdict.model_dump(mode="json"), "", code)


def asked(values: argparse.Namespace, parameters: dict[str, Any] | None) -> Verdict:
    """The verdict. Raises ProfileError, SourceError, ClientError, UsageError."""
    with options.loader(values) as loader, registering.client(values) as client:
        for notice in profile_notices(loader.policy):
            formats.warn(f"warning: {notice.message}")
        recorded = record(client, values.deployment)
        verdict = checking.answer(
            loader,
            Question(
                location=values.location,
                script=standard_input(values),
                flow=values.flow,
                deployment=values.deployment,
                parameters=parameters,
                recorded=recorded,
                client=client,
                storage=registering.storage(values),
                timeout=values.timeout,
                root=sources.pinned(values.root),
                access=options.access(values),
            ),
        )
        if recorded is None and "/" in (values.deployment or ""):
            return unregistered(verdict, values.deployment, client.address)
        return verdict


def standard_input(values: argparse.Namespace) -> sources.Script | None:
    """The script on standard input, if that is what is named. Raises UsageError, SourceError."""
    if values.location != load.STDIN:
        return None
    if values.root is not None:
        raise UsageError("cannot use --root with standard input: such a script has no folder")
    return sources.from_text(load.standard_input(), load.STDIN_NAME)


def record(client: Client, deployment: str | None) -> Recorded | None:
    """What is registered of ``FLOW/NAME``, if anything is. Raises ClientError."""
    flow, slash, name = (deployment or "").rpartition("/")
    if not slash:
        return None
    try:
        return Recorded.of(client.read_deployment_by_name(flow, name))
    except ObjectNotFound:
        return None


def unregistered(verdict: Verdict, deployment: str, address: str) -> Verdict:
    """The verdict on a deployment that nobody could run."""
    said = f"cannot find the deployment {deployment!r} in {address}; deploy it, or name it without its flow"
    missing = Reason(kind=Kind.DEPLOYMENT_MISSING, message=said)
    others = (reason for reason in verdict.reasons if reason.kind is not Kind.DEPLOYMENT_MISSING)
    return verdict.model_copy(update={"ok": False, "reasons": (missing, *others)})


def read_parameters(text: str | None) -> dict[str, Any] | None:
    """The parameters that are written on the command line. Raises UsageError."""
    if text is None:
        return None
    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"cannot read the parameters: {error}", """write a JSON object, as in '{"name": "x"}'"""
        ) from None
    if not isinstance(found, dict):
        raise UsageError(
            "cannot use the parameters: they are no JSON object", """as in --parameters '{"name": "x"}'"""
        )
    return found


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object each of whose names is there once. Raises ValueError."""
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return held


def refuse(word: str) -> NoReturn:
    """A number that JSON does not have. Raises ValueError."""
    raise ValueError(f"{word} is no JSON")


def code_of(verdict: Verdict) -> int:
    """The exit code of all reasons together."""
    codes = {CODES.get(reason.kind, 1) for reason in verdict.reasons} or {0}
    return next(code for code in WEIGHT if code in codes)


def rendered(verdict: Verdict, location: str, style: Style) -> str:
    """The verdict for reading."""
    location = location if location == load.STDIN else split(location)[0]
    places = specs.places_of(location)
    outcome = verdict.outcome
    parts: list[list[str]] = []
    if outcome.error is not None and outcome.status is not Status.LOADED:
        parts.append(failure.error_lines(outcome.status, outcome.error, places, style))
    if verdict.flow is not None:
        parts.append(listing.flow_lines(verdict.flow, places, style))
    if verdict.spec is not None:
        parts.append(listing.spec_lines(verdict.spec, places, style))
    told = [reason for reason in verdict.reasons if reason.kind.value != outcome.status.value]
    lines = [line for reason in told[:SHOWN] for line in reason_lines(reason, style)]
    parts.append(lines + load.beyond(len(told), SHOWN, "reason"))
    parts.append([line for item in verdict.warnings for line in note(item, style)])
    profile = escape.line(outcome.sandbox.profile)
    took = words.milliseconds(outcome.usage.wall_seconds)
    if verdict.ok:
        last = f"{style.good('ok')}: nothing is in the way of a run; profile {profile}, {took}"
    else:
        count = words.count(len(verdict.reasons), "reason")
        last = f"{style.bad('not ok')}: {count}; profile {profile}, {took}"
    parts.append([last])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def reason_lines(reason: Reason, style: Style) -> list[str]:
    """One reason, its kind first."""
    return wrapped(escape.line(reason.message, 1000), style, f"{reason.kind.value}: ")


def note(warning: str, style: Style) -> list[str]:
    """What could not be looked at."""
    return wrapped(escape.line(warning, 1000), style, "note: ")
