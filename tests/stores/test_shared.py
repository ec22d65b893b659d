"""What several deployers keep under one name is taken from none of them when another fails."""

import os
import threading

import pytest

from loader.access import Access
from loader.client.interface import Transaction
from loader.errors import StorageError
from loader.storage import FileStorageBlock, LocalStorageBlock
from loader.stores import store_of

DATA = b"print()\n"


class Failed(Exception):
    """What goes wrong after the bytes were kept."""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def store(folder):
    return store_of(FileStorageBlock(base_path=str(folder)), Access(), trusted=True)


def failing(store):
    with pytest.raises(Failed), store.kept(DATA):
        raise Failed


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_was_newly_kept_is_taken_back(store, folder):
    failing(store)
    assert files(folder) == []
    with store.kept(DATA) as kept:
        assert store.read(kept.key) == DATA
    assert files(folder) == [kept.key]


@pytest.mark.parametrize("make", [FileStorageBlock, LocalStorageBlock])
@pytest.mark.parametrize("undone", [True, False])
def test_what_a_record_may_lead_to_stays(folder, make, undone):
    """Only when it is sure that there is no such record are the bytes taken back."""
    field = {"base_path": str(folder)} if make is FileStorageBlock else {"storage_path": str(folder)}
    store = store_of(make(**field), Access(), trusted=True)
    keys = []

    def attempt():
        with store.kept(DATA) as kept:
            keys.append(kept.key)
            kept.by = Transaction(undone=undone)
            raise Failed

    with pytest.raises(Failed):
        attempt()
    assert files(folder) == ([] if undone else keys)


def test_what_was_there_stays(store, folder):
    key = store.write(DATA)
    failing(store)
    assert files(folder) == [key]


def test_what_another_came_to_use_stays(store, folder):
    """The one who made it fails after somebody else has relied on it."""

    def fail_after_another():
        with store.kept(DATA):
            with store.kept(DATA):
                pass
            raise Failed

    with pytest.raises(Failed):
        fail_after_another()
    assert len(files(folder)) == 1


def test_what_another_is_still_using_stays(store):
    """Whoever fails first takes nothing; the last one who uses it is not the one who made it."""
    with store.kept(DATA) as kept:
        failing(store)
        assert store.read(kept.key) == DATA
    assert store.read(kept.key) == DATA


def test_bytes_that_are_not_what_the_name_says_are_replaced(store, folder):
    key = store.write(DATA)
    (folder / key).write_bytes(b"other")
    with store.kept(DATA) as again:
        assert again.key == key
        assert store.read(key) == DATA


@pytest.mark.parametrize("what", ["symlink", "folder", "fifo"])
def test_what_is_no_file_is_never_followed(store, folder, tmp_path, what):
    """In the place of a name there may be anything; nothing behind it is read or written."""
    key = store.write(DATA)
    path = folder / key
    path.unlink()
    (tmp_path / "target").write_bytes(DATA)
    make = {"symlink": lambda: path.symlink_to(tmp_path / "target"), "folder": path.mkdir}
    make.get(what, lambda: os.mkfifo(path))()
    try:
        with store.kept(DATA):
            assert path.is_file()
            assert not path.is_symlink()
    except StorageError:
        assert what in {"folder", "symlink"}
    assert (tmp_path / "target").read_bytes() == DATA


@pytest.mark.slow
def test_many_at_once_lose_nothing(store, folder):
    """Half of them fail; what the others keep is there each time."""
    for _ in range(20):
        kept, barrier = [], threading.Barrier(8)

        def work(number, kept=kept, barrier=barrier):
            barrier.wait()
            try:
                with store.kept(DATA) as own:
                    if number % 2:
                        raise Failed
                    kept.append(own.key)
            except Failed:
                pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.read(key) for key in kept] == [DATA] * 4
        store.remove(kept[0])


def test_keys_of_nobodys_are_taken_back_too(folder):
    store = store_of(LocalStorageBlock(storage_path=str(folder)), Access(), trusted=True)
    failing(store)
    assert files(folder) == []


@pytest.mark.parametrize("path", ["/proc/self", "/sys/kernel", "/dev/fd"])
def test_the_kernels_own_files_are_no_storage(path):
    """They would tell what this process was given."""
    for block in (FileStorageBlock(base_path=path), LocalStorageBlock(storage_path=path)):
        with pytest.raises(StorageError, match="cannot "):
            store_of(block, Access(storage=("/",)), trusted=True).read("environ")
