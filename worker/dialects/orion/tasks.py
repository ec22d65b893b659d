"""Tasks: the class and its decorator; they run beside foreign code.

A task that is called while its script is loaded does not run.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from typing import Any, Dict, Iterable, Optional

from worker.dialects import functions, registry
from worker.dialects.orion import checks
from worker.dialects.orion.exceptions import ReservedArgumentError
from worker.plain import plain
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

update_wrapper, signature, md5, dumps = functools.update_wrapper, inspect.signature, hashlib.md5, json.dumps


class Task:
    """A step of a flow: a function and what is known of it."""

    def __init__(  # noqa: PLR0913, PLR0917 - the API's signature
        self,
        fn: Any,
        name: Optional[str] = None,
        description: Optional[str] = None,
        tags: Optional[Iterable[str]] = None,
        cache_key_fn: Any = None,
        cache_expiration: Any = None,
        retries: int = 0,
        retry_delay_seconds: float = 0,
    ) -> None:
        if not callable(fn):
            raise TypeError("'fn' must be callable")
        self.name = name or getattr(fn, "__name__", None) or checks.shown(fn)
        self.description = description or functions.docstring(fn)
        update_wrapper(self, fn)
        self.fn = fn
        self.isasync = functions.isasync(fn)
        if "wait_for" in parameter_names(fn):
            raise ReservedArgumentError(
                "'wait_for' is a reserved argument name and cannot be used in task functions."
            )
        self.tags = set(tags or ())
        self.cache_key_fn = cache_key_fn
        self.cache_expiration = cache_expiration
        self.retries = retries
        self.retry_delay_seconds = retry_delay_seconds
        module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", self.name)
        key = dumps([self.name, f"{module}.{qualname}", sorted(map(str, self.tags))])
        self.task_key = md5(key.encode(), usedforsecurity=False).hexdigest()

    def with_options(self, **options: Any) -> Task:
        """A new task of the same function, with other options."""
        held = {
            "name": self.name,
            "description": self.description,
            "tags": self.tags,
            "cache_key_fn": self.cache_key_fn,
            "cache_expiration": self.cache_expiration,
            "retries": self.retries,
            "retry_delay_seconds": self.retry_delay_seconds,
        }
        for name in options:
            if name not in held:
                raise TypeError(f"with_options() got an unexpected keyword argument {name!r}")
        return Task(self.fn, **{**held, **{name: v for name, v in options.items() if v is not None}})

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Does not run the task: gives None, or something to await that gives None."""
        return registry.not_run("task", self.name, self.isasync)

    submit = map = __call__

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


def task(fn: Any = None, /, **options: Any) -> Any:
    """Decorator that makes a function a task; with options or without."""
    if fn is None:
        return functools.partial(task, **options)
    return Task(fn, **options)


def parameter_names(fn: Any) -> Iterable[str]:
    """The names of a function's parameters, none when they cannot be known."""
    try:
        return list(signature(fn).parameters)
    except (TypeError, ValueError):
        return ()


def task_input_hash(context: Any, arguments: Dict[str, Any]) -> Optional[str]:
    """A cache key of a task and its arguments."""
    try:
        said = dumps([context.task.task_key, context.task.fn.__code__.co_code.hex(), plain(arguments)])
    except Exception:
        return None
    return md5(said.encode(), usedforsecurity=False).hexdigest()
