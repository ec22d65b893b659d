"""One load from request to outcome.

Theory of operation. The caller's process is the supervisor: it holds credentials and the network, and
runs nothing of a script. For each policy it starts a broker by a fresh exec, which opens folders
read-only and forks a zygote into namespaces of its own; the zygote forks workers ahead of need. A load
takes one worker, tells it which folder it may read, lets it finish confining itself, compares its word
with the kernel's, and only then sends the script. Whatever comes back on the worker's descriptors is a
claim. The load ends with the worker's death, which its zygote reports.

There is no thread of ours: each load is driven by the thread that asked for it, so that a supervisor
works in a REPL, in a thread, in a daemonic process. Workers that wait are held by the zygote's channel.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass

from loader import attest, host
from loader.capture import Capture
from loader.errors import LoaderClosed
from loader.faults import CAP as FAULTS_CAP
from loader.faults import text as faults_text
from loader.models import Outcome, Sandbox, Source, Status, Usage
from loader.pool import Pool
from loader.process import HostFailure, Worker, Zygote, ZygoteLost
from loader.session import Action, Session, State
from loader.sources import Script
from loader.verdict import exit_of, verdict
from worker.protocol import (
    Configure,
    Dialect,
    Error,
    Exited,
    Flow,
    Load,
    Notice,
    Policy,
    Reader,
    Spec,
    Violation,
    encode,
    trusted,
)

AHEAD = 2
"""Workers kept waiting; each costs a few megabytes, and a load that finds none waits for a fork."""
ATTEMPTS = 5
"""Zygotes tried for one load, as long as its script has not been sent."""
DIALECT = "orion"
READ_SIZE = 1 << 16
DRAIN_READS = 256
"""Reads from each descriptor after a worker's death: more than its caps can fill."""


@dataclass(frozen=True)
class Ended:
    """A session that is over, and what was collected beside it."""

    session: Session
    worker: Worker
    stdout: Capture
    stderr: Capture
    faults: Capture
    objections: tuple[str, ...]
    cpu_before: float


class Supervisor:
    """Loads scripts under one policy with one interpreter. Safe to use from many threads."""

    def __init__(self, policy: Policy, python: str = sys.executable, ahead: int = AHEAD) -> None:
        self.policy = policy
        self.python = python
        self.pool = Pool(ahead)
        self.lock = threading.Lock()
        self.zygote: Zygote | None = None
        self.closed = False

    # --- zygote and workers ---

    def current(self) -> Zygote:
        """The zygote, started if there is none; call with the lock held. Raises HostFailure."""
        if self.closed:
            raise LoaderClosed("cannot load: this FlowLoader is closed; open another")
        if self.zygote is not None and self.zygote.owner != os.getpid():
            # This process was forked from the one that started it, which goes on using it.
            self.drop(self.zygote)
        if self.zygote is None:
            self.zygote = Zygote(self.policy, self.python)
        return self.zygote

    def drop(self, zygote: Zygote) -> None:
        """Forget a zygote that is of no more use; call with the lock held."""
        if self.zygote is zygote:
            self.zygote = None
            self.pool = Pool(self.pool.ahead)
            zygote.close()

    def take(self) -> tuple[Zygote, Worker]:
        """One idle worker, with others asked for in its stead. Raises HostFailure."""
        with self.lock:
            zygote = self.current()
            try:
                for _ in range(count := self.pool.to_ask(1)):
                    zygote.ask()
                self.pool = self.pool.asking(count)
                return zygote, self.receive(zygote)
            except ZygoteLost:
                self.drop(zygote)
                raise

    def receive(self, zygote: Zygote) -> Worker:
        """The next worker that was asked for; call with the lock held."""
        try:
            return zygote.take()
        finally:
            self.pool = self.pool.taken()

    def open_folder(self, zygote: Zygote, path: str) -> int:
        """The folder at ``path`` for a worker. Raises HostFailure, OSError."""
        with self.lock:
            if self.zygote is not zygote:
                raise ZygoteLost("zygote: lost while a folder was opened")
            try:
                return zygote.open_folder(path)
            except ZygoteLost:
                self.drop(zygote)
                raise

    def close(self) -> None:
        """End the zygote and every worker. Loads in flight end with a failure."""
        with self.lock:
            self.closed = True
            if self.zygote is not None:
                self.drop(self.zygote)

    # --- one load ---

    def load(self, script: Script, *, policy: Policy | None = None, wake: int | None = None) -> Outcome:
        """Run ``script`` in a worker. ``policy`` may differ from the supervisor's in its wall time only.

        ``wake`` is a descriptor whose readability cancels the load. Raises LoaderClosed; what a script
        or a host does is in the outcome.
        """
        policy = policy or self.policy
        source = Source(location=script.location, digest=script.digest, size=len(script.content))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                ended = self.attempt(script, policy, wake)
            except HostFailure as failure:
                if isinstance(failure, ZygoteLost) and attempt < ATTEMPTS:
                    continue
                return unavailable(source, policy, failure)
            failure_now = host_failure(ended)
            if failure_now is None:
                return outcome(source, policy, script, ended)
            if ended.session.sent or ended.session.refused or ended.objections or attempt == ATTEMPTS:
                return unavailable(source, policy, failure_now)
        raise AssertionError("the last attempt returns")

    def attempt(self, script: Script, policy: Policy, wake: int | None) -> Ended:
        """One worker's whole life with this script. Raises HostFailure."""
        zygote, worker = self.take()
        try:
            session = Session.begin(policy, time.monotonic())
            folder = self.open_folder(zygote, script.root) if script.root is not None else None
            try:
                self.configure(worker, script.root, folder)
            finally:
                if folder is not None:
                    os.close(folder)
            return Conversation(worker, session, script, wake).run()
        except OSError as error:
            raise HostFailure(f"folder: {script.root}", error.errno or 0) from error
        finally:
            worker.close()

    def configure(self, worker: Worker, root: str | None, folder: int | None) -> None:
        """Tell a worker what it may read. One that died waiting is found dead by its session."""
        try:
            os.write(worker.channel, encode(Configure(root)))
            if folder is not None:
                worker.pass_folder(folder)
        except (BrokenPipeError, ConnectionResetError):
            pass


class Conversation:
    """Drives one session: moves bytes between its worker's descriptors and its state machine."""

    def __init__(self, worker: Worker, session: Session, script: Script, wake: int | None) -> None:
        self.worker, self.session, self.script, self.wake = worker, session, script, wake
        cap = session.policy.output
        self.captures = {worker.stdout: Capture(cap), worker.stderr: Capture(cap)}
        self.captures[worker.faults] = Capture(2 * FAULTS_CAP)
        self.ended_reader = Reader(4096)
        self.outgoing = memoryview(b"")
        self.objections: tuple[str, ...] = ()
        self.cpu_before = 0.0
        self.poll = select.poll()

    def run(self) -> Ended:
        """Until the worker is dead, or its zygote is."""
        for descriptor in self.worker.readable():
            self.poll.register(descriptor, select.POLLIN)
        if self.wake is not None:
            self.poll.register(self.wake, select.POLLIN)
        while self.session.state is not State.OVER:
            left = self.session.deadline - time.monotonic()
            if left <= 0:
                self.act(self.session.expired(time.monotonic()))
                continue
            for descriptor, event in self.poll.poll(left * 1000 + 1):
                self.handle(descriptor, event)
        worker = self.worker
        stdout, stderr, faults = (self.captures[item] for item in (worker.stdout, worker.stderr, worker.faults))
        return Ended(self.session, worker, stdout, stderr, faults, self.objections, self.cpu_before)

    def handle(self, descriptor: int, event: int) -> None:
        """One descriptor that poll named."""
        if descriptor == self.wake:
            self.poll.unregister(descriptor)
            self.act(self.session.kill(time.monotonic()))
        elif descriptor == self.worker.ended:
            self.finish()
        elif event & select.POLLOUT:
            self.flush()
        else:
            self.read(descriptor)

    def read(self, descriptor: int) -> bool:
        """One read; whether there may be more."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.poll.unregister(descriptor)
            return False
        now = time.monotonic()
        if descriptor == self.worker.channel:
            self.act(self.session.received(data, now))
        else:
            self.captures[descriptor].feed(data)
            if descriptor == self.worker.faults:
                self.session.dumped(now)
        return True

    def finish(self) -> None:
        """The zygote says how the worker ended, or is dead itself: take what is left and be done."""
        data = os.read(self.worker.ended, READ_SIZE)
        exited = None
        for body in self.ended_reader.feed(data):
            from worker.protocol import decode

            exited = trusted(Exited, decode(body))
        self.drain()
        self.session.gone(exited, time.monotonic())

    def drain(self) -> None:
        """Read what a dead worker left in its pipes."""
        for descriptor in (self.worker.channel, *self.captures):
            try:
                self.poll.modify(descriptor, select.POLLIN)
            except FileNotFoundError:
                continue  # It came to its end before.
            for _ in range(DRAIN_READS):
                if not self.read(descriptor):
                    break

    def act(self, actions: list[Action]) -> None:
        """Do what the session decided."""
        for action in actions:
            if action is Action.KILL:
                self.worker.kill()
            elif action is Action.INTERRUPT:
                self.worker.signal(signal.SIGXCPU)
            else:
                self.attest()

    def attest(self) -> None:
        """Compare the worker's word with the kernel's; send the script if they agree."""
        session = self.session
        assert session.ready is not None
        try:
            seen = attest.facts(self.worker.pid)
            own = attest.namespaces(os.getpid())
            self.cpu_before = self.worker.cpu_seconds()
            self.objections = tuple(attest.objections(session.policy, session.ready.guarantees, seen, own))
        except OSError as error:
            self.objections = (f"it cannot be looked at: {error.strerror}",)
        if self.objections:
            self.act(session.kill(time.monotonic()))
            return
        script = self.script
        load = Load(script.filename, script.content, script.module, script.folder, DIALECT)
        self.outgoing = memoryview(encode(load))
        session.send_script(time.monotonic())
        self.flush()

    def flush(self) -> None:
        """Send as much of the script as the worker takes now."""
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[os.write(self.worker.channel, self.outgoing) :]
            self.poll.modify(self.worker.channel, select.POLLIN)
        except BlockingIOError:
            self.poll.modify(self.worker.channel, select.POLLIN | select.POLLOUT)
        except (BrokenPipeError, ConnectionResetError):
            self.outgoing = memoryview(b"")
            self.poll.modify(self.worker.channel, select.POLLIN)


def host_failure(ended: Ended) -> HostFailure | None:
    """Why the script was not run to an end by no fault of its own, if that is so."""
    session = ended.session
    if session.refused is not None:
        return HostFailure(session.refused.step, session.refused.errno, session.refused.guarantees)
    if ended.objections:
        return HostFailure("attest: " + "; ".join(ended.objections))
    if not session.sent:
        return ZygoteLost("worker: ended before its script was sent")
    if session.exited is None and session.reply is None and not session.out_of_time and session.violation is None:
        return HostFailure("zygote: ended while the script ran")
    return None


def outcome(source: Source, policy: Policy, script: Script, ended: Ended) -> Outcome:
    """The outcome of a load whose script was run."""
    session = ended.session
    dump = faults_text(bytes(ended.faults.head + ended.faults.tail))
    lines = script.content.decode("utf-8", "replace").splitlines()
    judged = verdict(session, dump, {script.filename: lines}, ended.cpu_before)
    flows, specs, notices, dialect = claims(session)
    exited = session.exited
    cpu = max(0.0, exited.cpu_seconds - ended.cpu_before) if exited else 0.0
    return Outcome(
        status=judged.status,
        source=source,
        sandbox=Sandbox(profile=policy.profile, guarantees=session.ready.guarantees if session.ready else ()),
        usage=Usage(
            wall_seconds=session.ended - session.started,
            cpu_seconds=cpu,
            max_rss_bytes=exited.max_rss_bytes if exited else 0,
        ),
        exit=exit_of(exited),
        flows=flows,
        specs=specs,
        notices=(*notices, *profile_notices(policy)),
        error=judged.error,
        stdout=ended.stdout.output(),
        stderr=ended.stderr.output(),
        dialect=dialect,
    )


def claims(session: Session) -> tuple[tuple[Flow, ...], tuple[Spec, ...], tuple[Notice, ...], Dialect | None]:
    """What the script was found to hold: by its worker's last word, or else by what came before."""
    if session.reply is not None and not session.out_of_time and session.violation is None:
        reply = session.reply
        return reply.flows, reply.specs, reply.notices, reply.dialect
    flows = tuple(item.flow for item in session.found if item.flow is not None)
    specs = tuple(item.spec for item in session.found if item.spec is not None)
    notices = tuple(item.notice for item in session.found if item.notice is not None)
    return flows, specs, notices, None


def profile_notices(policy: Policy) -> tuple[Notice, ...]:
    """What must be said at every use of a profile that leaves the host open."""
    if policy.asks("filesystem") and policy.asks("syscalls"):
        return ()
    message = (
        f"profile {policy.profile} limits time and memory only: the script can read and change what you can;"
        " use it for scripts you trust"
    )
    return (Notice("profile", message),)


def unavailable(source: Source, policy: Policy, failure: HostFailure) -> Outcome:
    """The outcome of a load that the host could not confine, or could not carry through."""
    words = host.explain(failure.step, failure.errno, host.facts())
    lost = ", ".join(failure.guarantees)
    promised = f" what profile {policy.profile} requires ({lost})" if lost else " the script's worker"
    message = f"cannot give{promised}: {failure.step}: {words.cause}"
    error = Error("sandbox", "SandboxUnavailable", message, traceback=failure.detail, hint=words.remedy)
    return Outcome(
        status=Status.SANDBOX_UNAVAILABLE, source=source, sandbox=Sandbox(profile=policy.profile), error=error
    )


__all__ = ["Supervisor", "Violation"]
