"""What callers see of a load: the outcome, its facts and its claims.

``source``, ``sandbox``, ``usage`` and ``exit`` are facts: the supervisor saw them itself. ``flows``,
``specs``, ``notices``, ``error``, ``stdout``, ``stderr``, ``dialect`` and ``sources`` are claims: what the
worker said after foreign code had run in it, checked for shape and size and never for truth.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from worker.protocol import Denied, Detail, Dialect, Error, Flow, Frame, Guarantee, Notice, Spec

__all__ = [
    "Denied",
    "Detail",
    "Dialect",
    "Error",
    "Exit",
    "Flow",
    "Frame",
    "Guarantee",
    "Interpreter",
    "Notice",
    "Outcome",
    "Output",
    "Sandbox",
    "Source",
    "Spec",
    "Status",
    "Usage",
]


class Status(StrEnum):
    """How a load ended."""

    LOADED = "loaded"
    SCRIPT_FAILED = "script_failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_EXCEEDED = "output_exceeded"
    CRASHED = "crashed"
    VIOLATED_PROTOCOL = "violated_protocol"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"


class Model(BaseModel):
    """Frozen, and nothing that is not named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Model):
    """Which bytes were sent: their digest is of the very bytes. ``size`` in bytes."""

    location: str
    digest: str
    size: int


class Interpreter(Model):
    """Which Python ran the script: its path, and its version once its zygote stood."""

    path: str
    version: str | None = None


class Sandbox(Model):
    """What held while the script ran, and in which interpreter."""

    profile: str
    guarantees: tuple[Guarantee, ...] = ()
    python: Interpreter | None = None


class Usage(Model):
    """What the load took, from when the script was sent to its worker's death. Seconds and bytes."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0


class Exit(Model):
    """How the worker's process ended; both null when none ran."""

    code: int | None = None
    signal: str | None = None


class Output(Model):
    """What was written to one stream: ``bytes`` counts all of it, ``text`` may have a cut in the middle."""

    text: str = ""
    bytes: int = 0
    truncated: bool = False


class Outcome(Model):
    """One load, whatever became of it. ``model_dump(mode="json")`` is the JSON of the contract.

    ``sources`` are the files and folders that the script read, listed or looked for in vain: by their paths
    in its root, in full where they lie elsewhere; null when nobody asked, or not all are known. ``kept`` is
    that this is the outcome of an earlier load of the same, whose facts it tells.
    """

    status: Status
    source: Source
    sandbox: Sandbox
    usage: Usage = Usage()
    exit: Exit = Exit()
    flows: tuple[Flow, ...] = ()
    specs: tuple[Spec, ...] = ()
    notices: tuple[Notice, ...] = ()
    error: Error | None = None
    stdout: Output = Output()
    stderr: Output = Output()
    dialect: Dialect | None = None
    sources: tuple[str, ...] | None = None
    kept: bool = False
    _details: tuple[Detail, ...] = PrivateAttr(())

    def with_details(self, details: tuple[Detail, ...]) -> Self:
        """The outcome itself, which from now on holds what deploying its specs needs.

        That may be secrets: it is in no dump, no JSON and no repr.
        """
        self._details = details
        return self

    @property
    def details(self) -> tuple[Detail, ...]:
        """What deploying each spec needs, in their order; empty unless it was asked for."""
        return self._details

    def __repr__(self) -> str:
        """Short: the status, where from, and how much was found."""
        found = f"{len(self.flows)} flows, {len(self.specs)} specs"
        return f"<Outcome {self.status.value} {self.source.location!r}: {found}>"
