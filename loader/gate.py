"""Claims in, checked metadata out: pure, and never more memory than the frame it was given.

Whatever the bytes, the answer is one of the messages that a worker may send, or Violation.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
from pydantic import ConfigDict, TypeAdapter, ValidationError

from worker.protocol import (
    Denied,
    Dialect,
    Error,
    Failed,
    Flow,
    Found,
    Frame,
    Guarantee,
    Loaded,
    Notice,
    Ready,
    Refused,
    Spec,
    Violation,
    decode,
)

Claim = Ready | Refused | Found | Loaded | Failed

DEPTH = 100
"""How deeply a claim may nest; an honest worker cuts at far less."""
ITEMS = 500_000
"""Values that one claim may hold: an empty map is one byte on the wire and seventy times that in memory."""
FAILURES = ("script_failed", "out_of_memory", "output_exceeded")
"""The statuses that a worker may claim; the others are for the supervisor to see."""

CLAIMS = (Ready, Refused, Found, Loaded, Failed)
PARTS = (Flow, Spec, Notice, Error, Frame, Denied, Dialect, Guarantee)
for part in (*CLAIMS, *PARTS):
    # Here pydantic looks for the settings of a plain dataclass; the shared module must not know pydantic.
    part.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]

ADAPTERS: dict[str, TypeAdapter[Any]] = {message.__name__: TypeAdapter(message) for message in CLAIMS}


def claim(body: bytes) -> Claim:
    """One frame's body as the message it claims to be. Raises Violation."""
    check_items(body)
    tag, values = decode(body)
    if tag not in ADAPTERS:
        raise Violation(f"cannot take a {tag} from a worker")
    check_json(values)
    try:
        message: Claim = ADAPTERS[tag].validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Violation(f"cannot take a {tag}: {where}: {first['msg']}") from None
    except RecursionError:
        raise Violation(f"cannot take a {tag}: it nests too deeply") from None
    if isinstance(message, Failed) and message.status not in FAILURES:
        raise Violation(f"cannot take a Failed: its status {message.status[:40]!r} is not a worker's to give")
    return message


def check_items(body: bytes) -> None:
    """Refuse more values than ``ITEMS`` before any is kept: each container is let go of as it is counted."""
    left = ITEMS

    def count(container: Any) -> None:
        nonlocal left
        left -= 1 + len(container)
        if left < 0:
            raise Violation("cannot take a message: it holds too many values")

    try:
        msgpack.unpackb(body, strict_map_key=False, list_hook=count, object_hook=count, max_ext_len=0)
    except Violation:
        raise
    except Exception:
        return  # What is wrong with it is for ``decode`` to say.


def check_json(root: Any) -> None:
    """Refuse what JSON cannot carry: bytes, keys that are not text, numbers without a value, depth."""
    waiting = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEPTH:
            raise Violation("cannot take a message: it nests too deeply")
        kind = type(value)
        if kind is dict:
            for key, item in value.items():
                if type(key) is not str:
                    raise Violation("cannot take a message: a key is not text")
                waiting.append((item, depth + 1))
        elif kind is list:
            waiting.extend((item, depth + 1) for item in value)
        elif kind is float:
            if not math.isfinite(value):
                raise Violation("cannot take a message: a number has no value")
        elif value is not None and kind not in (str, int, bool):
            raise Violation(f"cannot take a message: {kind.__name__} is not plain")
