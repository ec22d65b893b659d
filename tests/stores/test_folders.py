"""Storage blocks as bytes in and out: keys, names, rights, caps and who may lead where."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from loader.access import Access
from loader.storage import (
    FileStorageBlock,
    LocalStorageBlock,
    TempStorageBlock,
)
from loader.stores import store_of
from tests.servers import s3_server  # noqa: F401 - a fixture
from tests.stores.kit import local, refusal

NOBODY = 65534
ANY = Access()


# --- folders of this machine ---------------------------------------------------------------------


def test_what_is_written_is_read_again_under_its_key(tmp_path):
    """Each block that has a folder gives a key for bytes, and the bytes for the key."""
    for block in (
        LocalStorageBlock(storage_path=str(tmp_path / "a")),
        FileStorageBlock(base_path=str(tmp_path / "b")),
        FileStorageBlock(base_path=f"file://{tmp_path}/c"),
        FileStorageBlock(base_path="memory://flow-loader-tests"),
    ):
        store = store_of(block, ANY, trusted=True)
        key = store.write(b"\x00\xff")
        assert store.read(key) == b"\x00\xff"
        store.remove(key)
        store.remove(key)
        assert "it is not there" in refusal(store.read, key)
    assert not any(any(folder.iterdir()) for folder in tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["hash", "uuid", "timestamp"])
def test_keys_are_of_the_kind_that_the_block_says(tmp_path, kind):
    """A digest is the same for the same bytes; the other kinds are new every time, at one moment too."""
    store = store_of(FileStorageBlock(base_path=str(tmp_path), key_type=kind), ANY, trusted=True)
    keys = [store.write(b"x") for _ in range(50)]
    assert len(set(keys)) == (1 if kind == "hash" else 50)
    assert len(list(tmp_path.iterdir())) == len(set(keys))
    if kind == "hash":
        assert keys[0] == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    if kind == "timestamp":
        assert [key[:23] for key in keys] == sorted(key[:23] for key in keys)


def test_files_and_folders_are_their_owners_alone(tmp_path):
    """New folders are 0700 and files 0600, whatever the umask; a folder that was there keeps its rights."""
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        local(tmp_path / "new" / "deep").put("flow/a/flow.py", b"1")
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert [mode for path, mode in found.items() if path.is_file()] == [0o600]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_put_replaces_what_was_there(tmp_path):
    """A name is the caller's: writing it again replaces its bytes, and leaves nothing beside them."""
    store = local(tmp_path)
    store.put("flow/a/flow.py", b"1")
    store.put("flow/a/flow.py", b"2")
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.py")} == {"flow.py": b"2"}
    assert [path.name for path in (tmp_path / "flow" / "a").iterdir()] == ["flow.py"]


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "../a", "a/../b", "a//b", "./a", "a\\b", "a\nb", "a\0b", "x" * 300, "a/" * 600 + "b"],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    """A name is relative, of printable parts, and no part is a way up."""
    assert "it is no relative name of a file" in refusal(local(tmp_path / "store").put, name, b"")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        ".x",
        "-x",
        "a b",
        "a\n",
        "a\0",
        "ключ",
        "a" * 202,
        None,
        1,
    ],
)
def test_a_key_of_a_foreign_record_is_refused_unless_it_can_be_one(tmp_path, key):
    """Keys come back from records that others wrote: what could be a path is none."""
    (tmp_path / "x").write_text("secret")
    store = local(tmp_path / "store")
    assert "is no key of this storage" in refusal(store.read, key)
    assert "is no key of this storage" in refusal(store.remove, key)
    assert (tmp_path / "x").exists()


def test_a_file_that_somebody_leases_is_not_waited_for(tmp_path, leased):
    """Whoever holds a lease on a file lets others who open it wait for as long as the kernel allows."""
    store = local(tmp_path)
    key = store.write(b"x")
    with leased(tmp_path / key):
        assert "another process keeps it" in refusal(store.read, key)
    assert store.read(key) == b"x"


def test_symbolic_links_below_the_base_are_not_followed(tmp_path):
    """Neither reading nor writing leaves the folder by a link in it; a link that has the name is replaced."""
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (base / "link").symlink_to(outside / "file")
    (base / "folder").symlink_to(outside)
    store = local(base)
    assert "no regular file" in refusal(store.read, "link")
    assert "cannot write" in refusal(store.put, "folder/file", b"mine")
    store.put("link", b"mine")
    assert (outside / "file").read_bytes() == b"theirs"
    assert (base / "link").read_bytes() == b"mine"
    assert not (base / "link").is_symlink()


def test_what_is_taken_back_is_not_taken_through_a_link(tmp_path):
    """A folder of the name that became a link while it was needed does not lead outside."""
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    (outside / "flow.py").write_bytes(b"theirs")
    store = local(base)

    def exchanged():
        with store.placed("a/flow.py", b"mine"):
            (base / "a").rename(base / "b")
            (base / "a").symlink_to(outside)
            raise KeyError

    with pytest.raises(KeyError):
        exchanged()
    assert (outside / "flow.py").read_bytes() == b"theirs"


def test_a_pipe_under_a_key_is_not_waited_for(tmp_path):
    """What is no regular file is refused before it is opened."""
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(local(tmp_path).read, "pipe")


def test_a_failed_write_leaves_nothing(tmp_path):
    """When the disk is full the old bytes stay, and no part of the new ones does."""
    script = """
import resource, signal, sys
from loader.access import Access
from loader.errors import StorageError
from loader.storage import LocalStorageBlock
from loader.stores import store_of
store = store_of(LocalStorageBlock(storage_path=sys.argv[1]), Access(), trusted=True)
store.put("flow.py", b"old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    store.put("flow.py", b"x" * 5000)
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cannot write flow.py of ")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("flow.py", b"old")]


def test_two_writers_of_one_name_never_show_half_of_it(tmp_path):
    """Whoever reads sees one whole version."""
    store = local(tmp_path, Access(size=1 << 20))
    versions = [bytes([number]) * 300_000 for number in range(2)]
    store.put("flow.py", versions[0])
    threads = [
        threading.Thread(target=lambda data=data: [store.put("flow.py", data) for _ in range(20)])
        for data in versions
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert store.read("flow.py") in versions
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["flow.py"]


def test_sizes_are_capped(tmp_path):
    """At most `size` bytes are read or written; just as many are fine."""
    store = local(tmp_path, Access(size=10))
    assert store.read(store.write(b"x" * 10)) == b"x" * 10
    assert "more than 10 bytes" in refusal(store.write, b"x" * 11)
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert "larger than 10 bytes" in refusal(store.read, "large")


def test_local_storage_is_by_default_in_the_users_own_folder(tmp_path, monkeypatch):
    """It is below XDG_DATA_HOME, or else below the home; a relative XDG_DATA_HOME does not count."""
    for name, value, expected in (
        ("XDG_DATA_HOME", str(tmp_path / "data"), tmp_path / "data"),
        ("XDG_DATA_HOME", "data", tmp_path / "home" / ".local" / "share"),
    ):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv(name, value)
        store = store_of(LocalStorageBlock(), ANY, trusted=False)
        key = store.write(b"1")
        assert (expected / "flow-loader" / "storage" / key).read_bytes() == b"1"


def test_a_users_temporary_folder_is_its_own(tmp_path, monkeypatch):
    """It is made 0700, and one that others can enter or that somebody planted is refused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = store_of(TempStorageBlock(), ANY, trusted=False)
    key = store.write(b"1")
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"flow-loader-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert store.read(key) == b"1"
    folder.chmod(0o755)
    assert "others may enter it" in refusal(store.read, key)
    folder.chmod(0o700)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "cannot write" in refusal(store.write, b"2")


PLANTED = """
import sys, tempfile
sys.path.insert(0, sys.argv[1])
tempfile.tempdir = sys.argv[2]
from loader.access import Access
from loader.errors import StorageError
from loader.storage import LocalStorageBlock, TempStorageBlock
from loader.stores import store_of
for block in (TempStorageBlock(), LocalStorageBlock(storage_path=sys.argv[3])):
    try:
        print(store_of(block, Access(), trusted=True).write(b"1"))
    except StorageError as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_users_folder_is_refused(open_python, open_code, tmp_path_factory):
    """A temporary folder that somebody else made first, and a folder that may not be written, say so."""
    folder = tmp_path_factory.mktemp("shared")
    for place in (folder, *list(folder.parents)[:2]):
        place.chmod(0o777 if place == folder else 0o755)
    (folder / f"flow-loader-{NOBODY}").mkdir(0o700)
    (folder / "closed").mkdir(0o755)
    command = [open_python, "-c", PLANTED, str(open_code), str(folder), str(folder / "closed")]
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", **identity)
    first, second = done.stdout.splitlines()
    assert "belongs to another user" in first, done.stderr
    assert "this user may not do that there" in second
    assert not any((folder / "closed").iterdir())
