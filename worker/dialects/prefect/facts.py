"""What is known of a flow of an installed Prefect, as Prefect itself computes it; beside foreign code."""

from __future__ import annotations

import inspect
from typing import Any, Dict, List

from worker.dialects import functions
from worker.plain import mro_of, qualname_of
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

yields, yields_later = inspect.isgeneratorfunction, inspect.isasyncgenfunction
HOOKS = ("on_completion", "on_failure", "on_cancellation", "on_crashed", "on_running")
DEPTH = 3
"""Levels of classes in classes that are searched for flows."""


def facts(flow: Any) -> Dict[str, Any]:
    """What is known of a flow, by the field names of its message."""
    held = vars(flow)
    runner = held.get("task_runner")
    return {
        **functions.place(held["fn"]),
        "name": held["name"],
        "version": held.get("version"),
        "description": held.get("description"),
        "parameters": dumped(held.get("parameters")),
        "is_async": held.get("isasync"),
        "retries": held.get("retries"),
        "timeout_seconds": held.get("timeout_seconds"),
        "task_runner": None if runner is None else qualname_of(type(runner)),
        "is_generator": is_generator(flow),
        "retry_delay_seconds": held.get("retry_delay_seconds"),
        "persist_result": held.get("persist_result"),
        "validate_parameters": held.get("should_validate_parameters"),
        "hooks": {kind: names(hooks) for kind in HOOKS if (hooks := hooks_of(held, kind))},
    }


def is_generator(subject: Any) -> bool:
    """Whether a flow's or task's function yields; the second generation does not say."""
    function = vars(subject).get("fn")
    return yields(function) or yields_later(function)


def hooks_of(held: Dict[str, Any], kind: str) -> Any:
    """A flow's hooks of one kind; the attribute's name differs between generations."""
    return held.get(f"{kind}_hooks") or held.get(kind)


def names(hooks: Any) -> List[str]:
    """What hooks are called."""
    return [str(getattr(hook, "__name__", None) or qualname_of(type(hook))) for hook in hooks]


def dumped(schema: Any) -> Any:
    """A parameter schema as a mapping, by the methods of its generation's models."""
    if hasattr(schema, "model_dump"):
        return schema.model_dump()
    return schema.dict() if hasattr(schema, "dict") else schema


def found(namespace: Dict[str, Any], flow_type: type) -> List[Any]:
    """The flows among a script's globals, then those that its own classes hold, each once."""
    flows: Dict[int, Any] = {}
    classes: List[Any] = []
    for value in list(dict.values(namespace)):
        bases = mro_of(type(value))
        if flow_type in bases:
            flows.setdefault(id(value), value)
        elif type in bases and getattr(value, "__module__", None) == namespace.get("__name__"):
            classes.append(value)
    for _ in range(DEPTH):
        inner: List[Any] = []
        for held in [dict(vars(kind)) for kind in classes]:
            for value in held.values():
                bare = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                if flow_type in mro_of(type(bare)):
                    flows.setdefault(id(bare), bare)
                elif type in mro_of(type(bare)) and bare.__module__ == namespace.get("__name__"):
                    inner.append(bare)
        classes = inner
    return list(flows.values())
