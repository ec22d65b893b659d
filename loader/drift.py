"""Whether a flow is still what a deployment's record says of it, field by field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from loader.answers import Kind, Reason, Recorded
from worker.protocol import Flow

UNSAID = frozenset({"title", "description", "position"})
"""Keywords of a schema that only explain."""
VALUES = frozenset({"default", "const", "enum", "examples"})
"""Keywords whose values are no schemas."""
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


def schemas(old: Mapping[str, Any], new: Any) -> Iterator[Reason]:
    """Differences of two schemas of parameters: each parameter's, then what they refer to."""
    before, now = mapping(old, "properties"), mapping(new, "properties")
    sets: set[str] = set()
    unordered([old, new], sets)
    needs = required(old), required(new)
    told = 0
    for name in dict.fromkeys((*before, *now)):
        for reason in parameter(name, before, now, needs, sets):
            yield reason
            told += 1
            if told >= MOST:
                return
    for key in ("definitions", "$defs"):
        parts, others = mapping(old, key), mapping(new, key)
        for name in dict.fromkeys((*parts, *others)):
            if told < MOST and written(parts.get(name), sets) != written(others.get(name), sets):
                told += 1
                yield changed(f"{key}.{name}", parts.get(name), others.get(name))


def parameter(
    name: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    needs: tuple[set[str], set[str]],
    sets: set[str],
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
        held, holds = ({name: {key: one[key]} if key in one else {}} for one in (old, new))
        if written({"properties": held}, sets) != written({"properties": holds}, sets):
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


def unordered(schema: Any, sets: set[str]) -> bool:
    """Whether a schema speaks of sets; the properties that do are added to ``sets``."""
    if isinstance(schema, list | tuple):
        each = [unordered(item, sets) for item in schema]
        return any(each)
    if not isinstance(schema, Mapping):
        return False
    found = schema.get("uniqueItems") is True
    for key, item in schema.items():
        if key == "properties" and isinstance(item, Mapping):
            sets.update([name for name, part in item.items() if unordered(part, sets)])
        elif key not in VALUES and unordered(item, sets):
            found = True
    return found


def meant(schema: Any, sets: set[str], *, names: bool = False, mixed: bool = False) -> Any:
    """A schema without what only explains; ``names`` says that its keys are names and no keywords.

    ``mixed`` says that it is a set's, or holds one: the items of its default have no order.
    """
    if isinstance(schema, list | tuple):
        return [meant(item, sets) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if names:
        return {key: meant(item, sets, mixed=key in sets) for key, item in schema.items()}
    return {
        key: value(item, sets, mixed=mixed)
        if key in VALUES
        else meant(item, sets, names=key in ("properties", "definitions", "$defs"))
        for key, item in schema.items()
        if key not in UNSAID
    }


def value(held: Any, sets: set[str], *, mixed: bool) -> Any:
    """A value whose sets are in one order."""
    if isinstance(held, Mapping):
        return {key: value(item, sets, mixed=mixed or key in sets) for key, item in held.items()}
    if not isinstance(held, list | tuple):
        return held
    items = [value(item, sets, mixed=mixed) for item in held]
    return sorted(items, key=plain) if mixed else items


def written(schema: Any, sets: set[str]) -> str:
    """A schema as one text, so that 1, 1.0 and true are three."""
    return plain(meant(schema, sets))


def plain(held: Any) -> str:
    """Plain data as one text, whatever the order of its keys."""
    return json.dumps(held, sort_keys=True, default=str)


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= CUT else text[:CUT] + "…"
