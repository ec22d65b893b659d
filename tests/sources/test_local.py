"""Files of this machine: a location becomes bytes, read once; all else is refused with a reason."""

import contextlib
import hashlib
import os
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import sources
from loader.access import Access
from loader.errors import FlowLoaderError, SourceError
from loader.sources import Root, from_text, local, read
from loader.sources import script as scripts

NOBODY = 65534
TEXT = b"print('hello')\n"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "flows" / "flow.py"
    path.parent.mkdir()
    path.write_bytes(TEXT)
    return path


def root_of(folder, path=None):
    """The root that `folder` is, by its own path or by another that leads to it."""
    status = os.stat(folder)
    return Root(str(path or folder), status.st_dev, status.st_ino, os.path.realpath(folder))


@pytest.fixture
def refused():
    """The message of a location that cannot be read."""

    def refuse(location, root=None):
        with pytest.raises(SourceError) as caught:
            read(location, root)
        assert isinstance(caught.value, FlowLoaderError)
        assert isinstance(caught.value, OSError)
        assert str(caught.value).startswith("cannot ")
        return str(caught.value)

    return refuse


def test_a_path_is_read(script):
    """Bytes, names and folders."""
    for location in (script, str(script)):
        found = read(location)
        assert found.content == TEXT
        assert found.location == str(script)
        assert (found.filename, found.module) == (str(script), "flow")
        assert found.folder == str(script.parent)
        assert found.root == root_of(script.parent)


def test_the_digest_is_of_the_bytes_that_are_sent(script):
    """What was read once is what is named; a change on disk afterwards changes nothing."""
    found = read(script)
    script.write_bytes(b"something else")
    assert found.digest == "sha256:" + hashlib.sha256(TEXT).hexdigest()
    assert found.content == TEXT


def test_a_relative_path_is_of_the_working_directory(script, monkeypatch):
    """The location stays as it was given; the file's name is absolute."""
    monkeypatch.chdir(script.parent)
    found = read("../flows/./flow.py")
    assert (found.location, found.filename) == ("../flows/./flow.py", str(script))


def test_a_tilde_is_a_name_like_any_other(script, monkeypatch, refused):
    """Expanding it is the shell's business."""
    monkeypatch.setenv("HOME", str(script.parent))
    monkeypatch.chdir(script.parent)
    assert "there is no such file" in refused("~/flow.py")
    (script.parent / "~").mkdir()
    (script.parent / "~" / "flow.py").write_bytes(b"tilde")
    assert read("~/flow.py").content == b"tilde"


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_url_is_a_path(script, host):
    """On this machine; the location stays the URL."""
    url = f"file://{host}{script}"
    found = read(url)
    assert (found.filename, found.location, found.content) == (str(script), url, TEXT)


def test_a_file_url_is_percent_encoded(tmp_path):
    """Blanks, umlauts and signs that mean something in a URL; without the encoding, in a path."""
    for name in ("a b.py", "ü.py", "50%.py", "q?#.py"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        quoted = "".join(f"%{byte:02x}" for byte in name.encode())
        assert read(f"file://{tmp_path}/{quoted}").content == name.encode()
        assert read(tmp_path / name).filename == str(tmp_path / name)


@pytest.mark.parametrize(
    "location",
    [
        "file://elsewhere/a.py",
        "file:///a.py?x=1",
        "file:///a.py#x",
        "file://user@localhost/a.py",
        "file://[",
        "file:///%00",
        "file:///usr/%00.py",
    ],
)
def test_a_file_url_that_names_no_file_here_is_refused(location, refused):
    """Other machines, queries, fragments, broken addresses, bytes that no path has."""
    message = refused(location)
    assert "names a path on this machine" in message or "a control character" in message


@pytest.mark.parametrize("scheme", ["ftp", "git+ssh", "data", "FTP", "simplecache", "local", "sftp"])
def test_an_unknown_scheme_is_refused_by_name(scheme, refused):
    """And the known ones are named."""
    message = refused(f"{scheme}://host/flow.py")
    assert f"scheme {scheme!r} is not one of file://" in message


@pytest.mark.parametrize("name", ["http:/flow.py", "ab:/flow.py", "flow.py:/f.py"])
def test_a_path_that_looks_like_a_url_is_refused_whether_or_not_it_is_there(
    name, tmp_path, monkeypatch, refused
):
    """A location may be anybody's word, and the answer would tell what there is. With ``./`` it is a path."""
    monkeypatch.chdir(tmp_path)
    before = refused(name)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(TEXT)
    assert refused(name) == before
    assert before.endswith("if it is a path, write ./ before it")
    assert read(f"./{name}").content == TEXT


def test_a_file_that_somebody_leases_is_not_waited_for(script, refused, leased):
    """Whoever holds a lease on a file lets others who open it wait for as long as the kernel allows."""
    with leased(script):
        assert "another process keeps it" in refused(script)
    assert read(script).content == TEXT


def test_what_is_not_a_regular_file_is_refused(tmp_path, refused):
    """Folders, devices and sockets."""
    assert "it is a folder" in refused(tmp_path)
    assert "it is a folder" in refused("/")
    assert "it is a folder" in refused("")
    assert "not a regular file" in refused("/dev/null")
    assert "not a regular file" in refused("/dev/zero")
    address = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        assert str(address) in refused(address)


@pytest.mark.parametrize("writer", [False, True])
def test_a_fifo_is_not_waited_for(tmp_path, refused, writer):
    """Neither for somebody who opens its other end nor for what he would write."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR) if writer else None
    answers = []
    thread = threading.Thread(target=lambda: answers.append(refused(path)), daemon=True)
    thread.start()
    thread.join(10)
    if held is not None:
        os.close(held)
    assert answers
    assert "not a regular file" in answers[0]


def test_a_symbolic_link_stands_where_it_lies(script, tmp_path):
    """What it points to is read; its folder, its name and what it may read are the link's."""
    link = script.parent / "links" / "other.py"
    link.parent.mkdir()
    (link.parent / "target.py").write_bytes(TEXT)
    for target in ("target.py", link.parent / "target.py"):
        link.symlink_to(target)
        found = read(link)
        assert found.content == TEXT
        assert (found.filename, found.module) == (str(link), "other")
        assert (found.folder, found.root) == (str(link.parent), root_of(link.parent))
        link.unlink()
    link.symlink_to(script)
    for root in (script.parent, tmp_path, "/"):
        found = read(link, root)
        assert (found.content, found.folder, found.root) == (TEXT, str(link.parent), root_of(root))


def test_a_symbolic_link_that_leads_out_of_the_root_is_refused(script, tmp_path, refused):
    """Absolute or relative, of the file or of a folder above it, whether or not the names begin alike."""
    root = tmp_path / "flow"
    root.mkdir()
    (root / "absolute.py").symlink_to(script)
    (root / "relative.py").symlink_to("../flows/flow.py")
    (root / "twice.py").symlink_to("relative.py")
    (root / "folder").symlink_to(script.parent)
    (root / "device.py").symlink_to("/dev/null")
    (root / "above").symlink_to("..")
    for name in ("absolute.py", "relative.py", "twice.py", "folder/flow.py", "device.py", "above"):
        message = refused(root / name, root)
        assert f"its symbolic link leads out of {root}, " in message
        assert "--root" in message
    assert read(root / "folder" / "flow.py").root == root_of(script.parent, root / "folder")


def test_a_root_may_be_a_symbolic_link(script, tmp_path):
    """It keeps its name, and its identity is that of the folder it leads to."""
    link = tmp_path / "link"
    link.symlink_to(script.parent)
    found = read(link / "flow.py")
    assert (found.content, found.filename) == (TEXT, str(link / "flow.py"))
    assert found.root == root_of(script.parent, link)


def test_a_folder_that_is_exchanged_is_not_read(script, tmp_path, monkeypatch):
    """The script is the one of the root that was opened, and so is the identity that goes with it."""
    before = root_of(script.parent)
    opened = local.open_root

    def exchanged(*args):
        descriptor = opened(*args)
        script.parent.rename(tmp_path / "elsewhere")
        script.parent.mkdir()
        script.write_bytes(b"another")
        return descriptor

    monkeypatch.setattr(local, "open_root", exchanged)
    found = read(script)
    assert (found.content, found.root) == (TEXT, before)
    assert found.root != root_of(script.parent)


def test_no_descriptor_stays_open(script, tmp_path, refused):
    """Whether a script was read or refused."""
    (script.parent / "out.py").symlink_to("/dev/null")
    count = len(os.listdir("/proc/self/fd"))
    read(script)
    for location in (script.parent / "out.py", script.parent, script.parent / "gone.py", script / "x.py"):
        refused(location)
    refused(script, tmp_path / "gone")
    assert len(os.listdir("/proc/self/fd")) == count


def test_links_that_lead_nowhere_are_refused(tmp_path, refused):
    """To nothing, and to each other."""
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert "there is no such file" in refused(tmp_path / "dangling")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert "lead in a circle" in refused(tmp_path / "one")


def test_a_file_of_someone_else_is_refused(script, refused):
    """The user who asks is the user who reads."""
    script.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        assert "this user may not read it" in refused(script)
    finally:
        os.seteuid(user)


def test_a_name_that_is_no_text_is_refused(tmp_path, refused):
    """By path and by URL: a worker could not be told of it, nor an outcome be written."""
    (tmp_path / os.fsdecode(b"\xff.py")).write_bytes(TEXT)
    assert "its name is not UTF-8 text" in refused(tmp_path / os.fsdecode(b"\xff.py"))
    assert "its name is not UTF-8 text" in refused(f"file://{tmp_path}/%ff.py")


def test_a_file_that_fails_while_it_is_read_is_refused(refused):
    """Regular by its mode, and unreadable all the same: the first page of one's own memory."""
    assert "/proc/self/mem" in refused("/proc/self/mem")


@pytest.mark.parametrize(
    "location",
    ["a\0b", "\0/b", "file:///a/%00.py", "file:///%00/a.py", "\ud800.py", "x" * 5000, "file:" + "a/" * 5000],
)
def test_a_name_that_no_file_has_is_refused(location, refused):
    """Null bytes, lone surrogates, names without end."""
    refused(location)


@given(st.text(max_size=40) | st.text(alphabet="file:/%[]@?#0.~ab\0\ud800", max_size=40))
def test_any_location_is_a_script_or_a_source_error(location):
    """Nothing else is ever raised."""
    with contextlib.suppress(SourceError):
        assert type(read(location).content) is bytes


def test_size_is_bounded(script, monkeypatch, refused):
    """Exactly the cap is allowed; what is larger is not read to its end."""
    access = Access(size=len(TEXT))
    assert read(script, access=access).content == TEXT
    script.write_bytes(TEXT + b"#")
    with pytest.raises(SourceError, match=f"larger than {len(TEXT)} bytes"):
        read(script, access=access)
    monkeypatch.setattr(scripts, "SIZE_CAP", len(TEXT))
    assert from_text(TEXT).content == TEXT
    with pytest.raises(SourceError, match="cannot load <text>: it is larger"):
        from_text(TEXT + b"#")


def test_a_file_that_claims_to_be_large_is_not_kept(tmp_path, refused):
    """A sparse terabyte costs no more than the cap."""
    path = tmp_path / "huge.py"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than" in refused(path)


def test_an_empty_file_is_a_script(tmp_path):
    """Whether there is something in it is not for here."""
    path = tmp_path / "empty.py"
    path.touch()
    assert read(path).content == b""


def test_a_root_is_what_may_be_read(script, tmp_path, monkeypatch):
    """Any folder that holds the script; relative ones, too, and the whole host if one says so."""
    for root in (tmp_path, script.parent, "/"):
        found = read(script, root)
        assert (found.content, found.folder, found.root) == (TEXT, str(script.parent), root_of(root))
    monkeypatch.chdir(tmp_path)
    assert read(script, "flows/..").root == root_of(tmp_path)


def test_a_root_that_does_not_hold_the_script_is_refused(script, tmp_path, refused):
    """By whole names: a folder whose name begins alike is another."""
    (tmp_path / "flow").mkdir()
    (script.parent / "inner").mkdir()
    for root in (tmp_path / "flow", script.parent / "inner", "/usr", script, tmp_path / "gone"):
        assert f"it lies outside the root {root};" in refused(script, root)


def test_a_root_that_is_no_folder_is_refused(script, tmp_path, refused):
    """A file is none, and one that is not there holds no script."""
    for root in (script, None):
        assert f"cannot use {script} as root: it is not a folder" in refused(script / "x.py", root)
    for root in (tmp_path / "gone", None):
        assert "there is no such file" in refused(tmp_path / "gone" / "flow.py", root)


def test_text_is_a_script_without_a_place():
    """No folder, no root, and a name of its own in tracebacks."""
    found = from_text("x = 'ü'\n", "<stdin>")
    assert found.content == "x = 'ü'\n".encode()
    assert (found.location, found.filename, found.module) == ("<stdin>", "<stdin>", "flow_script")
    assert found.folder is None
    assert found.root is None


def test_text_is_encoded_and_never_refused():
    """A byte order mark is kept, and what is no character is for the compiler to say."""
    assert from_text("\ufeffx = 1").content == b"\xef\xbb\xbfx = 1"
    assert from_text("x = '\ud800'").content == b"x = '\xed\xa0\x80'"
    assert from_text(b"\xff\xfe").content == b"\xff\xfe"


def test_a_script_is_frozen_and_equal_by_value(script):
    """What was read is what is sent."""
    found = read(script)
    assert found == read(script)
    with pytest.raises(AttributeError):
        found.content = b""


def test_a_link_that_leads_out_is_judged_before_it_is_opened(tmp_path):
    """To open a pipe or a device is to act on it: whoever waits at the pipe's other end is not woken."""
    pipe, own = tmp_path / "pipe", tmp_path / "own"
    os.mkfifo(pipe)
    own.mkdir()
    (own / "flow.py").symlink_to(pipe)
    writer = threading.Thread(target=lambda: os.close(os.open(pipe, os.O_WRONLY)))
    writer.start()
    with pytest.raises(SourceError, match="leads out"):
        sources.read(own / "flow.py")
    writer.join(0.3)
    assert writer.is_alive()
    os.close(os.open(pipe, os.O_RDONLY))
    writer.join()
