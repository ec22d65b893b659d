"""The identity of a root: a folder that was exchanged while it was in use is not read."""

import pytest

from loader.access import Access
from loader.errors import SourceError
from loader.sources import Origin, fetch, origin_of, read


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "flows"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "flow.py").write_bytes(b"good")
    return folder


def test_a_root_of_the_identity_is_read(folder, tmp_path):
    """By its own name or by another, or by none where the script's folder is the root."""
    link = tmp_path / "link"
    link.symlink_to(folder)
    same = origin_of(folder).identity
    assert origin_of(link).identity == origin_of(f"file://{folder}").identity == same
    for root in (folder, link):
        found = read(root / "sub" / "flow.py", origin_of(root))
        assert found.content == b"good"
        assert (found.root.device, found.root.inode) == same


@pytest.mark.parametrize("by_link", [False, True])
def test_a_root_that_was_exchanged_is_refused(folder, tmp_path, by_link):
    """For another folder of that name, or for a link to one."""
    before = origin_of(folder)
    folder.rename(tmp_path / "kept")
    other = tmp_path / "other" if by_link else folder
    (other / "sub").mkdir(parents=True)
    (other / "sub" / "flow.py").write_bytes(b"evil")
    if by_link:
        folder.symlink_to(other)
    with pytest.raises(SourceError, match=f"the folder {folder} was exchanged while it was in use"):
        read(folder / "sub" / "flow.py", before)


def put_in_place(folder, way):
    """Put something else where the folder was."""
    folder.rename(folder.parent / "kept")
    (folder.parent / "file").write_bytes(b"")
    if way == "file":
        folder.write_bytes(b"")
    elif way == "folder":
        folder.mkdir()
    elif way != "nothing":
        folder.symlink_to({"circle": folder, "link to a file": "file", "link to nothing": "none"}[way])


WAYS = ["nothing", "file", "folder", "circle", "link to a file", "link to nothing"]


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_does_not_tell_what_is_there_instead(folder, way):
    """Whoever may put a link there learns nothing of what it leads to."""
    before = origin_of(folder)
    put_in_place(folder, way)
    for read_below in (lambda path: read(path, before), lambda path: fetch(path, origin=before)):
        with pytest.raises(SourceError) as refused:
            read_below(folder / "sub" / "flow.py")
        assert str(refused.value) == (
            f"cannot load {folder}/sub/flow.py: the folder {folder} was exchanged while it was in use;"
            " try again"
        )


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_does_not_tell_what_is_in_the_place_of_a_repository(folder, way):
    """As it does not of any folder."""
    before = origin_of(f"git://{folder}:main@sub")
    put_in_place(folder, way)
    with pytest.raises(SourceError, match="was exchanged while it was in use"):
        read(f"git://{folder}:main@sub/flow.py", before, Access(schemes=frozenset({"git"})))


def test_a_folder_above_the_root_may_be_exchanged(folder, tmp_path):
    """The same folder in another place is the same."""
    before = origin_of(folder / "sub")
    folder.rename(tmp_path / "moved")
    found = read(tmp_path / "moved" / "sub" / "flow.py", Origin(f"{tmp_path}/moved/sub", before.identity))
    assert found.content == b"good"


def test_a_folder_that_is_not_there_has_no_identity(tmp_path):
    """It is said."""
    with pytest.raises(SourceError, match="there is no such file"):
        origin_of(tmp_path / "gone")
    assert origin_of("s3://bucket/flows").identity is None


def test_a_root_may_be_a_file_url(folder):
    """As a location may; one of another scheme holds no file of this machine."""
    assert read(folder / "sub" / "flow.py", f"file://{folder}").root.path == str(folder)
    with pytest.raises(SourceError, match="lies outside the root s3://bucket/flows"):
        read(folder / "sub" / "flow.py", "s3://bucket/flows")
