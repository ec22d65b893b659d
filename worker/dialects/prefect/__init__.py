"""The Prefect that the script's interpreter has, of generation 2 or 3; this runs beside foreign code.

Scripts get the real package. Flows are what it makes of them; what would act while a script is loaded is
put out of force before there is a script.
"""

from __future__ import annotations

import os
import sysconfig
from functools import wraps
from types import ModuleType
from typing import Any, Dict, List, Optional, Tuple

from worker.dialects import registry
from worker.dialects.prefect import facts, installed, quiet, specs
from worker.pristine import BUILTINS
from worker.record import Record

__builtins__ = BUILTINS

LIBRARIES = tuple(
    {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
"""Where code lies that only passes on what a script does."""


class Prefect:
    """One generation of an installed Prefect, as ``worker.dialects.base.Dialect`` says."""

    modules: Tuple[str, ...] = (installed.PACKAGE,)
    lasting = True

    def __init__(self, name: str, majors: Tuple[int, ...]) -> None:
        self.name = name
        self.majors = majors
        self.flow_type: type = type(None)

    @property
    def version(self) -> Optional[str]:
        """The release that is installed, if it is of this generation."""
        return installed.Installed.version if self.here() else None

    def here(self) -> bool:
        """Whether the interpreter has this generation."""
        return installed.Installed.version is not None and installed.Installed.major in self.majors

    def prepare(self) -> None:
        """Put out of force what would act; once, before the first script."""
        self.flow_type = installed.thing("flows:Flow")
        if self.flow_type is None:
            raise ImportError(f"Prefect {self.version} lacks prefect.flows.Flow")
        construct = self.flow_type.__init__  # type: ignore[misc]

        @wraps(construct)
        def __init__(flow: Any, *args: Any, **values: Any) -> None:  # noqa: N807 - it takes that one's place
            construct(flow, *args, **values)
            registry.define_flow(flow, facts.facts)

        self.flow_type.__init__ = __init__  # type: ignore[misc]
        quiet.put_in_place()
        specs.watch()

    def begin(self, record: Record) -> Dict[str, ModuleType]:
        """Tell ``record`` of what the script defines; the modules are there already."""
        registry.Current.record = record
        registry.Current.passed = (registry.OURS, "<frozen ", *LIBRARIES)
        self.known = {id(flow) for held in registered() for flow in held}
        return {}

    def end(self) -> None:
        """Forget the record, and the flows that Prefect remembers."""
        for held in registered():
            held[:] = [flow for flow in held if id(flow) in self.known]
        specs.Made.flows.clear()
        specs.Made.sources.clear()
        registry.Current.record = None
        registry.Current.passed = (registry.OURS,)

    def found(self, namespace: Dict[str, Any]) -> List[Any]:
        """The script's flows: its globals, and those its classes hold."""
        return facts.found(namespace, self.flow_type)

    def facts(self, flow: Any) -> Dict[str, Any]:
        """What is known of a flow."""
        return facts.facts(flow)


def registered() -> List[List[Any]]:
    """The lists in which a second generation keeps each flow, task and block that was ever made."""
    registry_type = installed.thing("context:PrefectObjectRegistry")
    current = registry_type.get() if registry_type is not None else None
    kept = getattr(current, "_instance_registry", None)
    return [] if kept is None else list(kept.values())


PREFECT2, PREFECT3 = Prefect("prefect2", (2,)), Prefect("prefect3", (3,))
