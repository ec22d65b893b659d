"""Connections to the embedded registry's file: lent to one thread at a time, and kept out of forks.

What SQLite remembers of its locks is wrong after a fork. So what is idle is closed before one, and a
process that was forked while a connection was in use is refused the file for good.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from loader.client.embedded.opening import connect, patiently
from loader.client.embedded.statements import Row, rows
from loader.client.interface import Transaction
from loader.errors import ClientError

IDLE_CAP = 4
"""So many connections are kept open for whoever comes next."""
FORK_WAIT = 1.0
"""How long a fork waits for other threads to give their connections back, in seconds."""


class Connections:
    """One process's connections to the file at ``path``. None is opened before it is needed."""

    def __init__(self, path: str, wait: float) -> None:
        self.path = path
        self._wait = wait
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._lent: set[sqlite3.Connection] = set()
        self._changed = threading.Condition()
        self._forking: int | None = None
        self._thread = threading.local()
        _EVERY.add(self)

    def read(self, statement: str, values: Sequence[str] = ()) -> list[Row]:
        """Every row that ``statement`` finds; none where there is no file yet. Raises ClientError."""
        if (connection := self._own()) is not None:
            return self._go_on(connection, statement, values)
        if not os.path.lexists(self.path):
            return []
        with self._borrowed() as connection:
            return self._run(connection, statement, values)

    def write(self, statement: str, values: Sequence[str] = ()) -> None:
        """Run ``statement`` in this thread's transaction. Raises ClientError."""
        connection = self._own()
        assert connection is not None, "a write is part of a transaction"
        self._go_on(connection, statement, values)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All that is written inside, or nothing. One inside another joins it, and can be undone alone.

        Raises ClientError.
        """
        made = Transaction()
        if (connection := self._own()) is not None:
            with self._part(connection, made):
                yield made
            return
        with self._borrowed() as connection:
            thread = self._thread  # a fork inside puts another in its place
            try:
                self._run(connection, "BEGIN IMMEDIATE")
                thread.connection = connection
                yield made
                self._go_on(connection, "COMMIT")
                made.done = True
            except BaseException:
                if self._is_open(connection):
                    self._run(connection, "ROLLBACK")
                    made.undone = True
                raise
            finally:
                thread.connection = None

    def close(self) -> None:
        """Close every connection, those in use when they are given back. May be called again."""
        with self._changed:
            self._closed = True
            self._close_idle()

    def _own(self) -> sqlite3.Connection | None:
        """The connection of this thread's transaction, if it has one."""
        connection: sqlite3.Connection | None = getattr(self._thread, "connection", None)
        return connection

    @contextmanager
    def _part(self, connection: sqlite3.Connection, made: Transaction) -> Iterator[None]:
        """A transaction inside this thread's."""
        self._go_on(connection, "SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._is_open(connection):
                self._run(connection, "ROLLBACK TO part")
                self._run(connection, "RELEASE part")
                made.undone = True
            raise
        self._go_on(connection, "RELEASE part")

    def _is_open(self, connection: sqlite3.Connection) -> bool:
        """Whether a transaction is going on, and is this process's.

        SQLite itself undoes one where the disk is full. After a fork it belongs to the parent.
        """
        return connection in self._lent and connection.in_transaction

    def _go_on(self, connection: sqlite3.Connection, statement: str, values: Sequence[str] = ()) -> list[Row]:
        """Run ``statement`` in the transaction that was begun on ``connection``. Raises ClientError."""
        if not self._is_open(connection):
            raise self._refusal("an earlier error or a fork undid this transaction; begin another")
        return self._run(connection, statement, values)

    def _run(self, connection: sqlite3.Connection, statement: str, values: Sequence[str] = ()) -> list[Row]:
        return patiently(lambda: rows(connection, statement, values), self._wait, error=self._refusal)

    def _refusal(self, why: str) -> ClientError:
        return ClientError(f"cannot use the registry {self.path}: {why}")

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """An idle connection, or a new one, until the block is left."""
        with self._changed:
            # The thread that forks waits for those who have a connection: nobody else may get one meanwhile.
            self._changed.wait_for(lambda: self._forking in {None, threading.get_ident()})
            if self._closed:
                raise self._refusal("it was closed; make another client")
            if os.path.realpath(self.path) in _INHERITED:
                raise self._refusal(
                    "this process was forked while it was in use; fork outside of transactions, or spawn"
                )
            # Opened under the lock: no fork comes in between.
            connection = self._idle.pop() if self._idle else connect(self.path, self._wait)
            self._lent.add(connection)
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._changed:
            if connection not in self._lent:
                return  # it is the parent's
            if self._closed or connection.in_transaction or len(self._idle) >= IDLE_CAP:
                connection.close()
            else:
                self._idle.append(connection)
            self._lent.remove(connection)
            self._changed.notify_all()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def before_fork(self) -> bool:
        """Close what is idle and let nobody have a connection; false where that takes too long."""
        if not self._changed.acquire(timeout=FORK_WAIT):
            return False
        self._forking, own = threading.get_ident(), {self._own()}
        self._changed.wait_for(lambda: self._lent <= own, FORK_WAIT)
        self._close_idle()
        return True

    def after_fork(self) -> None:
        """Let threads have connections again."""
        self._forking = None
        self._changed.notify_all()
        self._changed.release()

    def in_child(self, *, waited: bool) -> None:
        """Leave what is the parent's alone, and begin anew. ``waited`` is what ``before_fork`` gave."""
        inherited = [*self._lent, *self._idle]
        for connection in inherited:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # to free it would act on the file
        if inherited or not waited:
            _INHERITED.add(os.path.realpath(self.path))
        self._idle, self._lent = [], set()
        self._changed, self._thread, self._forking = threading.Condition(), threading.local(), None


class _Forks:
    """What is done in every fork of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: list[Connections] = []

    def before(self) -> None:
        self.lock.acquire()
        self.held = [connections for connections in list(_EVERY) if connections.before_fork()]

    def in_parent(self) -> None:
        for connections in self.held:
            connections.after_fork()
        self.held = []
        self.lock.release()

    def in_child(self) -> None:
        for connections in list(_EVERY):
            connections.in_child(waited=connections in self.held)
        self.lock, self.held = threading.Lock(), []


_EVERY: weakref.WeakSet[Connections] = weakref.WeakSet()
_INHERITED: set[str] = set()
"""Files whose locks SQLite remembers wrongly in this process."""
_FORKS = _Forks()
os.register_at_fork(before=_FORKS.before, after_in_parent=_FORKS.in_parent, after_in_child=_FORKS.in_child)
