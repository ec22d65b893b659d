"""What a worker says of a script: flows, specs, notices and errors. All of it is a claim.

Runs beside foreign code in a worker, and in the supervisor, where it is checked before it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

from .pristine import BUILTINS

__builtins__ = BUILTINS

Json = Any
"""None, bool, int, float, str, or lists and string-keyed dicts of these."""


def brief(kind: str, name: Optional[str], file: Optional[str], line: Optional[int]) -> str:
    """A short repr: hostile names and files are quoted and cut."""
    where = "" if file is None else f" at {file.rpartition('/')[2]!r:.80}:{line}"
    return f"<{kind} {name!r:.80}{where}>"


@dataclass(frozen=True)
class Flow:
    """One flow of a script. Facts that the dialect does not know are None.

    ``variable`` is the global of the script that holds it, where that is not called like its function; it is
    empty where none does. ``validate_parameters`` is whether a run of it looks at their values.
    """

    name: str
    function: Optional[str] = None
    entrypoint: Optional[str] = None
    version: Optional[str] = None
    description: Optional[str] = None
    parameters: Optional[Dict[str, Json]] = field(default=None, hash=False)
    file: Optional[str] = None
    line: Optional[int] = None
    end_line: Optional[int] = None
    is_async: Optional[bool] = None
    retries: Optional[int] = None
    timeout_seconds: Optional[float] = None
    task_runner: Optional[str] = None
    tags: Tuple[str, ...] = ()
    is_generator: Optional[bool] = None
    retry_delay_seconds: Json = field(default=None, hash=False)
    persist_result: Optional[bool] = None
    hooks: Optional[Dict[str, Json]] = field(default=None, hash=False)
    variable: Optional[str] = None
    validate_parameters: Optional[bool] = None

    @property
    def bound(self) -> Optional[str]:
        """What an entrypoint calls it, if it leads to it."""
        return self.function if self.variable is None else self.variable or None

    def __repr__(self) -> str:
        return brief("Flow", self.name, self.file, self.line)


@dataclass(frozen=True)
class Spec:
    """One deployment spec, as the script registered it and before it is validated.

    ``prefect`` is what a ``prefect.yaml`` says beyond that, by its own names; no script says it.
    """

    name: Optional[str] = None
    flow_name: Optional[str] = None
    flow_location: Optional[str] = None
    parameters: Dict[str, Json] = field(default_factory=dict, hash=False)
    schedule: Optional[Dict[str, Json]] = field(default=None, hash=False)
    tags: Tuple[str, ...] = ()
    flow_runner: Optional[Dict[str, Json]] = field(default=None, hash=False)
    flow_storage: Json = field(default=None, hash=False)
    file: Optional[str] = None
    line: Optional[int] = None
    prefect: Optional[Dict[str, Json]] = field(default=None, hash=False)

    def __repr__(self) -> str:
        return brief("Spec", self.name, self.file, self.line)


@dataclass(frozen=True)
class Detail:
    """What deploying a spec needs beyond what is shown of it.

    ``flow`` is its flow, if the script gave one; ``flow_storage`` its storage with the secrets in it;
    ``problems`` say what of the spec contradicts itself or cannot be told.
    """

    flow: Optional[Flow] = None
    flow_storage: Json = field(default=None, repr=False)
    problems: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something the author should know that did not stop the load.

    ``kind`` is one of ``warning``, ``flow_called``, ``not_done``, ``denied``, ``parameter``, ``profile``,
    ``flow``, ``spec``.
    """

    kind: str
    message: str
    file: Optional[str] = None
    line: Optional[int] = None


@dataclass(frozen=True)
class Frame:
    """One step of a traceback. ``line`` counts from 1."""

    file: str
    line: Optional[int]
    function: str
    source: Optional[str] = None


@dataclass(frozen=True)
class Denied:
    """An act that the sandbox refused: what was tried, as the worker knows it.

    ``act`` is a guarantee's name; ``target`` a path, an address or a call.
    """

    act: str
    target: str


@dataclass(frozen=True)
class Error:
    """An exception, made plain. ``stage`` is ``decode``, ``compile``, ``run``, ``extract`` or ``reply``."""

    stage: str
    type: str
    message: str
    frames: Tuple[Frame, ...] = ()
    traceback: str = ""
    cause: Optional[Error] = None
    hint: Optional[str] = None
    denied: Optional[Denied] = None


@dataclass(frozen=True)
class Dialect:
    """Which generation of the API the script was read with, and why: ``version`` is the Prefect's."""

    name: str
    version: Optional[str] = None
    reason: Optional[str] = None
