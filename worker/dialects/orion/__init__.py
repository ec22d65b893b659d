"""The seed API, Prefect Orion 2.0b5, for scripts on machines without Prefect; it runs beside foreign code."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict, Optional

from worker.dialects.orion import flows, loggers, public, registry
from worker.pristine import BUILTINS
from worker.record import Record

__builtins__ = BUILTINS


class Orion:
    """The dialect as ``worker.dialects.base.Dialect`` says."""

    name = "orion"
    version: Optional[str] = public.VERSION
    flow_type = flows.Flow
    modules = tuple(public.EXPORTS)

    def begin(self, record: Record) -> Dict[str, ModuleType]:
        """Tell ``record`` of what the script defines; returns the public modules."""
        registry.Current.record = record
        loggers.begin()
        return public.modules()

    def end(self) -> None:
        """Forget the record."""
        loggers.end()
        registry.Current.record = None

    def facts(self, flow: Any) -> Dict[str, Any]:
        """What is known of a flow."""
        return flows.settled_facts(flow)


DIALECT = Orion()
