"""What may be watched of an engine at work: zygotes that start, workers that are taken and end, refusals.

It is for the logs and metrics of whoever holds a ``FlowLoader``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from loader.models import Exit


@dataclass(frozen=True, kw_only=True)
class ZygoteStarted:
    """A zygote stands, after ``seconds``; ``again`` when it replaces one that was lost."""

    pid: int
    seconds: float
    again: bool


@dataclass(frozen=True, kw_only=True)
class TurnCame:
    """A load waited ``seconds`` for its turn. An engine has no queue: whoever has one says so."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class ScriptRead:
    """A script that is loaded now was read, or fetched, in ``seconds``."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class WorkerTaken:
    """A load has its worker, for which it waited ``seconds``."""

    pid: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class WorkerEnded:
    """The worker that was taken is gone. Seconds are None for what it did not come to."""

    pid: int
    confining: float | None = None
    running: float | None = None
    exit: Exit = field(default_factory=Exit)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A load that the host could not confine or carry through: at which step, and what that costs."""

    step: str
    guarantees: tuple[str, ...]


Happened = ZygoteStarted | TurnCame | ScriptRead | WorkerTaken | WorkerEnded | Refused
Observer = Callable[[Happened], None]
"""Is told in the thread and the context of the load that it happens to. It must be quick and not raise."""


def ignore(_happened: Happened) -> None:
    """Watch nothing."""
