"""The order of confinement, one visible list, and what each mechanism gives towards a guarantee.

Runs beside foreign code, and only before it. A policy says what must hold; ``LEVELS`` says which
mechanisms, when all are in force, make how much of it hold. A mechanism that cannot be had is noted,
not forgiven: whether the rest suffices is decided from the table, once, at the end.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Set, Tuple

from ..protocol import FULL, GUARANTEES, NONE, PARTIAL, Guarantee, Policy
from . import closed, identity, kernel, landlock, limits, mounts, seccomp
from .kernel import StepFailed

USER, MOUNT, PID, NETWORK = "user-namespace", "mount-namespace", "pid-namespace", "network-namespace"
IPC, UTS = "ipc-namespace", "uts-namespace"
LANDLOCK, LANDLOCK_NET, LANDLOCK_SCOPE = "landlock", "landlock-net", "landlock-scope"
SECCOMP, RLIMITS, CAPABILITIES, NO_NEW_PRIVS = "seccomp", "rlimits", "capabilities", "no_new_privs"
DESCRIPTORS, EXEC, SUPERVISOR = "descriptors", "exec", "supervisor"
NAMESPACES = (USER, MOUNT, PID, IPC, UTS)

LEVELS: Tuple[Tuple[str, str, Tuple[str, ...]], ...] = (
    ("filesystem", FULL, (MOUNT, LANDLOCK, DESCRIPTORS)),
    ("filesystem", PARTIAL, (LANDLOCK, DESCRIPTORS)),
    ("network", FULL, (SECCOMP,)),
    ("processes", FULL, (SECCOMP, USER, PID, RLIMITS)),
    ("processes", PARTIAL, (SECCOMP,)),
    ("memory", FULL, (RLIMITS,)),
    ("cpu", FULL, (RLIMITS,)),
    ("wall", FULL, (SUPERVISOR,)),
    ("open_files", FULL, (RLIMITS,)),
    ("output", FULL, (SUPERVISOR,)),
    ("result", FULL, (SUPERVISOR,)),
    ("environment", FULL, (EXEC,)),
    ("identity", FULL, (CAPABILITIES, NO_NEW_PRIVS)),
    ("visibility", FULL, (PID, MOUNT)),
    ("visibility", PARTIAL, (SECCOMP,)),
    ("syscalls", FULL, (SECCOMP,)),
)
"""Guarantee, level, the mechanisms that together give it; the first row that is met counts."""

ALSO = {
    "filesystem": (SECCOMP,),
    "network": (NETWORK, LANDLOCK_NET, LANDLOCK_SCOPE),
    "identity": (USER,),
    "visibility": (SECCOMP, LANDLOCK_SCOPE, IPC),
    "syscalls": (NO_NEW_PRIVS,),
}
"""Mechanisms that stand behind the first ones, and are named in a report when they are in force."""


def wants_namespaces(policy: Policy) -> bool:
    """Whether ``policy`` asks for what only namespaces give."""
    return policy.asks("filesystem", FULL) or policy.asks("visibility", FULL)


def levels(policy: Policy, in_force: Set[str]) -> Tuple[Guarantee, ...]:
    """How far each guarantee holds with the mechanisms ``in_force``."""
    return tuple(level_of(name, policy, in_force) for name in GUARANTEES)


def level_of(name: str, policy: Policy, in_force: Set[str]) -> Guarantee:
    """How far one guarantee holds: by the first row of the table that is met, or not at all."""
    if policy.asks(name):
        for guarantee, level, needed in LEVELS:
            if guarantee == name and in_force.issuperset(needed):
                also = tuple(item for item in ALSO.get(name, ()) if item in in_force and item not in needed)
                return Guarantee(name, level, needed + also)
    return Guarantee(name, NONE)


def unmet(policy: Policy, guarantees: Tuple[Guarantee, ...]) -> Tuple[str, ...]:
    """Required guarantees that hold less than ``policy`` demands."""
    rank = (NONE, PARTIAL, FULL)
    return tuple(
        item.name
        for item in guarantees
        if item.name in policy.required and rank.index(item.level) < rank.index(policy.demands[item.name])
    )


@dataclass
class Confinement:
    """One worker on its way in: what it was given, what is in force, what could not be had."""

    policy: Policy
    uid: int
    gid: int
    trees: List[mounts.Tree]
    shown: List[str]
    symlinks: List[Tuple[str, str]]
    program: bytes
    in_force: Set[str] = field(default_factory=set)
    failures: List[StepFailed] = field(default_factory=list)
    folder: Optional[mounts.Tree] = None
    rules: Optional[int] = None
    spaces: List[str] = field(default_factory=list)

    def walk(self, steps: Tuple[Step, ...]) -> None:
        """Take every step in order; a failed one is noted and the next is taken."""
        for step in steps:
            try:
                self.in_force.update(step(self))
            except StepFailed as failure:
                self.failures.append(failure)


Step = Callable[[Confinement], Tuple[str, ...]]
"""Does one thing to this process and returns the mechanisms that are in force by it."""


def private_view(worker: Confinement) -> Tuple[str, ...]:
    """Enter namespaces and a root that are this worker's alone; the script's folder is shown later."""
    if MOUNT not in worker.in_force:
        return ()
    options = {"subset": "pid", "hidepid": "ptraceable"}
    processes = kernel.procfs(options, "mount: proc")
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS, "worker: unshare user and mount namespaces")
    kernel.map_identity(worker.uid, worker.gid, processes)
    worker.in_force.discard(MOUNT)
    scratch, symlinks = worker.policy.scratch, worker.symlinks
    worker.spaces = mounts.build_private(worker.shown, processes, scratch, symlinks)
    identity.forget_bounding_set()
    return (MOUNT,)


def show_folder(worker: Confinement) -> Tuple[str, ...]:
    """Attach the script's folder and freeze the root; without mounts, see that the folder can be entered."""
    if MOUNT in worker.in_force:
        worker.in_force.discard(MOUNT)
        worker.spaces = mounts.finish(worker.shown, worker.spaces, worker.folder)
        return (MOUNT,)
    if worker.folder is not None:
        worker.folder = closed.lifted(worker.folder)
        if not closed.enterable(worker.folder):
            raise StepFailed(f"folder: enter {worker.folder.path}", errno.EACCES)
    return ()


def limit_resources(worker: Confinement) -> Tuple[str, ...]:
    """Set the resource limits, while they can still be read from /proc what is in use."""
    limits.apply(limits.plan(worker.policy, counted=MOUNT in worker.in_force))
    return (RLIMITS,)


def give_up_identity(worker: Confinement) -> Tuple[str, ...]:
    """Drop every capability for good; who is still root here must not go on."""
    if not worker.policy.asks("identity"):
        return ()
    if os.getuid() == 0:
        raise StepFailed("identity: still root", 0)
    identity.apply()
    return (CAPABILITIES, NO_NEW_PRIVS)


def make_rules(worker: Confinement) -> Tuple[str, ...]:
    """Have Landlock's rules ready: those for a private root do not depend on the script."""
    if MOUNT in worker.in_force and worker.policy.asks("filesystem"):
        worker.rules = rules(worker)
    return ()


def rules(worker: Confinement) -> int:
    """Landlock's rules: for the private root, or for each readable tree where there is none."""
    plan = landlock.plan(worker.policy, landlock.abi())
    devices = [path for path in mounts.DEVICES if path != "/dev/random"]
    if MOUNT in worker.in_force:
        return landlock.made(plan, (), ["/"], [*devices, *worker.spaces])
    trees = [*worker.trees, *([worker.folder] if worker.folder else [])]
    named = [(tree.path, tree.descriptor) for tree in trees]
    return landlock.made(plan, named, ["/dev/random"], devices)


def restrict_files(worker: Confinement) -> Tuple[str, ...]:
    """Enforce Landlock's rules."""
    if not worker.policy.asks("filesystem"):
        return ()
    landlock.apply(rules(worker) if worker.rules is None else worker.rules)
    plan = landlock.plan(worker.policy, landlock.abi())
    names = [LANDLOCK]
    names += [LANDLOCK_NET] if plan.net else []
    names += [LANDLOCK_SCOPE] if plan.scoped else []
    return tuple(names)


def let_go(worker: Confinement) -> Tuple[str, ...]:
    """Close what Landlock's rules were made from, but for the only way into a closed folder.

    With mounts it was closed when it was attached.
    """
    if MOUNT not in worker.in_force:
        for tree in (*worker.trees, *([worker.folder] if worker.folder else [])):
            if not closed.is_closed(tree):
                os.close(tree.descriptor)
    return ()


def filter_calls(worker: Confinement) -> Tuple[str, ...]:
    """Load the filter of system calls that the zygote compiled."""
    if not worker.program:
        return ()
    seccomp.apply(worker.program, os.getpid())
    return (SECCOMP,)


BEFORE_SCRIPT_IS_KNOWN: Tuple[Step, ...] = (private_view, make_rules)
ONCE_SCRIPT_IS_KNOWN: Tuple[Step, ...] = (
    show_folder,
    limit_resources,
    give_up_identity,
    restrict_files,
    let_go,
    filter_calls,
)
"""The filter comes last: it forbids what the steps before it need."""
