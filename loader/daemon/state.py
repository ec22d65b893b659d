"""What is known of each watched script, in one SQLite file: it outlives the daemon, and is safe to lose.

What every list shows is held apart from the outcomes, which are read only when somebody asks for them. A
file that is damaged is set aside, and one that cannot be written is done without: what is known then lives
as long as the daemon, and ``trouble`` says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from itertools import islice

from pydantic import TypeAdapter, ValidationError

from loader.answers import Judged
from loader.daemon.folders import check_own, own
from loader.models import Model, Outcome, Status
from loader.raising import holds_nothing
from loader.tally import given_by, place_of

NAMES = 1_000
"""Names of each script that are looked at for those that others use."""
LOADS = 50
"""Loads of each script that are remembered."""
COMPANIONS = ("-wal", "-shm")
"""What SQLite keeps beside its file."""
FRESH = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
FORMAT = 2
"""A file of another is not read."""
TABLE = """
CREATE TABLE IF NOT EXISTS watched
    (id TEXT PRIMARY KEY, seen TEXT NOT NULL, outcome TEXT, good TEXT, verdicts TEXT) WITHOUT ROWID
"""


class Past(Model):
    """One load that was: when it ended, how, and what it took. Seconds, ``at`` since 1970."""

    at: float
    status: str
    seconds: float


class Name(Model):
    """A name that a script gives, and where: ``flow``, or ``deployment`` as in ``flow/name``."""

    kind: str
    name: str
    place: str


class Seen(Model):
    """What is known of one watched script without its outcomes.

    ``place`` is what is watched, ``status`` how its last load ended, or ``usage`` if there was none.
    ``ok`` is that it loaded, or holds nothing at all. ``problem`` says what kept it from being loaded again.
    ``stale`` is that the flows and specs are those of an earlier load; ``names`` are the last good ones.
    ``fingerprint`` is of all that the load depended on, null if it is to be loaded again in any case;
    ``sources`` are where to look for that.
    """

    id: str
    place: str
    location: str
    status: str
    ok: bool = False
    stale: bool = False
    problem: str | None = None
    loads: tuple[Past, ...] = ()
    names: tuple[Name, ...] = ()
    flows: int = 0
    specs: int = 0
    fingerprint: str | None = None
    sources: tuple[str, ...] = ()


class Judgement(Model):
    """Whether a deployment can be made of a spec of a manifest, and what is wrong with it."""

    valid: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Watched(Seen):
    """The same with its last outcome, and the last good one if that is another.

    ``verdicts`` are those on each spec of a manifest's outcome; a script has none.
    """

    outcome: Outcome | None = None
    good: Outcome | None = None
    verdicts: tuple[Judgement, ...] = ()


SMALL = frozenset(Seen.model_fields)
VERDICTS = TypeAdapter(tuple[Judgement, ...])


class State:
    """The file at ``path``; without one nothing outlives the daemon. Safe to use from many threads."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.trouble: str | None = None
        self.lock = threading.Lock()
        self.lasting = path is not None
        self.unsaved: dict[str, Watched] = {}
        self.database = self.opened()

    def opened(self) -> sqlite3.Connection:
        """The database, or one in memory if there is none to be had."""
        if self.path is None:
            return connected(":memory:")
        try:
            folder, name = os.path.split(os.path.abspath(self.path))
            with own(folder) as place:
                for file in (name, *(name + companion for companion in COMPANIONS)):
                    check_own(file, place)
                os.close(os.open(name, FRESH, 0o600, dir_fd=place))
                try:
                    return connected(self.path)
                except sqlite3.DatabaseError as error:
                    if isinstance(error, sqlite3.OperationalError):
                        raise
                set_aside(self.path)
                return connected(self.path)
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or error
            self.trouble, self.lasting = f"cannot keep what is watched in {self.path}: {why}", False
            return connected(":memory:")

    def all(self) -> list[Seen]:
        """Everything, without the outcomes."""
        with self.lock:
            rows = self.rows("SELECT seen FROM watched ORDER BY id")
            held = dict(self.unsaved)
        found = {seen.id: seen for seen in map(readable, rows) if seen is not None}
        return list({**found, **{item.id: small(item) for item in held.values()}}.values())

    def get(self, number: str) -> Watched | None:
        """One script, with its outcomes."""
        with self.lock:
            held = self.unsaved.get(number)
            rows = self.rows("SELECT seen, outcome, good, verdicts FROM watched WHERE id = ?", number)
        if held is not None or not rows:
            return held
        with contextlib.suppress(ValidationError):
            seen, outcome, good, verdicts = rows[0]
            return Watched(
                **dict(Seen.model_validate_json(seen)),
                outcome=Outcome.model_validate_json(outcome) if outcome else None,
                good=Outcome.model_validate_json(good) if good else None,
                verdicts=VERDICTS.validate_json(verdicts),
            )
        return None

    def put(self, item: Watched) -> None:
        """Remember one script; if the file cannot be written, until it can be."""
        with self.lock:
            self.unsaved[item.id] = item
            self.save()

    def remove(self, numbers: Iterable[str]) -> None:
        """Forget scripts."""
        with self.lock:
            for number in numbers:
                self.unsaved.pop(number, None)
                self.write("DELETE FROM watched WHERE id = ?", number)

    def save(self) -> None:
        """Write what is not written yet; call with the lock held."""
        for number, item in list(self.unsaved.items()):
            outcomes = [None if one is None else one.model_dump_json() for one in (item.outcome, item.good)]
            values = number, small(item).model_dump_json(), *outcomes, VERDICTS.dump_json(item.verdicts)
            if not self.write("INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?, ?)", *values):
                return
            del self.unsaved[number]

    def write(self, statement: str, *values: str | bytes | None) -> bool:
        """Change the file, and say whether that went well."""
        try:
            self.database.execute(statement, values)
        except sqlite3.Error as error:
            self.trouble = (
                f"cannot keep what is watched in {self.path}: {error}; make room, or check the disk"
            )
            return False
        if self.lasting:
            self.trouble = None
        return True

    def rows(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        """What the file holds; nothing if it cannot be read any more."""
        try:
            return self.database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self.trouble = f"cannot read what is watched in {self.path}: {error}"
            return []

    def close(self) -> None:
        """Write what is left, and let go of the file."""
        with self.lock:
            self.save()
            self.database.close()


def connected(path: str) -> sqlite3.Connection:
    """A database with our table in it. Raises sqlite3.Error, DatabaseError for one that is not ours."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL").fetchall()
        database.execute("PRAGMA synchronous = NORMAL")
        [[version]] = database.execute("PRAGMA user_version").fetchall()
        if version != FORMAT:
            database.execute("DROP TABLE IF EXISTS watched")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute(TABLE)
        [[found]] = database.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except BaseException:
        database.close()
        raise
    return database


def set_aside(path: str) -> None:
    """Call a damaged file something else, in the place of the last such one. Raises OSError."""
    os.replace(path, f"{path}.damaged")
    for companion in COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + companion)


def small(item: Watched) -> Seen:
    """What is known without the outcomes."""
    return Seen(**{name: getattr(item, name) for name in SMALL})


def readable(row: tuple[str, ...]) -> Seen | None:
    """One script of the file, if what it holds can be read."""
    try:
        return Seen.model_validate_json(row[0])
    except ValidationError:
        return None


# --- what becomes of it ---


def number_of(place: str, location: str) -> str:
    """What a script is called in addresses."""
    return hashlib.sha256(f"{place}\n{location}".encode()).hexdigest()[:16]


def last_good(item: Watched | None) -> Outcome | None:
    """The last outcome of a load that went well."""
    if item is None:
        return None
    is_good = item.outcome is not None and item.outcome.status is Status.LOADED
    return item.outcome if is_good else item.good


def after_load(  # noqa: PLR0913, PLR0917 - that is what a load comes to
    state: State,
    place: str,
    location: str,
    outcome: Outcome,
    fingerprint: str | None,
    read: tuple[str, ...],
    specs: Iterable[Judged] = (),
) -> Seen:
    """Remember the outcome of a load; what was good before is kept beside one that is not."""
    number = number_of(place, location)
    before = state.get(number)
    verdicts = tuple(
        Judgement(**{name: getattr(one, name) for name in Judgement.model_fields}) for one in specs
    )
    loads = outcome.status is Status.LOADED or holds_nothing(outcome)
    ok = loads and all(one.valid for one in verdicts)
    good = None if loads else last_good(before)
    told = good or outcome
    past = Past(at=time.time(), status=outcome.status, seconds=outcome.usage.wall_seconds)
    item = Watched(
        id=number,
        place=place,
        location=location,
        status=outcome.status,
        ok=ok,
        stale=good is not None,
        loads=(*(before.loads if before else ()), past)[-LOADS:],
        names=tuple(
            Name(kind=kind, name=name, place=place_of(file, line))
            for kind, name, file, line in islice(given_by(location, told.flows, told.specs), NAMES)
        ),
        flows=len(told.flows),
        specs=len(told.specs),
        fingerprint=fingerprint,
        sources=read,
        outcome=outcome,
        good=good,
        verdicts=verdicts,
    )
    state.put(item)
    return small(item)


def after_trouble(state: State, place: str, location: str, problem: str, status: str) -> Seen:
    """Remember that a script could not be loaded by no fault of its own; what was known of it stays."""
    number = number_of(place, location)
    before = state.get(number) or Watched(id=number, place=place, location=location, status=status)
    stale = last_good(before) is not None
    item = before.model_copy(update={"problem": problem, "fingerprint": None, "stale": stale})
    state.put(item)
    return small(item)
