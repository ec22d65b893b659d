"""Tries each mechanism of confinement in a child of its own and says what the kernel answered.

Runs beside foreign code never: it serves the command that inspects a host. A mechanism counts as there
when it took effect, not when a version number says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import traceback
from typing import Callable, Dict, NoReturn

from . import confine, protocol
from .channel import Channel
from .confine import identity, kernel, landlock, mounts, seccomp
from .confine.kernel import StepFailed

PROBE_POLICY = protocol.Policy(
    profile="probe",
    demands={"syscalls": protocol.FULL},
    required=(),
    read=(),
    scratch=0,
    outbound=False,
    processes=0,
    threads=16,
    memory=1 << 28,
    cpu=10,
    wall=10.0,
    open_files=64,
    file_size=1 << 20,
    output=4096,
    result=4096,
    environment=(),
)


class Ineffective(Exception):
    """The kernel accepted a mechanism that then took nothing away."""


def user_namespace(uid: int, gid: int) -> str:
    """Whether an ordinary user may make a user namespace and be himself in it."""
    kernel.unshare(kernel.CLONE_NEWUSER, "user namespace: unshare")
    kernel.map_identity(uid, gid)
    return ""


def inner(flag: int, name: str) -> Callable[[int, int], str]:
    """A probe of one namespace inside a user namespace."""

    def probe(uid: int, gid: int) -> str:
        user_namespace(uid, gid)
        kernel.unshare(flag, f"{name} namespace: unshare")
        return ""

    return probe


def mount_namespace(uid: int, gid: int) -> str:
    """Whether a root can be built and entered, with the old one out of sight."""
    user_namespace(uid, gid)
    kernel.unshare(kernel.CLONE_NEWNS, "mount namespace: unshare")
    kernel.make_private("mount namespace: make private")
    tree = kernel.clone_tree("/", "mount: open /")
    kernel.restrict_mount(tree, kernel.MOUNT_RDONLY, "mount: make / read-only")
    root = mounts.private_root(16)
    kernel.attach(root, "/", "mount: attach the private root")
    kernel.enter_root(root, "mount: private root")
    if os.listdir("/"):
        raise Ineffective("the old root is still in sight")
    return ""


def pid_namespace(uid: int, gid: int) -> str:
    """Whether processes can be started in a PID namespace of their own."""
    user_namespace(uid, gid)
    init = kernel.Init()
    init.end()
    return ""


def mapped_mounts(uid: int, gid: int) -> str:
    """Whether a mount can show its owner's files as ours; only root can have it."""
    kernel.unshare(kernel.CLONE_NEWNS, "idmap: unshare")
    kernel.make_private("idmap: make private")
    mapping = mounts.Owners(uid, gid).namespace(0, 0)
    tree = kernel.clone_tree(os.path.dirname(os.path.abspath(__file__)), "idmap: open")
    kernel.restrict_mount(tree, kernel.MOUNT_IDMAP, "idmap: map", recursive=False, userns=mapping)
    return ""


def landlock_rules(_uid: int, _gid: int) -> str:
    """Whether Landlock refuses what no rule grants; says which ABI, and what that lacks."""
    abi = landlock.abi()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, "no_new_privs: set")
    landlock.apply(landlock.made(landlock.plan(PROBE_POLICY, abi), (), (), ()))
    try:
        os.listdir("/")
    except PermissionError:
        missing = [name for name, least in (("net", 4), ("scope", 6)) if abi < least]
        return f"ABI {abi}" + (f", without {' and '.join(missing)}" if missing else "")
    raise Ineffective("a folder could still be listed")


def seccomp_filter(_uid: int, _gid: int) -> str:
    """Whether a real program of ours is accepted and refuses a socket."""
    program = seccomp.plan(PROBE_POLICY)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, "no_new_privs: set")
    seccomp.apply(program, os.getpid())
    try:
        socket.socket()
    except PermissionError:
        return f"{len(program) // 8} instructions"
    raise Ineffective("a socket could still be made")


def resource_limits(_uid: int, _gid: int) -> str:
    """Whether address space can be limited."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
    try:
        bytearray(1 << 29)
    except MemoryError:
        return ""
    raise Ineffective("more memory than the limit could be had")


def no_privileges(_uid: int, _gid: int) -> str:
    """Whether privileges can be given up for good."""
    identity.apply()
    return ""


PROBES: Dict[str, Callable[[int, int], str]] = {
    confine.USER: user_namespace,
    confine.MOUNT: mount_namespace,
    confine.PID: pid_namespace,
    confine.NETWORK: inner(kernel.CLONE_NEWNET, "network"),
    confine.IPC: inner(kernel.CLONE_NEWIPC, "ipc"),
    confine.UTS: inner(kernel.CLONE_NEWUTS, "uts"),
    "identity-mapped-mounts": mapped_mounts,
    confine.LANDLOCK: landlock_rules,
    confine.SECCOMP: seccomp_filter,
    confine.RLIMITS: resource_limits,
    confine.NO_NEW_PRIVS: no_privileges,
}
ROOT_ONLY = ("identity-mapped-mounts",)


def attempt(name: str, uid: int, gid: int) -> protocol.Probed:
    """One probe, in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = run_probe(name, uid, gid)
        os.write(writing, protocol.encode(answer))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    for body in protocol.Reader(protocol.CONTROL_CAP).feed(data):
        return protocol.trusted(protocol.Probed, protocol.decode(body))
    return protocol.Probed(name, False, f"{name}: ended with status {status}", 0, "")


def run_probe(name: str, uid: int, gid: int) -> protocol.Probed:
    """In the child: as a worker's identity, unless only root can have it."""
    try:
        if os.geteuid() == 0 and name not in ROOT_ONLY:
            identity.become(uid, gid)
        return protocol.Probed(name, True, "", 0, PROBES[name](uid, gid))
    except StepFailed as failure:
        return protocol.Probed(name, False, failure.step, failure.errno, os.strerror(failure.errno))
    except (Ineffective, OSError, ctypes.ArgumentError) as error:
        number = getattr(error, "errno", None) or errno.ENOTSUP
        return protocol.Probed(name, False, f"{name}: took no effect", number, str(error))


def run(descriptor: int, uid: int, gid: int) -> NoReturn:
    """Send a ``Probed`` for each mechanism and end. Never returns."""
    code = 0
    try:
        channel = Channel(descriptor)
        for name in PROBES:
            if name in ROOT_ONLY and os.geteuid() != 0:
                continue
            channel.send(attempt(name, uid, gid))
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)
