"""Claims in, checked metadata out: pure, and never more memory than the frame it was given.

Whatever the bytes, the answer is one of the messages that a worker may send, or Violation.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.protocol import Failed, Found, Loaded, Ready, Refused, Violation, decode

Claim = Ready | Refused | Found | Loaded | Failed

DEPTH = 100
"""How deeply a claim may nest; an honest worker cuts at far less."""
FAILURES = ("script_failed", "out_of_memory", "output_exceeded")
"""The statuses that a worker may claim; the others are for the supervisor to see."""

ADAPTERS: dict[str, TypeAdapter[Any]] = {
    message.__name__: TypeAdapter(message) for message in (Ready, Refused, Found, Loaded, Failed)
}


def claim(body: bytes) -> Claim:
    """One frame's body as the message it claims to be. Raises Violation."""
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
