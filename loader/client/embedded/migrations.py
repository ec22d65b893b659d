"""The tables of the embedded registry, and how an older file gets those of today.

A migration is a tuple of statements that are run in one transaction; the file's ``user_version`` counts
those that it has had. A migration that was published never changes: what is new is appended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from typing import Any

from loader.client.embedded.statements import rows

APPLICATION_ID = 0x464C4F57
"""What tells a registry from the SQLite files of other programs: ``FLOW`` in ASCII."""

Migration = tuple[str, ...]

MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE flows (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE blocks (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            type TEXT NOT NULL,
            config TEXT NOT NULL,
            created TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE deployments (
            id TEXT PRIMARY KEY,
            flow_id TEXT NOT NULL REFERENCES flows (id),
            name TEXT NOT NULL,
            body TEXT NOT NULL,
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            UNIQUE (flow_id, name)
        )
        """,
    ),
    (
        """
        CREATE TABLE default_storage (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            block_id TEXT NOT NULL REFERENCES blocks (id) ON DELETE CASCADE
        )
        """,
    ),
)


def problem(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> str | None:
    """Why an open file cannot be used as a registry, with the remedy; None if it can. Writes nothing."""
    rows(connection, "BEGIN")  # all three at one moment: another process may be making the file
    try:
        identity, version = _number(connection, "application_id"), _number(connection, "user_version")
        tables = _schema(connection)
    finally:
        if connection.in_transaction:
            rows(connection, "ROLLBACK")
    if identity == 0 and version == 0 and not tables:
        return None
    if identity != APPLICATION_ID:
        return "it is the SQLite file of another program; name another file"
    if version > len(migrations):
        return (
            f"a newer flow-loader wrote it, with version {version} of its tables where this one knows"
            f" {len(migrations)}; install the newer flow-loader, or name another file"
        )
    if version < 0 or tables != made_by(migrations[:version]):  # a view or a trigger would run as we read
        return "its tables are not a registry's own, for another program changed them; put a copy of it back"
    return None


@cache
def made_by(migrations: tuple[Migration, ...]) -> frozenset[tuple[Any, ...]]:
    """The tables and indexes that migrations make, as SQLite describes them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, migrations)
        return _schema(connection)


def _schema(connection: sqlite3.Connection) -> frozenset[tuple[Any, ...]]:
    # Of a text that is longer than any of ours the beginning will do.
    asked = "SELECT type, name, tbl_name, substr(sql, 1, 10000) FROM sqlite_master LIMIT 1000"
    found = rows(connection, asked)
    return frozenset((*names, " ".join((sql or "").split())) for *names, sql in found)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring an open file up to date. Raises sqlite3.Error, with the file as the last whole migration left it.

    Safe in several processes at once: who comes second finds the work done.
    """
    while _number(connection, "user_version") < len(migrations):
        rows(connection, "BEGIN IMMEDIATE")
        try:
            version = _number(connection, "user_version")  # another process may have been faster
            if version < len(migrations):
                for statement in migrations[version]:
                    rows(connection, statement)
                rows(connection, f"PRAGMA application_id = {APPLICATION_ID}")
                rows(connection, f"PRAGMA user_version = {version + 1}")
            rows(connection, "COMMIT")
        except BaseException:
            if connection.in_transaction:
                rows(connection, "ROLLBACK")
            raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(rows(connection, f"PRAGMA {pragma}")[0][0])
