"""One worker's life, from the fork to ``_exit``; runs beside foreign code once the script has come.

Contract. The worker is forked from a zygote and given five descriptors: the channel on which it is told
what to do, its standard output and standard error, the pipe of the fault handler, and the pipe on which
it answers. None but these stays open, and the channel is closed before the script starts. It

1. has the pages of memory copied that a load writes to, and confines itself as far as it can without
   knowing its script;
2. waits for ``Configure`` (and the folder that comes with it), finishes confining itself and answers
   ``Ready`` with what holds, or ``Refused`` when a required guarantee does not;
3. waits for ``Load``, runs the script, and sends ``Found`` for each flow and spec as it is defined, then
   one ``Loaded`` or ``Failed``;
4. ends, with code 0 after a complete reply and 1 otherwise, without running anything of the script's.

SIGXCPU makes the fault handler write where every thread is to its pipe, and nothing else: the kernel
sends it when the processor time is used up, the supervisor when the wall time is.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import gc
import mmap
import os
import signal
import sys
import traceback
from dataclasses import dataclass, replace
from typing import FrozenSet, List, Tuple, Union

from . import confine, pages, protocol, reads, script
from .channel import Channel, Closed, Replies
from .confine import closed, kernel, mounts
from .pristine import BUILTINS

__builtins__ = BUILTINS

CHANNEL_SLOT = 200
"""Descriptors of ours go above this number, out of the way of scripts that close low ones."""
BALLAST = 4 << 20
"""Bytes held back, so that a script which ran out of memory can still be reported."""
EXIT_REPLIED, EXIT_LOST = 0, 1


@dataclass(frozen=True)
class Pipes:
    """The worker's own ends."""

    channel: int
    stdout: int
    stderr: int
    faults: int
    replies: int


def settle(pipes: Pipes) -> Tuple[Channel, Replies, int]:
    """Arrange the descriptors; returns the channel, the pipe of answers and that of the fault handler."""
    null = os.open(os.devnull, os.O_RDWR)
    channel = fcntl.fcntl(pipes.channel, fcntl.F_DUPFD_CLOEXEC, CHANNEL_SLOT)
    replies = fcntl.fcntl(pipes.replies, fcntl.F_DUPFD_CLOEXEC, CHANNEL_SLOT)
    faults = fcntl.fcntl(pipes.faults, fcntl.F_DUPFD_CLOEXEC, CHANNEL_SLOT)
    os.dup2(null, 0)
    os.dup2(pipes.stdout, 1)
    os.dup2(pipes.stderr, 2)
    # What was printed before a hang or a crash must not be lost in a buffer.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # both are TextIOWrapper here
    return Channel(channel), Replies(replies), faults


def close_others(keep: Tuple[int, ...]) -> None:
    """Close all descriptors but the standard ones and ``keep``."""
    low = 3
    for descriptor in sorted(keep):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def live(worker: confine.Confinement, pipes: Pipes, parent: int, needed: List[pages.Wish]) -> None:
    """Everything after the fork. Never returns."""
    leave, complain = os._exit, traceback.print_exc
    code = EXIT_LOST
    try:
        # Set again because a fork clears it. Whoever's parent died before this line is caught by the next.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL, "worker: parent death signal")
        if os.getppid() not in (0, parent):
            leave(EXIT_LOST)
        pages.take(needed)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1, "worker: dumpable")
        os.setsid()
        channel, replies, faults = settle(pipes)
        close_others(
            (channel.fileno(), replies.descriptor, faults, *(tree.descriptor for tree in worker.trees))
        )
        worker.in_force.add(confine.DESCRIPTORS)
        worker.walk(confine.BEFORE_SCRIPT_IS_KNOWN)
        faulthandler.enable(faults, all_threads=True)
        faulthandler.register(signal.SIGXCPU, faults, all_threads=True)
        gc.freeze()
        if serve(worker, channel, replies):
            code = EXIT_REPLIED
    except Closed:
        pass
    except BaseException:
        complain()
    finally:
        leave(code)


def serve(worker: confine.Confinement, channel: Channel, replies: Replies) -> bool:
    """Configure, confine, load, reply. True when a terminal message went out whole."""
    configure = protocol.trusted(protocol.Configure, channel.receive())
    if configure.root is not None:
        worker.folder = mounts.Tree(configure.root, channel.receive_descriptors()[0])
    answer = confined(worker)
    replies.deliver(protocol.encode(answer))
    if type(answer) is protocol.Refused:
        return False
    load = protocol.trusted(protocol.Load, channel.receive())
    channel.close()
    if worker.folder is not None and load.root is not None and confine.MOUNT not in worker.in_force:
        load = replace(load, root=closed.by_detour(load.root, closed.detours([worker.folder])))
    if worker.spaces and worker.spaces[0] != mounts.SCRATCH:
        os.environ["TMPDIR"] = worker.spaces[0]
        if os.environ.get("HOME") == mounts.SCRATCH:
            os.environ["HOME"] = worker.spaces[0]
    return reply(worker, replies, load)


def confined(worker: confine.Confinement) -> Union[protocol.Ready, protocol.Refused]:
    """Finish the confinement; returns what holds, or what is required and does not."""
    worker.walk(confine.ONCE_SCRIPT_IS_KNOWN)
    holds = confine.levels(worker.policy, worker.in_force)
    unmet = confine.unmet(worker.policy, holds)
    hidden = worker.folder is not None and any(
        failure.step.startswith(("mount", "folder")) for failure in worker.failures
    )
    if not unmet and not hidden:
        return protocol.Ready(holds)
    failure = worker.failures[0] if worker.failures else kernel.StepFailed("confinement: incomplete", 0)
    return protocol.Refused(unmet, failure.step, failure.errno, os.strerror(failure.errno))


def rehearse(worker: confine.Confinement) -> None:
    """What every worker does, with a harmless script."""
    worker.in_force.add(confine.DESCRIPTORS)
    worker.walk(confine.BEFORE_SCRIPT_IS_KNOWN)
    protocol.encode(confined(worker))
    script.rehearse_once()


def reply(worker: confine.Confinement, replies: Replies, load: protocol.Load) -> bool:
    """Run the script and send how it went."""
    suppress, encode, deliver = contextlib.suppress, protocol.encode, replies.deliver
    cap = worker.policy.result + protocol.HEADER.size

    def tell(found: protocol.Found) -> None:
        """Send what was just defined; one that is over the cap ends the load when the reply is."""
        frame = encode(found)
        if len(frame) <= cap:
            deliver(frame)

    streams = (sys.stdout, sys.stderr)
    ballast = mmap.mmap(-1, BALLAST)
    gc.enable()
    places = told_of(worker) if load.trace else None
    outcome = script.execute(load, tell, forbids=forbidden(worker.policy), places=places)
    ballast.close()
    for stream in streams:
        # The script may have closed or broken it, and that is its own affair.
        with suppress(BaseException):
            stream.flush()
    frame = encode(outcome)
    if len(frame) > cap:
        frame = encode(too_large(outcome, len(frame) - protocol.HEADER.size, worker.policy.result))
    deliver(frame)
    return True


def told_of(worker: confine.Confinement) -> reads.Places:
    """The places of which it is told what the script reads there."""
    folder = worker.folder
    way = None if folder is None else closed.by_descriptor(folder)
    return reads.places(None if folder is None else folder.path, way, worker.policy.read)


def forbidden(policy: protocol.Policy) -> FrozenSet[str]:
    """The guarantees whose acts the policy forbids altogether."""
    wholly = {
        "network": policy.asks("network") and not policy.outbound,
        "processes": policy.asks("processes") and not policy.processes,
    }
    return frozenset(name for name, forbids in wholly.items() if forbids)


def too_large(outcome: object, size: int, cap: int) -> protocol.Failed:
    """What is said instead of a reply over the cap."""
    assert isinstance(outcome, (protocol.Loaded, protocol.Failed))
    message = (
        f"cannot return the script's flows and specs: they take {size} bytes and the profile allows {cap}"
    )
    error = protocol.Error("reply", "ResultTooLarge", message)
    return protocol.Failed("output_exceeded", error, (), (), (), outcome.dialect)
