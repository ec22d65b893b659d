"""Contexts of runs: there is none while a script is loaded; this runs beside foreign code."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Set

from worker.pristine import BUILTINS

__builtins__ = BUILTINS


class RunContext:
    """Base of the contexts of flow and task runs."""

    @classmethod
    def get(cls) -> Any:
        """The context of the run; None, for nothing runs."""
        return None


class FlowRunContext(RunContext):
    """The context of a flow run."""


class TaskRunContext(RunContext):
    """The context of a task run."""


@contextlib.contextmanager
def tags(*new_tags: str) -> Iterator[Set[str]]:
    """Tags for the runs that start inside; none do while a script is loaded."""
    yield set(new_tags)
