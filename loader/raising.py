"""An outcome becomes the one exception for its status, with the script's own traceback inside."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType

from loader.errors import (
    LoadError,
    SandboxUnavailable,
    ScriptCrashed,
    ScriptError,
    ScriptOutOfMemory,
    ScriptOutputExceeded,
    ScriptTimedOut,
    ScriptViolatedProtocol,
)
from loader.escape import kept_lines
from loader.models import Error, Outcome, Status

EXCEPTIONS: Mapping[Status, type[LoadError]] = MappingProxyType(
    {
        Status.SCRIPT_FAILED: ScriptError,
        Status.TIMED_OUT: ScriptTimedOut,
        Status.OUT_OF_MEMORY: ScriptOutOfMemory,
        Status.OUTPUT_EXCEEDED: ScriptOutputExceeded,
        Status.CRASHED: ScriptCrashed,
        Status.VIOLATED_PROTOCOL: ScriptViolatedProtocol,
        Status.SANDBOX_UNAVAILABLE: SandboxUnavailable,
    }
)
"""The exception for every status but ``loaded``."""
RAISED = (Status.SCRIPT_FAILED, Status.OUT_OF_MEMORY)
"""Statuses whose error is an exception of the script; that of the others is in our own words."""
MESSAGE = 1_000
"""Characters of the script's message that an exception's own message repeats; its notes have all of it."""


def checked(outcome: Outcome) -> Outcome:
    """``outcome``, unless the load failed. That a script holds nothing is no failure here.

    A profile that leaves the host open is told of in a warning. Raises the LoadError for its status.
    """
    for notice in outcome.notices:
        if notice.kind == "profile":
            warnings.warn(notice.message, stacklevel=4)
    if outcome.status is Status.LOADED or holds_nothing(outcome):
        return outcome
    raise exception(outcome)


def holds_nothing(outcome: Outcome) -> bool:
    """Whether the script ran to its end and defined neither a flow nor a spec."""
    error = outcome.error
    if outcome.status is not Status.SCRIPT_FAILED or error is None or outcome.flows or outcome.specs:
        return False
    return (error.stage, error.type) == ("extract", "NothingToLoad")


def exception(outcome: Outcome) -> LoadError:
    """The exception for an outcome that is not ``loaded``; the traceback and the hint are its notes."""
    error = outcome.error or Error("run", "UnknownError", "nobody knows why")
    raised = EXCEPTIONS[outcome.status](message(outcome, error), outcome)
    for note in (error.traceback, hint(error)):
        if note.strip():
            raised.add_note(kept_lines(note.rstrip("\n")))
    return raised


def message(outcome: Outcome, error: Error) -> str:
    """What an exception says on its own: which location, and the first line of what is wrong."""
    said = (error.message.strip() or error.type).partition("\n")[0][:MESSAGE]
    if outcome.status in RAISED and error.message.strip():
        said = f"{error.type}: {said}"
    if outcome.status is not Status.SANDBOX_UNAVAILABLE:
        said = f"cannot load {outcome.source.location}: {said.removeprefix('cannot load the script: ')}"
    return kept_lines(said)


def hint(error: Error) -> str:
    """What can be done about it, as a note says it; empty when nothing is known."""
    return f"hint: {error.hint}" if error.hint else ""
