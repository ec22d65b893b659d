"""Flows: the class and its decorator; they run beside foreign code.

A flow that is called while its script is loaded does not run.
"""

from __future__ import annotations

import functools
from typing import Any, Dict, Iterable, Optional

from worker.dialects import functions, registry
from worker.dialects.orion import checks, parameters
from worker.dialects.orion.task_runners import ConcurrentTaskRunner
from worker.plain import qualname_of
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

update_wrapper = functools.update_wrapper


class Flow:
    """A workflow: a function and what is known of it."""

    def __init__(  # noqa: PLR0913, PLR0917 - the API's signature
        self,
        fn: Any,
        name: Optional[str] = None,
        version: Optional[str] = None,
        task_runner: Any = ConcurrentTaskRunner,
        description: Optional[str] = None,
        timeout_seconds: Any = None,
        validate_parameters: bool = True,
        retries: Optional[int] = None,
        tags: Optional[Iterable[str]] = None,
    ) -> None:
        if not callable(fn):
            raise TypeError("'fn' must be callable")
        self.name = checks.name(name) if name else named_after(fn)
        runner = task_runner or ConcurrentTaskRunner
        self.task_runner = runner() if isinstance(runner, type) else runner
        self.description = description or functions.docstring(fn)
        update_wrapper(self, fn)
        self.fn = fn
        self.isasync = functions.isasync(fn)
        self.version = version or functions.version(fn)
        self.timeout_seconds = float(timeout_seconds) if timeout_seconds else None
        self.retries = retries
        self.tags = set(tags or ())
        self.should_validate_parameters = validate_parameters
        self.parameters = parameters.parameter_schema(fn, self.name)
        registry.define_flow(self, facts)

    def with_options(self, **options: Any) -> Flow:
        """A new flow of the same function, with other options."""
        held = {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "task_runner": self.task_runner,
            "timeout_seconds": self.timeout_seconds,
            "validate_parameters": self.should_validate_parameters,
            "retries": self.retries,
            "tags": self.tags,
        }
        for name in options:
            if name not in held:
                raise TypeError(f"with_options() got an unexpected keyword argument {name!r}")
        return Flow(self.fn, **{**held, **{name: v for name, v in options.items() if v is not None}})

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Does not run the flow: gives None, or something to await that gives None."""
        return registry.not_run("flow", self.name, self.isasync)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


def flow(fn: Any = None, /, **options: Any) -> Any:
    """Decorator that makes a function a flow; with options or without."""
    if fn is None:
        return functools.partial(flow, **options)
    return Flow(fn, **options)


def named_after(fn: Any) -> str:
    """A function's name as a flow's."""
    name = getattr(fn, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"cannot name a flow after {checks.shown(fn)}: give it a name with flow(name=…)")
    return name.replace("_", "-")


def facts(flow: Flow) -> Dict[str, Any]:
    """What is known of a flow, by the field names of its message."""
    held = vars(flow)
    runner, schema = held["task_runner"], held["parameters"]
    return {
        **functions.place(held["fn"]),
        "name": held["name"],
        "version": held["version"],
        "description": held["description"],
        "parameters": schema.dict() if type(schema) is parameters.ParameterSchema else schema,
        "is_async": held["isasync"],
        "retries": held["retries"],
        "timeout_seconds": held["timeout_seconds"],
        "task_runner": None if runner is None else qualname_of(type(runner)),
        "tags": held["tags"],
        "validate_parameters": held["should_validate_parameters"],
    }


def settled_facts(flow: Flow) -> Dict[str, Any]:
    """The same at the script's end, when annotations that named later classes can be resolved."""
    held = vars(flow)
    schema = held["parameters"]
    if type(schema) is parameters.ParameterSchema and schema.unresolved:
        held["parameters"] = parameters.parameter_schema(held["fn"], held["name"], last=True)
    return facts(flow)
