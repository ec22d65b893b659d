"""Pages that a load needs are found out by one fork and copied ahead of time by others."""

import array
import subprocess
import sys
from pathlib import Path

import pytest

from worker.pages import ALONE, OF_FILE, PAGE, POPULATE_READ, POPULATE_WRITE, PRESENT, pieces

FORKS = """
import os, resource
from worker import pages

PAGES = 500
kept = bytearray(b"x") * (PAGES * pages.PAGE)

def write():
    for place in range(0, len(kept), pages.PAGE):
        kept[place] = 1

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def of_fork(needed):
    reading, writing = os.pipe()
    if os.fork() == 0:
        pages.take(needed)
        before = faults()
        write()
        os.write(writing, str(faults() - before).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reading, 100))

needed = pages.needed_for(write)
assert kept[0] == ord("x")
print(of_fork([]), of_fork(needed))
"""


def ran(source):
    """What a Python program that can import the worker's packages said; it ended well."""
    command = [sys.executable, "-c", source]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])


OLDER = "from worker.confine.syscalls import NUMBERS\ndel NUMBERS['process_madvise']\n"


@pytest.mark.parametrize("before", ["", OLDER], ids=["many at once", "one at a time"])
def test_what_one_fork_wrote_to_is_copied_for_the_next_before_it_writes(before):
    """The scout's needs are those of whoever does the same; its parent's memory stays what it is."""
    done = ran(before + FORKS)
    plain, taken = map(int, done.stdout.split())
    assert plain >= 500
    assert taken < 100


FAILS = """
import os, resource
from worker import pages

if os.getuid() == 0:
    os.setresuid(65533, 65533, 65533)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
opened = os.listdir("/proc/self/fd")
try:
    pages.needed_for(lambda: None)
except BlockingIOError:
    print(os.listdir("/proc/self/fd") == opened)
"""


def test_without_a_scout_nothing_stays_open():
    """Where no process can be had the pages are not known, and what was opened to ask is closed."""
    done = ran(FAILS)
    assert done.stdout == "True\n"


GATHERED = """
import mmap
from worker import pages

kept = mmap.mmap(-1, 4 * pages.LARGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
kept.write(b"x" * len(kept))

def large():
    with open("/proc/self/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("AnonHugePages"))

before = large()
pages.gather()
print(before, large(), kept[:] == b"x" * len(kept))
"""


def test_memory_is_gathered_in_large_pages():
    """What it holds stays as it was."""
    done = ran(GATHERED)
    before, after, same = done.stdout.split()
    assert int(after) - int(before) >= 3 * 2048
    assert same == "True"


NAMES = """
import resource, sys
from worker import pages

def faults_of(names):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept.extend([sys.intern(f"name {number}") for number in names])
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = []
"""
WHERE = """
for number in range(0, 400_000, 400):
    if faults_of(range(number, number + 400)) > 100 and number > 20_000:
        print(number - 100)
        break
"""
NEARLY_FULL = "faults_of(range({}))\n"
GROWS = "print(faults_of(range(-1_000, 0)))"


def test_a_load_s_names_find_room():
    """The interpreter's table of names, just before it is full, grows once and not in each fork."""

    def printed(source: str) -> int:
        return int(ran(NAMES + source).stdout)

    full = NEARLY_FULL.format(printed(WHERE))
    assert printed(full + GROWS) > 100
    assert printed(full + "pages.make_room()\n" + GROWS) < 50


def test_a_scout_that_fails_costs_nothing_but_its_advice():
    """Forks do without."""
    source = "from worker import pages; print(pages.needed_for(lambda: 1 / 0))"
    done = ran(source)
    assert done.stdout == "[]\n"
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("entries", "asked"),
    [
        ([0, PRESENT, 0], []),
        ([PRESENT | ALONE], [(0, 1, POPULATE_WRITE)]),
        ([0, PRESENT | ALONE, PRESENT | ALONE, 0], [(1, 2, POPULATE_WRITE)]),
        ([PRESENT | OF_FILE, PRESENT | ALONE], [(0, 1, POPULATE_READ), (1, 1, POPULATE_WRITE)]),
        ([PRESENT | OF_FILE | ALONE], [(0, 1, POPULATE_READ)]),
    ],
)
def test_neighbours_are_asked_for_together(entries, asked):
    """What is not there, or shared with others, is left alone."""
    found = [
        (start // PAGE, length // PAGE, advice)
        for start, length, advice in pieces(0, array.array("Q", entries))
    ]
    assert found == asked
