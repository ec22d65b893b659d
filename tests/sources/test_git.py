"""A git repository is somebody's files: read as git reads them, or refused, whatever they hold."""

import hashlib
import os
import random
import shutil
import time
import tracemalloc
import zlib

import pygit2
import pytest

from loader.access import Access
from loader.errors import SourceError
from loader.sources import fetch, read

WHO = pygit2.Signature("Ann", "ann@example.org")
FILE = pygit2.enums.FileMode.BLOB


def commit(repository, files, parents=()):
    index = repository.index
    for name, content in files.items():
        index.add(pygit2.IndexEntry(name, repository.create_blob(content), FILE))
    return repository.create_commit("refs/heads/main", WHO, WHO, "x", index.write_tree(), list(parents))


def packed(repository):
    """Put every object into one pack, with deltas."""
    folder = os.path.join(repository.path, "objects")
    repository.pack()
    for name in os.listdir(folder):
        if len(name) == 2:
            shutil.rmtree(os.path.join(folder, name))
    assert os.listdir(os.path.join(folder, "pack"))


@pytest.fixture
def versions():
    """Three versions of a large file, which git keeps as deltas."""
    lines = [b"%d %d\n" % (number, hash(number * 7919) % 65537) for number in range(30_000)]
    return [b"".join([*lines[:at], b"changed\n", *lines[at:]]) for at in (100, 20_000, 29_999)]


@pytest.fixture
def repository(tmp_path, versions):
    """A repository with three commits."""
    made = pygit2.init_repository(tmp_path / "repository", initial_head="main")
    last = ()
    for number, content in enumerate(versions):
        last = (commit(made, {"big.txt": content, f"sub/{number}.py": b"x = %d\n" % number}, last),)
    return made


def url(repository, ref="main", path="big.txt"):
    return f"git://{repository.workdir.rstrip('/')}:{ref}@{path}"


@pytest.mark.parametrize("in_pack", [False, True])
def test_every_version_is_read(repository, versions, in_pack):
    """Out of files of their own or of a pack; by branch, tag, whole and abbreviated name."""
    ids = [item.id for item in repository.walk(repository.head.target, pygit2.enums.SortMode.REVERSE)]
    repository.create_tag("v1", ids[0], pygit2.enums.ObjectType.COMMIT, WHO, "first")
    repository.references.create("refs/remotes/origin/topic", ids[1])
    if in_pack:
        packed(repository)
    for number, content in enumerate(versions):
        for ref in (str(ids[number]), str(ids[number])[:12]):
            assert fetch(url(repository, ref)) == content
            assert fetch(url(repository, ref, f"sub/{number}.py")) == b"x = %d\n" % number
    for ref, number in (("v1", 0), ("origin/topic", 1), ("main", 2), ("HEAD", 2), ("refs/heads/main", 2)):
        assert fetch(url(repository, ref)) == versions[number]
    top = url(repository, "v1", "")
    assert dict(read(url(repository, "v1"), top).project.files) == {
        "big.txt": versions[0],
        "sub/0.py": b"x = 0\n",
    }


def test_packed_refs_are_read(repository, versions):
    """A ref without a file of its own."""
    target = str(repository.head.target)
    os.unlink(f"{repository.path}/refs/heads/main")
    with open(f"{repository.path}/packed-refs", "w") as file:
        file.write(f"# pack-refs with: peeled\n{target} refs/heads/main\n^{target}\n")
    assert fetch(url(repository)) == fetch(url(repository, "HEAD")) == versions[2]


def test_a_folder_of_refs_is_no_ref(repository, versions):
    """A remote's name stands for its own branch, as git has it; that of a folder of branches for nothing."""
    repository.references.create("refs/remotes/origin/main", repository.head.target)
    repository.references.create("refs/heads/topic/one", repository.head.target)
    with open(f"{repository.path}/refs/remotes/origin/HEAD", "w") as file:
        file.write("ref: refs/remotes/origin/main\n")
    assert fetch(url(repository, "origin")) == fetch(url(repository, "topic/one")) == versions[2]
    with pytest.raises(SourceError, match="no such ref"):
        fetch(url(repository, "topic"))


@pytest.mark.parametrize(
    "ref", ["gone", "config", "../main", "objects", "refs/../HEAD", "0000", "f" * 40, ".git"]
)
def test_what_is_no_ref_is_refused(repository, ref):
    """No other file of the repository is taken for one."""
    with pytest.raises(SourceError, match=r"no such ref|is missing"):
        fetch(url(repository, ref))


def test_nothing_but_objects_and_refs_is_opened(repository, versions):
    """A pipe in the place of a configuration hangs nothing; what it includes is not looked at."""
    os.unlink(f"{repository.path}/config")
    os.mkfifo(f"{repository.path}/config")
    assert fetch(url(repository)) == versions[2]


@pytest.mark.parametrize("part", ["objects", "objects/pack", "refs", "refs/heads/main", "HEAD", "."])
def test_links_that_lead_out_are_refused(repository, tmp_path, part):
    """Another repository's objects and refs are nobody's to read through this one."""
    packed(repository)
    shutil.move(f"{repository.path}/{part}".rstrip("/."), tmp_path / "victim")
    os.symlink(tmp_path / "victim", f"{repository.path}/{part}".rstrip("/."))
    with pytest.raises(SourceError, match=r"leads out of|leads to another repository"):
        fetch(url(repository))


def test_another_repository_is_not_borrowed_from(repository, tmp_path):
    """Neither by a file in the place of the folder, nor by alternates, nor by a common folder."""
    (tmp_path / "worktree").mkdir()
    (tmp_path / "worktree" / ".git").write_text(f"gitdir: {repository.path}\n")
    with pytest.raises(SourceError, match="leads to another repository"):
        fetch(f"git://{tmp_path}/worktree:main@big.txt")
    other = pygit2.init_repository(tmp_path / "other", initial_head="main")
    for name in ("objects/info/alternates", "commondir"):
        os.makedirs(os.path.dirname(f"{other.path}{name}"), exist_ok=True)
        with open(f"{other.path}{name}", "w") as file:
            file.write(f"{repository.path}{'objects' if name != 'commondir' else ''}\n")
    with pytest.raises(SourceError, match="no such ref"):
        fetch(url(other))
    with pytest.raises(SourceError, match="is missing"):
        fetch(url(other, str(repository.head.target)))


@pytest.mark.parametrize("part", ["HEAD", "refs/heads/main", "objects/pack"])
def test_special_files_are_not_opened(repository, part):
    """A pipe is no ref and no folder."""
    path = f"{repository.path}{part}"
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    os.mkfifo(path)
    begun = time.monotonic()
    with pytest.raises(SourceError):
        fetch(url(repository, path="gone"), Access(seconds=5))
    assert time.monotonic() - begun < 4


def loose(repository, kind, content, claimed=None):
    """Write an object by hand; returns its name."""
    head = b"%s %d\0" % (kind, len(content) if claimed is None else claimed)
    name = hashlib.sha1(head + content).hexdigest()
    os.makedirs(f"{repository.path}objects/{name[:2]}", exist_ok=True)
    with open(f"{repository.path}objects/{name[:2]}/{name[2:]}", "wb") as file:
        file.write(zlib.compress(head + content))
    return name


def entry(number, size):
    """The head of an entry of a pack."""
    found, size = [number << 4 | size & 15], size >> 4
    while size:
        found[-1] |= 0x80
        found.append(size & 0x7F)
        size >>= 7
    return bytes(found)


def varint(size):
    found = [size & 0x7F]
    while size := size >> 7:
        found[-1] |= 0x80
        found.append(size & 0x7F)
    return bytes(found)


def pack_of(repository, base, delta, name, claimed=None):
    """A pack of a blob, and of one named ``name`` that is a delta of it."""
    first = entry(3, len(base) if claimed is None else claimed) + zlib.compress(base)
    second = entry(6, len(delta)) + offset(len(first)) + zlib.compress(delta)
    folder, place = f"{repository.path}objects/pack/pack-{'a' * 40}", len(first) + 12
    with open(f"{folder}.pack", "wb") as file:
        file.write(b"PACK" + (2).to_bytes(4) + (2).to_bytes(4) + first + second)
    key = bytes.fromhex(name)
    with open(f"{folder}.idx", "wb") as file:
        file.write(b"\xfftOc\0\0\0\2" + b"".join((number >= key[0]).to_bytes(4) for number in range(256)))
        file.write(key + bytes(4) + place.to_bytes(4))


def offset(back):
    found = [back & 0x7F]
    while back := back >> 7:
        back -= 1
        found.insert(0, back & 0x7F | 0x80)
    return bytes(found)


def naming(repository, blob):
    """The location of a file that is the blob of that name."""
    tree = loose(repository, b"tree", b"100644 f.py\0" + bytes.fromhex(blob))
    who = b"A <a> 1 +0000"
    made = loose(
        repository, b"commit", b"tree %s\nauthor %s\ncommitter %s\n\nx\n" % (tree.encode(), who, who)
    )
    return url(repository, made, "f.py")


HUGE = 300 << 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loose", "lying", "base", "copies"])
def test_what_inflates_without_end_is_cut(tmp_path, kind):
    """Whatever sizes are claimed: memory stays near what a project may have."""
    repository = pygit2.init_repository(tmp_path / "bomb", initial_head="main")
    blob = "ab" * 20
    if kind == "loose":
        location = naming(repository, loose(repository, b"blob", bytes(HUGE)))
    elif kind == "lying":
        location = naming(repository, loose(repository, b"blob", bytes(HUGE), claimed=5))
    else:
        base, size = (bytes(HUGE), 5) if kind == "base" else (bytes(1 << 16), HUGE)
        delta = varint(len(base)) + varint(size) + b"\x80" * (HUGE >> 16)
        pack_of(repository, base, delta, blob)
        location = naming(repository, blob)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"more than|of the size|damaged"):
            fetch(location, Access(project_size=8 << 20))
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_a_delta_by_hand_is_read(tmp_path):
    """So that the others are refused for what they are."""
    repository = pygit2.init_repository(tmp_path / "fine", initial_head="main")
    content = b"hello world, hello git"
    name = hashlib.sha1(b"blob 22\0" + content).hexdigest()
    delta = varint(11) + varint(22) + b"\x90\x0b" + b"\x02, " + b"\x90\x06" + b"\x03git"
    pack_of(repository, b"hello world", delta, name)
    assert fetch(naming(repository, name)) == content
    pack_of(repository, b"hello World", delta, name)
    with pytest.raises(SourceError, match="not what its name says"):
        fetch(naming(repository, name))


def test_a_number_without_end_is_refused_at_once(tmp_path):
    """To add up its bytes would cost time in the square of them, whatever time is allowed."""
    repository = pygit2.init_repository(tmp_path / "endless", initial_head="main")
    pack_of(repository, b"x", b"\xff" * (1 << 20), "ab" * 20)
    begun = time.process_time()
    with pytest.raises(SourceError, match="has no end"):
        fetch(naming(repository, "ab" * 20), Access(seconds=30))
    assert time.process_time() - begun < 2


def test_a_commit_is_taken_apart_no_further_than_its_first_line(tmp_path):
    """It may have as many bytes as a project, and words."""
    repository = pygit2.init_repository(tmp_path / "words", initial_head="main")
    made = loose(repository, b"commit", b" " * (16 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="leads to no commit"):
            fetch(url(repository, made))
        assert tracemalloc.get_traced_memory()[1] < 70 << 20
    finally:
        tracemalloc.stop()


def test_a_folder_with_a_name_twice_is_refused(tmp_path):
    """Which of the two is meant would be a guess."""
    repository = pygit2.init_repository(tmp_path / "twice", initial_head="main")
    files = [bytes.fromhex(loose(repository, b"blob", text)) for text in (b"1", b"2")]
    tree = loose(repository, b"tree", b"".join(b"100644 f.py\0" + file for file in files))
    with pytest.raises(SourceError, match="a name twice"):
        fetch(url(repository, tree, "f.py"))


def test_folders_are_counted_when_they_are_found(tmp_path):
    """Wide folders in wide folders: those still to be listed are kept in memory."""
    repository = pygit2.init_repository(tmp_path / "wide", initial_head="main")
    tree = loose(repository, b"tree", b"".join(b"40000 %d\0" % item + bytes(20) for item in range(30)))
    with pytest.raises(SourceError, match="too many folders"):
        read(url(repository, tree, "f.py"), url(repository, tree, ""), Access(project_files=20))


@pytest.mark.sampled
@pytest.mark.parametrize("seed", range(3))
def test_damage_is_an_error_and_never_other_bytes(repository, versions, seed):
    """One byte anywhere: the same content, or a refusal in words."""
    packed(repository)
    chance = random.Random(seed)
    folder = f"{repository.path}objects/pack"
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        os.chmod(path, 0o600)
        with open(path, "rb") as file:
            whole = file.read()
        for _ in range(60):
            at = chance.randrange(min(len(whole), 4000))
            with open(path, "wb") as file:
                file.write(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
            try:
                assert fetch(url(repository)) == versions[2]
            except SourceError as error:
                assert str(error).startswith("cannot load ")  # noqa: PT017 - either is right
        with open(path, "wb") as file:
            file.write(whole)


def test_time_is_bounded(repository):
    """Work on a repository ends with its time."""
    with pytest.raises(SourceError, match="took longer"):
        fetch(url(repository), Access(seconds=0.0))
