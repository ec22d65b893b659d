"""The Prefect that the interpreter has, imported once, before any foreign code runs beside it.

The one file under ``worker`` that imports Prefect. It is given a home that cannot exist, no server
and no telemetry; what it would write or reach while it is imported it does not.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from types import ModuleType
from typing import Any, Dict, Optional, Tuple

from worker.plain import text, type_name
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

PACKAGE = "prefect"
NOWHERE = "/dev/null/prefect"
"""A folder that nobody can make, whatever the profile: no settings of others are read, nothing is left."""
ENVIRONMENT = {
    "PREFECT_HOME": NOWHERE,
    "PREFECT_PROFILES_PATH": f"{NOWHERE}/profiles.toml",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
}
"""What Prefect is told, unless the profile passes on the caller's own words."""
MODULES = (
    "artifacts",
    "automations",
    "blocks.core",
    "blocks.system",
    "cache_policies",
    "client.base",
    "client.orchestration",
    "client.schemas.schedules",
    "concurrency.asyncio",
    "concurrency.sync",
    "deployments.deployments",
    "deployments.flow_runs",
    "deployments.runner",
    "docker",
    "events",
    "events.utilities",
    "exceptions",
    "filesystems",
    "flow_runs",
    "flows",
    "futures",
    "runner",
    "runner.runner",
    "runner.storage",
    "schedules",
    "server.schemas.schedules",
    "states",
    "task_runners",
    "tasks",
    "transactions",
    "utilities.annotations",
    "variables",
)
"""What scripts import, or what acts: a generation lacks some of them."""
TROUBLE = 500
"""Characters kept of why an import failed."""


class Installed:
    """What was found. ``trouble`` says why the Prefect that is there cannot be used."""

    version: Optional[str] = None
    major: int = 0
    folder: str = ""
    trouble: Optional[str] = None


def bring() -> None:
    """Import Prefect if the interpreter has it; never raises."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or Installed.version is not None:
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = importlib.import_module("prefect")
            version = str(package.__version__)
            major = int(version.partition(".")[0])
            if major >= 2:
                for name in MODULES:
                    bring_part(f"{PACKAGE}.{name}")
    except BaseException as error:  # a module may also end the process
        give_up(error)
        return
    Installed.version, Installed.major = version, major
    Installed.folder = os.path.dirname(os.path.abspath(spec.origin)) + os.sep


def give_up(error: BaseException) -> None:
    """Note that the Prefect that is there cannot be used, and why."""
    Installed.version = None
    Installed.trouble = f"{type_name(type(error))}: {text(error, TROUBLE)}"


def bring_part(name: str) -> None:
    """Import one module of Prefect, if this release has it."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or "?"):
            raise


def module(name: str) -> Optional[ModuleType]:
    """A loaded module of Prefect."""
    return sys.modules.get(f"{PACKAGE}.{name}")


def thing(path: str) -> Any:
    """What ``module:name`` names in Prefect, None if this release has no such thing."""
    where, _, name = path.partition(":")
    held = module(where)
    return None if held is None else vars(held).get(name)


def modules() -> Dict[str, ModuleType]:
    """Every loaded module of Prefect."""
    wanted = (PACKAGE, PACKAGE + ".")
    held: Tuple[Tuple[str, Any], ...] = tuple(sys.modules.items())
    return {name: one for name, one in held if name == wanted[0] or name.startswith(wanted[1])}
