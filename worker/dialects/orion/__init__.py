"""The seed API, Prefect Orion 2.0b5, for scripts on machines without Prefect; it runs beside foreign code."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict, List, Optional

from worker import extract
from worker.dialects import registry
from worker.dialects.orion import flows, loggers, public
from worker.imports import take_out
from worker.pristine import BUILTINS
from worker.record import Record

__builtins__ = BUILTINS


class Orion:
    """The dialect as ``worker.dialects.base.Dialect`` says."""

    name = "orion"
    version: Optional[str] = public.VERSION
    modules = tuple(public.EXPORTS)
    lasting = False

    def begin(self, record: Record) -> Dict[str, ModuleType]:
        """Tell ``record`` of what the script defines; returns the public modules."""
        take_out(self.modules[-1:])  # an installed Prefect, of which nothing may be mixed in
        registry.Current.record = record
        loggers.begin()
        return public.modules()

    def end(self) -> None:
        """Forget the record."""
        loggers.end()
        registry.Current.record = None

    def found(self, namespace: Dict[str, Any]) -> List[Any]:
        """The flows among the script's globals."""
        return extract.instances(namespace, flows.Flow)

    def facts(self, flow: Any) -> Dict[str, Any]:
        """What is known of a flow."""
        return flows.settled_facts(flow)


DIALECT = Orion()
