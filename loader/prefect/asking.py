"""What is asked before a run: where its code will be taken from, which flow, and with which parameters."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import machinery
from pathlib import Path
from typing import Any, Protocol

from loader import escape
from loader.errors import RunRefused

CHECK = "loader.prefect.steps.check"
"""The pull step by which a run's own process asks."""
PROFILE = "strict"
"""With which profile that step asks, unless it says another."""
SET_FOLDER = (
    "prefect.deployments.steps.set_working_directory",
    "prefect.deployments.steps.pull.set_working_directory",
)
"""The pull step that brings nothing."""
SCRIPT = ".py:"
"""What an entrypoint of a file holds; Prefect takes any other for a module's."""
FINDERS: tuple[Any, ...] = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
"""How Python looks for a module in a folder, in its order."""
TEMPLATE = "{{"
"""What is in a value that only the run's process can work out."""
BASE = "$STORAGE_BASE_PATH"
"""What Prefect replaces in a path by a variable of the run."""
STEERING = re.compile(
    r"(PYTHON|PREFECT|LD_|OPENSSL_|UV_|PIP_|XDG_CONFIG_|VIRTUAL_ENV)|(HOME|PATH)\Z", re.IGNORECASE
)
"""Variables that say where an interpreter, its packages or Prefect take code and settings from."""


class Deployment(Protocol):
    """What is looked at of a deployment."""

    entrypoint: str | None
    path: str | None
    pull_steps: list[dict[str, Any]] | None
    storage_document_id: Any
    job_variables: dict[str, Any] | None


class Run(Protocol):
    """What is looked at of a run."""

    parameters: dict[str, Any]
    job_variables: dict[str, Any] | None


class Job(Protocol):
    """What is looked at of how a run is started; ``own_env`` is what it adds to the worker's environment."""

    own_env: Mapping[str, str | None]
    working_dir: Path | None
    profile: str
    python: str | None


def place(deployment: Deployment, job: Job) -> str | None:
    """The folder of this machine that holds the code; None if the run's own process will ask.

    Raises RunRefused where the run might take other code than is looked at. A run starts in an empty folder
    unless ``working_dir`` names one: what lies there is found before Prefect itself and stays beside the
    code that is copied there.
    """
    if names := sorted(filter(STEERING.match, job.own_env)):
        raise RunRefused(
            f"cannot check a run whose job sets {escape.line(', '.join(names))}: it might take other code"
            " from there than is checked; leave it out of env, or set it where the worker is started"
        )
    start = os.path.realpath(job.working_dir) if job.working_dir else None
    itself = checks_itself(deployment, job.profile, job.python)
    code = None if itself else folder(deployment, start)
    if start is not None and start != code:
        raise RunRefused(
            f"cannot check a run that starts in {escape.line(start)}, which is not the folder of its code:"
            " leave working_dir empty, and make the path of the code absolute"
        )
    return code


def checks_itself(deployment: Deployment, profile: str, python: str | None) -> bool:
    """Whether a run's own process asks for a check, as the last thing before it loads the flow.

    Raises RunRefused if it asks with another profile or interpreter than these.
    """
    steps = [step for step in deployment.pull_steps or () if step]
    if not steps or CHECK not in steps[-1]:
        return False
    inputs = steps[-1][CHECK] or {}
    for name, default, value in (("profile", PROFILE, profile), ("python", None, python)):
        if inputs.get(name, default) != value:
            raise RunRefused(
                f"cannot let a deployment say by which {name} it is checked: write {name}: {value or 'null'}"
                f" into its step {CHECK}, as the work pool has it"
            )
    return True


def folder(deployment: Deployment, start: str | None) -> str:
    """The folder of this machine that holds the code. Raises RunRefused.

    ``start`` is where runs start. Code that has to be pulled first cannot be had by asking where it is.
    """
    if deployment.storage_document_id:
        raise pulled("a storage block")
    place = start or ""
    for path in paths(deployment):
        if path.startswith("~") or BASE in path:
            raise RunRefused(
                f"cannot tell where {escape.line(path)} is: variables of the run say it; write the path out"
            )
        place = os.path.join(place, path)
    if not os.path.isabs(place):
        raise RunRefused(
            "cannot tell where the code of this deployment is: its path is relative, and each run starts in a"
            " folder of its own; make the path absolute"
        )
    return os.path.realpath(place)


def paths(deployment: Deployment) -> Iterator[str]:
    """What leads to the code, from where the run starts. Raises RunRefused for what does more than that."""
    if not deployment.pull_steps:
        yield deployment.path or ""
    for step in filter(None, deployment.pull_steps or ()):
        name, inputs = next(iter(step.items()))
        directory = (inputs or {}).get("directory")
        if name not in SET_FOLDER or not isinstance(directory, str) or TEMPLATE in directory:
            raise pulled(name)
        if more := sorted(set(inputs) - {"directory", "id"}):
            raise RunRefused(
                f"cannot follow the pull step {name}: it may say a directory and an id; leave"
                f" {escape.line(', '.join(more))} out"
            )
        yield directory


def pulled(by: str) -> RunRefused:
    """What is said of code that is not here yet."""
    return RunRefused(
        f"cannot check this deployment before its run: its code comes from {escape.line(by)}; add {CHECK}"
        " as the last of its pull steps, and the run's own process asks once the code is there"
    )


def question(deployment: Deployment, folder: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a FlowLoader: the file, the flow in it, what it may read, and the run's parameters.

    ``folder`` is a real path. A run finds modules there wherever its script lies, which must be
    there, too. Raises RunRefused for an entrypoint that does not surely lead to one file.
    """
    entrypoint = deployment.entrypoint or ""
    place, _, flow = entrypoint.rpartition(":" if ":" in entrypoint else ".")
    file = in_folder(folder, place) if SCRIPT in entrypoint else of_module(folder, place)
    if file is None or not flow or os.path.commonpath([folder, file]) != folder:
        raise RunRefused(
            f"cannot check the entrypoint {entrypoint!r}: it leads to no file below {escape.line(folder)}, or"
            " not surely to one; write it as folder/file.py:flow"
        )
    return {
        "location": file,
        "function": flow,
        "root": folder,
        "parameters": parameters,
    }


def in_folder(folder: str, place: str) -> str | None:
    """The file that Prefect runs for a path in a folder; None where that is not sure.

    It writes backslashes as slashes, takes hooks from the home that a path names, and may run a copy of the
    folder, in which links lead elsewhere.
    """
    if not place.endswith(".py") or "\\" in place or "\0" in place or place.startswith(("//", "~")):
        return None
    joined = os.path.join(folder, place)
    file = os.path.realpath(joined)
    return (
        file if ".." not in place.split("/") or file == os.path.realpath(os.path.normpath(joined)) else None
    )


def of_module(folder: str, name: str) -> str | None:
    """The file that Python imports for a module of a folder, found without running any, or None.

    A module that this process has would be found before it.
    """
    names = name.split(".")
    if names[0] in sys.modules or not all(map(str.isidentifier, names)):
        return None
    places: list[str] | None = [folder]
    file = None
    for part in names:
        if not places:
            return None
        spec = machinery.FileFinder(places[0], *FINDERS).find_spec(part)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        file = spec.origin if isinstance(spec.loader, machinery.SourceFileLoader) else None
    return file and os.path.realpath(file)


def facts(run: Run, deployment: Deployment) -> dict[str, Any]:
    """What decides what a run does, by name."""
    return {
        "parameters": run.parameters,
        "job_variables": (run.job_variables, deployment.job_variables),
        **{name: getattr(deployment, name) for name in ("entrypoint", "path", "pull_steps")},
        "storage": deployment.storage_document_id,
    }


def refuse_change(checked: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises RunRefused if the facts of a run are not those that were checked."""
    if names := [name for name in checked if checked[name] != now[name]]:
        raise RunRefused(
            f"cannot run what was not checked: {' and '.join(names)} of the run or its deployment changed"
            " meanwhile; start another run"
        )
