"""What the kernel says of a worker, against what the profile requires: read before the script is sent."""

from __future__ import annotations

import os
from dataclasses import dataclass

from worker.protocol import FULL, NONE, PARTIAL, Guarantee, Policy

RANK = {NONE: 0, PARTIAL: 1, FULL: 2}
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")
SLACK = 1 << 20
FILTERED = "2"
"""``SECCOMP_MODE_FILTER`` in /proc/PID/status."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What /proc shows of one process: its status lines, its namespaces' identities, its hard limits."""

    status: dict[str, str]
    namespaces: dict[str, str]
    limits: dict[str, str]


def facts(pid: int) -> Facts:
    """What the kernel says of process ``pid``. Raises OSError when it is gone or not ours to look at."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        status = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        limits = {line[:26].strip(): line[47:68].strip() for line in file}
    return Facts(status=status, namespaces=namespaces(pid), limits=limits)


def namespaces(pid: int) -> dict[str, str]:
    """Each namespace's identity, as the kernel writes it."""
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}


def objections(policy: Policy, claimed: tuple[Guarantee, ...], seen: Facts, own: dict[str, str]) -> list[str]:
    """Where the worker's word falls short of the policy, or the kernel contradicts it.

    ``own`` are the supervisor's namespaces.
    """
    levels = {item.name: item.level for item in claimed}
    found = [
        f"{name} holds {levels.get(name, NONE)}, not {policy.demands[name]}"
        for name in policy.required
        if RANK.get(levels.get(name, NONE), 0) < RANK[policy.demands[name]]
    ]
    if "identity" in policy.required:
        found += identity(seen)
    if levels.get("syscalls") == FULL and seen.status.get("Seccomp") != FILTERED:
        found.append("no seccomp filter is in force")
    private = own_namespaces(policy)
    if private and int(seen.status.get("CapBnd", "1"), 16):
        found.append("CapBnd is not empty")
    found += [
        f"its {name} namespace is the supervisor's" for name in private if seen.namespaces[name] == own[name]
    ]
    found += [
        f"{line} is {seen.limits.get(line)}, not {wanted} at most"
        for guarantee, line, wanted in ceilings(policy, held(seen))
        if guarantee in policy.required and not within(seen.limits.get(line, ""), wanted)
    ]
    return found


def own_namespaces(policy: Policy) -> tuple[str, ...]:
    """The namespaces that a worker of ``policy`` must not share with its supervisor."""
    full = {name for name in policy.required if policy.asks(name, FULL)}
    if "visibility" in full:
        return tuple(name for name in NAMESPACES if name != "net" or not policy.outbound)
    return ("user", "mnt") if "filesystem" in full else ()


def identity(seen: Facts) -> list[str]:
    """Why the process is not without rights."""
    found = []
    if "0" in seen.status.get("Uid", "0").split():
        found.append("it is root")
    if seen.status.get("NoNewPrivs") != "1":
        found.append("it can gain privileges")
    found += [f"{name} is not empty" for name in CAPABILITY_SETS if int(seen.status.get(name, "1"), 16)]
    return found


def held(seen: Facts) -> int:
    """Bytes of address space that the process has."""
    size = seen.status.get("VmSize", "0 kB").split()[0]
    return int(size) * 1024 if size.isdigit() else 0


def ceilings(policy: Policy, held: int) -> tuple[tuple[str, str, int], ...]:
    """The hard limits that the policy implies: guarantee, line of /proc/PID/limits, most.

    Address space and processor time come on top of what the worker had used when it was confined.
    """
    return (
        ("memory", "Max address space", policy.memory + held + SLACK),
        ("cpu", "Max cpu time", policy.cpu + 60),
        ("open_files", "Max open files", policy.open_files),
        ("open_files", "Max file size", policy.file_size),
        ("open_files", "Max core file size", 0),
    )


def within(limit: str, most: int) -> bool:
    """Whether a limit, as /proc writes it, is a number and not above ``most``; ``unlimited`` is none."""
    return limit.isdigit() and int(limit) <= most
