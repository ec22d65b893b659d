"""Which interpreter runs scripts: a Python or an environment's folder in, a checked absolute path out."""

from __future__ import annotations

import os
import shutil
import sys

from loader import process
from loader.errors import ProfileError
from loader.escape import line
from worker.protocol import AUTO, PREFECT, Policy

ORION = "orion"
OLDEST = (3, 9)
"""The first Python that runs the worker's code."""


def interpreter(python: str | os.PathLike[str] | None) -> str:
    """The path of the interpreter that ``python`` names: a program, a word on ``PATH``, or an environment.

    None is our own. Raises ProfileError for one that cannot run workers.
    """
    if python is None:
        return sys.executable
    given = os.fspath(python)
    path = located(given)
    if path == sys.executable:
        return path
    try:
        name, version = process.inquire(path)
    except process.HostFailure as failure:
        reason = os.strerror(failure.errno) if failure.errno else failure.detail
        raise unusable(given, f"{path} does not answer as Python does: {reason}") from None
    if name != "cpython":
        raise unusable(given, f"it is {name}; workers need CPython")
    if version < OLDEST:
        raise unusable(given, f"it is Python {dotted(version)}; workers need {dotted(OLDEST)} or newer")
    return path


def located(given: str) -> str:
    """The program's absolute path; links stay, for an environment is known by where its link lies.

    Raises ProfileError.
    """
    if os.sep not in given and not os.path.exists(given):
        found = shutil.which(given)
        if found is None:
            raise unusable(given, "there is no such program on PATH, and no such folder")
        return os.path.abspath(found)
    path = os.path.abspath(os.path.expanduser(given))
    if os.path.isdir(path):
        inside = [os.path.join(path, "bin", name) for name in ("python", "python3")]
        present = [item for item in inside if os.path.lexists(item)]
        if not present:
            raise unusable(given, "the folder is no environment: it has no bin/python")
        path = present[0]
    if not os.path.exists(path):
        linked = os.path.lexists(path)
        raise unusable(given, f"{path} leads nowhere for this user" if linked else "there is no such file")
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise unusable(given, f"{path} is no program that this user can run")
    return path


def unusable(given: str, reason: str) -> ProfileError:
    """What is said of an interpreter that cannot be used."""
    remedy = "name a Python, or the folder of a virtual environment"
    return ProfileError(f"cannot use the interpreter {given}: {reason}; {remedy}")


def unfit(path: str, dialect: str, version: str | None, trouble: str | None) -> str | None:
    """Why scripts cannot be read as ``dialect`` with an interpreter's Prefect; None if they can."""
    if dialect == ORION:
        return None
    remedy = f"--dialect {ORION} reads scripts without one"
    if trouble is not None:
        return f"cannot use the Prefect of {path}: it cannot be imported: {trouble}; repair it, or {remedy}"
    if dialect in (AUTO, f"prefect{(version or '').partition('.')[0]}"):
        return None
    found = f"it has Prefect {version}" if version else "it has none"
    return (
        f"cannot read scripts as {dialect}: {path} has no such Prefect ({found}); name an interpreter that"
        f" has one with --python, or {remedy}"
    )


def unloadable(path: str, policy: Policy, failure: process.PreloadFailed) -> str:
    """What is said of a module that the interpreter cannot load: its Prefect, or one of ``preload``."""
    if failure.module == PREFECT:
        return unfit(path, AUTO, None, failure.reason) or ""
    asked = f"cannot preload {failure.module} with {path}, as profile {policy.profile} says"
    return f"{asked}: {line(failure.reason)}; install or repair it there, or leave it out of 'preload'"


def dotted(version: tuple[int, ...]) -> str:
    """A version as it is written."""
    return ".".join(map(str, version))
