"""States of runs, as flows return them and scripts import them; they run beside foreign code."""

from __future__ import annotations

import enum
from typing import Any, Optional

from worker.pristine import BUILTINS

__builtins__ = BUILTINS


class StateType(str, enum.Enum):
    """The kinds of state."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class State:
    """The state of a run."""

    def __init__(self, type: StateType, name: Optional[str] = None, message: Optional[str] = None) -> None:  # noqa: A002
        self.type, self.message = StateType(type), message
        self.name = name or self.type.value.capitalize()

    def __repr__(self) -> str:
        return f"{self.name}({self.message or ''})"


def Scheduled(**kwargs: Any) -> State:  # noqa: N802 - the API's names
    """A run that is due later."""
    return State(StateType.SCHEDULED, **kwargs)


def Pending(**kwargs: Any) -> State:  # noqa: N802
    """A run that is about to start."""
    return State(StateType.PENDING, **kwargs)


def Running(**kwargs: Any) -> State:  # noqa: N802
    """A run that goes on."""
    return State(StateType.RUNNING, **kwargs)


def Completed(**kwargs: Any) -> State:  # noqa: N802
    """A run that ended well."""
    return State(StateType.COMPLETED, **kwargs)


def Failed(**kwargs: Any) -> State:  # noqa: N802
    """A run that failed."""
    return State(StateType.FAILED, **kwargs)


def Cancelled(**kwargs: Any) -> State:  # noqa: N802
    """A run that was stopped."""
    return State(StateType.CANCELLED, **kwargs)
