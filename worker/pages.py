"""Copies ahead of time the pages of memory that a load will need; it runs beside foreign code only later.

A forked process shares its memory with its parent, and pays for each page when it first writes to it, as
counting references does all the time: several milliseconds of a load. A scout, forked once, does what workers
do and says which pages it needed; each worker has those copied while it waits for its script.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import itertools
import operator
import os
import sys
import traceback
from typing import Any, Callable, Iterable, Iterator, List, Tuple

from .confine import kernel

Piece = Tuple[int, int, int]
"""Address, length and what to ask of the kernel."""
Wish = Tuple[Any, int]
"""The addresses and lengths of several pieces, one after the other, and what to ask of the kernel for all."""
ROOM = 20_000
"""Names, more than a load brings, for which the table has room afterwards, or else has just been copied."""
LARGE, GATHER = 2 << 20, 25
"""Bytes of the kernel's large pages, and the advice to make one of what lies in its place."""
MANY = 1024
"""Pieces that the kernel takes at once."""
PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT, OF_FILE, ALONE = 1 << 63, 1 << 61, 1 << 56
"""What the kernel says of a page: it is there, it is a file's, no other process has it."""
POPULATE_READ, POPULATE_WRITE = 22, 23
ENTRY = 8
"""Bytes in which the kernel tells of a page."""
ADVICE = operator.itemgetter(2)
madvise = kernel.libc.madvise
madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def make_room() -> None:
    """Have the interpreter's table of names grow now if it is nearly full, and not in each fork anew."""
    for number in range(ROOM):
        sys.intern(f"{__name__} {number}")


def gather() -> None:
    """Have this process's memory in large pages where the kernel can: forks share and end them as one."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for start, end in list(mappings(maps)):
            for place in range(-(-start // LARGE) * LARGE, end - LARGE + 1, LARGE):
                madvise(place, LARGE, GATHER)


def needed_for(rehearse: Callable[[], None]) -> List[Wish]:
    """What a fork of this process needs for ``rehearse``; nothing where the kernel does not tell."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        scout = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if scout == 0:
        try:
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1, "scout: dumpable")
            needed = list(own(rehearse))
            with os.fdopen(writing, "wb") as end:
                end.write(array.array("Q", [number for piece in needed for number in piece]).tobytes())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as end:
        told = array.array("Q", end.read())
    os.waitpid(scout, 0)
    return list(wishes(list(zip(told[::3], told[1::3], told[2::3]))))


def wishes(needed: Iterable[Piece]) -> Iterator[Wish]:
    """Many pieces at a time, in the form that the kernel takes."""
    for asked, same in itertools.groupby(sorted(needed, key=ADVICE), ADVICE):
        while some := list(itertools.islice(same, MANY)):
            numbers = [number for piece in some for number in piece[:2]]
            yield (ctypes.c_size_t * len(numbers))(*numbers), asked


def own(rehearse: Callable[[], None]) -> Iterator[Piece]:
    """The pages that this process has to itself after it rehearsed, and those of files that it looked into.

    What says so is opened before: a rehearsal may take the right to do that away.
    """
    with contextlib.ExitStack() as opened:
        try:
            pagemap = opened.enter_context(open("/proc/self/pagemap", "rb", buffering=0))
            maps = opened.enter_context(open("/proc/self/maps", encoding="utf-8", errors="surrogateescape"))
        except OSError:
            return
        rehearse()
        for start, end in mappings(maps):
            pagemap.seek(start // PAGE * ENTRY)
            entries = array.array("Q", pagemap.read((end - start) // PAGE * ENTRY))
            yield from pieces(start, entries)


def mappings(maps: Iterable[str]) -> Iterator[Tuple[int, int]]:
    """What of the address space can be read, but for what the kernel has put there for itself."""
    for line in maps:
        place, rights, *_, name = line.split(None, 5)
        if rights.startswith("r") and not name.startswith("[v"):
            start, end = (int(number, 16) for number in place.split("-"))
            yield start, end


def pieces(start: int, entries: array.array[int]) -> Iterator[Piece]:
    """The runs of pages of one mapping that are asked of the kernel in the same way."""
    first = 0
    for asked, run in itertools.groupby(entries, wanted):
        length = sum(1 for _ in run)
        if asked:
            yield start + first * PAGE, length * PAGE, asked
        first += length


def wanted(entry: int) -> int:
    """What to ask of the kernel for one page; 0 for nothing."""
    if not entry & PRESENT:
        return 0
    if entry & OF_FILE:
        return POPULATE_READ
    return POPULATE_WRITE if entry & ALONE else 0


def take(needed: List[Wish]) -> None:
    """Have them now. What cannot be had is had when it is needed."""
    own = os.pidfd_open(os.getpid())
    for places, advice in needed:
        try:
            kernel.syscall("process_madvise", "pages: take", own, places, len(places) // 2, advice, 0)
        except kernel.StepFailed:  # older kernels take one piece at a time
            for address, length in zip(places[::2], places[1::2]):
                madvise(address, length, advice)
    os.close(own)
