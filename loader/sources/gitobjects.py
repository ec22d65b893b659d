"""The objects of a git repository, read by hand from its own regular files: bounded in bytes and in time.

A repository is somebody's word: what a library does for a repository that is trusted (borrow objects from
others, follow links, include configurations, inflate whatever a pack says) is not done here at all.
Source of the formats: gitformat-pack(5), gitrepository-layout(5).
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import NamedTuple

from loader.errors import SourceError
from loader.sources import local
from loader.sources.deadline import Deadline

KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
OFFSET_DELTA, NAMED_DELTA = 6, 7
DEPTH = 4095
"""Longest chain of deltas that git makes."""
LONGEST = 70
"""Bits that the numbers of a delta may have: a longer one costs time in the square of its length."""
ENTRIES = 100_000
"""Files of one folder of a repository that are looked at."""
PIECE = 1 << 16
INDEX = b"\xfftOc\0\0\0\2"
"""How the index of a pack begins, of the only version that git has written since 2008."""
PACK = re.compile(r"pack-[0-9a-f]{40}\.idx")
HASH = 20


class Damaged(ValueError):
    """What no sound repository holds."""


class Entry(NamedTuple):
    """One entry of a pack: its kind, the size of what it inflates to, where that is, and a delta's base."""

    kind: int
    size: int
    start: int
    base: int | bytes | None


class Objects:
    """The objects below the folder ``base`` of descriptor ``root``. None may be larger than ``most`` bytes.

    Methods raise SourceError, FileNotFoundError for what is not there, and Damaged or what Python raises for
    bytes that are too few.
    """

    def __init__(self, shown: str, root: int, base: str, most: int, deadline: Deadline) -> None:
        self.shown = shown
        self.root = root
        self.base = base
        self.most = most
        self.deadline = deadline

    def placed(self, name: str) -> AbstractContextManager[int]:
        """A descriptor of a file or folder of the repository, not opened."""
        return local.below(self.shown, self.base + name, self.root)

    @contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """A descriptor of a regular file of the repository."""
        self.deadline.left()
        descriptor = local.opened(self.shown, self.base + name, self.root)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def listed(self, folder: str) -> list[str]:
        """The names in a folder of the repository; none if it is not there."""
        try:
            with self.placed(folder) as place, os.scandir(f"/proc/self/fd/{place}") as found:
                return sorted(entry.name for entry in islice(found, ENTRIES))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> tuple[str, bytes]:
        """The kind and the content of an object, which are those that its name is the hash of."""
        found = self.loose(name) or self.packed(bytes.fromhex(name))
        if found is None:
            raise Damaged(f"the object {name} is missing; objects of other repositories are not borrowed")
        kind, content = found
        if hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)) + content).hexdigest() != name:  # noqa: S324 - git's
            raise Damaged(f"the object {name} is not what its name says")
        return found

    def within(self, size: int) -> int:
        """The size. Raises SourceError when it is too large."""
        if size > self.most:
            raise SourceError(f"cannot load {self.shown}: it holds an object of more than {self.most} bytes")
        return size

    # --- objects in files of their own ---

    def loose(self, name: str) -> tuple[str, bytes] | None:
        """An object that has its own file."""
        try:
            with self.opened(f"objects/{name[:2]}/{name[2:]}") as descriptor:
                head = zlib.decompressobj().decompress(os.pread(descriptor, PIECE, 0), 64).partition(b"\0")[0]
                kind, _, size = head.partition(b" ")
                whole = self.inflated(descriptor, 0, len(head) + 1 + self.within(int(size)))
        except FileNotFoundError:
            return None
        return kind.decode(), whole[len(head) + 1 :]

    def inflated(self, descriptor: int, start: int, size: int) -> bytes:
        """What is compressed at an offset, which must come to so many bytes."""
        inflater, found = zlib.decompressobj(), bytearray()
        while not inflater.eof and len(found) <= size:
            self.deadline.left()
            piece = inflater.unconsumed_tail
            if not piece:
                piece = exactly(descriptor, 1, start) + os.pread(descriptor, PIECE, start + 1)
                start += len(piece)
            found += inflater.decompress(piece, size + 1 - len(found))
        if len(found) != size:
            raise Damaged("an object is not of the size that it says")
        return bytes(found)

    # --- objects in packs ---

    def packed(self, name: bytes) -> tuple[str, bytes] | None:
        """An object that is in a pack."""
        for index in filter(PACK.fullmatch, self.listed("objects/pack")):
            with self.opened(f"objects/pack/{index}") as names:
                place = offset(names, name)
                if place is not None:
                    with self.opened(f"objects/pack/{index.removesuffix('.idx')}.pack") as pack:
                        return self.unpacked(pack, names, place)
        return None

    def unpacked(self, pack: int, names: int, place: int) -> tuple[str, bytes]:
        """The object at an offset of a pack: what it is based on, changed by each delta."""
        deltas: list[bytes] = []
        while True:
            entry = entry_at(pack, place)
            content = self.inflated(pack, entry.start, self.within(entry.size))
            if entry.base is None:
                break
            deltas.append(content)
            self.within(sum(map(len, deltas)))
            place = entry.base if isinstance(entry.base, int) else offset(names, entry.base) or 0
            if len(deltas) > DEPTH or not place:
                raise Damaged("a delta has no base")
        while deltas:
            content = self.changed(content, deltas.pop())
        return KINDS[entry.kind], content

    def changed(self, base: bytes, delta: bytes) -> bytes:
        """What a delta makes of its base."""
        source, at = number(delta, 0)
        size, at = number(delta, at)
        if source != len(base):
            raise Damaged("a delta has another base")
        self.within(size)
        found = bytearray()
        while at < len(delta):
            self.deadline.left()
            code = delta[at]
            at += 1
            if code & 0x80:
                start, at = sparse(delta, at, code, 4)
                length, at = sparse(delta, at, code >> 4 & 7, 3)
                found += base[start : start + (length or 1 << 16)]
            else:
                found += delta[at : at + code]
                at += code
            if not code or len(found) > size:
                break
        if len(found) != size:
            raise Damaged("a delta makes something else than it says")
        return bytes(found)

    def named(self, beginning: str) -> list[str]:
        """The names of objects that begin so, with four characters or more; at most two from each pack."""
        files = self.listed(f"objects/{beginning[:2]}")
        found = {f"{beginning[:2]}{name}" for name in files if f"{beginning[:2]}{name}".startswith(beginning)}
        lowest = bytes.fromhex(beginning.ljust(2 * HASH, "0"))
        for index in filter(PACK.fullmatch, self.listed("objects/pack")):
            with self.opened(f"objects/pack/{index}") as names:
                first, count = position(names, lowest)
                for place in range(first, min(first + 2, count)):
                    name = exactly(names, HASH, 1032 + HASH * place).hex()
                    found |= {name} if name.startswith(beginning) else set()
        return sorted(found)


def exactly(descriptor: int, size: int, start: int) -> bytes:
    """So many bytes at an offset of a file. Raises Damaged when there are fewer."""
    found = os.pread(descriptor, size, start)
    if len(found) != size:
        raise Damaged("a file ends too early")
    return found


def word(descriptor: int, start: int, size: int = 4) -> int:
    """A number in a file."""
    return int.from_bytes(exactly(descriptor, size, start))


def position(names: int, name: bytes) -> tuple[int, int]:
    """Where a name is in the index of a pack, or would be, and how many names it has."""
    if exactly(names, len(INDEX), 0) != INDEX:
        raise Damaged("the index of a pack is of an unknown version; run git gc")
    low = word(names, 8 + 4 * (name[0] - 1)) if name[0] else 0
    high, count = word(names, 8 + 4 * name[0]), word(names, 8 + 4 * 255)
    while low < high:
        middle = (low + high) // 2
        if exactly(names, HASH, 1032 + HASH * middle) < name:
            low = middle + 1
        else:
            high = middle
    return low, count


def offset(names: int, name: bytes) -> int | None:
    """Where an object is in a pack, by the pack's index."""
    place, count = position(names, name)
    if place >= count or exactly(names, HASH, 1032 + HASH * place) != name:
        return None
    found = word(names, 1032 + 24 * count + 4 * place)
    if found >> 31:
        return word(names, 1032 + 28 * count + 8 * (found & (1 << 31) - 1), 8)
    return found


def entry_at(pack: int, place: int) -> Entry:
    """The entry at an offset of a pack."""
    head = os.pread(pack, 64, place)
    kind, size, at, shift = head[0] >> 4 & 7, head[0] & 15, 1, 4
    while head[at - 1] & 0x80:
        size |= (head[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    if kind == OFFSET_DELTA:
        back = head[at] & 0x7F
        while head[at] & 0x80:
            at += 1
            back = back + 1 << 7 | head[at] & 0x7F
        return Entry(kind, size, place + at + 1, max(place - back, 0))
    if kind == NAMED_DELTA:
        return Entry(kind, size, place + at + HASH, head[at : at + HASH])
    if kind not in KINDS:
        raise Damaged("an object is of no known kind")
    return Entry(kind, size, place + at, None)


def number(delta: bytes, at: int) -> tuple[int, int]:
    """A number at a place of a delta, and the place behind it."""
    found = 0
    for shift in range(0, LONGEST, 7):
        found |= (delta[at] & 0x7F) << shift
        at += 1
        if not delta[at - 1] & 0x80:
            return found, at
    raise Damaged("a number of a delta has no end")


def sparse(delta: bytes, at: int, code: int, size: int) -> tuple[int, int]:
    """A number of which only the bytes are there that ``code`` has bits for, and the place behind it."""
    found = 0
    for place in range(size):
        if code >> place & 1:
            found |= delta[at] << 8 * place
            at += 1
    return found, at
