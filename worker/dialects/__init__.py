"""The generations of the flow API that scripts may be written in; they run beside foreign code.

Each is one package that offers a ``Dialect``. An installed Prefect reads its scripts itself; the one that
is brought along reads those written for it, and every script where no Prefect is installed.
"""

from __future__ import annotations

import sys
from typing import Optional, Tuple

from worker import protocol
from worker.dialects import older, orion, prefect
from worker.dialects.base import Dialect
from worker.dialects.prefect import installed
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

DIALECTS: Tuple[Dialect, ...] = (orion.DIALECT, prefect.PREFECT2, prefect.PREFECT3)
PYTHON = sys.executable


def prepare(asked: str) -> None:
    """Import what is installed and make it harmless, unless only ``orion`` is ``asked`` for."""
    if asked == orion.DIALECT.name:
        return
    installed.bring()
    for dialect in (prefect.PREFECT2, prefect.PREFECT3):
        if dialect.here():
            try:
                dialect.prepare()
                older.compare()
            except Exception as error:
                installed.give_up(error)


def present() -> Optional[Dialect]:
    """The dialect of the Prefect that is installed here, if any."""
    return next((item for item in (prefect.PREFECT2, prefect.PREFECT3) if item.here()), None)


def rehearsed() -> Tuple[Dialect, ...]:
    """The dialects that are worth a rehearsal: the likeliest first."""
    here = present()
    return (orion.DIALECT,) if here is None else (here, orion.DIALECT)


def named(name: str) -> Dialect:
    """The dialect of that name; raises LookupError when there is none, or its Prefect is not installed."""
    for dialect in DIALECTS:
        if dialect.name == name and dialect.version is not None:
            return dialect
    usable = ", ".join(dialect.name for dialect in DIALECTS if dialect.version is not None)
    raise LookupError(f"cannot use the dialect {name!r}: {PYTHON} can use {usable}")


def choose(asked: str, text: str) -> Tuple[Dialect, str]:
    """How to read a script, and why; raises LookupError as ``named``."""
    if asked != protocol.AUTO:
        return named(asked), "it was asked for"
    here = present()
    if here is None:
        other = installed.Installed.version
        return (
            orion.DIALECT,
            f"{PYTHON} has {f'Prefect {other}, which is not read' if other else 'no Prefect'}",
        )
    name = older.needed(text)
    if name is not None:
        return orion.DIALECT, f"the script imports {name}, which Prefect {here.version} does not have"
    return here, f"{PYTHON} has Prefect {here.version}"
