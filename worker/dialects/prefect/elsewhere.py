"""Flows that lie elsewhere than in the running script: nothing is fetched for them; beside foreign code."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, Dict, Optional

from worker.dialects import registry
from worker.dialects.prefect import specs
from worker.plain import text, type_name
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

abspath = os.path.abspath


class Elsewhere:
    """Stands for a flow at a source that is not fetched: it can be deployed, and nothing else is known."""

    isasync = False

    def __init__(self, source: Any, entrypoint: Any) -> None:
        self.source, self.entrypoint = named(source), text(entrypoint)
        self.name = self.entrypoint.rpartition(":")[2].rpartition(".")[2]

    def __call__(self, *_: Any, **__: Any) -> None:
        """Runs nothing."""
        self.note("called", "was not run")

    def with_options(self, **_: Any) -> Elsewhere:
        """The same: its options are not known."""
        return self

    def to_deployment(self, name: str, **values: Any) -> Any:
        """The deployment, as an object."""
        return specs.remote(self, {"name": name, **values})

    def serve(self, name: Optional[str] = None, **values: Any) -> None:
        """Serves nothing."""
        self.note("served", "nothing was served")
        specs.remote(self, {**values, "name": name or self.name})

    def deploy(self, name: str, **values: Any) -> Any:
        """Registers nothing."""
        self.note("deployed", "nothing was registered")
        specs.remote(self, {**values, "name": name})
        return registry.later()

    async def ato_deployment(self, name: str, **values: Any) -> Any:
        """As ``to_deployment``."""
        return self.to_deployment(name, **values)

    async def adeploy(self, name: str, **values: Any) -> None:
        """As ``deploy``."""
        self.deploy(name, **values)

    def note(self, what: str, nothing: str) -> None:
        """Leave a notice of the script's line."""
        message = f"flow {self.entrypoint} of {self.source} was {what} while the script was loaded; {nothing}"
        registry.notice("not_done", message, registry.caller())


def named(source: Any) -> str:
    """A source as a text: its URL or path, or what it is."""
    if isinstance(source, (str, os.PathLike)):
        return text(source)
    return text(getattr(source, "_url", None) or type_name(type(source)))


def own_flow(asked: Dict[str, Any]) -> Any:
    """The flow that an entrypoint names if it lies in the running script, which is not run once more.

    None for any other. Raises LookupError for one that the script has not defined by now.
    """
    entrypoint = asked.get("entrypoint")
    path, _, function = entrypoint.rpartition(":") if type(entrypoint) is str else ("", "", "")
    file, _ = registry.script()
    if not path or file is None or abspath(path) != file:
        return None
    modules = [
        vars(one) for one in list(sys.modules.values()) if type(one) is ModuleType
    ]  # of no other: lazy
    module = next((held for held in modules if held.get("__file__") == file), {})
    first, *rest = function.split(".")
    found = module.get(first)
    for part in rest:
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if found is None:
        raise LookupError(f"cannot find {entrypoint}: the running script has no {function} at this line yet")
    return found
