"""Reaches an interpreter or a folder that lies in someone's closed home, where nothing can be mounted.

Runs beside foreign code. A process that gave up root may not walk through a folder of mode 0700, but a
descriptor that was opened before leads past it: ``/proc/self/fd/N`` stands for the folder itself. It
opens no more than Landlock grants.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import Dict, Iterable

from .kernel import StepFailed
from .mounts import Tree, lies_in

SLOT = 200
"""Descriptors that stay open for a detour go above this number, out of a script's way."""


def is_closed(tree: Tree) -> bool:
    """Whether this process can reach ``tree`` by its descriptor only."""
    return os.path.isdir(by_descriptor(tree)) and not os.access(tree.path, os.R_OK | os.X_OK)


def by_descriptor(tree: Tree) -> str:
    """The path that its descriptor is."""
    return f"/proc/self/fd/{tree.descriptor}"


def detours(trees: Iterable[Tree]) -> Dict[str, str]:
    """The trees that this process cannot reach by their path, and the path that leads there."""
    return {tree.path: by_descriptor(tree) for tree in trees if is_closed(tree)}


def lifted(tree: Tree) -> Tree:
    """``tree``, with its descriptor at a high number if it must stay open. Raises StepFailed."""
    if not is_closed(tree):
        return tree
    try:
        high = fcntl.fcntl(tree.descriptor, fcntl.F_DUPFD_CLOEXEC, SLOT)
    except OSError as error:
        raise StepFailed(f"folder: keep {tree.path} open", error.errno or 0) from error
    os.close(tree.descriptor)
    return Tree(tree.path, high)


def enterable(folder: Tree) -> bool:
    """Whether this process may list and enter ``folder`` itself, whatever lies above it."""
    return os.access(by_descriptor(folder), os.R_OK | os.X_OK)


def by_detour(path: str, known: Dict[str, str]) -> str:
    """``path``, or the way round to it."""
    for closed, way in known.items():
        if lies_in(path, closed):
            return way + path[len(closed) :]
    return path


def redirect_imports(known: Dict[str, str]) -> None:
    """Let what is imported from here on be found by the detours."""
    if not known:
        return
    sys.path[:] = [by_detour(entry, known) for entry in sys.path]
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [by_detour(entry, known) for entry in places]
    sys.path_importer_cache.clear()
