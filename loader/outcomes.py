"""A session that is over becomes an outcome: facts and claims apart. Pure, but for the host's facts."""

from __future__ import annotations

import re

from loader import host, roots
from loader.conversation import Ended
from loader.faults import text as faults_text
from loader.models import Interpreter, Outcome, Sandbox, Source, Status, Usage
from loader.process import HostFailure, ZygoteLost
from loader.session import Session
from loader.sources import Script
from loader.verdict import exit_of, verdict
from worker.protocol import Dialect, Error, Flow, Loaded, Notice, Policy, Spec

Claims = tuple[tuple[Flow, ...], tuple[Spec, ...], tuple[Notice, ...], Dialect | None, tuple[str, ...] | None]
LINE_END = re.compile("\r\n|\r|\n")
"""What ends a line for Python; a form feed does not."""


def host_failure(ended: Ended) -> HostFailure | None:
    """Why the script was not run to an end by no fault of its own, if that is so."""
    session = ended.session
    if session.refused is not None:
        return HostFailure(session.refused.step, session.refused.errno, session.refused.guarantees)
    if ended.objections:
        return HostFailure("attest: " + "; ".join(ended.objections))
    if not session.sent:
        return ZygoteLost("worker: ended before its script was sent")
    if (
        session.exited is None
        and session.reply is None
        and not session.out_of_time
        and session.violation is None
    ):
        return HostFailure("zygote: ended while the script ran")
    return None


def outcome(
    source: Source, policy: Policy, script: Script, ended: Ended, python: Interpreter | None = None
) -> Outcome:
    """The outcome of a load whose script was run."""
    session = ended.session
    dump = faults_text(bytes(ended.faults.head + ended.faults.tail))
    lines = LINE_END.split(script.content.decode("utf-8", "replace")) if dump else []
    judged = verdict(session, dump, {script.filename: lines}, ended.cpu_before)
    flows, specs, notices, dialect, read = claims(session)
    exited = session.exited
    cpu = max(0.0, exited.cpu_seconds - ended.cpu_before) if exited else 0.0
    told = Outcome(
        status=judged.status,
        source=source,
        sandbox=Sandbox(
            profile=policy.profile,
            guarantees=session.ready.guarantees if session.ready else (),
            python=python,
        ),
        usage=Usage(
            wall_seconds=session.ended - session.started,
            cpu_seconds=cpu,
            max_rss_bytes=exited.max_rss_bytes if exited else 0,
        ),
        exit=exit_of(exited),
        flows=flows,
        specs=specs,
        notices=(*notices, *profile_notices(policy)),
        error=roots.hinted(judged.error, script),
        stdout=ended.stdout.output(),
        stderr=ended.stderr.output(),
        dialect=dialect,
        sources=read,
    )
    if judged.status is Status.LOADED and script.details and isinstance(session.reply, Loaded):
        return told.with_details(session.reply.details)
    return told


def claims(session: Session) -> Claims:
    """What the script was found to hold, and read: by its worker's last word, or else by what came before."""
    if session.reply is not None and not session.out_of_time and session.violation is None:
        reply = session.reply
        return reply.flows, reply.specs, reply.notices, reply.dialect, reply.sources
    flows = tuple(item.flow for item in session.found if item.flow is not None)
    specs = tuple(item.spec for item in session.found if item.spec is not None)
    notices = tuple(item.notice for item in session.found if item.notice is not None)
    return flows, specs, notices, None, None


def profile_notices(policy: Policy) -> tuple[Notice, ...]:
    """What must be said at every use of a profile that leaves the host open."""
    if policy.asks("filesystem") and policy.asks("syscalls"):
        return ()
    message = (
        f"profile {policy.profile} limits time and memory only: the script can read and change what you can;"
        " use it for scripts you trust"
    )
    return (Notice("profile", message),)


def unavailable(
    source: Source, policy: Policy, failure: HostFailure, python: Interpreter | None = None
) -> Outcome:
    """The outcome of a load that the host could not confine, or could not carry through."""
    words = host.explain(failure.step, failure.errno, host.facts())
    lost = ", ".join(failure.guarantees)
    promised = f" what profile {policy.profile} requires ({lost})" if lost else " the script's worker"
    message = f"cannot give{promised}: {failure.step}: {words.cause}"
    error = Error("sandbox", "SandboxUnavailable", message, traceback=failure.detail, hint=words.remedy)
    return Outcome(
        status=Status.SANDBOX_UNAVAILABLE,
        source=source,
        sandbox=Sandbox(profile=policy.profile, python=python),
        error=error,
    )
