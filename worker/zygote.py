"""Forks workers: preloads once what every script needs, inside its namespaces, and serves ``Fork``.

Runs beside foreign code only in the sense that its children do; no script ever reaches it. It is
single-threaded, the first process of a PID namespace where namespaces are asked for, so that its death
ends every worker, and it sees no more of the host than they do.
"""

from __future__ import annotations

import gc
import os
import platform
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, NoReturn, Optional, Tuple

from . import confine, dialects, main, orphans, pages, preload, protocol, script
from .channel import Channel, Closed
from .confine import closed, identity, kernel, limits, mounts, seccomp
from .confine.kernel import StepFailed
from .dialects.prefect import installed

HOST_NAME = b"worker"
PATH = tuple(entry for entry in sys.path if entry.isprintable())
"""Where the interpreter finds its own, before anything of it is hidden."""
SEASONS = 16
"""Loads, of two flows each, after which what every flow runs is specialised."""
IDLE = 10
"""Milliseconds without a wish after which a chore is done."""


@dataclass
class Child:
    """A worker that has not been reaped, the first process of its namespace, and where its end is told."""

    pid: int
    pidfd: int
    exit_pipe: int
    init: Optional[kernel.Init]


@dataclass
class Zygote:
    """What every worker is forked with."""

    policy: protocol.Policy
    uid: int
    gid: int
    trees: List[mounts.Tree]
    symlinks: List[Tuple[str, str]]
    in_force: Tuple[str, ...]
    channel: Channel
    namespace: Optional[int] = None
    shown: List[str] = field(default_factory=list)
    program: bytes = b""
    children: Dict[int, Child] = field(default_factory=dict)
    forked: int = 0
    needed: List[pages.Wish] = field(default_factory=list)

    # --- before the first fork ---

    def settle(self) -> None:
        """Enter the private root and give up what no worker needs. Raises StepFailed."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1, "zygote: become subreaper")
        if confine.MOUNT in self.in_force:
            self.shown = mounts.build_stage(self.trees, self.uid, self.gid, self.symlinks)
            self.trees = []
            identity.forget_bounding_set()
            kernel.checked(kernel.libc.sethostname(HOST_NAME, len(HOST_NAME)), "uts namespace: name")
        else:
            self.trees = [closed.lifted(tree) for tree in self.trees]
            closed.redirect_imports(closed.detours(self.trees))
            limits.tasks()
        if confine.PID in self.in_force:
            self.namespace = os.pidfd_open(os.getpid())
        self.program = seccomp.plan(self.policy)

    def preload(self, dialect: str) -> None:
        """Import what scripts need, resolve what is lazy, and prove that nothing started a thread.

        Raises StepFailed, also when what was imported left a descriptor open, or memory that forks share.
        """
        gc.disable()  # what is imported stays, and to look through it again and again takes its time
        opened = set(os.listdir("/proc/self/fd"))
        self.channel.send(protocol.Preloading(protocol.PREFECT))
        dialects.prepare(dialect)
        for name in self.policy.preload:
            self.channel.send(protocol.Preloading(name))
            preload.bring(name)
        self.channel.send(protocol.Preloading(None))
        try:
            script.rehearse()
        except Exception as error:
            if dialects.present() is None:
                raise
            installed.give_up(error)
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise StepFailed(f"environment: {threads} threads before the first fork", 0)
        left = sorted(set(os.listdir("/proc/self/fd")) - opened)
        if left:
            raise StepFailed(f"environment: {len(left)} descriptors left open before the first fork", 0)
        if preload.shared():
            raise StepFailed("environment: memory that all scripts would share", 0)
        pages.make_room()
        gc.freeze()

    def chores(self) -> Iterator[bool]:
        """What makes the loads of later forks quicker, a little at a time; true while there is more to do."""
        for _ in range(SEASONS):
            script.season()
            gc.freeze()
            yield True
        pages.gather()
        yield True
        self.needed = pages.needed_for(lambda: main.rehearse(self.confinement()))

    # --- serving ---

    def serve(self) -> None:
        """Fork on demand and reap, until the supervisor goes away; do chores while nothing is asked for."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        chores: Optional[Iterator[bool]] = self.chores()
        while True:
            ready = poll.poll(IDLE if chores and self.forked else None)
            if chores and not ready and not done_one(chores):
                chores = None
            for descriptor, _ in ready:
                if descriptor != self.channel.fileno():
                    poll.unregister(descriptor)
                    self.reap(self.children.pop(descriptor))
                    continue
                protocol.trusted(protocol.Fork, self.channel.receive())
                child = self.fork()
                if child is not None:
                    self.children[child.pidfd] = child
                    poll.register(child.pidfd, select.POLLIN)

    def fork(self) -> Optional[Child]:
        """One more worker; None, and ``Refused`` is sent, when the host gives none."""
        held: List[int] = []
        init = None
        try:
            ours, theirs, exit_pipe = self.pipes(held)
            if self.namespace is not None:
                init = kernel.Init()
                kernel.setns(init.pidfd, kernel.CLONE_NEWPID, "pid namespace: enter")
            pid = self.fork_worker(theirs)
            self.forked += 1
            child = Child(pid, os.pidfd_open(pid), os.dup(exit_pipe), init)
            self.channel.send(protocol.Forked(self.forked), [child.pidfd, *ours])
            return child
        except (OSError, StepFailed) as error:
            if init is not None:
                init.end()
            step = error.step if isinstance(error, StepFailed) else "zygote: fork"
            errno = error.errno or 0
            self.channel.send(protocol.Refused((), step, errno, os.strerror(errno)))
            return None
        finally:
            for descriptor in held:
                os.close(descriptor)

    def pipes(self, held: List[int]) -> Tuple[List[int], List[int], int]:
        """The supervisor's ends, the worker's ends, and where its death is told; all go to ``held``."""
        pair = [end.detach() for end in socket.socketpair()]
        held += pair
        ours, theirs = [pair[0]], [pair[1]]
        for _ in range(4):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            held += (reading, writing)
            ours.append(reading)
            theirs.append(writing)
        reading, exit_pipe = os.pipe2(os.O_CLOEXEC)
        held += (reading, exit_pipe)
        return [*ours, reading], theirs, exit_pipe

    def fork_worker(self, theirs: List[int]) -> int:
        """Fork; the child lives a worker's life and never comes back here."""
        parent = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                main.live(self.confinement(), main.Pipes(*theirs), parent, self.needed)
        finally:
            if self.namespace is not None:
                kernel.setns(self.namespace, kernel.CLONE_NEWPID, "pid namespace: return")
        return pid

    def confinement(self) -> confine.Confinement:
        """What a worker begins with."""
        return confine.Confinement(
            self.policy,
            self.uid,
            self.gid,
            self.trees,
            self.shown,
            self.symlinks,
            self.program,
            {*self.in_force, confine.EXEC, confine.SUPERVISOR},
        )

    def reap(self, child: Child) -> None:
        """Take a dead worker's status, end whatever it left in its namespace, and say how it ended."""
        _, status, usage = os.wait4(child.pid, 0)
        os.close(child.pidfd)
        exited = protocol.Exited(
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
        )
        try:
            os.write(child.exit_pipe, protocol.encode(exited))
        except BrokenPipeError:
            pass  # The supervisor has closed this load already.
        finally:
            os.close(child.exit_pipe)
        if child.init is not None:
            child.init.end()
        else:
            orphans.end({other.pid for other in self.children.values()})


def done_one(chores: Iterator[bool]) -> bool:
    """Do one chore; false when that was the last, also because the host gives no means: loads only gain."""
    try:
        return next(chores, False)
    except (OSError, MemoryError, RuntimeError, StepFailed):  # a thread that cannot start is a RuntimeError
        return False


def run(zygote: Zygote, dialect: str) -> NoReturn:
    """The zygote's life. Never returns."""
    code = 1
    try:
        zygote.settle()
        zygote.preload(dialect)
        found = installed.Installed
        launched = protocol.Launched(platform.python_version(), 1, found.version, found.trouble, PATH)
        zygote.channel.send(launched)
        zygote.serve()
    except StepFailed as failure:
        refused = protocol.Refused((), failure.step, failure.errno, os.strerror(failure.errno))
        zygote.channel.send(refused)
    except (Closed, BrokenPipeError, ConnectionResetError):
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)
