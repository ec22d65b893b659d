"""As whom files are looked at: the kernel judges, for one thread and for as long as it is to be so."""

import os
import subprocess
import sys
import threading

import pytest

from loader.access import Access, Reader
from loader.daemon.freshness import Moment, unchanged
from loader.errors import SourceError
from loader.sources import acting as room
from loader.sources import read
from loader.sources.acting import acting, now
from loader.sources.beneath import is_file
from loader.sources.origins import Origin, origin_of

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
SEVEN = Reader(7, 70)
AS_ROOT = """
import ctypes, os
from loader.access import Reader
from loader.sources.acting import acting
os.setgroups([]); os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)
try:
    with acting(Reader(0, 0)):
        print("it acts")
except PermissionError as error:
    print(error.strerror)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of root's that all may enter, with files; the process has put its groups away."""
    groups = os.getgroups()
    os.setgroups([])
    tmp_path.chmod(0o755)
    for name, mode, uid, gid in (
        ("all.py", 0o644, 0, 0),
        ("own.py", 0o600, 7, 0),
        ("group.py", 0o640, 0, 70),
        ("root.py", 0o600, 0, 0),
    ):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, uid, gid)
        (tmp_path / name).chmod(mode)
    yield tmp_path
    os.setgroups(groups)


def ran(prefix, code):
    """What came of a program."""
    return subprocess.run(
        [*prefix, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def as_seven(folder):
    """The folder as an origin, and what it is read with."""
    found = origin_of(folder)
    return Origin(found.location, found.identity, SEVEN), Access(reader=SEVEN)


@ROOT_ONLY
def test_only_this_thread_is_another_user_and_only_meanwhile(folder):
    """The one that it acts for may be anybody, and the process serves others."""
    before, seen, go = now(), [], threading.Event()

    def look():
        go.wait(30)
        seen.append((now(), (folder / "root.py").read_bytes()))

    other = threading.Thread(target=look)
    other.start()
    with acting(SEVEN):
        assert now() == SEVEN
        with pytest.raises(PermissionError):
            (folder / "root.py").read_bytes()
        go.set()
        other.join()
        with acting(None):
            assert now() == SEVEN
    assert now() == before
    assert seen == [(before, b"")]
    assert (folder / "root.py").read_bytes() == b""


@ROOT_ONLY
def test_groups_that_stay_are_refused(folder):
    """They would be asked for as well."""
    os.setgroups([9])
    with pytest.raises(PermissionError, match="cannot put its groups away"), acting(SEVEN):
        pytest.fail("it acts")
    assert now() == Reader(0, 0)


@ROOT_ONLY
def test_rights_that_stay_are_refused():
    """With them it is root that looks, whoever it is said to be."""
    code = AS_ROOT.replace("os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)", "")
    done = ran(["setpriv", "--securebits=+no_setuid_fixup"], code.replace("Reader(0, 0)", "Reader(7, 7)"))
    assert done.stdout == "this process keeps root's rights whoever it acts as\n", done.stderr


@ROOT_ONLY
def test_who_may_be_nobody_else_is_nobody_else():
    """And nothing is looked at."""
    done = ran([], AS_ROOT)
    assert done.stdout == "this process cannot act as user 0\n", done.stderr


@ROOT_ONLY
def test_a_script_is_read_as_the_user_who_asks(folder):
    """What that user may not read is refused, also behind links of its own."""
    origin, access = as_seven(folder)
    (folder / "link.py").symlink_to("root.py")
    (folder / "closed").mkdir(0o700)
    (folder / "closed" / "all.py").touch()
    for name in ("all.py", "own.py", "group.py"):
        assert read(folder / name, origin, access).root.reader == SEVEN
    for name in ("root.py", "link.py", "closed/all.py"):
        assert read(folder / name).content == b""
        with pytest.raises(SourceError, match="this user may not read it"):
            read(folder / name, origin, access)
    assert is_file(f"{folder}/root.py", str(folder), None, SEVEN)
    assert not is_file(f"{folder}/closed/all.py", str(folder), None, SEVEN)


@ROOT_ONLY
def test_a_link_in_the_place_of_the_folder_is_not_followed(folder):
    """Whatever it leads to, and be it the very folder: who put it there would learn what is on the way."""
    for name in ("a", "closed"):
        (folder / name).mkdir()
    (folder / "a" / "x.py").touch()
    origin, access = as_seven(folder / "a")
    (folder / "closed").chmod(0o700)
    (folder / "a").rename(folder / "b")
    for target in ("b", "closed/../b", "none/../b", "closed", f"/proc/self/cwd/../../..{folder}/b"):
        (folder / "a").symlink_to(target)
        with pytest.raises(SourceError, match="was exchanged while it was in use"):
            read(folder / "a" / "x.py", origin, access)
        assert not is_file(f"{folder}/a/x.py", str(folder / "a"), origin.identity, SEVEN)
        assert not unchanged(str(folder / "a"), Moment.now(), SEVEN)
        (folder / "a").unlink()


@ROOT_ONLY
def test_changes_in_what_is_closed_to_a_user_are_not_told_to_it(folder, monkeypatch):
    """In doubt something changed."""
    for name, mode in (("open", 0o755), ("closed", 0o700)):
        (folder / name).mkdir(mode)
    asked = lambda name, *reader: unchanged(str(folder / name), Moment.now(), *reader)  # noqa: E731
    monkeypatch.setattr(Moment, "is_after", lambda *_: True)
    assert asked("open", SEVEN)
    assert asked("closed")
    assert not asked("closed", SEVEN)


def test_nothing_is_changed_for_who_looks_as_itself(monkeypatch):
    """It costs nothing where it is not wanted."""
    monkeypatch.setattr(room, "libc", lambda: pytest.fail("it was asked for"))
    with acting(None):
        pass
