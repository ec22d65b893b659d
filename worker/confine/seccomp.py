"""Takes away every system call that computing does not need: an allowlist with argument checks.

Runs beside foreign code. ``plan`` compiles the policy to classic BPF, purely; ``apply`` loads it into
the calling process. What is not listed answers EPERM; what did not exist when the table was made
answers ENOSYS, so that a C library falls back to what it used before.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from ..protocol import FULL, Policy
from . import kernel
from .syscalls import HIGHEST, MACHINE, MACHINES, numbers

FILES = (
    "access chdir close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 "
    "fallocate fchdir fdatasync fstat fstatfs fsync ftruncate getcwd getdents getdents64 link linkat "
    "lseek lstat mkdir mkdirat newfstatat open openat openat2 pread64 preadv pwrite64 pwritev read readahead "
    "readlink readlinkat readv rename renameat renameat2 rmdir sendfile stat statfs statx symlink symlinkat "
    "sync_file_range umask unlink unlinkat write writev"
).split()
CHANGES = "chmod fchmod fchmodat fchmodat2 futimesat truncate utime utimensat utimes".split()
"""What Landlock lets pass, on some kernels or on all: for where nothing but the scratch space is writable."""
MEMORY = "brk madvise membarrier mincore mlock mmap mprotect mremap msync munlock munmap".split()
SIGNALS = (
    "pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait sigaltstack"
).split()
SELF = (
    "exit exit_group futex futex_waitv get_robust_list getcpu getegid geteuid getgid getgroups getpgid "
    "getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid "
    "getuid rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam "
    "sched_getscheduler sched_yield set_robust_list set_tid_address sysinfo times uname wait4 waitid"
).split()
TIME = (
    "alarm getitimer gettimeofday nanosleep setitimer time "
    "timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime "
    "timerfd_settime"
).split()
WAITING = (
    "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pipe pipe2 "
    "poll ppoll pselect6 select"
).split()
SOCKETS = "getpeername getsockname shutdown".split()
PROCESSES = "execve execveat fork setpgid setsid vfork".split()
XATTR = (
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr "
    "lsetxattr removexattr setxattr"
).split()

CLONE_PARENT = 0x00008000
CLONE_THREAD = 0x00010000
CLONE_NAMESPACES = 0x7E020000
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
SOCK_TYPE, SOCK_STREAM, SOCK_DGRAM = 0xF, 1, 2
ANY_IP, IPPROTO_TCP, IPPROTO_UDP = 0, 6, 17
TERMINAL_AND_FILE_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
HARMLESS_PRCTLS = (3, 15, 16, 23, 39, 0x53564D41)
"""GET_DUMPABLE, SET_NAME, GET_NAME, CAPBSET_READ, GET_NO_NEW_PRIVS, SET_VMA."""
HARMLESS_FCNTLS = (0, 1, 2, 3, 4, 5, 36, 1030, 1032, 1034)
"""Descriptors, flags and who holds a lock; not SETOWN and SETSIG, which make the kernel signal others."""
LOCK_FCNTLS = (6, 7, 37, 38)
"""Taking locks: on a file that others can open it would hold them up, and what a worker writes is its own."""
SOL_SOCKET, IPPROTO_IPV6 = 1, 41
SOCKET_OPTIONS = (2, 3, 4, 7, 8, 9, 20, 21, 30, 38, 39, 66, 67)
"""REUSEADDR, TYPE, ERROR, SNDBUF, RCVBUF, KEEPALIVE, time limits, ACCEPTCONN, PROTOCOL, DOMAIN: read only,
but for those of SETTABLE. None gives a descriptor, waits at the end, or takes the kernel's memory."""
SETTABLE = (2, 9, 20, 21, 66, 67)
TCP_OPTIONS, IPV6_OPTIONS = (1, 4, 5, 6, 18), (26,)
"""NODELAY, keep-alive times, USER_TIMEOUT; V6ONLY."""
SEND_FLAGS = 0x40 | 0x80 | 0x4000 | 0x8000
"""DONTWAIT, EOR, NOSIGNAL, MORE; no OOB."""
RECEIVE_FLAGS = 0x02 | 0x20 | 0x40 | 0x100 | 0x4000 | 0x10000 | 0x40000000
"""PEEK, TRUNC, DONTWAIT, WAITALL, NOSIGNAL, WAITFORONE, CMSG_CLOEXEC; no OOB."""
FOREIGN_CLOCK = 0x80000000
"""Set in the numbers of the clocks that measure a process, which may be another's."""

PID_SLOT = 0x7FFFFFF1
"""Stands in a compiled program for the worker's own process id, which is known only after the fork."""

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, JUMP_EQ, JUMP_GT, JUMP_GE, AND, RETURN = 0x20, 0x15, 0x25, 0x35, 0x54, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
FILTER_FLAG_TSYNC = 1
SET_MODE_FILTER = 1


@dataclass(frozen=True)
class Among:
    """The low half of argument ``index``, masked, is one of ``values``: the kernel reads ints that way."""

    index: int
    values: Tuple[int, ...]
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True)
class Null:
    """Argument ``index``, a pointer, is null in all its 64 bits."""

    index: int


Alternative = Tuple[object, ...]
"""Conditions that must all hold."""


@dataclass(frozen=True)
class Rules:
    """What a policy lets a process call, by name.

    What is ``pretended`` answers that it was done, and so does what has 0 in ``errors``.
    """

    allowed: Tuple[str, ...]
    conditional: Dict[str, Tuple[Alternative, ...]]
    pretended: Dict[str, Tuple[Alternative, ...]]
    errors: Dict[str, int]


def none_of(index: int, forbidden: int) -> Among:
    """Argument ``index`` has no bit of ``forbidden``."""
    return Among(index, (0,), forbidden & 0xFFFFFFFF)


def options(settable: bool) -> Tuple[Alternative, ...]:
    """Socket options that may be set, or read."""
    general = Among(2, SETTABLE if settable else SOCKET_OPTIONS)
    return (
        (Among(1, (SOL_SOCKET,)), general),
        (Among(1, (IPPROTO_TCP,)), Among(2, TCP_OPTIONS)),
        (Among(1, (IPPROTO_IPV6,)), Among(2, IPV6_OPTIONS)),
    )


def rules(policy: Policy) -> Rules:
    """The system calls that ``policy`` leaves, and under which conditions."""
    allowed = [*FILES, *MEMORY, *SIGNALS, *SELF, *TIME, *WAITING, *SOCKETS]
    own = Among(0, (PID_SLOT,))
    conditional: Dict[str, Tuple[Alternative, ...]] = {
        "clone": ((Among(0, (CLONE_THREAD,), CLONE_THREAD | CLONE_NAMESPACES),),),
        "fcntl": ((Among(1, HARMLESS_FCNTLS),),),
        "ioctl": ((Among(1, TERMINAL_AND_FILE_IOCTLS),),),
        "kill": ((own,),),
        "prctl": ((Among(0, HARMLESS_PRCTLS),),),
        "prlimit64": ((Among(0, (0, PID_SLOT)), Null(2)),),
        "getsockopt": options(settable=False),
        "setsockopt": options(settable=True),
        "sendto": ((Null(4), none_of(3, ~SEND_FLAGS)),),
        "recvfrom": ((none_of(3, ~RECEIVE_FLAGS),),),
        "socketpair": ((Among(0, (AF_UNIX,)), Among(1, (SOCK_STREAM,), SOCK_TYPE)),),
        "tgkill": ((own,),),
    }
    for name in ("clock_getres", "clock_gettime", "clock_nanosleep", "timer_create"):
        conditional[name] = ((none_of(0, FOREIGN_CLOCK),),)
    if policy.asks("filesystem", FULL):
        allowed += CHANGES
    if policy.outbound:
        allowed.append("connect")
        for name, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
            conditional[name] = ((none_of(index, ~SEND_FLAGS),),)
        for name, index in (("recvmsg", 2), ("recvmmsg", 3)):
            conditional[name] = ((none_of(index, ~RECEIVE_FLAGS),),)
        internet = Among(0, (AF_INET, AF_INET6))
        kinds = Among(1, (SOCK_STREAM, SOCK_DGRAM), SOCK_TYPE)
        conditional["socket"] = ((internet, kinds, Among(2, (ANY_IP, IPPROTO_TCP, IPPROTO_UDP))),)
    if policy.processes:
        allowed += PROCESSES
        # A child of its parent's would be the zygote's, which knows nothing of it and never reaps it.
        conditional["clone"] = ((Among(0, (0,), CLONE_NAMESPACES | CLONE_PARENT),),)
        if policy.asks("visibility", FULL):
            # All that can be seen are the worker's own children and its idle first process.
            del conditional["kill"], conditional["tgkill"]
            allowed += ["kill", "tgkill"]
    errors = dict.fromkeys(XATTR, errno.ENOTSUP)
    errors["clone3"] = errno.ENOSYS
    errors["flock"] = 0
    pretended: Dict[str, Tuple[Alternative, ...]] = {"fcntl": ((Among(1, LOCK_FCNTLS),),)}
    return Rules(tuple(allowed), conditional, pretended, errors)


Instruction = Tuple[int, int, int, int]


def check(condition: object, failed: int) -> List[Instruction]:
    """Instructions that go on when ``condition`` holds and jump ``failed`` further when it does not."""
    if isinstance(condition, Null):
        low, high = (ARGUMENTS + 8 * condition.index + half for half in (0, 4))
        return [
            (LOAD, 0, 0, low),
            (JUMP_EQ, 0, failed + 2, 0),
            (LOAD, 0, 0, high),
            (JUMP_EQ, 0, failed, 0),
        ]
    assert isinstance(condition, Among)
    values = condition.values
    code: List[Instruction] = [(LOAD, 0, 0, ARGUMENTS + 8 * condition.index)]
    if condition.mask != 0xFFFFFFFF:
        code.append((AND, 0, 0, condition.mask))
    for index, value in enumerate(values):
        left = len(values) - 1 - index
        code.append((JUMP_EQ, left, failed if left == 0 else 0, value))
    return code


def alternative(conditions: Alternative, verdict: int = ALLOW) -> List[Instruction]:
    """Return ``verdict`` when every condition holds; else go on behind this block."""
    code: List[Instruction] = [(RETURN, 0, 0, verdict)]
    for condition in reversed(conditions):
        code = check(condition, len(code)) + code
    return code


def ranges(values: Sequence[int]) -> List[Tuple[int, int]]:
    """Ascending, merged closed ranges."""
    merged: List[Tuple[int, int]] = []
    for value in sorted(set(values)):
        if merged and value == merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], value)
        else:
            merged.append((value, value))
    return merged


def compiled(rules: Rules, machine: str) -> bytes:
    """``rules`` as a classic BPF program for ``machine``. Raises KeyError for a machine we do not know."""
    known = numbers(machine)
    code: List[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQ, 1, 0, MACHINES[machine][1]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_GT, 0, 1, HIGHEST),
        (RETURN, 0, 0, ERRNO | errno.ENOSYS),
    ]
    for name, alternatives in sorted(rules.conditional.items()):
        feigned = rules.pretended.get(name, ())
        block = [step for item in feigned for step in alternative(item, ERRNO)]
        block += [step for item in alternatives for step in alternative(item)]
        block.append((RETURN, 0, 0, ERRNO | errno.EPERM))
        if name in known:
            code += [(JUMP_EQ, 0, len(block), known[name]), *block]
    for name, error in sorted(rules.errors.items()):
        if name in known:
            code += [(JUMP_EQ, 0, 1, known[name]), (RETURN, 0, 0, ERRNO | error)]
    for low, high in ranges([known[name] for name in rules.allowed if name in known]):
        code += [(JUMP_GE, 0, 2, low), (JUMP_GT, 1, 0, high), (RETURN, 0, 0, ALLOW)]
    code.append((RETURN, 0, 0, ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def plan(policy: Policy) -> bytes:
    """The program for ``policy`` on this machine; empty when no filter is asked for."""
    if not policy.asks("syscalls"):
        return b""
    if MACHINE not in MACHINES:
        raise kernel.StepFailed(f"seccomp: machine type {MACHINE}", errno.ENOSYS)
    return compiled(rules(policy), MACHINE)


class Program(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def apply(program: bytes, pid: int) -> None:
    """Load ``program`` into this process, for good; ``pid`` is the process's own id. Raises StepFailed."""
    program = program.replace(struct.pack("=I", PID_SLOT), struct.pack("=I", pid))
    text = ctypes.create_string_buffer(program, len(program))
    wanted = Program(len(program) // 8, ctypes.cast(text, ctypes.c_void_p))
    flags, program_at = FILTER_FLAG_TSYNC, ctypes.byref(wanted)
    kernel.syscall("seccomp", "seccomp: load filter", SET_MODE_FILTER, flags, program_at)
