"""Takes away opening, changing and linking of files, TCP, abstract sockets and signals to outsiders.

Runs beside foreign code. Inside a private root one rule for that root is enough: it is bound to the
root's own inode, so that a descriptor which leads elsewhere opens nothing. Without a private root
each readable tree gets a rule of its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from dataclasses import dataclass
from typing import Sequence, Tuple

from ..protocol import Policy
from . import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FILES_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
NET_BIND_TCP, NET_CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2
CREATE_VERSION, RULE_PATH_BENEATH = 1, 1

READ = READ_FILE | READ_DIR
FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


class RulesetAttributes(ctypes.Structure):
    """The kernel's ``struct landlock_ruleset_attr``."""

    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class PathBeneath(ctypes.Structure):
    """The kernel's ``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


@dataclass(frozen=True)
class Plan:
    """What a ruleset handles on a kernel of one ABI, and what is given back where."""

    files: int
    net: int
    scoped: int
    read: int
    write: int


def plan(policy: Policy, abi: int) -> Plan:
    """The ruleset of ``policy`` for Landlock ABI ``abi``, which is 1 or more."""
    files = FILES_BY_ABI[min(abi, 5)]
    net = 0
    if abi >= 4:
        net = NET_BIND_TCP if policy.outbound else NET_BIND_TCP | NET_CONNECT_TCP
    scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if abi >= 6 else 0
    read = (READ | EXECUTE) if policy.processes else READ
    return Plan(files, net, scoped, read, files & ~EXECUTE)


def abi() -> int:
    """The kernel's Landlock ABI. Raises StepFailed where there is none."""
    return kernel.syscall("landlock_create_ruleset", "landlock: version", None, 0, CREATE_VERSION)


def create(plan: Plan) -> int:
    """A ruleset's descriptor."""
    wanted = RulesetAttributes(plan.files, plan.net, plan.scoped)
    size = ctypes.sizeof(wanted)
    return kernel.syscall(
        "landlock_create_ruleset", "landlock: create ruleset", ctypes.byref(wanted), size, 0
    )


def allow(ruleset: int, descriptor: int, rights: int, name: str) -> None:
    """Give back ``rights`` at and below what ``descriptor`` is; ``name`` is for the error only."""
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= FILE_ONLY
    rule = PathBeneath(rights, descriptor)
    step = f"landlock: add rule: {name}"
    kernel.syscall("landlock_add_rule", step, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)


def allow_path(ruleset: int, path: str, rights: int) -> None:
    """As ``allow``, by path; a path that is not there needs no rule."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise kernel.StepFailed(f"landlock: add rule: {path}", error.errno or 0) from error
    try:
        allow(ruleset, descriptor, rights, path)
    finally:
        os.close(descriptor)


def made(
    plan: Plan, trees: Sequence[Tuple[str, int]], readable: Sequence[str], writable: Sequence[str]
) -> int:
    """A ruleset with its rules. ``trees`` are named descriptors, the rest paths. Raises StepFailed."""
    ruleset = create(plan)
    try:
        for name, descriptor in trees:
            allow(ruleset, descriptor, plan.read & plan.files, name)
        for path in readable:
            allow_path(ruleset, path, plan.read & plan.files)
        for path in writable:
            allow_path(ruleset, path, plan.write)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def apply(ruleset: int) -> None:
    """Restrict this process, for good, and close the ruleset. Raises StepFailed."""
    try:
        kernel.syscall("landlock_restrict_self", "landlock: restrict", ruleset, 0)
    finally:
        os.close(ruleset)
