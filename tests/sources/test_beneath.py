"""Links are followed by hand below a folder, and never looked behind where they lead out."""

import errno
import os

import pytest

from loader import SourceError, sources
from loader.sources.beneath import DEEP, is_file, placed
from loader.sources.entrypoints import split


@pytest.fixture
def top(tmp_path):
    """A folder with links of every kind, beside one that is nobody's business; and a link to it."""
    folder = tmp_path / "top"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file.py").write_text("inner")
    (folder / "plain.py").write_text("plain")
    (tmp_path / "alias").symlink_to(folder)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.py").write_text("secret")
    for name, target in {
        "relative": "a/b/file.py",
        "folder": "a/b",
        "a/up": "../plain.py",
        "absolute": folder / "a" / "b",
        "aliased": tmp_path / "alias" / "plain.py",
        "itself": ".",
        "twice": "folder/../up",
        "dotted": f"{folder}/./a//b/../../plain.py",
        "gone": "a/gone.py",
        "circle": "circle",
    }.items():
        (folder / name).symlink_to(target)
    return folder


@pytest.fixture
def look(tmp_path, top):
    """A callable: which file a name below the folder leads to."""

    def looking(name, root=top):
        descriptor = os.open(root, os.O_PATH)
        try:
            with placed(name, descriptor, str(tmp_path / "alias")) as place:
                status = os.fstat(place)
                return status.st_dev, status.st_ino
        finally:
            os.close(descriptor)

    return looking


@pytest.mark.parametrize(
    "name",
    ". plain.py relative folder folder/file.py a/up absolute/file.py aliased itself/itself/plain.py twice"
    " dotted a/../plain.py a/b/../up".split(),
)
def test_what_lies_below_is_found_where_the_kernel_finds_it(look, top, name):
    """Relative links, absolute ones by the folder's path or by what it is called, and links to links."""
    status = os.stat(top / name)
    assert look(name) == (status.st_dev, status.st_ino)


@pytest.mark.parametrize(
    ("name", "number"),
    [("gone", errno.ENOENT), ("circle", errno.ELOOP), ("plain.py/x", errno.ENOTDIR), ("a/x", errno.ENOENT)],
)
def test_what_is_not_below_has_the_kernels_reason(look, name, number):
    """What its user wrote wrong can be mended."""
    with pytest.raises(OSError, match=os.strerror(number)):
        look(name)


OUT = ["{}/secret/key.py", "{}/secret/gone.py", "{}/gone/../top/plain.py", "{}/secret/../top/plain.py"]
OUT += ["{}/topmost", "../secret/key.py", "../secret/gone.py", "../top/plain.py", "/etc/passwd", "/", ".."]


@pytest.mark.parametrize("way", ["file", "folder", "link"])
def test_what_leads_out_is_refused_with_the_same_words(top, tmp_path, way):
    """Whether or not something is there, and whether or not it comes back: nothing there is looked at."""
    messages = set()
    for number, target in enumerate(OUT):
        link = top / f"out{number}"
        link.symlink_to(target.format(tmp_path))
        name = {"file": link.name, "folder": f"{link.name}/x.py", "link": f"link{number}"}[way]
        if way == "link":
            (top / name).symlink_to(link.name)
        with pytest.raises(SourceError) as caught:
            sources.read(top / name, root=top)
        messages.add(str(caught.value).replace(str(top / name), "NAME"))
        assert not is_file(str(top / name), str(top))
    assert len(messages) == 1
    assert "leads out of" in messages.pop()


def test_nothing_leads_out_of_the_host(look):
    """Above the host's root there is nothing: what goes up too often stays there."""
    status = os.stat("/etc/passwd")
    assert look("../../etc/passwd", "/") == (status.st_dev, status.st_ino)


def test_nobody_can_have_all_descriptors_taken(look, top):
    """Folders on the way are held, and so are not too many."""
    deep = "/".join(["d"] * (DEEP + 1))
    (top / deep).mkdir(parents=True)
    with pytest.raises(OSError, match="symbolic links"):
        look(deep)


def test_a_flow_behind_a_path_is_looked_for_below_the_root_only(top, tmp_path):
    """Which part of a location is the path decides what errors say of it."""
    root = sources.origin_of(top)
    (top / "manifest").write_text("")
    (top / "out").symlink_to(tmp_path / "secret")
    assert split(f"{top}/manifest:flow", root) == (f"{top}/manifest", "flow")
    assert split(f"{top}/plain.py:flow", root) == (f"{top}/plain.py", "flow")
    (tmp_path / "secret" / "key").write_text("")
    assert split(f"{top}/out/key:flow") == (f"{top}/out/key", "flow")
    for name in ("key", "gone"):
        assert split(f"{top}/out/{name}:flow", root) == (f"{top}/out/{name}:flow", None)


def test_an_origin_has_no_file_in_another_folder_that_took_its_place(top, tmp_path):
    """Nor has one that lies elsewhere: nothing of this machine is looked at for it."""
    origin = sources.origin_of(top)
    assert origin.has_file(str(top / "plain.py"))
    assert not origin.has_file(str(tmp_path / "secret" / "key.py"))
    top.rename(tmp_path / "away")
    top.symlink_to(tmp_path / "away" / "a" / "b")
    assert not origin.has_file(str(top / "file.py"))
    assert sources.origin_of(top).has_file(str(top / "file.py"))
    assert not sources.Origin(str(tmp_path / "away")).has_file(str(tmp_path / "away" / "plain.py"))
