"""What is asked before a run: where its code will be taken from, which flow, and with which parameters."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import machinery
from typing import Any, Protocol

from loader import escape
from loader.errors import RunRefused

CHECK = "loader.prefect.steps.check"
"""The pull step by which a run's own process asks."""
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


class Deployment(Protocol):
    """What is looked at of a deployment."""

    entrypoint: str | None
    path: str | None
    pull_steps: list[dict[str, Any]] | None
    storage_document_id: Any


def checks_itself(deployment: Deployment, profile: str, python: str | None) -> bool:
    """Whether a run's own process asks for a check, as the last thing before it loads the flow.

    Raises RunRefused if it asks with another profile or interpreter than these.
    """
    steps = [step for step in deployment.pull_steps or () if step]
    if not steps or CHECK not in steps[-1]:
        return False
    inputs = steps[-1][CHECK] or {}
    for name, value in (("profile", profile), ("python", python)):
        if inputs.get(name, value) != value:
            raise RunRefused(
                f"cannot let a deployment say by which {name} it is checked: leave {name} out of its step"
                f" {CHECK}, or write there what the work pool says"
            )
    return True


def folder(deployment: Deployment, working_dir: str | os.PathLike[str] | None) -> str:
    """The folder of this machine that holds the code. Raises RunRefused.

    ``working_dir`` is where runs start. Code that has to be pulled first cannot be had by asking where it is.
    """
    place = os.path.realpath(working_dir) if working_dir else ""
    if deployment.storage_document_id:
        raise pulled("a storage block")
    for step in filter(None, deployment.pull_steps or ()):
        name, inputs = next(iter(step.items()))
        directory = (inputs or {}).get("directory")
        if name not in SET_FOLDER or not isinstance(directory, str) or TEMPLATE in directory:
            raise pulled(name)
        place = os.path.join(place, directory)
    if not deployment.pull_steps and deployment.path:
        place = os.path.join(place, os.path.expanduser(deployment.path))
    if not os.path.isabs(place):
        raise RunRefused(
            "cannot tell where the code of this deployment is: its path is relative, and each run starts in a"
            " folder of its own; make the path absolute, or set working_dir"
        )
    return os.path.realpath(place)


def pulled(by: str) -> RunRefused:
    """What is said of code that is not here yet."""
    return RunRefused(
        f"cannot check this deployment before its run: its code comes from {escape.line(by)}; add {CHECK}"
        " as the last of its pull steps, and the run's own process asks once the code is there"
    )


def question(deployment: Deployment, folder: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a FlowLoader: the file, the flow in it, what it may read, and the run's parameters.

    ``folder`` is a real path. Raises RunRefused for an entrypoint that does not surely lead to one file.
    """
    entrypoint = deployment.entrypoint or ""
    of_file = SCRIPT in entrypoint
    place, _, flow = entrypoint.rpartition(":" if ":" in entrypoint else ".")
    file = in_folder(folder, place) if of_file else of_module(folder, place)
    if file is None or not flow:
        raise RunRefused(
            f"cannot check the entrypoint {entrypoint!r}: it leads to no file below {escape.line(folder)}, or"
            " not surely to one; write it as folder/file.py:flow"
        )
    return {
        "location": file,
        "function": flow,
        "root": None if of_file and os.path.isabs(place) else folder,
        "parameters": parameters,
    }


def in_folder(folder: str, place: str) -> str | None:
    """The file that Prefect runs for a path in a folder; None where that is not sure.

    It writes backslashes as slashes, and may run a copy of the folder, in which links lead elsewhere.
    """
    if not place.endswith(".py") or "\\" in place or "\0" in place or place.startswith("//"):
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
