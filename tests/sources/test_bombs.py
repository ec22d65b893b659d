"""Archives that were made by hand to cost much: each is refused in little time and little memory."""

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest

from loader.access import Access
from loader.errors import SourceError
from loader.sources import archives, tars
from loader.sources.compressed import PARTS
from loader.sources.deadline import Deadline

SCRIPT = b"x = 1\n"
END = bytes(1024)
SECONDS = 2.0
MEGABYTES = 150
MEASURED = """
import re, sys, time
from loader.sources import read
start = time.process_time()
try:
    said = read(sys.argv[1]).filename
except OSError as error:
    said = error
with open("/proc/self/status") as status:
    peak = re.search("VmHWM:\\s+([0-9]+) kB", status.read())[1]
print(time.process_time() - start, int(peak) >> 10, said)
"""


def header(name, kind=tarfile.REGTYPE, size=0):
    """One header; a negative size is written as GNU's tools would."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, max(size, 0)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        block[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content):
    return content + bytes(-len(content) % 512)


def entry(name, content, kind=tarfile.REGTYPE):
    return header(name, kind, len(content)) + padded(content)


def record(key, value):
    """One record of a pax header."""
    rest = b" %s=%s\n" % (key, value)
    size = next(size for size in range(len(rest) + 1, len(rest) + 9) if size == len(rest) + len(b"%d" % size))
    return b"%d%s" % (size, rest)


def pax(*records, kind=tarfile.XHDTYPE):
    return entry("pax", b"".join(records), kind)


def unpacked(content, scheme="tar", seconds=9.0, **access):
    return archives.unpack("it", scheme, content, Access(**access), Deadline("it", seconds))


def refused(content, scheme="tar", **access):
    with pytest.raises(SourceError, match=r"^cannot load it: ") as caught:
        unpacked(content, scheme, **access)
    return str(caught.value)


MANY_KEYS = pax(*(record(b"%06x" % number, b"") for number in range(100_000)), kind=tarfile.XGLTYPE)
FOLDERS = header("d/", tarfile.DIRTYPE) * 140_000


def directory_of(count):
    """A zip archive whose directory has so many entries of nothing, all of the same bytes."""
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, 0, 0, 0, 2, 0)
    central = b"PK\1\2\x14\0" + fields + bytes(14) + b"a/"
    end = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(central) * count, 32, 0)
    return b"PK\3\4" + fields + b"a/" + central * count + b"PK\5\6" + end


BOMBS = {
    "global": ("tar", lambda: gzip.compress(MANY_KEYS + FOLDERS[: 600 * 512] + END)),
    "loop": ("tar", lambda: gzip.compress(FOLDERS + header("z", b"Z", -len(FOLDERS)) + END)),
    "folders": ("tar", lambda: gzip.compress(FOLDERS + END)),
    "equal": ("tar", lambda: gzip.compress(pax(b"6 a=b\n" * 11_000_000) + entry("a.py", SCRIPT) + END)),
    "equal small": (
        "tar",
        lambda: gzip.compress((pax(b"6 a=b\n" * 10_900) + entry("a.py", SCRIPT)) * 1000 + END),
    ),
    "long names": (
        "tar",
        lambda: gzip.compress(entry("L", b"a" * 65_000, tarfile.GNUTYPE_LONGNAME) * 1000 + END),
    ),
    "sparse": ("tar", lambda: gzip.compress(sparse(140_000) + END)),
    "zeros": ("tar", lambda: gzip.compress(entry("a", bytes(80 << 20)) + END)),
    "parts": ("tar", lambda: gzip.compress(b"") * 1_000_000),
    "directory": ("zip", lambda: directory_of(1_200_000)),
}
"""The scheme and what makes the archive."""


def sparse(count):
    """A sparse file whose header goes on for so many blocks."""
    first = bytearray(header("s", tarfile.GNUTYPE_SPARSE))
    first[482] = 1
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    return bytes(first) + (bytes(504) + b"\1" + bytes(7)) * count


@pytest.mark.sampled
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(name, tmp_path):
    """Processor time and memory of a whole process that reads it."""
    scheme, made = BOMBS[name]
    path = tmp_path / "bomb"
    path.write_bytes(made())
    command = [sys.executable, "-c", MEASURED, f"{scheme}://a.py::{path}"]
    seconds, megabytes, said = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split(" ", 2)
    assert said.startswith("cannot load ")
    assert float(seconds) < SECONDS
    assert int(megabytes) < MEGABYTES


def test_headers_of_every_kind_are_counted():
    """Files, folders, links, devices, extensions: as many as allowed are read, one more is not."""
    kinds = [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, b"Z"]
    for kind in kinds:
        fine = b"".join(header(f"a{number}", kind) for number in range(67)) + entry("b", b"1")
        assert unpacked(fine + END, project_files=100).content == {"b": b"1"}
    for repeated in (header("d", tarfile.DIRTYPE), pax(record(b"a", b"b"), kind=tarfile.XGLTYPE)):
        count = 4 + 64
        assert unpacked(repeated * (count - 1) + entry("b", b"1") + END, project_files=1).content
        assert "more than 68 headers" in refused(repeated * count + entry("b", b"1") + END, project_files=1)
    assert "more than 68 headers" in refused(sparse(68) + END, project_files=1)


def test_extensions_are_bounded_each_and_together():
    """In bytes, whatever they say."""
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        large = entry("x", b"a" * (tars.EXTENSION + 1), kind) + entry("b", b"1") + END
        assert "extension headers are larger" in refused(large)
    one = pax(record(b"a", b"b" * 60_000))
    files = [one + entry(f"{number}.py", SCRIPT) for number in range(tars.EXTENSIONS // 60_000 + 2)]
    assert len(unpacked(b"".join(files[:30]) + END).content) == 30
    assert "extension headers are larger" in refused(b"".join(files) + END)


def test_a_global_header_says_little():
    """What tools write, such as a commit, is passed over; many keys, a path or a size are refused."""
    script = entry("a.py", SCRIPT) + END
    fine = pax(record(b"comment", b"0" * 40), kind=tarfile.XGLTYPE)
    assert unpacked(fine + script).content == {"a.py": SCRIPT}
    keys = [record(b"k%d" % number, b"v") for number in range(17)]
    assert unpacked(pax(*keys[:16], kind=tarfile.XGLTYPE) + script).content == {"a.py": SCRIPT}
    assert "more than 16 things" in refused(pax(*keys, kind=tarfile.XGLTYPE) + script)
    for key in (b"path", b"size", b"GNU.sparse.major"):
        assert "names a path or a size" in refused(pax(record(key, b"1"), kind=tarfile.XGLTYPE) + script)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.DIRTYPE, b"Z", tarfile.XHDTYPE, tarfile.XGLTYPE, b"L"]
)
def test_a_size_that_leads_back_is_refused(kind):
    """Whatever it is the size of."""
    assert "negative" in refused(entry("a.py", SCRIPT) + header("z", kind, -1024) + END)


@pytest.mark.parametrize("size", [b"-1", b"", b"1_0", b"0x1", b" 1", b"9" * 16, b"1.0", "\u0661".encode()])
def test_a_size_that_is_no_number_is_refused(size):
    """In a pax header any text may stand."""
    assert "no number" in refused(pax(record(b"size", size)) + entry("a.py", SCRIPT) + END)


@pytest.mark.parametrize(
    "content",
    [b"6 a=b", b"7 a=b\n", b"5 a=b\n", b"0 a=b\n", b"x", b"6 a b\n", b"-6 a=b\n", b"999999999999 a=b\n",
     b"6 a=b\n6 a=b", b"4 a=b\n"],
)  # fmt: skip
def test_a_damaged_extension_is_refused(content):
    """Not passed over: another reader might understand another name."""
    assert "damaged" in refused(pax(content) + entry("a.py", SCRIPT) + END)


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tools_write_is_read(style):
    """Long names, names that are no ASCII, large numbers, folders, links: as the standard library has it."""
    names = ["main.py", "d/" * 20 + "x" * 90, "a/" + "y" * 99, "s" * 100]
    names += (
        [] if style == tarfile.USTAR_FORMAT else ["z" * 200, "ü/" + "é" * 60, "e" * 101 + "/" + "f" * 150]
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = number * 300, 1.5 if style == tarfile.PAX_FORMAT else 1
            archive.addfile(info, io.BytesIO(b"%d" % number * info.size))
        link = tarfile.TarInfo("l" * 90)
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 90 if style == tarfile.USTAR_FORMAT else "t" * 200
        archive.addfile(link)
    found = unpacked(buffer.getvalue())
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive if info.isreg()}
    assert found.content == files
    assert found.left_out == {"l" * 90: "it is a link"}


def test_a_size_of_pax_is_the_size():
    """It stands for one that is too large for a header."""
    block = pax(record(b"size", b"6"), record(b"path", "ü.py".encode())) + header("x") + padded(SCRIPT)
    assert unpacked(block + entry("b", b"1") + END).content == {"ü.py": SCRIPT, "b": b"1"}


def test_what_pax_calls_sparse_is_left_out():
    """Its content is a list of holes and what is between them."""
    block = pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.name", b"s.bin")) + entry(
        "x/s", b"1\n0\n"
    )
    found = unpacked(block + entry("b", b"1") + END)
    assert (found.content, set(found.left_out)) == ({"b": b"1"}, {"s.bin"})


def test_an_archive_that_is_cut_is_refused():
    """Anywhere but behind a whole file; what follows its end is nothing."""
    whole = pax(record(b"path", b"c.py")) + entry("a.py", SCRIPT * 200) + entry("b.py", SCRIPT)
    assert set(unpacked(whole).content) == set(unpacked(whole + END + b"rest").content) == {"c.py", "b.py"}
    for size in (0, 100, 512, 1024, 1100, 1536, 2000, len(whole) - 512, len(whole) - 1):
        assert "no sound tar archive" in refused(whole[:size])
    assert unpacked(END).content == {}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_parts_follow_one_another(compress):
    """As many as block-wise packers write; cut ones are refused, and bytes behind the last are nothing."""
    whole = entry("a.py", SCRIPT * 1000) + END
    half = len(whole) // 2
    parts = compress(whole[:half]) + compress(whole[half:])
    for content in (parts, parts + b"\0" * 100, parts + b"rest", compress(b"") + parts):
        assert unpacked(content).content == {"a.py": SCRIPT * 1000}
    assert "no sound tar archive" in refused(parts[: len(compress(whole[:half])) + 12])
    assert f"more than {PARTS} parts" in refused(compress(b"") * (PARTS + 1))


def test_an_archive_whose_unpacking_takes_much_memory_is_refused():
    """A header of xz may ask for gigabytes."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 128 << 20}]
    assert "no sound tar archive" in refused(lzma.compress(entry("a", b"1") + END, filters=filters))
    assert unpacked(lzma.compress(entry("a", b"1") + END, preset=9)).content == {"a": b"1"}


@pytest.mark.parametrize("content", [FOLDERS, gzip.compress(entry("a/", bytes(60 << 20), b"Z"))])
def test_the_deadline_holds_while_an_archive_is_read(content):
    """It is looked at for each header and each piece."""
    start = time.process_time()
    with pytest.raises(SourceError, match=r"took longer than 0\.01 seconds"):
        unpacked(content, seconds=0.01, project_files=1 << 20)
    assert time.process_time() - start < 1


def test_an_archive_of_many_folders_is_read():
    """Twice as many as a project may have files, in a zip archive, too."""
    folders = [f"{'d' * 100}{number}/" for number in range(198)]
    content = b"".join(header(name, tarfile.DIRTYPE) for name in folders) + entry("a", b"1") + END
    assert unpacked(content, project_files=100).content == {"a": b"1"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in folders:
            archive.writestr(zipfile.ZipInfo(name), b"")
        archive.writestr("a", b"1")
    assert unpacked(buffer.getvalue(), "zip", project_files=100).content == {"a": b"1"}
    assert "too many entries" in refused(directory_of(10_000), "zip", project_files=100)
