"""Stands between the supervisor and a zygote: sees the host, opens folders read-only, and runs nothing.

Runs beside foreign code only in the sense that its grandchildren do. Started by a fresh exec, it makes
the namespaces that the policy wants, opens every tree that workers may read, forks the zygote into its
own namespaces, and from then on answers ``OpenFolder`` until the supervisor or the zygote is gone. Its
own death kills the zygote, and the zygote's kills every worker.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import traceback
from typing import Any, Dict, List, NoReturn, Optional, Set, Tuple, cast

from . import confine, orphans, protocol, zygote
from .channel import Channel, Closed
from .confine import exposure, identity, kernel, mounts
from .confine.kernel import StepFailed

INNER = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
ROOT = 0
READABLE = "filesystem.read"
"""How a step begins that is about what every script of a profile may read."""
DYING_SECONDS = 0.5
"""How long after the end of its channel a supervisor may still be seen alive that is not."""


def run(broker_descriptor: int, zygote_descriptor: int, supervisor: int) -> NoReturn:
    """The broker's life: two channels and a pidfd of the supervisor. Never returns."""
    channel = Channel(broker_descriptor)
    code = 1
    try:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1, "broker: become subreaper")
        launch = protocol.trusted(protocol.Launch, channel.receive())
        broker = Broker(launch, channel)
        try:
            broker.enter_namespaces()
            child = broker.fork_zygote(zygote_descriptor)
        except StepFailed as failure:
            unmet = broker.lost_with(failure)
            channel.send(protocol.Refused(unmet, failure.step, failure.errno, os.strerror(failure.errno)))
        else:
            os.close(zygote_descriptor)
            broker.serve(child, supervisor)
        code = 0
    except (Closed, BrokenPipeError, ConnectionResetError):
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


class Broker:
    """What one zygote's workers may be shown, and by what right."""

    def __init__(self, launch: protocol.Launch, channel: Channel) -> None:
        if launch.version != protocol.VERSION:
            raise protocol.Violation(f"cannot speak protocol {launch.version}: this is {protocol.VERSION}")
        self.policy = protocol.policy(launch.policy)
        self.uid, self.gid = launch.uid, launch.gid
        self.dialect, self.lent = launch.dialect, launch.lent
        self.read = [protocol.OpenFolder(**cast(Dict[str, Any], item)) for item in launch.read]
        self.channel = channel
        self.privileged = os.geteuid() == ROOT
        self.isolated = confine.wants_namespaces(self.policy)
        self.owners: Optional[mounts.Owners] = None
        self.temporary: Set[str] = set()

    def lost_with(self, failure: StepFailed) -> Tuple[str, ...]:
        """The required guarantees that do not hold without namespaces, identity, or what shall be read."""
        if failure.step.startswith(READABLE):
            return ("filesystem",)
        in_force = {confine.LANDLOCK, confine.DESCRIPTORS, confine.SECCOMP, confine.RLIMITS, confine.EXEC}
        in_force |= {confine.SUPERVISOR, confine.CAPABILITIES, confine.NO_NEW_PRIVS}
        if failure.step.startswith("identity"):
            in_force -= {confine.CAPABILITIES}
        return confine.unmet(self.policy, confine.levels(self.policy, in_force))

    def enter_namespaces(self) -> None:
        """A view of the host that nobody else shares, so that trees of it can be opened.

        Raises StepFailed.
        """
        if not self.isolated:
            return
        if self.privileged:
            kernel.unshare(kernel.CLONE_NEWNS, "mount namespace: unshare")
            self.owners = mounts.Owners(self.uid, self.gid)
        else:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS, "user namespace: unshare")
            kernel.map_identity(self.uid, self.gid)
        kernel.make_private("mount namespace: make private")

    def trees(self) -> List[mounts.Tree]:
        """Everything that workers may read before their script is known."""
        if not self.policy.asks("filesystem"):
            return []
        known = {item.path: item for item in self.read}
        return [self.listed(path, known.get(path)) for path in mounts.plan(self.policy, known)]

    def listed(self, path: str, wanted: Optional[protocol.OpenFolder]) -> mounts.Tree:
        """One tree of the plan, as the policy wants it, unless it shows the host. Raises StepFailed."""
        if wanted is None and mounts.is_system(path):
            return self.open(path)
        try:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC) if wanted is None else opened(wanted)
        except OSError as error:
            raise StepFailed(f"{READABLE}: open {path}", error.errno or 0) from error
        if folder is None:
            raise StepFailed(f"{READABLE} by others: {path} was exchanged while it was opened", 0)
        try:
            found = exposure.look(folder)
            if found.shows is not None:
                same = (item.path for item in self.read if wanted is not None and item.real == wanted.real)
                raise StepFailed(f"{READABLE}: {next(same, path)} shows the host, by {found.shows}", 0)
            # What is closed in it stays closed to others, unless they could not look into it at all.
            plain = wanted.plain if wanted is not None else False
            plain = plain or (self.lent and mounts.is_open(os.fstat(folder)))
            return self.open(path, folder, plain=plain, recursive=found.mounts)
        finally:
            os.close(folder)

    def open(
        self,
        path: str,
        folder: Optional[int] = None,
        whose: Optional[Tuple[int, int]] = None,
        *,
        plain: bool = False,
        recursive: bool = True,
    ) -> mounts.Tree:
        """One readable tree: a detached mount, or without namespaces the place itself. Raises StepFailed.

        ``folder`` is its descriptor, if it was opened, ``whose`` the owner and the group that are mapped: the
        folder's own unless told, and none if it is ``plain``.
        """
        at = None if folder is None else f"/proc/self/fd/{folder}"
        if self.isolated:
            return mounts.open_tree(path, None if plain else self.owners, at, whose, recursive=recursive)
        try:
            return mounts.Tree(path, os.open(at or path, os.O_PATH | os.O_CLOEXEC))
        except OSError as error:
            raise StepFailed(f"open {path}", error.errno or 0) from error

    def fork_zygote(self, zygote_descriptor: int) -> int:
        """Fork the zygote, through a child that enters its namespaces first; returns its pidfd."""
        trees = self.trees()
        if self.isolated:
            trees += [self.open(path) for path in mounts.DEVICES if os.path.exists(path)]
        symlinks = mounts.links((*mounts.SYSTEM, *mounts.interpreter_paths()))
        born, go = os.pipe(), os.pipe()
        between = os.fork()
        if between == 0:
            self.be_between(born, go, zygote_descriptor, trees, symlinks)
        os.close(born[1])
        os.close(go[0])
        for tree in trees:
            os.close(tree.descriptor)
        report = os.read(born[0], 4096)
        os.close(born[0])
        os.waitpid(between, 0)
        if not report.startswith(b"ok"):
            step, _, errno = report.decode().rpartition(":")
            raise StepFailed(step or "zygote: fork", int(errno or 0))
        pidfd = os.pidfd_open(int(report[2:]))
        # Only now is this process its parent, whose death it asks to be killed by.
        os.write(go[1], b"1")
        self.lifeline = go[1]
        return pidfd

    def be_between(
        self,
        born: Tuple[int, int],
        go: Tuple[int, int],
        zygote_descriptor: int,
        trees: List[mounts.Tree],
        symlinks: List[Tuple[str, str]],
    ) -> NoReturn:
        """In the child: change identity, enter the namespaces, fork the zygote and end. Never returns."""
        try:
            in_force = self.enter_inner()
            pid = os.fork()
        except (StepFailed, OSError) as error:
            step = error.step if isinstance(error, StepFailed) else "zygote: fork"
            os.write(born[1], f"{step}:{error.errno or 0}".encode())
            os._exit(1)
        if pid:
            os.write(born[1], f"ok{pid}".encode())
            os._exit(0)
        try:
            os.close(born[0])
            os.close(born[1])
            os.close(go[1])
            if not os.read(go[0], 1):
                os._exit(1)
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL, "zygote: parent death signal")
            channel = Channel(zygote_descriptor)
            self.channel.socket.close()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        standing = zygote.Zygote(self.policy, self.uid, self.gid, trees, symlinks, in_force, channel)
        zygote.run(standing, self.dialect)

    def enter_inner(self) -> Tuple[str, ...]:
        """Become the workers' identity and enter the zygote's namespaces. Raises StepFailed."""
        if self.privileged and self.policy.asks("identity"):
            identity.forget_bounding_set()
            identity.become(self.uid, self.gid)
        if not self.isolated:
            return ()
        flags = INNER if self.policy.outbound else INNER | kernel.CLONE_NEWNET
        kernel.unshare(flags, "namespaces: unshare")
        kernel.map_identity(self.uid, self.gid)
        network = () if self.policy.outbound else (confine.NETWORK,)
        return (*confine.NAMESPACES, *network)

    def serve(self, child: int, supervisor: int) -> None:
        """Open folders until the supervisor or the zygote is gone; then see the zygote dead."""
        poll = select.poll()
        for descriptor in (self.channel.fileno(), child, supervisor):
            poll.register(descriptor, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if child in ready or supervisor in ready:
                    return
                self.answer(protocol.trusted(protocol.OpenFolder, self.channel.receive()))
        finally:
            signal.pidfd_send_signal(child, signal.SIGKILL)
            os.waitid(os.P_PIDFD, child, os.WEXITED)
            orphans.end(set())
            left = [path for path in self.temporary if os.path.lexists(path)]
            if left and select.select([supervisor], [], [], DYING_SECONDS)[0]:
                for path in left:
                    shutil.rmtree(path, ignore_errors=True)

    def answer(self, wanted: protocol.OpenFolder) -> None:
        """One folder to the supervisor, or why not. What is judged is what was opened, not its path.

        Whatever is at the path instead, and be it nothing, is told in the same words.
        """
        if wanted.temporary:
            self.temporary = {path for path in self.temporary if os.path.lexists(path)} | {wanted.path}
        try:
            folder = opened(wanted)
            if folder is None:
                self.refuse(f"folder: {wanted.path} was exchanged while it was opened", 0)
                return
            try:
                self.show(wanted, folder)
            finally:
                os.close(folder)
        except StepFailed as failure:
            self.refuse(failure.step, failure.errno)
        except Exception as error:  # whatever it is about one folder, the others are served on
            self.refuse(f"folder: judge {wanted.path}", getattr(error, "errno", None) or 0)

    def show(self, wanted: protocol.OpenFolder, folder: int) -> None:
        """The folder that was opened at a path, unless it is the host. Raises StepFailed."""
        found, owner, group = exposure.look(folder), wanted.owner, wanted.group
        if found.shows is not None:
            self.refuse(f"folder: {wanted.path} holds the host, not a script", 0)
            return
        whose = None if owner is None or group is None else (owner, group)
        tree = self.open(wanted.path, folder, whose, recursive=found.mounts)
        try:
            self.channel.send(protocol.FolderOpened(), [tree.descriptor])
        finally:
            os.close(tree.descriptor)

    def refuse(self, step: str, errno: int) -> None:
        """Say that a folder cannot be had."""
        reason = os.strerror(errno) if errno else ""
        self.channel.send(protocol.Refused(("filesystem",), step, errno, reason))


def opened(wanted: protocol.OpenFolder) -> Optional[int]:
    """A descriptor of the very thing that is wanted; None if its names lead elsewhere, or by a link."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open("/", flags)
    for name in filter(None, wanted.real.split(b"/")):
        above = folder
        try:
            folder = os.open(name, flags, dir_fd=above)
        except (OSError, ValueError):
            return None
        finally:
            os.close(above)
    with contextlib.suppress(OSError):  # of a file system whose server has died
        status = os.fstat(folder)
        if (status.st_dev, status.st_ino) == (wanted.device, wanted.inode):
            return folder
    os.close(folder)
    return None
