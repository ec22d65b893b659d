"""Records with declared fields, checked when they are made; they run beside foreign code.

A class is given its fields once, as ``declared`` makes them of ``worker.fields``; its constructor, its
refusal of unknown names, its ``dict()``, its repr and its equality derive from that.
"""

from __future__ import annotations

import difflib
from typing import Any, Callable, ClassVar, Dict, Mapping, NamedTuple, Optional, Tuple

from worker.dialects.orion import checks
from worker.dialects.orion.cron import cron
from worker.dialects.orion.exceptions import ValidationError
from worker.dialects.orion.rrule import rrule
from worker.fields import Fields
from worker.plain import text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

REQUIRED: Any = object()
MASK = "**********"
Check = Callable[[Any], Any]
close_matches = difflib.get_close_matches


class Field(NamedTuple):
    """What a field may hold: ``check`` returns the value to keep, or raises ValueError or TypeError."""

    check: Check
    default: Any = None
    secret: bool = False


CHECKS: Dict[str, Check] = {
    "string": checks.string,
    "path": checks.path,
    "folder": checks.folder,
    "truth": checks.truth,
    "strings": checks.strings,
    "mapping": checks.mapping,
    "string_mapping": checks.string_mapping,
    "volumes": checks.volumes,
    "name": checks.name,
    "interval": checks.positive_interval,
    "moment": checks.moment,
    "timezone": checks.timezone,
    "cron": cron,
    "rrule": rrule,
}
"""Kind of a field → how a script's value is checked."""


def declared(fields: Fields, more: Optional[Mapping[str, Check]] = None) -> Dict[str, Field]:
    """The fields that are declared for both sides, each with its check; ``more`` has kinds of its own."""
    made = {}
    for name, field in fields.items():
        check = {**CHECKS, **(more or {}), "choice": checks.one_of(*field.choices)}[field.kind]
        default = REQUIRED if field.required else field.default
        made[name] = Field(checks.optional(check) if field.optional else check, default, field.secret)
    return made


class Model:
    """Base of schedules, runners, storage blocks and specs."""

    fields: ClassVar[Dict[str, Field]] = {}

    def __init_subclass__(cls, fields: Optional[Mapping[str, Field]] = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.fields = {**cls.fields, **(fields or {})}

    def __init__(self, **values: Any) -> None:
        kind = type(self).__name__
        for name in values:
            if name not in self.fields:
                raise ValidationError(f"cannot make {kind}: {unknown(name, tuple(self.fields))}")
        for name, field in self.fields.items():
            if name not in values and field.default is REQUIRED:
                raise ValidationError(f"cannot make {kind}: {name}: field required")
            try:
                held = field.check(values[name] if name in values else fresh(field.default))
            except (TypeError, ValueError) as error:
                raise ValidationError(f"cannot make {kind}: {name}: {text(error)}") from None
            self.__dict__[name] = held
        try:
            self.check()
        except ValueError as error:
            raise ValidationError(f"cannot make {kind}: {text(error)}") from None

    def check(self) -> None:
        """Check the fields against each other; raises ValueError."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields and not name.startswith("_"):
            raise ValueError(f'"{type(self).__name__}" object has no field "{name}"')
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (
            f"{name}={MASK if field.secret and self.__dict__[name] is not None else self.__dict__[name]!r}"
            for name, field in self.fields.items()
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def dict(self) -> Dict[str, Any]:
        """The fields and their values."""
        return {name: self.__dict__.get(name) for name in self.fields}


def fresh(default: Any) -> Any:
    """A default value; a callable one is called, so that no two records share it."""
    return default() if callable(default) else default


def unknown(name: str, known: Tuple[str, ...]) -> str:
    """What is said of a field that does not exist."""
    close = close_matches(name, known, 1)
    guess = f" Did you mean {close[0]!r}?" if close else f" It has {', '.join(known)}."
    return f"{name}: there is no such field.{guess}"
