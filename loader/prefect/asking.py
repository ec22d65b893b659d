"""What is asked before a run: where its code will be taken from, which flow, and with which parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
TEMPLATE = "{{"
"""What is in a value that only the run's process can work out."""


class Deployment(Protocol):
    """What is looked at of a deployment."""

    entrypoint: str | None
    path: str | None
    pull_steps: list[dict[str, Any]] | None
    storage_document_id: Any


def checks_itself(deployment: Deployment) -> bool:
    """Whether a run's own process asks for a check, as the last thing before it loads the flow."""
    steps = [step for step in deployment.pull_steps or () if step]
    return bool(steps) and CHECK in steps[-1]


def folder(deployment: Deployment, working_dir: str | os.PathLike[str] | None) -> str:
    """The folder of this machine that holds the code. Raises RunRefused.

    ``working_dir`` is where runs start. Code that has to be pulled first cannot be had by asking where it is.
    """
    place = os.path.abspath(working_dir) if working_dir else ""
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
    return os.path.normpath(place)


def pulled(by: str) -> RunRefused:
    """What is said of code that is not here yet."""
    return RunRefused(
        f"cannot check this deployment before its run: its code comes from {escape.line(by)}; add {CHECK}"
        " as the last of its pull steps, and the run's own process asks once the code is there"
    )


def question(deployment: Deployment, folder: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a FlowLoader: the location of the flow, what it may read, and the run's parameters.

    Raises RunRefused for an entrypoint that leads to no file.
    """
    entrypoint = deployment.entrypoint or ""
    file, colon, flow = entrypoint.rpartition(":")
    if not colon:
        module, _, flow = entrypoint.rpartition(".")
        stem = module.replace(".", os.sep)
        found = [name for name in (f"{stem}.py", f"{stem}/__init__.py") if os.path.isfile(f"{folder}/{name}")]
        file = found[0] if found else ""
    if not file or not flow:
        raise RunRefused(
            f"cannot check the entrypoint {entrypoint!r}: it leads to no file below {escape.line(folder)};"
            " write it as folder/file.py:flow"
        )
    return {
        "location": f"{os.path.join(folder, file)}:{flow}",
        "root": None if os.path.isabs(file) else folder,
        "parameters": parameters,
    }
