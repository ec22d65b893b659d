"""Whether a flow is still what a deployment's record says of it, field by field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from loader.answers import Kind, Reason, Recorded
from worker.protocol import Flow

UNSAID = frozenset({"title", "description", "position"})
"""Keywords of a schema that only explain."""
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
    told = 0
    for name in dict.fromkeys((*before, *now)):
        for reason in parameter(name, before, now, (required(old), required(new))):
            yield reason
            told += 1
            if told >= MOST:
                return
    for key in ("definitions", "$defs"):
        parts, others = mapping(old, key), mapping(new, key)
        for name in dict.fromkeys((*parts, *others)):
            if written(parts.get(name)) != written(others.get(name)) and told < MOST:
                told += 1
                yield changed(f"{key}.{name}", parts.get(name), others.get(name))


def parameter(
    name: str, before: Mapping[str, Any], now: Mapping[str, Any], needs: tuple[set[str], set[str]]
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
        if key not in UNSAID and (key in old, written(old.get(key))) != (key in new, written(new.get(key))):
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


def meant(schema: Any, *, names: bool = False) -> Any:
    """A schema without what only explains; ``names`` says that its keys are names and no keywords."""
    if isinstance(schema, Mapping):
        return {
            key: meant(item, names=not names and key in ("properties", "definitions", "$defs"))
            for key, item in schema.items()
            if names or key not in UNSAID
        }
    return [meant(item) for item in schema] if isinstance(schema, list | tuple) else schema


def written(schema: Any) -> str:
    """A schema as one text, so that 1, 1.0 and true are three."""
    return json.dumps(meant(schema), sort_keys=True, default=str)


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= CUT else text[:CUT] + "…"
