"""Any object as plain JSON data, bounded in depth, width and size; it runs beside foreign code.

An object is judged by its true type and copied by the base type's own methods: what a subclass says
of itself is not asked. Where an object's own code must run (``__repr__``, ``model_dump``) it may raise
what it likes. What has no JSON form becomes a short text.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Callable, Dict, Iterable, List, Set, Tuple
from uuid import UUID

from worker.pristine import BUILTINS
from worker.protocol import Json

__builtins__ = BUILTINS

DEPTH = 24
"""Levels of nesting; deeper values become a text."""
WIDTH = 2_000
"""Items kept of one container."""
NODES = 20_000
"""Values kept of one object, all levels together."""
TEXT = 20_000
"""Characters kept of one string."""
REPR = 200
"""Characters kept of a text that stands for an object."""

ADDRESS = re.compile(r"(?<=\bat )0x[0-9A-Fa-f]{6,}")
SURROGATE = re.compile("[\ud800-\udfff]")
mro_of: Callable[[type], Tuple[type, ...]] = type.__dict__["__mro__"].__get__
qualname_of: Callable[[type], str] = type.__dict__["__qualname__"].__get__
module_of: Callable[[type], object] = type.__dict__["__module__"].__get__


def plain(value: object) -> Json:
    """``value`` as None, bool, 64-bit int, finite float, str, list or dict with string keys."""
    return Copier().copy(value)


def exact(value: object) -> Tuple[Json, bool]:
    """``value`` made plain, and whether nothing of it was cut or replaced by a text."""
    copier = Copier()
    return copier.copy(value), copier.exact


def text(value: object, limit: int = TEXT) -> str:
    """A string, or what ``str()`` says of another object, cut to ``limit`` and free of lone surrogates."""
    try:
        copied = str.__str__(value if str in mro_of(type(value)) else str(value))
    except BaseException:  # a script's __str__ may raise anything
        copied = placeholder(value)
    return shorten(well_formed(copied), limit)


def masked(message: str) -> str:
    """``message`` with memory addresses blanked, so that two loads say the same."""
    return ADDRESS.sub("0x…", message)


def type_name(kind: type) -> str:
    """A class's name, qualified by its module unless that is builtins; its metaclass is not asked."""
    try:
        module, name = module_of(kind), qualname_of(kind)
    except AttributeError:
        return "object"
    prefix = "" if type(module) is not str or module in ("builtins", "__main__") else module + "."
    return shorten(well_formed(prefix + name), REPR)


def well_formed(value: str) -> str:
    """``value`` with lone surrogates replaced: what is left can be encoded."""
    return value if value.isascii() else SURROGATE.sub("\ufffd", value)


def shorten(value: str, limit: int) -> str:
    """``value``, or its beginning and an ellipsis."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


def placeholder(value: object) -> str:
    """A text for an object that has no other: its type's name."""
    return f"<{type_name(type(value))}>"


def described(value: object) -> str:
    """What ``repr`` says of an object, short and without addresses; its type's name if that fails."""
    try:
        said = str.__str__(repr(value))
    except BaseException:  # a script's __repr__ may raise anything
        return placeholder(value)
    return shorten(masked(well_formed(shorten(said, 4 * REPR))), REPR)


class Copier:
    """One walk over one object; it counts what it kept and notes whether anything was lost."""

    def __init__(self) -> None:
        self.exact = True
        self.left = NODES
        self.above: Set[int] = set()

    def copy(self, value: object) -> Json:
        """``value`` as plain data, whatever it is."""
        self.left -= 1
        if value is None or value is True or value is False:
            return value
        if type(value) is str and self.left >= 0:
            return self.string(value)
        if self.left < 0 or len(self.above) >= DEPTH or id(value) in self.above:
            return self.lost("…" if id(value) not in self.above else "<cycle>")
        self.above.add(id(value))
        try:
            for kind in mro_of(type(value)):
                copy = COPIES.get(kind)
                if copy is not None:
                    return copy(self, value)
            return self.structured(value)
        except BaseException:  # a script's own methods may raise anything
            return self.lost(placeholder(value))
        finally:
            self.above.discard(id(value))

    def lost(self, stand_in: str) -> str:
        """Note that something stands for what it is not."""
        self.exact = False
        return stand_in

    def string(self, value: str) -> str:
        """A str that can be encoded."""
        copied = well_formed(str.__str__(value))
        return copied if len(copied) <= TEXT else self.lost(shorten(copied, TEXT))

    def integer(self, value: int) -> Json:
        """An int, or the digits of one over 64 bit."""
        copied = int.__int__(value)
        return copied if -(1 << 63) <= copied < 1 << 63 else self.lost(int_text(copied))

    def real(self, value: float) -> Json:
        """A finite float, or ``nan``, ``inf``, ``-inf`` as text."""
        copied = float.__float__(value)
        finite = copied - copied == 0.0
        return copied if finite else self.lost(float.__repr__(copied))

    def octets(self, value: bytes) -> str:
        """Bytes as the text they encode."""
        copied = bytes.__getitem__(value, slice(0, TEXT + 1))
        try:
            return self.string(copied.decode("utf-8"))
        except UnicodeDecodeError:
            return self.lost(shorten(repr(copied), TEXT))

    def items(self, values: Iterable[object]) -> List[Json]:
        """Each of several values, in order."""
        copied: List[Json] = []
        for value in values:
            if len(copied) >= WIDTH or self.left <= 0:
                copied.append(self.lost("…"))
                break
            copied.append(self.copy(value))
        return copied

    def unordered(self, values: Iterable[object]) -> List[Json]:
        """Each of several values, in an order that does not depend on hashes."""
        return sorted(self.items(values), key=lambda item: (type(item).__name__, repr(item)))

    def mapping(self, values: Iterable[Tuple[object, object]]) -> Dict[str, Json]:
        """Keys and values, the keys as text."""
        copied: Dict[str, Json] = {}
        for key, value in values:
            if len(copied) >= WIDTH or self.left <= 0:
                copied["…"] = self.lost("…")
                break
            copied[self.key(key)] = self.copy(value)
        return copied

    def key(self, value: object) -> str:
        """A key as JSON writes it."""
        copied = self.copy(value)
        if type(copied) is str:
            return copied
        if copied is None or type(copied) is bool:
            return KEYWORDS[copied]
        return repr(copied)

    def structured(self, value: object) -> Json:
        """Objects that say what they hold: dataclasses, pydantic-like models, numpy's scalars and arrays."""
        kind = type(value)
        names = {name for base in mro_of(kind) for name in base.__dict__}
        if "__dataclass_fields__" in names:
            fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
            held = ((name, object.__getattribute__(value, name)) for name in list(fields))
            return self.mapping(held)
        if "model_dump" in names:
            return self.copy(value.model_dump(mode="json"))  # type: ignore[attr-defined]
        if "__fields__" in names and "dict" in names:
            return self.copy(value.dict())  # type: ignore[attr-defined]
        if "tolist" in names and type_name(kind).startswith("numpy."):
            return self.copy(value.tolist())  # type: ignore[attr-defined]
        return self.lost(described(value))


def int_text(value: int) -> str:
    """An int in digits, or in hexadecimal where the interpreter refuses so many digits."""
    try:
        return shorten(int.__repr__(value), TEXT)
    except ValueError:
        return shorten(hex(value), TEXT)


def decimal(copier: Copier, value: Decimal) -> Json:
    """A decimal as an int or a float, as pydantic 1 had it."""
    if not Decimal.is_finite(value):
        return copier.lost(Decimal.__str__(value))
    whole = Decimal.as_tuple(value).exponent == 0
    return copier.integer(Decimal.__int__(value)) if whole else copier.real(Decimal.__float__(value))


def member(copier: Copier, value: Enum) -> Json:
    """An enum's member as its value."""
    return copier.copy(object.__getattribute__(value, "_value_"))


KEYWORDS = {None: "null", True: "true", False: "false"}
COPIES: Dict[type, Callable[[Copier, Any], Json]] = {
    Enum: member,
    str: Copier.string,
    int: Copier.integer,
    float: Copier.real,
    bytes: Copier.octets,
    bytearray: lambda copier, value: copier.octets(bytes(value)),
    list: lambda copier, value: copier.items(list.__iter__(value)),
    tuple: lambda copier, value: copier.items(tuple.__iter__(value)),
    set: lambda copier, value: copier.unordered(set.__iter__(value)),
    frozenset: lambda copier, value: copier.unordered(frozenset.__iter__(value)),
    dict: lambda copier, value: copier.mapping(list(dict.items(value))),
    datetime: lambda copier, value: copier.string(datetime.isoformat(value)),
    date: lambda copier, value: copier.string(date.isoformat(value)),
    time: lambda copier, value: copier.string(time.isoformat(value)),
    timedelta: lambda copier, value: copier.real(timedelta.total_seconds(value)),
    UUID: lambda copier, value: copier.string(UUID.__str__(value)),
    PurePath: lambda copier, value: copier.string(PurePath.__str__(value)),
    Decimal: decimal,
}
"""How each known type is copied. A class is copied as the first of its bases that stands here."""
