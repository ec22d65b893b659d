"""Classes as JSON Schemas: enums, dataclasses, typed dicts, named tuples, models; beside foreign code."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from worker.plain import described, exact, mro_of, plain
from worker.pristine import BUILTINS

if TYPE_CHECKING:
    from worker.dialects.orion.annotations import Schemas

__builtins__ = BUILTINS

clean = inspect.cleandoc
ENUM_TYPES = {str: "string", int: "integer", float: "number"}
FOUND_IN_PYDANTIC = ("$defs", "definitions")
REFERENCE = "#/definitions/{model}"


class Inexpressible(Exception):
    """An annotation that has no schema."""


class Unresolved(Inexpressible):
    """An annotation that names what is not defined, or not yet."""


def shown(annotation: Any) -> str:
    """An annotation as a message names it."""
    return annotation.__qualname__ if isinstance(annotation, type) else described(annotation)


def of_class(schemas: Schemas, kind: type) -> Dict[str, Any]:
    """A class's schema, or a reference to it; raises Inexpressible when it does not tell its fields."""
    bases = mro_of(kind)
    if enum.Enum in bases:
        return schemas.define(kind, lambda: of_enum(kind))
    if hasattr(kind, "model_json_schema") or hasattr(kind, "__fields__"):
        return of_model(schemas, kind)
    if dataclasses.is_dataclass(kind):
        return schemas.define(kind, lambda: of_dataclass(schemas, kind))
    if dict in bases and hasattr(kind, "__required_keys__"):
        return schemas.define(kind, lambda: of_typed_dict(schemas, kind))
    if tuple in bases and hasattr(kind, "_fields"):
        return of_named_tuple(schemas, kind)
    for simple in (str, int, float, bytes, list, dict):
        if simple in bases:
            return schemas.schema(simple)
    found = from_pydantic(schemas, kind)
    if found is None:
        raise Inexpressible(f"{shown(kind)} has no JSON form")
    return found


def of_enum(kind: Any) -> Dict[str, Any]:
    """The values of an enum."""
    told = {
        "title": kind.__name__,
        "description": clean(kind.__doc__ or "An enumeration."),
        "enum": [plain(member.value) for member in kind],
    }
    for simple, name in ENUM_TYPES.items():
        if simple in mro_of(kind):
            told["type"] = name
    return told


def of_dataclass(schemas: Schemas, kind: Any) -> Dict[str, Any]:
    """The fields of a dataclass that its constructor takes."""
    properties: Dict[str, Any] = {}
    required: List[str] = []
    inside = within(schemas, kind)
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        properties[field.name] = field_schema(inside, field.name, field.type, field.default)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    return structure(kind, properties, required)


def of_typed_dict(schemas: Schemas, kind: Any) -> Dict[str, Any]:
    """The keys of a typed dict."""
    inside = within(schemas, kind)
    annotations = annotations_of(kind)
    properties = {
        name: field_schema(inside, name, annotation, dataclasses.MISSING)
        for name, annotation in annotations.items()
    }
    return structure(kind, properties, [name for name in annotations if name in kind.__required_keys__])


def of_named_tuple(schemas: Schemas, kind: Any) -> Dict[str, Any]:
    """The parts of a named tuple, in order."""
    inside = within(schemas, kind)
    annotations = annotations_of(kind)
    items = [
        field_schema(inside, name, annotations.get(name, Any), dataclasses.MISSING) for name in kind._fields
    ]
    return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}


def of_model(schemas: Schemas, kind: Any) -> Dict[str, Any]:
    """What a pydantic model, of either generation, says of itself."""
    newer = hasattr(kind, "model_json_schema")
    said = kind.model_json_schema(ref_template=REFERENCE) if newer else kind.schema(ref_template=REFERENCE)
    said = plain(said)
    take_definitions(schemas, said)
    if set(said) == {"$ref"}:
        return dict(said)
    return schemas.define(kind, lambda: said)


def from_pydantic(schemas: Schemas, annotation: Any) -> Optional[Dict[str, Any]]:
    """What pydantic says of an annotation, if the script has imported it and it knows."""
    adapter = getattr(sys.modules.get("pydantic"), "TypeAdapter", None)
    if adapter is None:
        return None
    try:
        said: Dict[str, Any] = plain(adapter(annotation).json_schema(ref_template=REFERENCE))
    except Exception:
        return None
    take_definitions(schemas, said)
    return said


def take_definitions(schemas: Schemas, said: Dict[str, Any]) -> None:
    """Move the definitions of another schema among ours."""
    for key in FOUND_IN_PYDANTIC:
        for name, definition in (said.pop(key, None) or {}).items():
            schemas.definitions.setdefault(name, definition)


def structure(kind: Any, properties: Dict[str, Any], required: List[str]) -> Dict[str, Any]:
    """The schema of something with named fields."""
    told = {"title": kind.__name__, "type": "object", "properties": properties}
    return {**told, "required": required} if required else told


def field_schema(schemas: Schemas, name: str, annotation: Any, default: Any) -> Dict[str, Any]:
    """The schema of one field; a title made of its name."""
    shape = schemas.schema(annotation)
    value, whole = (None, False) if default is dataclasses.MISSING else exact(default)
    given = {"default": value} if whole and value is not None else {}
    if "$ref" in shape:
        return {**given, "allOf": [shape]} if given else shape
    return {"title": name.replace("_", " ").title(), **given, **shape}


def within(schemas: Schemas, kind: type) -> Schemas:
    """The same schemas, looking names up where the class was defined."""
    module = sys.modules.get(kind.__module__)
    return schemas.inside(vars(module)) if module is not None else schemas


def annotations_of(kind: Any) -> Dict[str, Any]:
    """A class's annotations with those of its bases, outermost base first."""
    found: Dict[str, Any] = {}
    for base in reversed(mro_of(kind)):
        if hasattr(base, "__annotations__"):
            found.update(base.__annotations__)
    return found
