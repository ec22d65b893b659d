"""The few kernel calls that Python's standard library lacks, each raising StepFailed with its name.

Runs beside foreign code, and only before it: everything here is called by trusted code while a
broker, a zygote or a worker is being confined.
"""

from __future__ import annotations

import ctypes
import errno as errnos
import os
import signal
import struct
from typing import Any, Optional

from .syscalls import NUMBERS

CLONE_VM = 0x00000100
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MOUNT_RDONLY, MOUNT_NOSUID, MOUNT_NODEV, MOUNT_NOEXEC, MOUNT_IDMAP = 0x1, 0x2, 0x4, 0x8, 0x100000
MS_PRIVATE = 1 << 18

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 1, 1, 6
MNT_DETACH = 2

INIT_STACK = 64 * 1024
SIGNAL_SET = 8
"""Bytes of a set of signals, as the kernel has it."""

libc = ctypes.CDLL(None, use_errno=True)


class StepFailed(Exception):
    """One named step of confinement failed: ``step`` reads like ``landlock: add rule: /usr``."""

    def __init__(self, step: str, errno: int) -> None:
        super().__init__(f"{step}: {errnos.errorcode.get(errno, errno)}")
        self.step = step
        self.errno = errno


class MountAttributes(ctypes.Structure):
    """The kernel's ``struct mount_attr``."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def checked(result: int, step: str) -> int:
    """``result``, or StepFailed with the thread's errno when it is negative."""
    if result < 0:
        raise StepFailed(step, ctypes.get_errno())
    return result


def syscall(name: str, step: str, *arguments: Any) -> int:
    """One system call by name; integers are passed as longs."""
    number = NUMBERS.get(name)
    if number is None:
        raise StepFailed(step, errnos.ENOSYS)
    longs = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return checked(libc.syscall(ctypes.c_long(number), *longs), step)


def prctl(option: int, value: int, step: str) -> None:
    """One ``prctl`` with a single argument. Raises StepFailed."""
    zero = ctypes.c_ulong(0)
    checked(libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), step)


# --- namespaces ----------------------------------------------------------------------------------


def unshare(flags: int, step: str) -> None:
    """Leave the namespaces of ``flags`` for new ones. Raises StepFailed."""
    checked(libc.unshare(ctypes.c_int(flags)), step)


def setns(descriptor: int, kind: int, step: str) -> None:
    """Enter the namespace, or that of the process, behind ``descriptor``. Raises StepFailed."""
    checked(libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), step)


def map_identity(uid: int, gid: int, directory: Optional[int] = None) -> None:
    """In a fresh user namespace: map one uid and one gid to themselves, for good.

    ``directory`` is a descriptor of a proc mount's root, for those who see no ``/proc``.
    """
    base = "self/" if directory is not None else "/proc/self/"
    lines = (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"))
    for name, text in lines:
        write_file(base + name, text, f"user namespace: write {name}", directory)


def write_file(path: str, text: str, step: str, directory: Optional[int] = None) -> None:
    """Write ``text`` in one call, as the kernel's own files want it. Raises StepFailed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StepFailed(step, error.errno or 0) from error


class Init:
    """First process of a new PID namespace, which does nothing: its death ends all others in there.

    It shares this process's memory and only ever sleeps in ``pause``, so it costs no page. A worker
    is not the first process itself because the kernel shields that one from its own signals. It has
    every signal blocked, so that nothing in its namespace can have it run a handler of this process's.
    """

    def __init__(self) -> None:
        self.stack = ctypes.create_string_buffer(INIT_STACK)
        top = (ctypes.addressof(self.stack) + INIT_STACK) & ~15
        pause = ctypes.cast(libc.pause, ctypes.c_void_p)
        flags = ctypes.c_int(CLONE_VM | CLONE_NEWPID | signal.SIGCHLD)
        held = block_signals(b"\xff" * SIGNAL_SET)
        try:
            self.pid = checked(libc.clone(pause, ctypes.c_void_p(top), flags, None), "pid namespace: clone")
        finally:
            block_signals(held)
        self.pidfd = os.pidfd_open(self.pid)

    def end(self) -> None:
        """Kill and reap it, and with it whatever is left in its namespace."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


def block_signals(mask: bytes) -> bytes:
    """Block the signals of ``mask``, also those that the C library keeps; returns what was blocked before."""
    before = ctypes.create_string_buffer(SIGNAL_SET)
    syscall("rt_sigprocmask", "signals: block", int(signal.SIG_SETMASK), mask, before, SIGNAL_SET)
    return before.raw


# --- mounts --------------------------------------------------------------------------------------


def clone_tree(path: str, step: str, *, recursive: bool = True) -> int:
    """A detached copy of the mount at ``path``, and of those below; returns its descriptor."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return syscall("open_tree", step, AT_FDCWD, os.fsencode(path), flags)


def attach(mount: int, path: str, step: str) -> None:
    """Attach a detached mount at ``path``."""
    syscall("move_mount", step, mount, b"", AT_FDCWD, os.fsencode(path), MOVE_MOUNT_F_EMPTY_PATH)


def detach(path: str, step: str) -> None:
    """Take the mount at ``path`` away."""
    checked(libc.umount2(os.fsencode(path), MNT_DETACH), step)


def restrict_mount(
    mount: int, attributes: int, step: str, *, recursive: bool = True, userns: int = 0
) -> None:
    """Add ``attributes`` to a mount given by descriptor; ``userns`` is the one of an identity mapping."""
    change = MountAttributes(attributes, 0, 0, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall("mount_setattr", step, mount, b"", flags, ctypes.byref(change), ctypes.sizeof(change))


def make_private(step: str) -> None:
    """Let no mount made from here on be seen outside."""
    change = MountAttributes(0, 0, MS_PRIVATE, 0)
    syscall("mount_setattr", step, AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(change), ctypes.sizeof(change))


def new_mount(kind: str, options: dict[str, str], attributes: int, step: str) -> int:
    """A new, detached file system of ``kind``; returns its descriptor."""
    context = syscall("fsopen", f"{step}: open", kind.encode(), FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            where = f"{step}: {key}"
            syscall("fsconfig", where, context, FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        syscall("fsconfig", f"{step}: create", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return syscall("fsmount", f"{step}: mount", context, FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def tmpfs(size: int, inodes: int, mode: str, attributes: int, step: str) -> int:
    """A new, detached file system in memory; ``size`` in bytes. Raises StepFailed."""
    options = {"size": str(size), "nr_inodes": str(inodes), "mode": mode}
    return new_mount("tmpfs", options, attributes | MOUNT_NOSUID, step)


def procfs(options: dict[str, str], step: str) -> int:
    """A new, detached view of the processes of this PID namespace. Raises StepFailed."""
    return new_mount("proc", options, MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC, step)


def enter_root(mount: int, step: str) -> None:
    """Make an attached mount the root of this mount namespace and let go of the old one for good."""
    os.fchdir(mount)
    syscall("pivot_root", f"{step}: pivot", b".", b".")
    checked(libc.umount2(b".", MNT_DETACH), f"{step}: detach the old root")
    os.chdir("/")


# --- identity ------------------------------------------------------------------------------------

CAPABILITY_VERSION_3 = 0x20080522


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(24)
    syscall("capset", "capabilities: drop", header, data)
