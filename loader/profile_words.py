"""What a policy means, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from loader.profile_schema import in_words
from worker.protocol import GUARANTEES, PARTIAL, Policy

OPEN: Mapping[str, str] = MappingProxyType(
    {
        "filesystem": "can open whatever you can",
        "network": "can reach whatever you can",
        "processes": "can start any number of processes and threads",
        "memory": "can take all memory",
        "cpu": "can compute without limit",
        "wall": "can take as long as any profile may allow",
        "open_files": "can open any number of files, and write them at any size",
        "output": "kept up to the most that any profile may allow",
        "result": "answers with up to the most that any profile may allow",
        "environment": "no variable is passed on by name",
        "identity": "runs with your rights",
        "visibility": "can see and signal your other processes",
        "syscalls": "can ask anything of the kernel",
    }
)
"""What follows when a guarantee is not asked for."""


def describe(policy: Policy) -> str:
    """A line for each guarantee: whether it must hold, how far, and what it leaves the script; preloads."""
    lines = [_line(policy, guarantee) for guarantee in GUARANTEES]
    if policy.preload:
        lines.append(f"{'preload':<32}imports {', '.join(policy.preload)} once, before any script")
    return "\n".join(lines)


def _line(policy: Policy, guarantee: str) -> str:
    level = policy.demands.get(guarantee)
    if level is None:
        return f"{guarantee:<12}not asked for       {OPEN[guarantee]}"
    hold = "required" if guarantee in policy.required else "best-effort"
    return f"{guarantee:<12}{hold:<12}{level:<8}{ASKED[guarantee](policy)}"


def _filesystem(policy: Policy) -> str:
    places = ", ".join(("its own folder", "the interpreter", "system libraries", *policy.read))
    scratch = (
        f"has {in_words(policy.scratch)} of private scratch space" if policy.scratch else "writes nowhere"
    )
    seen = "; sees that other files exist" if policy.asks("filesystem", PARTIAL) else ""
    return f"reads {places}; {scratch}{seen}"


def _processes(policy: Policy) -> str:
    started = f"starts up to {policy.processes} processes" if policy.processes else "starts no process"
    return f"{started}; has up to {policy.threads} threads"


def _visibility(policy: Policy) -> str:
    if policy.asks("visibility", PARTIAL):
        return "cannot signal other processes; sees that they exist"
    return "can neither see nor signal other processes"


ASKED: Mapping[str, Callable[[Policy], str]] = MappingProxyType(
    {
        "filesystem": _filesystem,
        "network": lambda policy: "makes outbound connections" if policy.outbound else "reaches nothing",
        "processes": _processes,
        "memory": lambda policy: (
            f"takes up to {in_words(policy.memory)} of address space beyond the worker's own"
        ),
        "cpu": lambda policy: f"computes for up to {policy.cpu} seconds",
        "wall": lambda policy: f"ends within {policy.wall:g} seconds",
        "open_files": lambda policy: (
            f"holds up to {policy.open_files} files open; writes files of up to {in_words(policy.file_size)}"
        ),
        "output": lambda policy: (
            f"{in_words(policy.output)} each of standard output and standard error are kept"
        ),
        "result": lambda policy: f"answers with up to {in_words(policy.result)}",
        "environment": lambda policy: f"gets {', '.join(policy.environment) or 'no variable'}",
        "identity": lambda _: "is not root, has no capabilities and cannot gain either",
        "visibility": _visibility,
        "syscalls": lambda _: "makes only the system calls of an allowlist",
    }
)
"""What follows when it is asked for and holds."""
