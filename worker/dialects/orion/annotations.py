"""A type annotation as a JSON Schema, shaped as pydantic 1 shaped it; it runs beside foreign code."""

from __future__ import annotations

import collections
import collections.abc as abstract
import datetime as dt
import decimal
import pathlib
import re
import types
import typing
import uuid
from typing import Any, Dict, ForwardRef, List, Tuple, TypeVar

from worker.dialects.orion import definitions
from worker.dialects.orion.definitions import Inexpressible, Unresolved
from worker.plain import plain
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

DEPTH = 30
"""Levels of nesting in one annotation."""
REFERENCE = "#/definitions/"
evaluate = eval
origin_of, arguments_of = typing.get_origin, typing.get_args
UNIONS: Tuple[Any, ...] = (typing.Union, getattr(types, "UnionType", typing.Union))
WRAPPERS: Tuple[Any, ...] = tuple(
    getattr(typing, name)
    for name in ("Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly")
    if hasattr(typing, name)
)
UNIQUE = (set, frozenset, abstract.Set, abstract.MutableSet)
ARRAYS = (
    *(list, tuple, collections.deque, abstract.Sequence, abstract.MutableSequence),
    *(abstract.Iterable, abstract.Collection, abstract.Iterator),
    *UNIQUE,
)
OBJECTS = (
    *(dict, collections.OrderedDict, collections.defaultdict, collections.Counter),
    *(abstract.Mapping, abstract.MutableMapping),
)
SIMPLE: Dict[Any, Dict[str, Any]] = {
    Any: {},
    object: {},
    type: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "format": "binary"},
    decimal.Decimal: {"type": "number"},
    dt.datetime: {"type": "string", "format": "date-time"},
    dt.date: {"type": "string", "format": "date"},
    dt.time: {"type": "string", "format": "time"},
    dt.timedelta: {"type": "number", "format": "time-delta"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    pathlib.Path: {"type": "string", "format": "path"},
    pathlib.PurePath: {"type": "string", "format": "path"},
    re.Pattern: {"type": "string", "format": "regex"},
}
OF_LITERALS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class Schemas:
    """The schemas of one function's annotations, and the definitions they share.

    ``names`` are the globals in which annotations that are strings are looked up.
    """

    def __init__(self, names: Dict[str, Any]) -> None:
        self.names = names
        self.definitions: Dict[str, Any] = {}
        self.classes: Dict[str, type] = {}
        self.depth = 0

    def inside(self, names: Dict[str, Any]) -> Schemas:
        """The same schemas, looking names up elsewhere."""
        other = Schemas(names)
        other.definitions, other.classes, other.depth = self.definitions, self.classes, self.depth + 1
        return other

    def schema(self, annotation: Any) -> Dict[str, Any]:
        """The annotation's schema; raises Inexpressible or Unresolved."""
        self.depth += 1
        try:
            if self.depth > DEPTH:
                raise Inexpressible("it nests too deeply")
            return self.of(self.resolve(annotation))
        finally:
            self.depth -= 1

    def resolve(self, annotation: Any) -> Any:
        """The annotation that a string or a forward reference stands for."""
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation
        try:
            return evaluate(annotation, self.names)
        except Exception as error:
            raise Unresolved(f"{annotation!r} cannot be resolved: {error}") from None

    def of(self, annotation: Any) -> Dict[str, Any]:
        """The schema of an annotation that is no string."""
        try:
            if annotation in SIMPLE:
                return dict(SIMPLE[annotation])
        except TypeError:
            pass  # it cannot be hashed, so it is none of those
        origin, arguments = origin_of(annotation), arguments_of(annotation)
        if arguments == ((),):  # what Tuple[()] has on Python 3.9 and 3.10
            return self.fixed(())
        if isinstance(annotation, TypeVar):
            return self.union(annotation.__constraints__ or (annotation.__bound__ or Any,))
        if hasattr(annotation, "__supertype__"):
            return self.schema(annotation.__supertype__)
        if hasattr(annotation, "__value__"):
            return self.schema(annotation.__value__)
        if origin in WRAPPERS:
            return definitions.from_pydantic(self, annotation) or self.schema(arguments[0])
        if origin in UNIONS:
            return self.union(arguments)
        if origin is typing.Literal:
            return literal(arguments)
        return self.container(origin or annotation, arguments, annotation)

    def container(self, kind: Any, arguments: Tuple[Any, ...], annotation: Any) -> Dict[str, Any]:
        """Arrays and objects; a class is looked into."""
        if kind is type or kind is re.Pattern:
            return dict(SIMPLE[kind])
        if kind is tuple and is_fixed(arguments, annotation):
            return self.fixed(arguments)
        if kind in ARRAYS:
            unique = {"uniqueItems": True} if kind in UNIQUE else {}
            return {"type": "array", "items": self.schema(arguments[0]) if arguments else {}, **unique}
        if kind in OBJECTS:
            value = self.schema(arguments[-1]) if len(arguments) == 2 else {}
            return {"type": "object", **({"additionalProperties": value} if value else {})}
        if isinstance(kind, type):
            return definitions.of_class(self, kind)
        raise Inexpressible(f"{definitions.shown(annotation)} has no JSON form")

    def union(self, members: Tuple[Any, ...]) -> Dict[str, Any]:
        """Any of several; as pydantic 1 has it, None is not one of them."""
        shapes: List[Dict[str, Any]] = []
        for member in members:
            if member is not None and member is not type(None):
                shape = self.schema(member)
                shapes += [shape] if shape not in shapes else []
        return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}

    def fixed(self, arguments: Tuple[Any, ...]) -> Dict[str, Any]:
        """A tuple of so many."""
        items = [self.schema(argument) for argument in arguments]
        size = {"minItems": len(items), "maxItems": len(items)}
        return {"type": "array", **size, **({"items": items} if items else {})}

    def define(self, kind: type, make: Any) -> Dict[str, Any]:
        """A reference to a class's schema, which ``make`` makes once; it may refer to itself."""
        name = kind.__name__
        if self.classes.get(name, kind) is not kind:
            name = f"{kind.__module__}__{kind.__qualname__}".replace(".", "__")
        if name not in self.definitions:
            self.classes[name] = kind
            self.definitions[name] = {}
            try:
                self.definitions[name] = make()
            except Exception:
                del self.definitions[name]
                raise
        return {"$ref": REFERENCE + name}


def is_fixed(arguments: Tuple[Any, ...], annotation: Any) -> bool:
    """Whether a tuple's annotation says how many there are."""
    if not arguments:
        return annotation not in (tuple, typing.Tuple)
    return Ellipsis not in arguments


def literal(values: Tuple[Any, ...]) -> Dict[str, Any]:
    """One of some values."""
    kinds: Dict[type, List[Any]] = {}
    for value in values:
        kinds.setdefault(type(value), []).append(plain(value))
    shapes = [
        {"enum": held, **({"type": OF_LITERALS[kind]} if kind in OF_LITERALS else {})}
        for kind, held in kinds.items()
    ]
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
