"""Ways round closed folders: a descriptor that was opened before leads where a path does not."""

import json
import os
import subprocess
import sys

import pytest

from worker.confine import closed
from worker.confine.mounts import Tree

NOBODY = 65534
KNOWN = {"/home/ann/env": "/proc/self/fd/7", "/opt/": "/proc/self/fd/8"}


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/home/ann/env", "/proc/self/fd/7"),
        ("/home/ann/env/lib/x.py", "/proc/self/fd/7/lib/x.py"),
        ("/home/ann/environment", "/home/ann/environment"),
        ("/home/ann", "/home/ann"),
        ("/usr/lib", "/usr/lib"),
        ("", ""),
    ],
)
def test_a_path_below_a_closed_folder_takes_the_detour(path, way):
    """And every other path stays what it is, however it begins."""
    assert closed.by_detour(path, KNOWN) == way


def test_imports_take_the_detour(monkeypatch):
    """On the path of imports, and in packages that are imported already."""
    package = type(sys)("closed_package")
    package.__path__ = ["/home/ann/env/lib/closed_package", "/elsewhere"]
    monkeypatch.setitem(sys.modules, "closed_package", package)
    monkeypatch.setattr(sys, "path", ["/home/ann/env/lib", *sys.path])
    closed.redirect_imports(KNOWN)
    assert sys.path[0] == "/proc/self/fd/7/lib"
    assert package.__path__ == ["/proc/self/fd/7/lib/closed_package", "/elsewhere"]


def test_without_detours_imports_stay_as_they_are(monkeypatch):
    """Nothing is touched where nothing is closed."""
    monkeypatch.setattr(sys, "path", before := list(sys.path))
    closed.redirect_imports({})
    assert sys.path is before


ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from worker.confine import closed
from worker.confine.mounts import Tree
trees = [Tree(path, number) for path, number in json.loads(sys.argv[2])]
print(json.dumps([closed.detours(trees), [closed.enterable(tree) for tree in trees]]))
"""


@pytest.fixture
def ask(open_python, open_code):
    """What an ordinary user is told of paths and the descriptors that are handed to him."""

    def asks(paths, close):
        descriptors = [os.open(path, os.O_PATH) for path in paths]
        close()
        trees = [Tree(str(path), number) for path, number in zip(paths, descriptors, strict=True)]
        request = json.dumps([(tree.path, tree.descriptor) for tree in trees])
        identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [open_python, "-c", ASK, open_code, request],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            pass_fds=descriptors,
            **identity,
        )
        for descriptor in descriptors:
            os.close(descriptor)
        assert done.returncode == 0, done.stderr
        ways, enterable = json.loads(done.stdout)
        found = {path: descriptors[trees.index(tree)] for tree in trees for path in ways if path == tree.path}
        assert {path: f"/proc/self/fd/{number}" for path, number in found.items()} == ways
        return set(found), enterable

    return asks


@pytest.fixture
def home(tmp_path_factory):
    """A home that is closed after it was opened, with folders in it."""
    home = tmp_path_factory.mktemp("home")
    for name, mode in (("open", 0o755), ("shut", 0o000)):
        (home / name).mkdir()
        (home / name).chmod(mode)
    (home / "file").write_text("x")
    yield home
    home.chmod(0o700)
    (home / "shut").chmod(0o700)


def test_a_folder_in_a_closed_home_has_a_detour(ask, home, tmp_path_factory):
    """Its own mode counts, and not that of what lies above it; a file needs none."""
    paths = [home / "open", home / "shut", home / "file"]
    found, enterable = ask(paths, lambda: home.chmod(0))
    assert str(home / "open") in found
    assert str(home / "file") not in found
    assert enterable == [True, False, False]


def test_a_folder_that_can_be_reached_has_none(ask):
    """Nothing goes round where the door is open."""
    assert ask(["/usr", "/"], lambda: None) == (set(), [True, True])
