"""What every dialect offers to the code that runs scripts; it runs beside foreign code."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict, Optional, Protocol, Tuple

from worker.record import Record


class Dialect(Protocol):
    """One generation of the flow API."""

    @property
    def name(self) -> str:
        """What ``Load.dialect`` calls it."""

    @property
    def version(self) -> Optional[str]:
        """The release of Prefect whose API it is."""

    @property
    def flow_type(self) -> type:
        """The class whose instances among a script's globals are its flows."""

    @property
    def modules(self) -> Tuple[str, ...]:
        """The names under which scripts import it."""

    def begin(self, record: Record) -> Dict[str, ModuleType]:
        """Tell ``record`` of every flow and spec from now on; returns the modules that scripts import."""

    def end(self) -> None:
        """Forget the record and all that ``begin`` changed."""

    def facts(self, flow: Any) -> Dict[str, Any]:
        """What is known of a flow, by the field names of ``protocol.Flow``."""
