"""Imports once what a profile names for all its workers, and says what is wrong with a module that cannot be.

Runs beside foreign code only later: what is imported are the interpreter's own packages, before there is a
script. A process is forked safely and closely only while it has one thread, no descriptor that nobody
knows of, and no memory that it and its forks write to together, so each module is looked after.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import site
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from typing import Dict, List, Optional, Set

from . import orphans
from .confine.kernel import StepFailed
from .plain import text, type_name

TROUBLE = 500
"""Characters kept of why an import failed."""
SCHEMES = ("stdlib", "platstdlib", "purelib", "platlib")


def bring(name: str) -> None:
    """Import one module. Raises StepFailed, whose step says why that may not be."""
    before, known, common = len(os.listdir("/proc/self/task")), descriptors(), shared()
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is not None and not among_packages(spec):
            raise StepFailed(f"it does not lie among the packages of {sys.executable}", 0)
        importlib.import_module(name)
    except StepFailed:
        raise
    except BaseException as error:  # a module may also end the process
        raise StepFailed(trouble(name, error), 0) from None
    threads = len(os.listdir("/proc/self/task")) - before
    if threads:
        raise StepFailed(f"it starts {threads} thread{'s' * (threads > 1)}, which forks do not have", 0)
    if orphans.given():
        raise StepFailed("it starts a process", 0)
    left = [place for number, place in descriptors().items() if number not in known]
    if left:
        raise StepFailed(f"it leaves open what every script would share: {', '.join(sorted(left))}", 0)
    if shared() - common:
        raise StepFailed("it holds memory that every script could write to, and read what others wrote", 0)


def trouble(name: str, error: BaseException) -> str:
    """Why a module cannot be imported, in words."""
    if isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition(".")[0]):
        return f"{sys.executable} has no module {error.name}"
    return f"it cannot be imported: {type_name(type(error))}: {text(error, TROUBLE)}"


def descriptors() -> Dict[str, str]:
    """What is open here, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # The one through which the list was read.
    return found


def shared() -> Set[str]:
    """The mappings here that a process and its forks write to together, or could."""
    mapping, found = "", set()
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            kind, *flags = line.split()
            if not kind.endswith(":"):
                mapping = line
            elif kind == "VmFlags:" and "sh" in flags:  # which a file that was opened to be read has not
                found.add(mapping)
    return found


def among_packages(spec: ModuleSpec) -> bool:
    """Whether a module is the interpreter's own, or installed for it."""
    if spec.origin in ("built-in", "frozen"):
        return True
    places: List[Optional[str]] = [spec.origin, *(spec.submodule_search_locations or ())]
    homes = [sysconfig.get_path(scheme) for scheme in SCHEMES]
    homes += site.getsitepackages([sys.prefix, sys.base_prefix])
    roots = tuple(os.path.realpath(home) + os.sep for home in homes)
    return all(os.path.realpath(place).startswith(roots) for place in places if place)
