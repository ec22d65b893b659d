"""Claims in, checked metadata out: pure, and memory in proportion to the frame it was given.

Whatever the bytes, the answer is one of the messages that a worker may send, or Violation. A frame is
walked before anything is built from it, for a few bytes can announce millions of items; and what is built
is given up at its first wrong item, for a note on each of a million costs gigabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator, ValidationError

from worker.protocol import Failed, Found, Loaded, Ready, Refused, Violation, decode

Claim = Ready | Refused | Found | Loaded | Failed

DEPTH = 100
"""How deeply a claim may nest; an honest worker cuts at far less."""
PARTS = 1 << 19
"""What all that one worker says may weigh: a value is one part. It can be a byte on the wire, and a hundred
in memory as the key of a map."""
CONTAINER = 4
"""Parts that a list or map counts for: an empty one is a byte on the wire and sixty-four in memory."""
ALIKE = 500
"""Flows, or specs, of one name and place that a script may hold: who wants each once compares them all."""
FAILURES = ("script_failed", "out_of_memory", "output_exceeded")
"""The statuses that a worker may claim; the others are for the supervisor to see."""

SIZES = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
SIZES |= {0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
SIZES |= dict.fromkeys((*range(0x80), *range(0xE0, 0x100)), 1)
SIZES |= {lead: 1 + (lead & 0x1F) for lead in range(0xA0, 0xC0)}
"""First byte → bytes of an item that is no container; what is in no table here is not JSON."""
TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First byte of a longer text → bytes of its length."""
LISTS = {0xDC: 2, 0xDD: 4}
MAPS = {0xDE: 2, 0xDF: 4}
"""First byte of a longer list or map → bytes of its count."""
FLOATS = {0xCA: 0x7F80, 0xCB: 0x7FF0}
"""First byte of a number → the bits that are all set when it has no value."""


def unforgiving(schema: Any) -> Any:
    """A pydantic core schema that converts nothing, fills in nothing, and ends at the first wrong item."""
    if isinstance(schema, list):
        return [unforgiving(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "default":
        return unforgiving(schema["schema"])
    stricter: Mapping[str, Any] = {
        "str": {"strict": True},
        "int": {"strict": True},
        "bool": {"strict": True},
        "float": {"strict": True},
        "tuple": {"fail_fast": True},
        "dataclass-args": {"extra_behavior": "forbid"},
    }
    added = stricter.get(kind, {}) if isinstance(kind, str) else {}
    return {key: unforgiving(item) for key, item in schema.items()} | added


VALIDATORS: Mapping[str, SchemaValidator] = {
    message.__name__: SchemaValidator(unforgiving(TypeAdapter(message).core_schema))
    for message in (Ready, Refused, Found, Loaded, Failed)
}


class Excess(Violation):
    """A worker said more than can be kept: well-formed, and too much."""


class Gate:
    """What one worker may still say."""

    def __init__(self) -> None:
        self.left = PARTS

    def claim(self, body: bytes) -> Claim:
        """One frame's body as the message it claims to be. Raises Violation, Excess when it is too much."""
        self.left -= weigh(body, self.left)
        return checked(body)


def claim(body: bytes) -> Claim:
    """The one frame of a worker that says no other. Raises Violation."""
    return Gate().claim(body)


def checked(body: bytes) -> Claim:
    """A frame that was weighed, as the message it claims to be. Raises Violation."""
    tag, values = decode(body)
    if tag not in VALIDATORS:
        raise Violation(f"cannot take a {tag} from a worker")
    try:
        message: Claim = VALIDATORS[tag].validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Violation(f"cannot take a {tag}: {where[:200]}: {first['msg'][:200]}") from None
    if isinstance(message, Loaded) and len(message.details) not in (0, len(message.specs)):
        raise Violation("cannot take a Loaded: its details are not those of its specs")
    if isinstance(message, Loaded) and most_alike(message) > ALIKE:
        raise Excess(f"cannot take a Loaded: more than {ALIKE} flows or specs in it are alike")
    if isinstance(message, Failed) and message.status not in FAILURES:
        raise Violation(f"cannot take a Failed: its status {message.status[:40]!r} is not a worker's to give")
    return message


def most_alike(message: Loaded) -> int:
    """How many flows, or specs, are of one name and place: all of them may have one hash."""
    flows = Counter((item.name, item.file, item.line) for item in message.flows)
    specs = Counter((item.name, item.file, item.line, item.flow_name) for item in message.specs)
    return max((*flows.values(), *specs.values()), default=0)


def weigh(body: bytes, most: int = PARTS) -> int:
    """Walk a frame without building it; refuse what JSON cannot carry and what would cost too much.

    Bytes, extensions and numbers without a value are no JSON. Every item that is announced must be there.
    Raises Violation.
    """
    position, end, parts = 0, len(body), 0
    left = [1]
    while left:
        if not left[-1]:
            left.pop()
            continue
        if position >= end:
            raise Violation("cannot read a frame: it announces more than it holds")
        left[-1] -= 1
        parts += 1
        lead = body[position]
        size = SIZES.get(lead)
        if size is not None:
            if lead in FLOATS and is_without_value(body, position, FLOATS[lead]):
                raise Violation("cannot take a message: a number has no value")
            position += size
        elif lead in TEXTS:
            position += 1 + TEXTS[lead] + count(body, position, TEXTS[lead])
        else:
            items, position = opened(body, position, lead)
            parts += CONTAINER - 1
            left.append(items)
            if len(left) > DEPTH:
                raise Violation("cannot take a message: it nests too deeply")
        if parts > most:
            raise Excess("cannot take a message: it has too many parts")
    if position != end:
        raise Violation("cannot read a frame: it does not end where it should")
    return parts


def opened(body: bytes, position: int, lead: int) -> tuple[int, int]:
    """A container's number of items, keys counted, and where the first one stands. Raises Violation."""
    if 0x80 <= lead < 0xA0:
        return (2 if lead < 0x90 else 1) * (lead & 0xF), position + 1
    for table, each in ((LISTS, 1), (MAPS, 2)):
        if lead in table:
            return each * count(body, position, table[lead]), position + 1 + table[lead]
    raise Violation(f"cannot take a message: an item that begins with {lead:#x} is not plain")


def count(body: bytes, position: int, size: int) -> int:
    """The number in ``size`` bytes behind the first byte of an item; too few of them are a short number."""
    return int.from_bytes(body[position + 1 : position + 1 + size])


def is_without_value(body: bytes, position: int, bits: int) -> bool:
    """Whether a floating-point number is infinite or none: its exponent is all ones."""
    return count(body, position, 2) & bits == bits
