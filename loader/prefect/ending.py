"""What a verdict of no makes of a run: one error with every reason, and the state that the run ends in."""

from __future__ import annotations

from collections.abc import Collection

from prefect.states import Crashed, Failed, State

from loader import escape
from loader.answers import Reason, Verdict
from loader.errors import FlowLoaderError, RunRefused
from loader.models import Status
from loader.raising import exception

NO_VARIABLE = "read it in the flow itself, or start the worker with it and name it in the profile"
SHOWN = 20
"""Reasons that are told."""
LENGTH = 1_000
"""Characters of each."""


def approve(verdict: Verdict, env: Collection[str] = ()) -> tuple[str, ...]:
    """What could not be looked at or must be warned of, if the run may go ahead.

    ``env`` are variables of the run, of which a check has those that its profile passes on.
    Raises RunRefused with every reason why not, and SandboxUnavailable where nobody could look.
    """
    if verdict.status is Status.SANDBOX_UNAVAILABLE:
        raise exception(verdict.outcome)
    notices = [notice.message for notice in verdict.outcome.notices if notice.kind == "profile"]
    if verdict.ok:
        return tuple(escape.line(item, LENGTH) for item in (*notices, *verdict.warnings))
    lines = [told(reason) for reason in verdict.reasons[:SHOWN]]
    if len(verdict.reasons) > SHOWN:
        lines.append(f"… and {len(verdict.reasons) - SHOWN} more")
    error = verdict.outcome.error
    if error is not None and error.hint:
        lines.append(f"hint: {escape.line(error.hint, LENGTH)}")
    if error is not None and error.type == "KeyError" and error.message.strip("'") in env:
        lines.append(f"hint: the check has no variable {escape.line(error.message, LENGTH)}: {NO_VARIABLE}")
    refused = RunRefused("\n".join(["cannot run this: the check before the run says no", *lines]))
    if error is not None and error.traceback.strip():
        refused.add_note("\n".join(escape.block(error.traceback, tail=True)))
    raise refused


def whole(error: FlowLoaderError) -> str:
    """The error's message and its notes: what can be done about it, and the script's own traceback."""
    return escape.kept_lines("\n".join([str(error), *getattr(error, "__notes__", ())]))


def told(reason: Reason) -> str:
    """One reason, its kind first; what is wrong with a script also with the place in it."""
    place = f" ({reason.field})" if reason.field and not reason.parameter else ""
    return escape.line(f"- {reason.kind.value}: {reason.message}{place}", LENGTH)


def state(error: FlowLoaderError) -> State:
    """The state of a run that ends so.

    Failed is for mistakes of those who wrote the flow or asked for the run, as when Prefect itself refuses
    parameters; Crashed is for what the host did not give.
    """
    if isinstance(error, RunRefused):
        return Failed(message=str(error))
    return Crashed(message=whole(error))
