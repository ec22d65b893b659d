"""Imports once what a profile names for all its workers, and says what is wrong with a module that cannot be.

Runs beside foreign code only later: what is imported are the interpreter's own packages, before there is a
script. A process is forked safely and closely only while it has one thread and no descriptor that nobody
knows of, so each module is looked after.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import site
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from typing import Dict, List, Optional

from . import orphans
from .confine.kernel import StepFailed
from .plain import text, type_name

TROUBLE = 500
"""Characters kept of why an import failed."""
SCHEMES = ("stdlib", "platstdlib", "purelib", "platlib")


def bring(name: str) -> None:
    """Import one module. Raises StepFailed, whose step says why that may not be."""
    before, known = len(os.listdir("/proc/self/task")), descriptors()
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


def among_packages(spec: ModuleSpec) -> bool:
    """Whether a module is the interpreter's own, or installed for it."""
    if spec.origin in ("built-in", "frozen"):
        return True
    places: List[Optional[str]] = [spec.origin, *(spec.submodule_search_locations or ())]
    homes = [sysconfig.get_path(scheme) for scheme in SCHEMES]
    homes += site.getsitepackages([sys.prefix, sys.base_prefix])
    roots = tuple(os.path.realpath(home) + os.sep for home in homes)
    return all(os.path.realpath(place).startswith(roots) for place in places if place)
