"""Whether a script needs the seed API where a newer Prefect is installed; this runs beside foreign code."""

from __future__ import annotations

import ast
import importlib.util
import re
from typing import Any, Iterator, Optional, Set, Tuple

from worker.dialects.orion.public import CONTENTS
from worker.dialects.prefect import installed
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

PACKAGE = installed.PACKAGE
SHARED = ("prefect.task_runners",)
"""Modules of which every generation has its own: a name that one of them lacks is a mistake for it."""
MARKS = re.compile(
    r"\b(?:DeploymentSpec|flow_runners|prefect\s*\.\s*orion|blocks\s*\.\s*storage|(?:Dask|Ray)TaskRunner)\b"
)
"""What a script that needs the seed API mentions."""
TELLING = {("prefect.task_runners", "DaskTaskRunner"), ("prefect.task_runners", "RayTaskRunner")}
parse, walk = ast.parse, ast.walk


class Missing:
    """The public names of the seed API that the installed Prefect lacks: of a module, or whole ones."""

    names: Set[Tuple[str, str]] = set()  # noqa: RUF012 - filled in once
    modules: Set[str] = set()  # noqa: RUF012 - the same


def compare() -> None:
    """Find out what the installed Prefect lacks; before there is a script."""
    for module, held in CONTENTS.items():
        if module in SHARED:
            continue
        there = loaded(module)
        if there is None:
            Missing.modules.add(module)
            continue
        Missing.names |= {(module, name) for name in held if not has(there, name)}
    Missing.names |= TELLING


def loaded(name: str) -> Any:
    """A module of the installed Prefect, None if it has no such one."""
    if name == PACKAGE:
        return installed.modules().get(name)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None:
        return None
    return installed.modules().get(name, spec)


def has(module: Any, name: str) -> bool:
    """Whether a module has a name; of one that is not loaded that is not known, and supposed."""
    try:
        return (not hasattr(module, "__path__") and not hasattr(module, "__file__")) or hasattr(module, name)
    except Exception:
        return False


def needed(text: str) -> Optional[str]:
    """A name that the script imports, that only the seed API has, and that it has all it imports with."""
    if MARKS.search(text) is None:
        return None
    try:
        wanted = list(imported(parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    only = [item for item in wanted if item[0] in Missing.modules or item in Missing.names]
    if not only or not all(module in CONTENTS and name in (*CONTENTS[module], "") for module, name in wanted):
        return None
    return ".".join(filter(None, only[0]))


def imported(tree: ast.AST) -> Iterator[Tuple[str, str]]:
    """Each module of Prefect that is imported, with the name taken from it, or none."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            if module.split(".")[0] == PACKAGE:
                for alias in node.names:
                    whole = f"{module}.{alias.name}"
                    yield (whole, "") if whole in CONTENTS else (module, alias.name)
