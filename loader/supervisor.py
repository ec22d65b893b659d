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

import contextlib
import os
import sys
import threading
import time
import weakref
from typing import Any

from loader import environments, interpreters, lineage, projects
from loader.conversation import Conversation, Ended
from loader.errors import LoaderClosed, ProfileError
from loader.models import Interpreter, Outcome, Source
from loader.observing import Observer, Refused, ScriptRead, WorkerEnded, WorkerTaken, ZygoteStarted, ignore
from loader.outcomes import host_failure, outcome, unavailable
from loader.pool import Pool
from loader.process import HostFailure, PreloadFailed, Worker, Zygote, ZygoteLost, identity
from loader.readable import readable
from loader.session import Session
from loader.sources import Root, Script, home_of, shown
from loader.verdict import exit_of
from worker.protocol import AUTO, Configure, Launched, Policy, encode

AHEAD = 2
"""Workers kept waiting; each costs a few megabytes, and a load that finds none waits for a fork."""
ATTEMPTS = 5
"""Zygotes tried for one load, as long as its script has not been sent."""


class Supervisor:
    """Loads scripts under one policy with one interpreter. Safe to use from many threads."""

    def __init__(  # noqa: PLR0913 - what a FlowLoader is given
        self,
        policy: Policy,
        python: str = sys.executable,
        ahead: int = AHEAD,
        dialect: str = AUTO,
        observer: Observer = ignore,
        *,
        lent: bool = False,
    ) -> None:
        self.policy = policy
        self.lent = lent
        self.observer = observer
        self.python = Interpreter(path=python)
        self.dialect = dialect
        self.pool = Pool(ahead)
        self.lock = threading.Lock()
        self.zygote: Zygote | None = None
        self.started = False
        self.packages = ""
        self.closed = False

    # --- zygote and workers ---

    def current(self) -> Zygote:
        """The zygote, started if there is none; call with the lock held.

        Raises HostFailure, and ProfileError when its interpreter has not the Prefect that is asked for, or
        cannot preload what the profile says.
        """
        if self.closed:
            raise LoaderClosed("cannot load: this FlowLoader is closed; open another")
        if self.zygote is not None and self.zygote.owner != os.getpid():
            # This process was forked from the one that started it, which goes on using it.
            self.drop(self.zygote)
        if self.zygote is None:
            began = time.monotonic()
            try:
                how: dict[str, Any] = {"lent": self.lent, "read": readable(self.policy)}
                self.zygote = Zygote(self.policy, self.python.path, self.dialect, **how)
            except PreloadFailed as failure:
                raise ProfileError(interpreters.unloadable(self.python.path, self.policy, failure)) from None
            seconds = time.monotonic() - began
            self.observer(ZygoteStarted(pid=self.zygote.process.pid, seconds=seconds, again=self.started))
            self.started = True
            launched = self.zygote.launched
            self.packages = environments.packages(launched.path)
            self.python = Interpreter(path=self.python.path, version=launched.python)
            # A loader that nobody closes ends its processes when it is forgotten, or at exit.
            self.abandoned = weakref.finalize(self, self.zygote.close)
            self.judge(self.zygote, launched)
        return self.zygote

    def standing(self) -> tuple[Launched, str] | None:
        """What its zygote said, and what its interpreter has installed.

        None if that has changed since the zygote imported of it what it did: what is loaded now is of both.
        Raises HostFailure, ProfileError, LoaderClosed.
        """
        with self.lock:
            launched = self.current().launched
            packages = environments.packages(launched.path)
            return (launched, packages) if packages == self.packages else None

    def judge(self, zygote: Zygote, launched: Launched) -> None:
        """Whether the interpreter has the Prefect that scripts are to be read with. Raises ProfileError."""
        reason = interpreters.unfit(self.python.path, self.dialect, launched.prefect, launched.trouble)
        if reason is not None:
            self.drop(zygote)
            raise ProfileError(reason)

    def drop(self, zygote: Zygote) -> None:
        """Forget a zygote that is of no more use; call with the lock held."""
        if self.zygote is zygote:
            self.zygote = None
            self.pool = Pool(self.pool.ahead)
            self.abandoned.detach()
            zygote.close()

    def take(self, root: Root | None, *, temporary: bool = False) -> tuple[Worker, int | None]:
        """One idle worker, with others asked for in its stead, and the folder at ``root`` for it.

        Raises HostFailure.
        """
        with self.lock:
            zygote = self.current()
            try:
                if root is not None:
                    zygote.ask_folder(root, temporary=temporary)
                if not self.pool.asked:
                    zygote.ask()
                    self.pool = self.pool.asking(1)
                folder = zygote.take_folder() if root is not None else None
                worker = self.receive(zygote, folder)
                return worker, folder
            except HostFailure as failure:
                if isinstance(failure, ZygoteLost):
                    self.drop(zygote)
                raise
            except BaseException:
                # What was asked for and not taken would be mistaken for the answer to the next load.
                self.drop(zygote)
                raise

    def receive(self, zygote: Zygote, folder: int | None) -> Worker:
        """The next worker that was asked for; call with the lock held. Closes ``folder`` if none comes."""
        try:
            return zygote.take()
        except BaseException:
            if folder is not None:
                os.close(folder)
            raise
        finally:
            self.pool = self.pool.taken()

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
        source = Source(location=shown(script.location), digest=script.digest, size=len(script.content))
        if script.reading:
            self.observer(ScriptRead(seconds=script.reading))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                place, ended = self.attempt(script, policy, wake)
            except HostFailure as failure:
                if isinstance(failure, ZygoteLost) and attempt < ATTEMPTS:
                    continue
                return self.refuse(source, policy, failure)
            failure_now = host_failure(ended)
            if failure_now is None:
                told = outcome(source, policy, place.script, ended, self.python)
                return lineage.of(place.shown(told), home_of(script))
            if ended.session.sent or ended.session.refused or ended.objections or attempt == ATTEMPTS:
                return self.refuse(source, policy, failure_now)
        raise AssertionError("the last attempt returns")

    def refuse(self, source: Source, policy: Policy, failure: HostFailure) -> Outcome:
        """The outcome of a load that the host could not confine, or could not carry through."""
        self.observer(Refused(step=failure.step, guarantees=failure.guarantees))
        return unavailable(source, policy, failure, self.python)

    def attempt(self, script: Script, policy: Policy, wake: int | None) -> tuple[projects.Place, Ended]:
        """One worker's whole life with this script. Raises HostFailure."""
        # A folder that cannot be mounted for its reader must be readable to the reader's group.
        group = None if policy.asks("filesystem", "full") else identity()[1]
        if script.project is not None:
            with self.lock:
                self.current()  # who removes the folder if we cannot must be there before it is
        with projects.placed(script, group) as place:
            began = time.monotonic()
            worker, folder = self.take(place.script.root, temporary=place.temporary)
            self.observer(WorkerTaken(pid=worker.pid, seconds=time.monotonic() - began))
            gone = WorkerEnded(pid=worker.pid)
            try:
                try:
                    place.fill()
                    session = Session.begin(policy, time.monotonic())
                    self.configure(worker, place.script.root.path if place.script.root else None, folder)
                finally:
                    if folder is not None:
                        os.close(folder)
                begun = time.monotonic()
                ended = Conversation(worker, session, place.script, wake, self.dialect).run()
                gone = end_of(worker.pid, begun, ended.session)
            finally:
                worker.close()
                self.observer(gone)
                self.replenish()
        return place, ended

    def replenish(self) -> None:
        """After a load: ask for the workers that shall wait, now that it does not wait for the processor."""
        with self.lock, contextlib.suppress(ZygoteLost):
            zygote = self.zygote
            if zygote is None or zygote.owner != os.getpid():
                return
            for _ in range(self.pool.to_ask(0)):
                zygote.ask()
                self.pool = self.pool.asking(1)

    def configure(self, worker: Worker, root: str | None, folder: int | None) -> None:
        """Tell a worker what it may read. One that died waiting is found dead by its session."""
        try:
            os.write(worker.channel, encode(Configure(root)))
            if folder is not None:
                worker.pass_folder(folder)
        except (BrokenPipeError, ConnectionResetError):
            pass


def end_of(pid: int, begun: float, session: Session) -> WorkerEnded:
    """What is told of a worker that was told at ``begun`` what it may read."""
    return WorkerEnded(
        pid=pid,
        confining=session.started - begun if session.sent else None,
        running=session.ended - session.started if session.sent else None,
        exit=exit_of(session.exited),
    )
