"""Scripts in archives: the whole archive is their project, and nothing in it is believed."""

import bz2
import contextlib
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.access import Access
from loader.errors import SourceError
from loader.sources import archives, fetch, read
from loader.sources.deadline import Deadline

FILES = {"main.py": b"import helper\n", "helper.py": b"x = 1\n", "sub/data.csv": b"a,b\n", "sub/empty": b""}
BAD_NAMES = [
    "../x.py", "a/../../x.py", "a/../x.py", "/x.py", "/etc/passwd", "a\\x.py", "..\\x.py", "C:\\x.py", "..",
    "a\nb.py", "a\x1b[2Jb.py", "a" * 256 + ".py", "b/" * 600 + "c.py", "c/" * 40 + "d.py", "\u202ex.py",
]  # fmt: skip


def zipped(files, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, content, method)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


PACKERS = {"zip": zipped, "tar": tarred}


def member(kind, name, target=""):
    """An entry of a tar archive that is no regular file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_member(mode, name):
    """An entry of a zip archive with a mode of its own."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.fixture
def packed(tmp_path):
    """A callable: the location of ``entry`` in an archive of these bytes."""

    def pack(scheme, content, entry="main.py"):
        path = tmp_path / f"project.{scheme}"
        path.write_bytes(content)
        return f"{scheme}://{entry}::{path}"

    return pack


@pytest.mark.parametrize("scheme", PACKERS)
def test_the_whole_archive_is_the_project(packed, scheme):
    """With every sibling, whatever folder the script is in."""
    location = packed(scheme, PACKERS[scheme](FILES))
    found = read(location)
    assert found.content == FILES["main.py"]
    assert (found.module, found.filename, found.folder, found.root) == ("main", location, None, None)
    assert dict(found.project.files) == FILES
    assert found.project.entry == "main.py"
    assert found.project.display("main.py") == location
    inner = read(location.replace("main.py", "sub/data.csv"))
    assert (inner.project.entry, dict(inner.project.files)) == ("sub/data.csv", FILES)
    assert read(inner.filename) == inner
    assert fetch(location) == FILES["main.py"]


@pytest.mark.parametrize("scheme", PACKERS)
def test_a_folder_of_the_archive_may_be_the_root(packed, refused, scheme):
    """Then the project is what lies below it."""
    location = packed(
        scheme, PACKERS[scheme]({"top/" + name: content for name, content in FILES.items()}), "top/main.py"
    )
    for root in ("top", "top/"):
        found = read(location, location.replace("top/main.py", root))
        assert (found.project.entry, dict(found.project.files)) == ("main.py", FILES)
        assert found.filename == found.project.display("main.py") == location
    assert read(location, location.replace("top/main.py", "")).project.entry == "top/main.py"
    for root in ("top/sub", "to", "other"):
        assert "lies outside the root" in refused(location, location.replace("top/main.py", root))
    assert "lies outside the root" in refused(location, "/tmp")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_archive_may_be_compressed(packed, compress):
    """By what its first bytes say."""
    assert dict(read(packed("tar", compress(tarred(FILES)))).project.files) == FILES


def test_an_archive_of_another_place_is_read(server, reply, near):
    """Here of a web server: fetched once, opened in memory."""
    server.answers["/project.zip?key=secret"] = reply(zipped(FILES))
    found = read(f"zip://main.py::{server.url}/project.zip?key=secret", access=near())
    assert dict(found.project.files) == FILES
    assert found.filename == f"zip://main.py::{server.url}/project.zip?…"
    assert server.connections == 1
    assert "secret" not in repr(found)


@pytest.mark.parametrize("scheme", PACKERS)
def test_current_folders_in_names_are_nothing(packed, scheme):
    """Archives that were made of ``.`` are usual."""
    assert dict(
        read(packed(scheme, PACKERS[scheme]({"./main.py": b"1", "./a/./b.py": b"2"}))).project.files
    ) == {
        "main.py": b"1",
        "a/b.py": b"2",
    }


@pytest.mark.parametrize("scheme", PACKERS)
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_is_refused(packed, refused, scheme, name):
    """And the whole archive with it: whoever made it meant harm or made a mistake."""
    message = refused(packed(scheme, PACKERS[scheme]({"main.py": b"", name: b""})))
    assert "its entry" in message
    assert message.isprintable()


def test_a_name_with_nul_is_refused(packed, refused):
    """The standard library would cut it there."""
    content = zipped({"main.py": b"", "aXb.py": b""}).replace(b"aXb.py", b"a\0b.py")
    assert "holds NUL" in refused(packed("zip", content))


@pytest.mark.parametrize("scheme", PACKERS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(packed, refused, scheme):
    """As it is, spelled another way, or as a file and a folder."""
    for files in (
        {"main.py": b"1", "./main.py": b"2"},
        {"main.py": b"1", "main.py/x.py": b"2"},
        {"main.py": b"", "a/b/c": b"", "a": b""},
    ):
        message = refused(packed(scheme, PACKERS[scheme](files)))
        assert "twice" in message or "a file and a folder" in message
    info = {"zip": zipfile.ZipInfo, "tar": tarfile.TarInfo}[scheme]
    assert "twice" in refused(packed(scheme, PACKERS[scheme]({"main.py": b"1", info("main.py"): b"2"})))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_what_is_no_regular_file_is_left_out_of_a_tar(packed, refused, kind):
    """With a reason; a script that is such a one is refused."""
    location = packed("tar", tarred({"main.py": b"1", member(kind, "other.py", "/etc/passwd"): b""}))
    found = read(location)
    assert dict(found.project.files) == {"main.py": b"1"}
    assert set(found.project.left_out) == {"other.py"}
    assert found.project.left_out["other.py"] in refused(location.replace("main.py", "other.py"))
    assert "leads out" in refused(packed("tar", tarred({"main.py": b"1", member(kind, "../b", "x"): b""})))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_regular_file_is_left_out_of_a_zip(packed, refused, kind):
    """The same, by the mode that is kept there."""
    location = packed("zip", zipped({"main.py": b"1", zip_member(kind | 0o777, "other.py"): b"/etc/passwd"}))
    assert dict(read(location).project.files) == {"main.py": b"1"}
    reason = "a link" if kind == stat.S_IFLNK else "not a regular file"
    assert reason in refused(location.replace("main.py", "other.py"))


def test_a_regular_file_with_a_mode_is_a_file(packed):
    """As most tools write it."""
    content = zipped({zip_member(stat.S_IFREG | 0o600, "main.py"): b"1", zip_member(0o644, "b.py"): b"2"})
    assert dict(read(packed("zip", content)).project.files) == {"main.py": b"1", "b.py": b"2"}


def test_a_sparse_file_is_left_out(packed, refused):
    """A header could make a terabyte of it."""
    info = member(tarfile.GNUTYPE_SPARSE, "main.py")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = b"%011o\0" % 0
    header[398:410] = b"%011o\0" % 0
    header[483:495] = b"%011o\0" % (1 << 33)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    assert "not a regular file" in refused(packed("tar", bytes(header) + bytes(1024)))


@pytest.mark.parametrize("scheme", PACKERS)
def test_files_are_bounded(packed, scheme):
    """In bytes each, in bytes together, and in number; exactly the bounds are allowed."""
    location = packed(scheme, PACKERS[scheme]({"main.py": b"x" * 10, "b.py": b"y" * 10}))
    access = {"size": 10, "project_size": 1 << 20, "project_files": 2}
    assert read(location, access=Access(**access)).content == b"x" * 10
    with pytest.raises(SourceError, match="larger than 9 bytes"):
        read(location, access=Access(**{**access, "size": 9}))
    with pytest.raises(SourceError, match="more than 1 files"):
        read(location, access=Access(**{**access, "project_files": 1}))


@pytest.mark.parametrize("scheme", PACKERS)
def test_files_are_bounded_together(scheme):
    """By what comes out, not by what is said."""
    content = PACKERS[scheme]({"main.py": b"x" * 10, "b.py": b"y" * 10})
    for size, fine in ((20, True), (19, False)):
        access = Access(project_size=size)
        if fine:
            archives.unpack("it", scheme, content, access, Deadline("it", 9))
            continue
        with pytest.raises(SourceError, match="more than 19 bytes"):
            archives.unpack("it", scheme, content, access, Deadline("it", 9))


def test_an_archive_is_bounded_before_it_is_opened(packed, refused):
    """As a whole project may be, also from this machine."""
    location = packed("zip", zipped(FILES) + bytes(1 << 20))
    assert "larger than 1048576 bytes" in refused(location, access=Access(project_size=1 << 20))


def lying(content, claimed):
    """A zip archive whose only entry claims another size."""
    size = struct.pack("<I", zipfile.ZipFile(io.BytesIO(content)).infolist()[0].file_size)
    return content.replace(size, struct.pack("<I", claimed))


BOMB = bytes(64 << 20)


@pytest.mark.parametrize(
    ("scheme", "content"),
    [
        ("zip", zipped({"main.py": BOMB})),
        ("zip", lying(zipped({"main.py": BOMB}), 100)),
        ("tar", gzip.compress(tarred({"main.py": BOMB}), 1)),
        ("tar", gzip.compress(BOMB, 1)),
        ("tar", bz2.compress(tarred({"main.py": BOMB}))),
        ("tar", lzma.compress(tarred({"main.py": BOMB}), preset=0)),
        ("tar", gzip.compress(tarred({member(tarfile.XHDTYPE, "main.py"): BOMB}), 1)),
    ],
)
def test_a_bomb_does_not_burst(packed, refused, scheme, content):
    """What comes out is bounded while it comes out, whatever the headers say."""
    location = packed(scheme, content)
    access = Access(size=1 << 20, project_size=4 << 20, project_files=10)
    tracemalloc.start()
    refused(location, access=access)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_many_entries_of_the_same_bytes_are_bounded(packed, refused):
    """Overlapping entries: a small archive in which each of many files is large."""
    data = zlib.compress(bytes(1 << 20), wbits=-15)
    crc, name = zlib.crc32(bytes(1 << 20)), b"a%03d"
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(data), 1 << 20, 4, 0)
    local = b"PK\3\4" + fields + b"a000"
    central = b""
    for number in range(100):
        entry = struct.pack("<HHHHII", 0, 0, 0, 0, 0, 0)
        central += (
            b"PK\1\2" + struct.pack("<H", 20) + fields + entry[:8] + struct.pack("<II", 0, 0) + name % number
        )
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 100, 100, len(central), len(local) + len(data), 0)
    refused(packed("zip", local + data + central + end, "a000"), access=Access(project_size=8 << 20))


def test_an_encrypted_archive_is_refused(packed, refused):
    """Nobody is asked for a password."""
    content = bytearray(zipped({"main.py": b"1"}))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    assert "it is encrypted" in refused(packed("zip", bytes(content)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(packed, refused, method):
    """The standard library does not bound what comes out of these."""
    message = refused(packed("zip", zipped({"main.py": b"1"}, method)))
    assert f"compressed by method {method}" in message
    assert "deflate" in message


@pytest.mark.parametrize("scheme", PACKERS)
def test_what_is_no_archive_is_refused(packed, refused, scheme):
    """Text, nothing, the other kind, and what is cut."""
    whole = PACKERS[scheme](FILES)
    for content in (
        b"print(1)",
        b"",
        zipped(FILES) if scheme == "tar" else tarred(FILES),
        whole[: len(whole) // 3 if scheme == "zip" else 520],
    ):
        message = refused(packed(scheme, content))
        assert "no sound" in message or "no such file" in message or "not an archive" in message


@pytest.mark.parametrize("scheme", PACKERS)
def test_what_is_not_in_the_archive_is_said(packed, refused, scheme):
    """And where it was looked for."""
    location = packed(scheme, PACKERS[scheme](FILES))
    assert "there is no such file in" in refused(location.replace("main.py", "gone.py"))
    assert "it is a folder" in refused(location.replace("main.py", ""))
    assert "there is no such file" in refused(location.replace("main.py", "sub"))
    assert "there is no such file" in refused(f"{scheme}://main.py::/nowhere/project.zip")
    assert "it is a folder" in refused(f"{scheme}://main.py::/tmp")


def test_names_that_are_no_text_are_refused(packed, refused):
    """A tar archive may hold any bytes."""
    content = tarred({"main.py": b"1"}) + b""
    info = tarfile.TarInfo("x\udcff.py")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())
    assert content
    assert "what is no text" in refused(packed("tar", buffer.getvalue()))


@given(st.sampled_from(sorted(PACKERS)), st.data())
def test_a_damaged_archive_is_files_or_a_source_error(scheme, data):
    """Nothing else is ever raised, and it ends."""
    content = bytearray(PACKERS[scheme](FILES))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    files = None
    with contextlib.suppress(SourceError):
        files = archives.unpack("it", scheme, bytes(content), Access(project_files=50), Deadline("it", 9))
    assert files is None or all(".." not in name.split("/") for name in files.content)
