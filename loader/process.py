"""The one file that starts, reads, kills and reaps processes.

A broker is started by a fresh exec with a clean environment and only the descriptors it is given. What it
and its zygote run is trusted code, so their channels may be waited on; a worker's may not: its descriptors
never block and nothing of it is ever unpickled. Of ``multiprocess`` no pipe or fork server is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import msgpack
from multiprocess import reduction

from loader.sources import Root
from loader.variables import FIXED_ENVIRONMENT, environment
from worker import protocol

PACKAGE = Path(protocol.__file__).parent
MSGPACK = Path(msgpack.__file__).parent
NOBODY = 65534
START_SECONDS, FORK_SECONDS, FOLDER_SECONDS, STOP_SECONDS = 60.0, 20.0, 10.0, 2.0
"""How long our own processes may take before the host is held to be unable."""
INQUIRY = """\
import sys
import ctypes, fcntl, mmap, resource, select, ssl  # what a worker, or an ordinary script, cannot do without
print(sys.implementation.name, *sys.version_info[:3], -int(sys.argv[1]))
"""
INQUIRY_SECONDS, ANSWER = 20.0, 1 << 16
FORKED_DESCRIPTORS = 7
CPU_CLOCK_OF_PROCESS = 2
M = TypeVar("M")


class HostFailure(Exception):
    """One of our own processes did not do its part: who, at which step, and the guarantees that it costs."""

    def __init__(self, step: str, errno: int = 0, guarantees: tuple[str, ...] = (), detail: str = "") -> None:
        super().__init__(step)
        self.step = step
        self.errno = errno
        self.guarantees = guarantees
        self.detail = detail


class ZygoteLost(HostFailure):
    """The zygote is gone; another can be started."""


def identity() -> tuple[int, int]:
    """The uid and gid that workers run under: the caller's own, or nobody's when the caller is root."""
    return (NOBODY, NOBODY) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def execute(
    python: str,
    role: str,
    descriptors: Sequence[int],
    arguments: Sequence[int],
    environment: Mapping[str, str],
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    """Start one of our own programs with ``descriptors`` open and nothing else. Raises HostFailure."""
    # A caller that closed its standard streams may have given their numbers to ours.
    passed = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3) for descriptor in descriptors]
    try:
        return subprocess.Popen(
            [python, "-S", str(PACKAGE), str(MSGPACK), f"{START_SECONDS:.0f}", role]
            + [str(number) for number in (*passed, *arguments)],
            pass_fds=passed,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as error:
        raise HostFailure(f"exec {python}", error.errno or 0) from None
    finally:
        for descriptor in passed:
            os.close(descriptor)


def scratch_file() -> IO[bytes]:
    """A file in memory, for what our own programs print."""
    return os.fdopen(os.memfd_create("flow-loader-stderr", os.MFD_CLOEXEC), "w+b")


def inquire(python: str) -> tuple[str, tuple[int, ...]]:
    """The implementation and version of an interpreter, by its own word. Raises HostFailure."""
    ours, theirs = socket.socketpair()
    number = secrets.randbits(32)  # a program that prints whatever it likes does not print this
    with ours, theirs:
        try:
            process = subprocess.Popen(
                [python, "-I", "-S", "-c", INQUIRY, str(number)],
                stdin=subprocess.DEVNULL,
                stdout=theirs.fileno(),
                stderr=theirs.fileno(),
                cwd="/",
                env=FIXED_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise HostFailure(f"exec {python}", error.errno or 0) from None
        await_end(process, INQUIRY_SECONDS)
        ours.shutdown(socket.SHUT_RD)
        said = ours.recv(ANSWER).decode(errors="replace").strip().splitlines() or ["it says nothing"]
    if process.returncode == 0:
        with contextlib.suppress(ValueError):
            name, major, minor, micro, answer = said[-1].split()
            if int(answer) == -number:
                return name, (int(major), int(minor), int(micro))
        raise HostFailure(f"exec {python}", detail="its answer is not Python's")
    late = process.returncode == -signal.SIGKILL
    raise HostFailure(f"exec {python}", detail="it is not done in time" if late else said[-1])


def await_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Reap a program that leads a session, in time or killed; whatever it started there is killed."""
    alive = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(alive, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(alive)
        os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet, and so the number is its own
        process.wait()


def probe(python: str) -> list[protocol.Probed]:
    """What this host answers when each mechanism is tried. Raises HostFailure."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, scratch_file() as stderr:
        with theirs:
            process = execute(python, "probe", [theirs.fileno()], identity(), FIXED_ENVIRONMENT, stderr)
        alive = os.pidfd_open(process.pid)
        channel, found = Trusted(ours, alive), []
        try:
            while True:
                found.append(channel.receive(protocol.Probed, START_SECONDS))
        except ZygoteLost:
            return found
        finally:
            process.kill()
            process.wait()
            os.close(alive)


class PreloadFailed(HostFailure):
    """A module cannot be used with this interpreter, Prefect or one of ``preload``: which, and why."""

    def __init__(self, module: str, failure: HostFailure) -> None:
        super().__init__(f"preload: {module}", detail=failure.detail)
        self.module = module
        lost = isinstance(failure, ZygoteLost)
        self.reason = "it ends the process, or does not come to an end" if lost else failure.step


class Trusted:
    """Our end of a channel to trusted code: one packet is one frame. Waits, but never longer than told."""

    def __init__(self, end: socket.socket, alive: int) -> None:
        self.end = end
        self.alive = alive

    def send(self, message: Any) -> None:
        """Send one message. Raises ZygoteLost."""
        try:
            self.end.send(protocol.encode(message))
        except OSError as error:
            raise ZygoteLost("zygote: send", error.errno or 0) from None

    def receive(self, kind: type[M], seconds: float) -> M:
        """The next message, which must be ``kind``.

        Raises HostFailure for ``Refused``, ZygoteLost for its end.
        """
        if not wait(self.end, self.alive, seconds):
            raise ZygoteLost(f"zygote: no {kind.__name__} within {seconds:g} seconds")
        try:
            packet = self.end.recv(protocol.CONTROL_CAP + protocol.HEADER.size)
        except OSError as error:
            raise ZygoteLost("zygote: receive", error.errno or 0) from None
        if not packet:
            raise ZygoteLost(f"zygote: ended before its {kind.__name__}")
        try:
            raw = protocol.decode(packet[protocol.HEADER.size :])
            if raw[0] != protocol.Refused.__name__:
                return protocol.trusted(kind, raw)
            refused = protocol.trusted(protocol.Refused, raw)
        except protocol.Violation as violation:
            raise ZygoteLost(f"zygote: {violation}") from None
        raise HostFailure(refused.step, refused.errno, refused.guarantees)

    def receive_descriptors(self, count: int, seconds: float) -> list[int]:
        """The descriptors that follow a frame which announces them. Raises ZygoteLost."""
        if not wait(self.end, self.alive, seconds):
            raise ZygoteLost("zygote: no descriptors")
        try:
            return [int(item) for item in reduction.recvfds(self.end, count)]
        except (OSError, EOFError, RuntimeError, AssertionError):
            raise ZygoteLost("zygote: descriptors were lost") from None


def wait(end: socket.socket, alive: int, seconds: float) -> bool:
    """Whether ``end`` can be read within ``seconds``, or can never be because process ``alive`` is gone."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.register(alive, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
    if end.fileno() in ready:
        return True
    if alive in ready:
        # What it sent before it ended may still be on its way to us.
        return bool(select.select([end], [], [], 0.2)[0])
    return False


@dataclass
class Worker:
    """One forked worker: what the supervisor holds of it. It is not our child: its zygote reaps it."""

    number: int
    pidfd: int
    channel: int
    stdout: int
    stderr: int
    faults: int
    replies: int
    ended: int
    pid: int = field(init=False)

    def __post_init__(self) -> None:
        for descriptor in (self.channel, *self.readable()):
            os.set_blocking(descriptor, False)
        self.pid = pid_of(self.pidfd)

    def readable(self) -> tuple[int, ...]:
        """Everything that is read of it: pipes only."""
        return (self.replies, self.stdout, self.stderr, self.faults, self.ended)

    def signal(self, number: int) -> None:
        """Send a signal; a worker that is gone already is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)

    def pass_folder(self, descriptor: int) -> None:
        """Hand over the folder that ``Configure`` announced. Raises OSError."""
        with socket.socket(fileno=os.dup(self.channel)) as end:
            reduction.sendfds(end, [descriptor])

    def cpu_seconds(self) -> float:
        """Processor time used so far. Raises OSError when it is gone."""
        return time.clock_gettime((~self.pid << 3) | CPU_CLOCK_OF_PROCESS)

    def close(self) -> None:
        """Kill it and let go of everything."""
        self.kill()
        for descriptor in (self.pidfd, self.channel, *self.readable()):
            os.close(descriptor)


def pid_of(pidfd: int) -> int:
    """The process id behind a pidfd, in our own PID namespace; -1 when it is gone."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as info:
        found = re.search(r"^Pid:\s*(-?\d+)", info.read(), re.MULTILINE)
    return int(found[1]) if found else -1


class Zygote:
    """A running broker and its zygote, from the supervisor's side."""

    def __init__(
        self,
        policy: protocol.Policy,
        python: str = sys.executable,
        dialect: str = protocol.AUTO,
        *,
        lent: bool = False,
        read: tuple[protocol.OpenFolder, ...] = (),
    ) -> None:
        """Start both and wait until the zygote serves. Raises HostFailure."""
        self.python, self.dialect, self.lent, self.read = python, dialect, lent, read
        self.owner = os.getpid()
        self.stderr = scratch_file()
        ours, theirs = zip(
            *(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)), strict=True
        )
        own = os.pidfd_open(os.getpid())
        try:
            descriptors = [end.fileno() for end in theirs] + [own]
            passed = environment(policy, os.environ)
            self.process = execute(python, "broker", descriptors, (), passed, self.stderr)
        except BaseException:
            for opened in (*ours, self.stderr):
                opened.close()
            raise
        finally:
            os.close(own)
            for end in theirs:
                end.close()
        self.alive = os.pidfd_open(self.process.pid)
        self.broker = Trusted(ours[0], self.alive)
        self.channel = Trusted(ours[1], self.alive)
        try:
            self.launch(policy)
        except BaseException:
            self.close()
            raise

    def launch(self, policy: protocol.Policy) -> None:
        """Say what shall hold and wait for the answer. Raises HostFailure."""
        module: str | None = None
        try:
            words = protocol.VERSION, policy, *identity(), self.dialect, self.lent, self.read
            self.broker.send(protocol.Launch(*words))
            for _ in (protocol.PREFECT, *policy.preload, None):
                module = self.channel.receive(protocol.Preloading, START_SECONDS).module
            self.launched = self.channel.receive(protocol.Launched, START_SECONDS)
        except HostFailure as failure:
            if module is not None:
                raise PreloadFailed(module, failure) from None
            if isinstance(failure, ZygoteLost):
                self.explain(failure)
            raise

    def explain(self, lost: ZygoteLost) -> None:
        """Say why a zygote was lost: the broker's own word comes first, then what it printed."""
        with contextlib.suppress(ZygoteLost):
            self.broker.receive(protocol.Refused, 0.5)
        self.stderr.seek(0)
        printed = self.stderr.read()[-4000:].decode(errors="replace")
        step = f"{lost.step} ({self.python})"
        raise HostFailure(step, lost.errno, lost.guarantees, printed) from None

    def ask_folder(self, root: Root, *, temporary: bool = False) -> None:
        """Ask for a script's root; another folder at its path will be refused. Raises ZygoteLost.

        One that is ``temporary`` is removed if this process dies.
        """
        whose = (None, None) if root.reader is None else (root.reader.uid, root.reader.gid)
        where = root.path, os.fsencode(root.real), root.device, root.inode
        self.broker.send(protocol.OpenFolder(*where, temporary, *whose))

    def take_folder(self) -> int:
        """The folder that was asked for, as a descriptor for a worker. Raises HostFailure, ZygoteLost."""
        self.broker.receive(protocol.FolderOpened, FOLDER_SECONDS)
        return self.broker.receive_descriptors(1, FOLDER_SECONDS)[0]

    def ask(self) -> None:
        """Ask for one more worker, as ``Fork`` says. Raises ZygoteLost."""
        self.channel.send(protocol.Fork())

    def take(self) -> Worker:
        """A worker that was asked for. Raises HostFailure, ZygoteLost."""
        forked = self.channel.receive(protocol.Forked, FORK_SECONDS)
        return Worker(forked.number, *self.channel.receive_descriptors(FORKED_DESCRIPTORS, FORK_SECONDS))

    def close(self) -> None:
        """End the broker, and with it the zygote and all its workers; wait until the broker is reaped."""
        if self.owner == os.getpid():
            # Left to itself the broker ends whatever scripts that may start processes left behind.
            self.broker.end.close()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a file system
                    self.process.wait(STOP_SECONDS)
        for end in (self.broker.end, self.channel.end):
            end.close()
        with contextlib.suppress(OSError):
            os.close(self.alive)
        self.stderr.close()
