"""A flow function's parameters as a JSON Schema; it runs beside foreign code.

A parameter whose annotation or default has no JSON form stands without it and leaves a notice: the
others are told in full.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from worker.dialects import functions, registry
from worker.dialects.orion.annotations import Schemas
from worker.dialects.orion.definitions import Unresolved
from worker.plain import exact, text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

EMPTY = inspect.Parameter.empty
VARIADIC: Dict[Any, Dict[str, Any]] = {
    inspect.Parameter.VAR_POSITIONAL: {"type": "array", "items": {}},
    inspect.Parameter.VAR_KEYWORD: {"type": "object"},
}
signature = inspect.signature
LAZILY: Dict[str, Any] = {
    name: type(value).FORWARDREF
    for name, value in (signature.__kwdefaults__ or {}).items()
    if name == "annotation_format"
}
"""Options under which names that are not defined yet stay references, where annotations are lazy."""


@dataclass
class ParameterSchema:
    """What OpenAPI says of an object; ``unresolved`` if an annotation could not be looked up yet."""

    title: str = "Parameters"
    type: str = "object"
    properties: Dict[str, Any] = field(default_factory=dict)
    required: Optional[List[str]] = None
    definitions: Optional[Dict[str, Any]] = None
    unresolved: bool = False

    def __setstate__(self, state: Dict[str, Any]) -> None:
        """What a pickle holds, also one of Prefect's own, where this was a pydantic model."""
        vars(self).update({**vars(ParameterSchema()), **state.get("__dict__", state)})

    def dict(self) -> Dict[str, Any]:
        """The schema without what it does not have."""
        told = {"title": self.title, "type": self.type, "properties": self.properties}
        for name in ("required", "definitions"):
            if vars(self)[name]:
                told[name] = vars(self)[name]
        return told


def parameter_schema(fn: Any, flow: str, *, last: bool = False) -> Optional[ParameterSchema]:
    """The schema of a function's parameters; None when it does not tell its parameters.

    ``last`` says that what cannot be resolved now will never be.
    """
    try:
        parameters = signature(fn, **LAZILY).parameters
    except Exception as error:
        complain(fn, f"cannot tell the parameters of flow {flow!r}: {text(error)}")
        return None
    found = ParameterSchema()
    schemas = Schemas(getattr(functions.innermost(fn), "__globals__", {}))
    required = []
    for name, parameter in parameters.items():
        told = found.properties[name] = {"title": name}
        what = f"parameter {name!r} of flow {flow!r}"
        if parameter.kind in VARIADIC:
            told.update(VARIADIC[parameter.kind])
            continue
        if parameter.default is EMPTY:
            required.append(name)
        else:
            add_default(told, parameter.default, fn, what)
        if parameter.annotation is EMPTY:
            continue
        try:
            shape = schemas.schema(parameter.annotation)
            told.update({"allOf": [shape]} if "$ref" in shape else {**shape, "title": name})
        except Exception as error:
            if isinstance(error, Unresolved) and not last:
                found.unresolved = True
            else:
                complain(fn, f"cannot tell the type of {what}: {text(error)}")
    found.required = required or None
    found.definitions = schemas.definitions or None
    return found


def add_default(told: Dict[str, Any], default: Any, fn: Any, what: str) -> None:
    """Add a parameter's default, unless it is None or has no JSON form."""
    value, whole = exact(default)
    if not whole:
        complain(fn, f"cannot tell the default of {what}: it has no JSON form")
    elif value is not None:
        told["default"] = value


def complain(fn: Any, message: str) -> None:
    """Leave a notice at the function's first line."""
    place = functions.place(fn)
    registry.notice("parameter", message, registry.Place(place.get("file"), place.get("line")))
