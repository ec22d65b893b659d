"""What became of a load: a finished session and the kernel's word become a status and an error. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from loader import faults
from loader.models import Exit, Status
from loader.session import Session
from worker.protocol import Denied, Error, Exited, Failed, Loaded, Policy

CPU_SLACK = 0.5
"""Seconds of processor time by which the kernel may be early: it counts in ticks."""


@dataclass(frozen=True)
class Verdict:
    """Status and error of a load whose script was sent."""

    status: Status
    error: Error | None


def verdict(session: Session, dump: str, sources: Mapping[str, Sequence[str]], cpu_before: float) -> Verdict:
    """The supervisor's judgement: what it saw itself comes before what the worker said."""
    if session.violation is not None:
        return Verdict(Status.VIOLATED_PROTOCOL, violated(session.violation))
    if session.overfull:
        return Verdict(Status.OUTPUT_EXCEEDED, overfull(session.policy))
    if session.out_of_time:
        message = f"cannot finish loading within {session.policy.wall:g} seconds"
        return Verdict(Status.TIMED_OUT, hung(session.policy, "wall", message, dump, sources))
    if isinstance(session.reply, Loaded):
        return Verdict(Status.LOADED, None)
    if isinstance(session.reply, Failed):
        return Verdict(Status(session.reply.status), advised(session.reply.error, session.policy))
    exited = session.exited or Exited(None, signal.SIGKILL, 0.0, 0)
    if cpu_spent(session.policy, exited, cpu_before):
        message = f"cannot finish loading within {session.policy.cpu} seconds of processor time"
        return Verdict(Status.TIMED_OUT, hung(session.policy, "cpu", message, dump, sources))
    return Verdict(Status.CRASHED, crashed(exited, dump, sources))


def cpu_spent(policy: Policy, exited: Exited, before: float) -> bool:
    """Whether the kernel ended the worker for its processor time."""
    by_limit = exited.signal in (signal.SIGKILL, signal.SIGXCPU)
    return policy.asks("cpu") and by_limit and exited.cpu_seconds - before >= policy.cpu - CPU_SLACK


def hung(policy: Policy, key: str, message: str, dump: str, sources: Mapping[str, Sequence[str]]) -> Error:
    """An error that says where a script was when its time ran out."""
    frames = faults.frames(dump, sources)
    option = "--timeout SECONDS or " if key == "wall" else ""
    hint = (
        "loading runs everything at the top level of the script; move slow work into a flow or task, or give"
        f" it more time with {option}{key}.seconds in the profile ({policy.profile})"
    )
    if not frames:
        hint = f"the script was not in Python code that could be asked where it is; {hint}"
    return Error("run", "TimeLimitExceeded", message, frames, faults.traceback(frames), hint=hint)


def crashed(exited: Exited, dump: str, sources: Mapping[str, Sequence[str]]) -> Error:
    """An error for a worker that ended without a reply."""
    frames = faults.frames(dump, sources)
    trace = faults.traceback(frames)
    if exited.signal is None:
        message = (
            f"cannot load the script: it ended its process with exit code {exited.code} before it was loaded"
        )
        hint = "something called os._exit, or a library did; a script that is loaded must run to its end"
        return Error("run", "ProcessEnded", message, frames, trace, hint=hint)
    name = signal_name(exited.signal)
    what = faults.fatal(dump)
    message = f"cannot load the script: its process was ended by {name}" + (f" ({what})" if what else "")
    hint = "the fault is in compiled code that the innermost frame called, or the script signalled itself"
    if exited.signal == signal.SIGKILL:
        hint = "someone ended the process: the script itself, or a host that had no memory left"
    return Error("run", "ProcessCrashed", message, frames, trace, hint=hint)


def violated(reason: str) -> Error:
    """An error for what no honest worker sends."""
    hint = "the script, or a library of it, wrote to the descriptors that belong to the loader"
    return Error("reply", "ProtocolViolation", f"cannot believe the worker: {reason}", hint=hint)


def overfull(policy: Policy) -> Error:
    """An error for a worker that never came to an end of what it found."""
    message = f"cannot keep the script's flows and specs: they take many times {policy.result} bytes"
    hint = (
        f"define less at the top level, or raise result.size of profile {policy.profile} in one of your own"
    )
    return Error("reply", "ResultTooLarge", message, hint=hint)


def advised(error: Error, policy: Policy) -> Error:
    """A worker's error with the profile's key for the act that was denied, if one was."""
    cause = advised(error.cause, policy) if error.cause else None
    hint = error.hint
    if error.denied is not None and not beside(error.denied, policy):
        hint = denial(error.denied, policy)
    elif error.type == "MemoryError" and policy.asks("memory") and hint is None:
        size = f"{policy.memory >> 20} MiB"
        hint = f"profile {policy.profile} allows {size} beyond the interpreter; see its key memory.size"
    return replace(error, hint=hint, cause=cause)


def beside(denied: Denied, policy: Policy) -> bool:
    """Whether the profile does not forbid the act at all, so that something else was in the way."""
    return not policy.asks(denied.act) or (denied.act == "network" and policy.outbound)


def denial(denied: Denied, policy: Policy) -> str:
    """Which key of the profile forbids an act, and what to write there."""
    target, name = denied.target, policy.profile
    if denied.act == "filesystem":
        shown = ", ".join(("the script's folder", "the interpreter", *policy.read))
        own = "writes only in its temporary folder (tempfile.gettempdir())"
        space = own if policy.scratch else "has no place to write"
        return (
            f"cannot open {target}: profile {name} reads only {shown} and the system libraries, and {space};"
            " if it is a file of this host that loading needs, add its folder under filesystem.read in a"
            " profile of your own (--profile FILE), or choose --root"
        )
    if denied.act == "network":
        return (
            f"cannot use {target}: profile {name} has no network; move the call into a flow or task, or load"
            " with --profile network (key network.outbound)"
        )
    if denied.act != "processes":
        return f"cannot do this: {target}: profile {name} lets a script use listed system calls only"
    return (
        f"cannot start {target}: profile {name} allows {policy.processes} new processes and"
        f" {policy.threads} threads; move the call into a flow or task, or raise processes.count or"
        " processes.threads in a profile of your own"
    )


def exit_of(exited: Exited | None) -> Exit:
    """How the process ended, by name."""
    if exited is None:
        return Exit()
    return Exit(code=exited.code, signal=signal_name(exited.signal) if exited.signal is not None else None)


def signal_name(number: int) -> str:
    """``SIGSEGV`` for 11; real-time signals by number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
