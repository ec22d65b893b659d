"""Drives one load's session: moves bytes between a worker's descriptors and its state machine."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass

from loader import attest
from loader.capture import Capture
from loader.faults import CAP as FAULTS_CAP
from loader.process import Worker
from loader.session import Action, Session, State
from loader.sources import Script
from worker.protocol import AUTO, Exited, Load, Reader, decode, encode, trusted

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


class Conversation:
    """Drives one session: moves bytes between its worker's descriptors and its state machine."""

    def __init__(
        self, worker: Worker, session: Session, script: Script, wake: int | None, dialect: str = AUTO
    ) -> None:
        self.worker, self.session, self.script, self.wake = worker, session, script, wake
        self.dialect = dialect
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
            for descriptor, _ in self.poll.poll(left * 1000 + 1):
                self.handle(descriptor)
        worker = self.worker
        stdout, stderr, faults = (
            self.captures[item] for item in (worker.stdout, worker.stderr, worker.faults)
        )
        return Ended(self.session, worker, stdout, stderr, faults, self.objections, self.cpu_before)

    def handle(self, descriptor: int) -> None:
        """One descriptor that poll named."""
        if descriptor == self.wake:
            self.poll.unregister(descriptor)
            self.act(self.session.kill(time.monotonic()))
        elif descriptor == self.worker.ended:
            self.finish()
        elif descriptor == self.worker.channel:
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
        if descriptor == self.worker.replies:
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
            exited = trusted(Exited, decode(body))
        self.drain()
        self.session.gone(exited, time.monotonic())

    def drain(self) -> None:
        """Read what a dead worker left in its pipes."""
        for descriptor in (self.worker.replies, *self.captures):
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
            # One that is dead cannot be looked at, and is found dead by its session.
            dead = select.select([self.worker.pidfd], [], [], 0)[0]
            self.objections = () if dead else (f"it cannot be looked at: {error.strerror}",)
            self.act(session.kill(time.monotonic()))
            return
        if self.objections:
            self.act(session.kill(time.monotonic()))
            return
        script = self.script
        load = Load(
            script.filename,
            script.content,
            script.module,
            script.folder,
            self.dialect,
            script.details,
            script.paths,
            script.trace,
        )
        self.outgoing = memoryview(encode(load))
        session.send_script(time.monotonic())
        self.flush()

    def flush(self) -> None:
        """Send as much of the script as the worker takes now; come back when it takes more."""
        channel = self.worker.channel
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[os.write(channel, self.outgoing) :]
        except BlockingIOError:
            self.poll.register(channel, select.POLLOUT)
            return
        except (BrokenPipeError, ConnectionResetError):
            self.outgoing = memoryview(b"")
        with contextlib.suppress(KeyError):
            self.poll.unregister(channel)
