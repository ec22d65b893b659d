"""How a flow runs its tasks: names that scripts choose from; they run beside foreign code."""

from __future__ import annotations

from typing import Any

from worker.pristine import BUILTINS

__builtins__ = BUILTINS


class BaseTaskRunner:
    """Base of the task runners. None of them runs anything while a script is loaded."""

    def __init__(self) -> None:
        return

    @property
    def name(self) -> str:
        """The runner's name, in lower case."""
        return type(self).__name__.lower().replace("taskrunner", "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SequentialTaskRunner(BaseTaskRunner):
    """One task after the other."""


class ConcurrentTaskRunner(BaseTaskRunner):
    """Tasks at the same time, in one process."""


class DaskTaskRunner(BaseTaskRunner):
    """Tasks on a Dask cluster."""

    def __init__(
        self,
        address: Any = None,
        cluster_class: Any = None,
        cluster_kwargs: Any = None,
        adapt_kwargs: Any = None,
        client_kwargs: Any = None,
    ) -> None:
        if address and (cluster_class or cluster_kwargs or adapt_kwargs):
            raise ValueError("Cannot specify `address` and `cluster_class`/`cluster_kwargs`/`adapt_kwargs`")
        if isinstance(cluster_class, (str, type(None))) or callable(cluster_class):
            self.address, self.cluster_class = address, cluster_class
            self.cluster_kwargs, self.adapt_kwargs = cluster_kwargs or {}, adapt_kwargs or {}
            self.client_kwargs = client_kwargs or {}
            return
        raise TypeError("cannot use cluster_class: a class or its name is due")


class RayTaskRunner(BaseTaskRunner):
    """Tasks on a Ray cluster."""

    def __init__(self, address: Any = None, init_kwargs: Any = None) -> None:
        self.address, self.init_kwargs = address, init_kwargs or {}
