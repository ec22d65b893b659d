"""Bytes go into a store and come out again, under a new key or a name that the caller chose."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import re
import secrets
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loader.access import Access
from loader.client.interface import Transaction
from loader.errors import StorageError

KEY = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z._-]{0,200}")
MADE = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{16}"
)
"""Keys that storage gives, also that of Prefect 2.0 beta: digests, UUIDs and times."""
NAME_CAP = 1_000
"""Longest name, in characters."""


@dataclass
class Kept:
    """Bytes that were kept under a key or name, and the transaction ``by`` which something leads to them."""

    key: str
    by: Transaction | None = None

    def unneeded(self) -> bool:
        """Whether nothing leads to them for sure: they may be taken back."""
        return self.by is None or self.by.undone


class Place(ABC):
    """Where a store keeps its bytes, by names that were checked."""

    shown: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes under a name. Raises StorageError."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Keep bytes under a name. Raises StorageError."""

    @contextlib.contextmanager
    def shared(self, kept: Kept, data: bytes) -> Iterator[None]:
        """Keep bytes under a name that means just these bytes, so that others may use it too.

        After an exception inside they are taken back if they are unneeded, where it is sure that nobody else
        uses them; elsewhere they stay, and are the same bytes for everybody. Raises StorageError.
        """
        self.write(kept.key, data)
        yield

    @abstractmethod
    def remove(self, name: str) -> None:
        """Forget a name, if it is there. Raises StorageError."""


class Store:
    """A storage block that can be read and written. Made by ``store_of``."""

    def __init__(self, place: Place, access: Access, new_key: Callable[[bytes], str]) -> None:
        self._place = place
        self._access = access
        self._new_key = new_key

    def __repr__(self) -> str:
        return f"Store({self._place.shown})"

    def write(self, data: bytes) -> str:
        """Keep ``data``; returns its key. A key that is a digest is the same for the same bytes.

        Raises StorageError.
        """
        key = self._new_key(data)
        self._write(key, data)
        return key

    def read(self, key: str) -> bytes:
        """What is kept under a key, of at most ``Access.size`` bytes. Raises StorageError."""
        return self._place.read(self._checked("read", key))

    def remove(self, key: str) -> None:
        """Forget what is kept under a key, if it is there. Raises StorageError."""
        self._place.remove(self._checked("remove", key))

    def put(self, name: str, data: bytes) -> None:
        """Keep ``data`` under a relative name such as ``flow/a/flow.py``; what was there is replaced.

        Raises StorageError.
        """
        self._check_name(name)
        self._write(name, data)

    @contextlib.contextmanager
    def kept(self, data: bytes) -> Iterator[Kept]:
        """Keep ``data`` and give its key to what is made of it; if that fails, it is taken back.

        Whoever makes a record of it says ``by`` which transaction, for what a record may lead to stays. What
        others may have under the same key by now is never taken from them. Raises StorageError.
        """
        kept = Kept(self._new_key(data))
        self._check_size(data)
        with self._place.shared(kept, data) if self._new_key is digest_key else self._own(kept, data):
            yield kept

    @contextlib.contextmanager
    def placed(self, name: str, data: bytes) -> Iterator[Kept]:
        """The same under a relative name that no other bytes have, such as ``DIGEST/flow.py``.

        Raises StorageError.
        """
        self._check_name(name)
        self._check_size(data)
        kept = Kept(name)
        with self._place.shared(kept, data):
            yield kept

    def give_up(self, key: str) -> None:
        """Remove what nothing leads to any more, if possible; not what others may have under the same key."""
        if self._new_key is not digest_key and MADE.fullmatch(key):
            with contextlib.suppress(StorageError):
                self._place.remove(key)

    def location(self, name: str) -> str:
        """The location of what is kept under a key or a name."""
        return f"{self._place.shown.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _own(self, kept: Kept, data: bytes) -> Iterator[None]:
        """Keep bytes under a key that nobody else has, or after an exception not."""
        self._place.write(kept.key, data)
        try:
            yield
        except BaseException:
            if kept.unneeded():
                with contextlib.suppress(StorageError):
                    self._place.remove(kept.key)
            raise

    def _write(self, name: str, data: bytes) -> None:
        self._check_size(data)
        self._place.write(name, data)

    def _check_size(self, data: bytes) -> None:
        if len(data) > self._access.size:
            raise StorageError(
                f"cannot write to {self._place.shown}: it is more than {self._access.size} bytes, the most"
                f" that is read again; make it smaller, or allow more"
            )

    def _check_name(self, name: str) -> None:
        parts = name.split("/")
        odd = any(not part.isprintable() or "\\" in part or part in {"", ".", ".."} for part in parts)
        if odd or len(name) > NAME_CAP or any(len(part.encode(errors="replace")) > 255 for part in parts):
            raise StorageError(
                f"cannot write {name[:200]!r} to {self._place.shown}: it is no relative name of a file;"
                f" name it like flow/flow.py"
            )

    def _checked(self, verb: str, key: str) -> str:
        if not isinstance(key, str) or KEY.fullmatch(key) is None:
            raise StorageError(
                f"cannot {verb} from {self._place.shown}: {repr(key)[:200]} is no key of this storage;"
                f" use one that it gave"
            )
        return key


def random_key(_: bytes) -> str:
    """A key that nobody has."""
    return str(uuid.uuid4())


def digest_key(data: bytes) -> str:
    """A key that the same bytes always have."""
    return hashlib.sha256(data).hexdigest()


def time_key(_: bytes) -> str:
    """A key that sorts by time, and that nobody else has at the same moment."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(8)}"


KEYS: Mapping[str, Callable[[bytes], str]] = MappingProxyType(
    {"hash": digest_key, "uuid": random_key, "timestamp": time_key}
)
