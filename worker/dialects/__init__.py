"""The generations of the flow API that scripts may be written in; they run beside foreign code.

Each is one package that offers a ``Dialect``. The order of the table is the order of preference.
"""

from __future__ import annotations

from typing import Tuple

from worker.dialects import orion
from worker.dialects.base import Dialect

DIALECTS: Tuple[Dialect, ...] = (orion.DIALECT,)


def named(name: str) -> Dialect:
    """The dialect of that name; raises LookupError when there is none."""
    for dialect in DIALECTS:
        if dialect.name == name:
            return dialect
    known = ", ".join(dialect.name for dialect in DIALECTS)
    raise LookupError(f"cannot use the dialect {name!r}: there are {known}")
