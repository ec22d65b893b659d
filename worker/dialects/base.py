"""What every dialect offers to the code that runs scripts; it runs beside foreign code."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict, List, Optional, Protocol, Tuple

from worker.record import Record


class Dialect(Protocol):
    """One generation of the flow API."""

    @property
    def name(self) -> str:
        """What ``Load.dialect`` calls it."""

    @property
    def version(self) -> Optional[str]:
        """The release of Prefect whose API it is; None when it is not installed."""

    @property
    def modules(self) -> Tuple[str, ...]:
        """The names under which scripts import it."""

    @property
    def lasting(self) -> bool:
        """Whether its modules are the interpreter's own, and stay when a load ends."""

    def begin(self, record: Record) -> Dict[str, ModuleType]:
        """Tell ``record`` of every flow and spec from now on; returns the modules that scripts import."""

    def end(self) -> None:
        """Forget the record and all that ``begin`` changed."""

    def found(self, namespace: Dict[str, Any]) -> List[Any]:
        """The flows that a script's namespace holds, in order of definition, each once."""

    def facts(self, flow: Any) -> Dict[str, Any]:
        """What is known of a flow, by the field names of ``protocol.Flow``."""
