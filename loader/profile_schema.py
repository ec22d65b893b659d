"""What a profile may say: each guarantee's keys and their bounds. Pure.

The neutral value of a key is what a policy holds when its guarantee is not asked for: as much as any
profile could allow. Lists and the scratch space are empty, because what they give must be named.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
DAY = 86_400
OURS = ("loader", "worker")
UNITS = MappingProxyType({"GiB": GIB, "MiB": MIB, "KiB": KIB})

Reader = Callable[[Any], Any]
"""A value from YAML to the policy's value. Raises ValueError that says what it must be."""


@dataclass(frozen=True)
class Value:
    """One key of a guarantee. ``field`` is its name in the policy."""

    field: str
    read: Reader
    neutral: Any


def number(low: float, high: float, unit: str = "", *, whole: bool = True) -> Reader:
    """A reader of numbers from ``low`` to ``high``, both allowed."""
    kind = f"a {'whole ' if whole else ''}number{' of ' + unit if unit else ''}"

    def reader(value: Any) -> int | float:
        if type(value) is not int and (whole or type(value) is not float or not math.isfinite(value)):
            raise ValueError(f"must be {kind}")
        if not low <= value <= high:
            raise ValueError(f"must be {kind} from {low} to {high}")
        return value if whole else float(value)

    return reader


def size(low: int, high: int) -> Reader:
    """A reader of sizes in bytes from ``low`` to ``high``, both allowed."""

    def reader(value: Any) -> int:
        match = re.fullmatch(r"([0-9]{1,15}) ?(KiB|MiB|GiB)", value) if type(value) is str else None
        if match:
            value = int(match[1]) * UNITS[match[2]]
        if type(value) is not int:
            raise ValueError("must be a size such as '64 MiB', or plain bytes")
        if not low <= value <= high:
            raise ValueError(f"must be a size from {in_words(low)} to {in_words(high)}")
        return value

    return reader


def choice(*allowed: str) -> Reader:
    """A reader of one of a few words."""

    def reader(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be {' or '.join(map(repr, allowed))}")
        return str(value)

    return reader


def text(value: Any) -> str:
    """Read a line of text."""
    if type(value) is not str or not value.strip() or "\n" in value:
        raise ValueError("must be a line of text")
    return value


def flag(value: Any) -> bool:
    """Read a truth value."""
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def paths(value: Any) -> tuple[str, ...]:
    """Read a list of absolute paths. Two slashes at the beginning are one, which POSIX leaves open."""
    for item in _texts(value, "a list of absolute paths"):
        if not item.startswith("/") or "\0" in item or ".." in item.split("/"):
            raise ValueError(f"must be a list of absolute paths without '..'; {item!r} is not one")
        if not item.strip("/."):
            raise ValueError("must not hold '/', which is every file; name the folders that are needed")
    return tuple(posixpath.normpath(item).replace("//", "/") for item in value)


def names(value: Any) -> tuple[str, ...]:
    """Read a list of environment variables that do not steer how a program starts."""
    for item in _texts(value, "a list of variable names"):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", item):
            raise ValueError(f"must be a list of variable names; {item!r} is not one")
        if item.startswith(("LD_", "PYTHON", "GLIBC_", "MALLOC_")):
            raise ValueError(f"must not hold {item!r}, which would change how the worker itself starts")
    return tuple(value)


def modules(value: Any) -> tuple[str, ...]:
    """Read a list of modules that a zygote may import."""
    for item in _texts(value, "a list of modules"):
        if not all(part.isidentifier() for part in item.split(".")):
            raise ValueError(f"must be a list of modules such as 'pandas'; {item!r} is not one")
        if item.split(".")[0] in OURS:
            raise ValueError(f"must not hold {item!r}, which no script can import")
    return tuple(value)


def _texts(value: Any, expected: str) -> list[str]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise ValueError(f"must be {expected}")
    if len(set(value)) < len(value):
        raise ValueError(f"must be {expected}, each only once")
    return value


def in_words(value: int) -> str:
    """A number of bytes in the largest unit that divides it: ``64 MiB``."""
    for unit, factor in UNITS.items():
        if value and value % factor == 0:
            return f"{value // factor} {unit}"
    return f"{value} bytes"


HOLD = choice("required", "best-effort")
LEVEL = choice("full", "partial")

VALUES: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {
        "filesystem": {
            "read": Value("read", paths, ()),
            "scratch": Value("scratch", size(0, 64 * GIB), 0),
        },
        "network": {"outbound": Value("outbound", flag, True)},
        "processes": {
            "count": Value("processes", number(0, 65_535), 65_535),
            "threads": Value("threads", number(1, 65_535), 65_535),
        },
        "memory": {"size": Value("memory", size(32 * MIB, TIB), TIB)},
        "cpu": {"seconds": Value("cpu", number(1, DAY, "seconds"), DAY)},
        "wall": {"seconds": Value("wall", number(0.001, DAY, "seconds", whole=False), float(DAY))},
        "open_files": {
            "count": Value("open_files", number(32, 1 << 20), 1 << 20),
            "file_size": Value("file_size", size(0, TIB), TIB),
        },
        "output": {"size": Value("output", size(0, 64 * MIB), 64 * MIB)},
        "result": {"size": Value("result", size(4 * KIB, 64 * MIB), 64 * MIB)},
        "environment": {"pass": Value("environment", names, ())},
        "identity": {},
        "visibility": {},
        "syscalls": {},
    }
)
"""For each guarantee its keys besides ``hold`` and ``level``."""
