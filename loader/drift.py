"""Whether a flow is still what a deployment's record says of it, field by field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from loader.answers import Kind, Reason, Recorded
from loader.fitting import POINTER
from worker.protocol import Flow

UNSAID = frozenset({"title", "description", "position"})
"""Keywords of a schema that only explain."""
NO_NUMBERS = frozenset({"inf", "-inf", "nan"})
"""What a worker says for numbers that JSON does not have; Prefect records null."""
WHOLE = range(-(2**63), 2**63)
"""Integers that a worker says as such; of others it gives the digits."""
STEPS = 200_000
"""Schemas of one document that are looked at for what they say of values."""
MOST = 100
"""Differences that are told."""
CUT = 120
"""Characters of a value that a reason shows."""


def drifted(recorded: Recorded, flow: Flow) -> Iterator[Reason]:
    """Every field in which they differ; what the record does not have is not compared."""
    if recorded.name is not None and recorded.name != flow.name:
        yield changed("name", recorded.name, flow.name)
    if recorded.function is not None and recorded.function != flow.bound:
        yield changed("entrypoint", recorded.function, flow.bound)
    if recorded.version is not None and flow.version is not None and recorded.version != flow.version:
        yield changed("version", recorded.version, flow.version)
    if recorded.parameter_schema is not None:
        try:
            yield from schemas(recorded.parameter_schema, flow.parameters)
        except RecursionError:
            said = "cannot compare the recorded parameters with the script's: they nest too deeply"
            yield Reason(kind=Kind.DRIFT, message=said, field="parameters")


def schemas(old: Any, new: Any) -> Iterator[Reason]:
    """Differences of two schemas of parameters: each parameter's, then what they refer to."""
    recorded = Document(old)
    old = recorded.meant(old)
    new = Document(new, nulls=not recorded.spelled).meant(new)
    before, now = mapping(old, "properties"), mapping(new, "properties")
    needs = required(old), required(new)
    told = 0
    for name in dict.fromkeys((*before, *now)):
        for reason in parameter(name, before, now, needs):
            yield reason
            told += 1
            if told >= MOST:
                return
    for key in ("definitions", "$defs"):
        parts, others = mapping(old, key), mapping(new, key)
        for name in dict.fromkeys((*parts, *others)):
            if told < MOST and plain(parts.get(name)) != plain(others.get(name)):
                told += 1
                yield changed(f"{key}.{name}", parts.get(name), others.get(name))


def parameter(
    name: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    needs: tuple[set[str], set[str]],
) -> Iterator[Reason]:
    """What became of one parameter."""
    field = f"parameters.{name}"
    if name not in now:
        said = f"cannot find the parameter {short(name)} that is recorded: the script has it no longer"
        yield Reason(kind=Kind.DRIFT, message=said, parameter=name, field=field)
        return
    if name not in before:
        said = f"cannot find the parameter {short(name)} in the record: the script has it now"
        yield Reason(kind=Kind.DRIFT, message=said, parameter=name, field=field)
        return
    if (name in needs[0]) != (name in needs[1]):
        yield changed(f"{field}.required", name in needs[0], name in needs[1], name)
    old, new = before[name], now[name]
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        old, new = {"schema": old}, {"schema": new}
    for key in dict.fromkeys((*old, *new)):
        if key not in old or key not in new or plain(old[key]) != plain(new[key]):
            yield changed(f"{field}.{key}", old.get(key), new.get(key), name)


def changed(field: str, old: Any, new: Any, name: str | None = None) -> Reason:
    """The reason for a field that is another now."""
    said = f"cannot vouch for {field[:CUT]}: recorded is {short(old)}, the script says {short(new)}"
    return Reason(kind=Kind.DRIFT, message=f"{said}; deploy it again", parameter=name, field=field)


def mapping(schema: Any, key: str) -> Mapping[str, Any]:
    """What a schema has under a key, if it is a mapping."""
    held = schema.get(key) if isinstance(schema, Mapping) else None
    return held if isinstance(held, Mapping) else {}


def required(schema: Any) -> set[str]:
    """The names that a schema requires."""
    held = schema.get("required") if isinstance(schema, Mapping) else None
    return {name for name in held if isinstance(name, str)} if isinstance(held, list | tuple) else set()


class Document:
    """A schema of parameters in the form in which it is compared, its values by what it says of them.

    ``nulls`` says that numbers which are not finite become null, ``spelled`` that it has such as text.
    """

    def __init__(self, whole: Any, *, nulls: bool = False) -> None:
        self.whole, self.nulls = whole, nulls
        self.spelled = False
        self.left = STEPS

    def meant(self, schema: Any, *, names: bool = False) -> Any:
        """A schema without what only explains; ``names`` says that its keys are names and no keywords."""
        if isinstance(schema, list | tuple):
            return [self.meant(item) for item in schema]
        if not isinstance(schema, Mapping):
            return number(schema)
        if names:
            return {key: self.meant(item) for key, item in schema.items()}
        return {key: self.keyword(key, schema) for key in schema if key not in UNSAID}

    def keyword(self, key: str, schema: Mapping[str, Any]) -> Any:
        """What a schema has under a keyword."""
        held = schema[key]
        if key in ("default", "const"):
            return self.value(held, [schema])
        if key in ("enum", "examples"):
            return [self.value(item, [schema]) for item in held] if isinstance(held, list | tuple) else held
        return self.meant(held, names=key in ("properties", "definitions", "$defs"))

    def value(self, held: Any, schemas: Iterable[Any]) -> Any:
        """A value of which schemas speak: sets are in one order, and numbers in one form."""
        if isinstance(held, Mapping):
            forms = self.forms(schemas)
            return {key: self.value(item, self.members(forms, key)) for key, item in held.items()}
        if isinstance(held, list | tuple):
            forms = self.forms(schemas)
            items = [self.value(item, self.items(forms, place)) for place, item in enumerate(held)]
            sets = [form.get("uniqueItems") is True for form in forms if form.get("type") == "array"]
            return sorted(items, key=plain) if sets and all(sets) else items
        if isinstance(held, str) and held in NO_NUMBERS:
            types = [form["type"] for form in self.forms(schemas) if "type" in form]
            if "number" in types or not types:
                self.spelled = True
                return None if self.nulls else held
        return number(held)

    def forms(self, schemas: Iterable[Any]) -> list[Mapping[str, Any]]:
        """All that is said of a value, also by what schemas refer to and combine; nothing if it is too much.

        Then sets have an order: a difference too many is told, not one too few.
        """
        found: dict[int, Mapping[str, Any]] = {}
        waiting = list(schemas) if self.left > 0 else []
        while waiting and self.left > 0:
            schema = waiting.pop()
            self.left -= 1
            if isinstance(schema, Mapping) and id(schema) not in found:
                found[id(schema)] = schema
                waiting.append(self.referred(schema.get("$ref")))
                for key in ("allOf", "anyOf", "oneOf"):
                    waiting += sequence(schema.get(key))
        return list(found.values()) if self.left > 0 else []

    def referred(self, reference: Any) -> Any:
        """What a reference into the schema leads to."""
        if not isinstance(reference, str) or not reference.startswith("#/") or len(reference) > POINTER:
            return None
        held = self.whole
        for name in reference[2:].split("/"):
            self.left -= 1
            held = held.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(held, Mapping) else None
        return held

    def members(self, forms: list[Mapping[str, Any]], name: str) -> Iterator[Any]:
        """What is said of a member of an object."""
        for form in forms:
            self.left -= 1
            properties = mapping(form, "properties")
            yield properties[name] if name in properties else form.get("additionalProperties")

    def items(self, forms: list[Mapping[str, Any]], place: int) -> Iterator[Any]:
        """What is said of an item of a list."""
        for form in forms:
            self.left -= 1
            each = form.get("items")
            first, rest = ("items", "additionalItems") if isinstance(each, list) else ("prefixItems", "items")
            places = sequence(form.get(first))
            yield places[place] if place < len(places) else form.get(rest)


def number(held: Any) -> Any:
    """What is said of a number: null if it is not finite, the digits of an integer beyond 64 bits."""
    if isinstance(held, float):
        return held if isfinite(held) else None
    return str(held) if isinstance(held, int) and held not in WHOLE else held


def sequence(held: Any) -> list[Any] | tuple[Any, ...]:
    """A list, or an empty one for what is none."""
    return held if isinstance(held, list | tuple) else ()


def plain(held: Any) -> str:
    """Plain data as one text, whatever the order of its keys."""
    return json.dumps(held, sort_keys=True, default=str)


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= CUT else text[:CUT] + "…"
