"""Whether a run's parameters fit what a flow says of them: a JSON Schema, which is foreign text.

It is read by the rules of draft 2020-12, and of draft 7 where they differ and say so. Nothing is fetched: a
reference leads into the schema itself or the schema is refused. Regular expressions can take for ever and
are not tried; what was left out is told. Whatever the schema, the answer is there within ``SECONDS`` and the
time that one look at the largest of its parts takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from functools import cache, partial
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, TypeChecker
from jsonschema import ValidationError as Misfit
from jsonschema.validators import create
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from referencing import Registry

from loader.answers import Kind, Reason
from loader.brief import CUT, brief

SECONDS = 1.0
POINTER = 500
"""Longest reference, in characters."""
PROBLEMS = 5
"""Problems of one parameter that are told."""
WARNINGS = 100
"""Things not looked at that are told."""
FORMATS: Mapping[str, Any] = MappingProxyType(
    {"date-time": datetime, "date": date, "time": clock, "duration": timedelta, "uuid": UUID}
)
"""What these formats come to when a flow is called: as lenient as that."""
ANY = frozenset({"binary", "password", "path"})
"""Formats of which every text is."""
WHOLE = range(-(2**63), 2**63)
"""Numbers with a fraction of zero that a flow takes for integers."""
UNNAMED = frozenset({"cls", "self"})
"""Parameters that no schema of Prefect's has, also of a plain function."""
VARIADIC = frozenset({"args", "kwargs"})
"""What those are called that take any number of arguments: Prefect's schemas do not tell them from others."""
TODAY = (
    "allOf anyOf dependentRequired dependentSchemas exclusiveMaximum exclusiveMinimum"
    " if items maxItems maxLength maxProperties maximum minItems minLength minProperties minimum"
    " multipleOf not oneOf prefixItems propertyNames required type"
).split()
"""Keywords that are done as the library does them."""
UNTRIED = (
    "contentEncoding contentMediaType pattern patternProperties unevaluatedItems unevaluatedProperties"
    " $dynamicRef"
).split()
TYPES: Mapping[str, str] = MappingProxyType(
    {"str": "text", "int": "an integer", "float": "a number", "bool": "true or false", "NoneType": "null"}
    | {"list": "a list", "dict": "an object"}
    | {"Text": "text", "Items": "a list", "Members": "an object"}
)
DUE: Mapping[str, str] = MappingProxyType(
    {"string": "text", "integer": "an integer", "number": "a number", "boolean": "true or false"}
    | {"null": "null", "array": "a list", "object": "an object"}
)
T = TypeVar("T")
Check = Callable[[Any, Any, Any, Any], Any]


class Unusable(Exception):
    """A schema by which nothing can be judged."""


class Fit:
    """One look at some parameters, at their ``values`` too; ``warnings`` say what was not looked at."""

    def __init__(self, schema: Mapping[str, Any], seconds: float = SECONDS, *, values: bool = True) -> None:
        self.schema, self.values = without_dialects(schema), values
        self.end = time.monotonic() + seconds
        self.untried: dict[str, None] = {}
        self.name = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the schema was not tried."""
        return tuple(self.untried)

    def reasons(self, parameters: Mapping[str, Any]) -> Iterator[Reason]:
        """Why they do not fit: what is unknown, and what is of the wrong type."""
        known = self.schema.get("properties", {})
        if not isinstance(known, dict):
            yield unusable(None, "its properties are no object")
            return
        named = ", ".join(map(str, islice(known, 20))) or "none"
        for name, value in parameters.items():
            if name in known and not self.values:
                self.leave_out(f"the value of parameter {cut(name, 100)}, which the flow does not validate,")
            elif name in known:
                yield from self.of(name, known[name], value)
            elif name in UNNAMED:
                self.leave_out(f"parameter {name}")
            elif self.schema.get("additionalProperties") in (None, False):
                said = f"cannot pass {shown(name)}: the flow has no such parameter; it has {named}"
                yield Reason(kind=Kind.UNKNOWN_PARAMETER, message=cut(said), parameter=name)

    def missing(self, given: Container[str]) -> Iterator[Reason]:
        """What is required and not among the names that are given."""
        required, known = self.schema.get("required"), self.schema.get("properties")
        for name in required if isinstance(required, list) else ():
            if not isinstance(name, str) or name in given:
                continue
            if name in VARIADIC and isinstance(known, dict) and untyped(known.get(name)):
                self.leave_out(f"whether parameter {name} is any number of arguments")
            else:
                said = f"cannot run without {shown(name)}: the parameter has no default; give it"
                yield Reason(kind=Kind.MISSING_PARAMETER, message=cut(said), parameter=name)

    def of(self, name: str, schema: Any, value: Any) -> Iterator[Reason]:
        """Why one parameter's value does not fit."""
        self.name = name
        try:
            plain = to_jsonable_python(value)
        except (PydanticSerializationError, ValueError):
            said = f"cannot pass a {type(value).__name__} as {name}: it has no JSON form"
            yield Reason(kind=Kind.WRONG_PARAMETER, message=cut(said), parameter=name, field=name)
            return
        try:
            plain = brief(plain)
            validator = judge(self)(self.schema, registry=Registry(), format_checker=formats())
            if value is None and may_be_null(self, validator, name, schema, self.schema):
                return
            for misfit in islice(validator.descend(plain, schema, path=name), PROBLEMS):
                said = f"cannot pass {shown(plain)} as {name}: {words(misfit)}"
                place = ".".join(map(str, misfit.path))
                yield Reason(kind=Kind.WRONG_PARAMETER, message=cut(said), parameter=name, field=place)
        except Unusable as error:
            yield unusable(name, str(error))
        except RecursionError:
            yield unusable(name, "its references lead in a circle, or it nests too deeply")
        except Exception as error:  # a schema of any shape, in a library that expects sound ones
            yield unusable(name, f"it is no JSON Schema ({type(error).__name__})")

    def leave_out(self, what: str) -> None:
        """Say that something was not looked at."""
        if len(self.untried) < WARNINGS:
            self.untried[f"{what} was not tried"] = None

    def spend(self) -> None:
        """Raise Unusable when there is no time left."""
        if time.monotonic() > self.end:
            raise Unusable("to look at it takes too long")

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items, as long as there is time."""
        for item in items:
            self.spend()
            yield item

    def hashable(self, value: Any) -> Any:
        """What is equal for JSON values that are equal: 1 is 1.0, and true is neither."""
        if isinstance(value, dict):
            return dict, tuple((key, self.hashable(value[key])) for key in self.each(sorted(value)))
        if isinstance(value, list):
            return list, tuple(map(self.hashable, self.each(value)))
        return (bool, value) if isinstance(value, bool) else value


def judge(fit: Fit) -> Any:
    """The class that judges by our keywords, and spends the time of ``fit``."""
    known = {word: Draft202012Validator.VALIDATORS[word] for word in TODAY}
    own: dict[str, Check] = {
        **known,
        "$ref": reference,
        "format": partial(of_form, fit),
        "properties": partial(properties, fit),
        "additionalProperties": additional,
        "items": items,
        "const": partial(const, fit),
        "contains": partial(contains, fit),
        "enum": partial(enum, fit),
        "uniqueItems": partial(unique, fit),
        "additionalItems": Draft7Validator.VALIDATORS["additionalItems"],
        "dependencies": Draft7Validator.VALIDATORS["dependencies"],
    }

    def bounded(check: Check) -> Check:
        def step(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Misfit]:
            fit.spend()
            for misfit in check(validator, value, instance, schema) or ():
                fit.spend()
                # It may repeat the schema, and the misfits of all forms are held at once.
                misfit.message, misfit.args = cut(misfit.message), ()
                yield misfit

        return step

    def left_out(word: str) -> Check:
        def step(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> None:
            fit.leave_out(f"{word} of parameter {cut(fit.name, 100)}")

        return step

    keywords = {word: bounded(check) for word, check in own.items()}
    keywords |= {word: left_out(word) for word in UNTRIED}
    return create({}, keywords, type_checker=INTEGERS, id_of=lambda _schema: "")


def is_integer(_checker: TypeChecker, value: object) -> bool:
    """Whether a flow that asks for an integer takes this for one."""
    held = Draft202012Validator.TYPE_CHECKER.is_type(value, "integer")
    return held and (not isinstance(value, float) or int(value) in WHOLE)


INTEGERS = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)


def of_form(fit: Fit, validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Misfit]:
    """A text of one of the formats that are looked at."""
    if not isinstance(value, str) or value in FORMATS:
        yield from Draft202012Validator.VALIDATORS["format"](validator, value, instance, schema) or ()
    elif isinstance(instance, str) and value not in ANY:
        fit.leave_out(f"format {shown(value)} of parameter {cut(fit.name, 100)}")


def reference(validator: Any, value: Any, instance: Any, _schema: Any) -> Iterator[Misfit]:
    """A reference into the schema itself."""
    if not isinstance(value, str) or not (value == "#" or value.startswith("#/")) or len(value) > POINTER:
        raise Unusable(f"it refers to {shown(value)}, which is not in it")
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, value, instance, _schema)


def properties(fit: Fit, validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Misfit]:
    """Each property; what is optional and has no default may be null, for its default is."""
    if isinstance(instance, dict):
        left = {
            name: sub
            for name, sub in value.items()
            if not (
                name in instance and instance[name] is None and may_be_null(fit, validator, name, sub, schema)
            )
        }
        yield from Draft202012Validator.VALIDATORS["properties"](validator, left, instance, schema) or ()


def additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Misfit]:
    """What no property names, unless it takes a regular expression to tell."""
    if "patternProperties" not in schema:
        check = Draft202012Validator.VALIDATORS["additionalProperties"]
        yield from check(validator, value, instance, schema) or ()


def items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Misfit]:
    """The items of a list: one schema for all, or as in draft 7 one for each."""
    draft = Draft7Validator if isinstance(value, list) else Draft202012Validator
    yield from draft.VALIDATORS["items"](validator, value, instance, schema) or ()


def const(fit: Fit, _validator: Any, value: Any, instance: Any, _schema: Any) -> Iterator[Misfit]:
    """The one value."""
    if fit.hashable(value) != fit.hashable(instance):
        yield Misfit(f"{shown(value)} is due")


def enum(fit: Fit, _validator: Any, value: Any, instance: Any, _schema: Any) -> Iterator[Misfit]:
    """One of some values."""
    if fit.hashable(instance) not in map(fit.hashable, fit.each(value)):
        yield Misfit(f"it is none of {len(value)} values")


def unique(fit: Fit, _validator: Any, value: Any, instance: Any, _schema: Any) -> Iterator[Misfit]:
    """A list in which nothing is twice."""
    if value and isinstance(instance, list):
        held: set[Any] = set()
        for item in map(fit.hashable, fit.each(instance)):
            if item in held:
                yield Misfit("it has an item twice")
                return
            held.add(item)


def contains(fit: Fit, validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Misfit]:
    """A list that has as many items of some kind as are due."""
    if isinstance(instance, list):
        judged = validator.evolve(schema=value)
        count = sum(judged.is_valid(item) for item in fit.each(instance))
        if not schema.get("minContains", 1) <= count <= schema.get("maxContains", count):
            yield Misfit(f"another number of items of a kind is due than {count}")


def may_be_null(fit: Fit, validator: Any, name: str, schema: Any, parent: Mapping[str, Any]) -> bool:
    """Whether a property's default is null. Some schemas do not say that it is: then it is not tried."""
    required = parent.get("required")
    if isinstance(required, list) and name in required:
        return False
    if not isinstance(schema, dict) or schema.get("default") is not None:
        return False
    if "default" not in schema and not validator.evolve(schema=schema).is_valid(None):
        within = "" if name == fit.name else f" of parameter {cut(fit.name, 100)}"
        fit.leave_out(f"whether null is the default of {cut(name, 100)}{within}")
    return True


def untyped(schema: Any) -> bool:
    """Whether a schema says nothing of a value."""
    return isinstance(schema, dict) and schema.keys() <= {"position", "title"}


def without_dialects(schema: Any) -> Any:
    """A schema without the key that would have parts of it read by other rules than ours."""
    if isinstance(schema, dict):
        return {key: without_dialects(item) for key, item in schema.items() if key != "$schema"}
    return [without_dialects(item) for item in schema] if isinstance(schema, list) else schema


@cache
def formats() -> FormatChecker:
    """The formats that are looked at."""
    checker = FormatChecker(formats=())
    for name, kind in FORMATS.items():
        checker.checks(name, raises=ValidationError)(of_format(kind))
    return checker


def of_format(kind: Any) -> Callable[[object], bool]:
    """What raises ValidationError for a text that is none of a type."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def check(value: object) -> bool:
        if isinstance(value, str):
            adapter.validate_python(value)
        return True

    return check


def words(misfit: Misfit) -> str:
    """What is wrong, without what is wanted spelled out at any length."""
    value = misfit.validator_value
    inside = f" at {'.'.join(map(str, list(misfit.path)[1:]))}" if len(misfit.path) > 1 else ""
    if misfit.validator == "type":
        wanted = value if isinstance(value, list) else [value]
        due = " or ".join(DUE.get(item, shown(item)) for item in wanted[:4] if isinstance(item, str))
        return f"{due} is due{inside}, not {TYPES.get(type(misfit.instance).__name__, 'that')}"
    if misfit.validator == "enum" and isinstance(value, list):
        more = " …" if len(value) > 10 else ""
        return f"one of {', '.join(map(shown, value[:10]))}{more} is due{inside}"
    if misfit.validator in ("anyOf", "oneOf") and misfit.context:
        forms = dict.fromkeys(words(inner) for inner in islice(misfit.context, 4))
        return f"it fits no form{inside}: " + "; ".join(forms)
    if misfit.validator == "format":
        return f"a {shown(value)} is due{inside}"
    return cut(misfit.message) + inside


def unusable(name: str | None, why: str) -> Reason:
    """The reason for a schema by which nothing can be judged."""
    whose = f"parameter {shown(name)}" if name else "the flow's parameters"
    said = f"cannot judge by the schema of {whose}: {why}"
    return Reason(kind=Kind.UNUSABLE_SCHEMA, message=cut(said), parameter=name)


def shown(value: Any) -> str:
    """A value as Python writes it; of a long text the beginning, of a container how much is in it."""
    if isinstance(value, (list, dict)):
        return f"{TYPES[type(value).__name__]} of {len(value)}" if value else repr(value)
    return repr(value[:60]) + "…" * (len(value) > 60) if isinstance(value, str) else cut(repr(value), 60)


def cut(text: str, most: int = CUT) -> str:
    """A text, or the beginning of a longer one."""
    return text if len(text) <= most else text[:most] + "…"
