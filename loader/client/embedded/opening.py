"""Opening the embedded registry's file, and SQLite's errors in words.

Messages never repeat what SQLite says: it quotes values, and those may be secrets.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from loader.client.embedded.migrations import migrate, problem
from loader.client.embedded.place import prepare, refusal
from loader.client.embedded.statements import FOUND_CAP, SECONDS, rows
from loader.errors import ClientError

STEP = 0.05
"""How long SQLite itself waits for a lock, in seconds: Ctrl-C is not heard meanwhile."""
ROW_CAP = 128 << 20
"""Largest value in bytes: a script of the largest size fits, however JSON must write it."""
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
NOT_WRITABLE = "this user may not write to it or to its folder; name another file"
REASONS = {
    sqlite3.SQLITE_PERM: NOT_WRITABLE,
    sqlite3.SQLITE_READONLY: NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: NOT_WRITABLE,
    sqlite3.SQLITE_FULL: "the disk is full; make room on it",
    sqlite3.SQLITE_IOERR: "the disk refuses to be read or written; make room on it, and check it",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database; name another file",
    sqlite3.SQLITE_TOOBIG: f"something in it is larger than {ROW_CAP >> 20} MiB; keep that in a file",
    sqlite3.SQLITE_INTERRUPT: (
        f"a search in it took more than {SECONDS:g} seconds or found more than {FOUND_CAP >> 20} MiB, for it"
        f" is damaged or very large; put a copy of it back, or name another file"
    ),
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, or put a copy of it back",
}

Result = TypeVar("Result")


def connect(path: str, wait: float) -> sqlite3.Connection:
    """A connection to the registry at ``path``, which is made or brought up to date first.

    Others that write are waited for, up to ``wait`` seconds. Raises ClientError.
    """
    prepare(path)
    name = f"file:{quote(os.fsencode(path))}?mode=rw"  # never made by SQLite: everybody could read it
    connection = patiently(lambda: _connect(name), wait, lambda why: refusal(path, why))
    try:
        why = patiently(lambda: problem(connection), wait, lambda why: refusal(path, why))
        if why is not None:
            raise refusal(path, why)
        patiently(lambda: _set_up(connection), wait, lambda why: refusal(path, why))
    except BaseException:
        connection.close()
        raise
    return connection


def patiently(act: Callable[[], Result], wait: float, error: Callable[[str], ClientError]) -> Result:
    """What ``act`` returns, tried again while others keep the file busy, up to ``wait`` seconds.

    Raises what ``error`` makes of the reason for which SQLite fails.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            return act()
        except sqlite3.Error as found:
            code = getattr(found, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            name = getattr(found, "sqlite_errorname", "")
        except UnicodeEncodeError:
            code, name = sqlite3.SQLITE_MISMATCH, "a name that is not UTF-8 text"
        # Raised out here, so that the error holds nothing of SQLite's.
        if code not in BUSY:
            raise error(REASONS.get(code, f"SQLite reports {name}; check the file and what is asked of it"))
        if time.monotonic() >= deadline:
            raise error(f"others have been writing to it for {wait:g} seconds; try again later")
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  # not a secret: two who wait should not meet


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, uri=True, timeout=STEP, isolation_level=None, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_CAP)
    rows(connection, "PRAGMA trusted_schema = OFF")
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    rows(connection, "PRAGMA journal_mode = WAL")
    rows(connection, "PRAGMA foreign_keys = ON")
    rows(connection, "PRAGMA secure_delete = ON")  # the secrets of a deleted block are gone
    migrate(connection)
