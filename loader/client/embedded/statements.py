"""One way for every statement of the registry to SQLite: what it takes and what it finds are bounded.

In a file that was tampered with pages may lead to one another: a search there has no end, and a small table
as many rows as one likes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

SECONDS, STEPS = 10.0, 1000
"""How long one statement may be worked on, and after how many steps of SQLite's that is looked at. A step
may read a large value."""
FOUND_CAP = 256 << 20
"""Characters and bytes that one statement may find."""
ROW_COST = 1 << 10
"""What a row counts for beside its texts: the least of them takes its place in memory."""

Row = tuple[Any, ...]


class Endless(sqlite3.OperationalError):
    """A statement took too long, or found too much."""

    sqlite_errorcode = sqlite3.SQLITE_INTERRUPT


def rows(connection: sqlite3.Connection, statement: str, values: Sequence[str] = ()) -> list[Row]:
    """All that ``statement`` gives. Raises sqlite3.Error, where it is too much Endless."""
    until = time.monotonic() + SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    found: list[Row] = []
    left = FOUND_CAP
    with closing(connection.execute(statement, values)) as cursor:
        for row in cursor:
            left -= ROW_COST + sum(len(item) for item in row if isinstance(item, str | bytes))
            if left < 0 or time.monotonic() > until:
                raise Endless
            found.append(row)
    return found
