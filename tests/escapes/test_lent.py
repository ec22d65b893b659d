"""What scripts of other users see of a host, where root loads them: what those users may see, and no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loader import FlowLoader

ROOT = Path(__file__).parents[2]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root reads for other users")
SEVEN, OTHER, WORKERS = 7, 8, 65534
READS = """\
import sys
from prefect import flow

def told(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__

@flow
def f(): pass

print(*(told(path) for path in {paths!r}))
"""
LOAD = """\
import sys
from loader import Access, FlowLoader
from loader.access import Reader
from loader.sources import Origin, origin_of
import os
os.setgroups([])
folder, reader = origin_of(sys.argv[1]), Reader(7, 7)
with FlowLoader(lent=True) as loader:
    root = Origin(folder.location, folder.identity, reader)
    outcome = loader.load(f"{folder.location}/flow.py", root=root, access=Access(reader=reader))
    print(outcome.stdout.text or outcome.error.message)
"""
BELOW = """\
mount --make-rprivate / && mount -t tmpfs none "$1/below" && cp -a "$1"/x* "$1/below"
exec "$2" -c "$3" "$1"
"""


def closed_files(folder):
    """Files that only their owners may read: the user's who asks, another's and the workers' own."""
    for uid in (SEVEN, OTHER, WORKERS):
        file = folder / f"x{uid}"
        file.write_text(f"of{uid}")
        file.chmod(0o600)
        os.chown(file, uid, uid)


@pytest.fixture
def folder(tmp_path):
    """A folder that all may enter, with closed files and a script that reads them."""
    tmp_path.chmod(0o755)
    closed_files(tmp_path)
    return tmp_path


@ROOT_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("place", [".", "below"])
def test_a_script_reads_as_who_asks_also_below_another_mount(folder, place):
    """The folder's file system is one thing, and what is mounted in it another."""
    (folder / "below").mkdir()
    paths = [str(folder / place / f"x{uid}") for uid in (SEVEN, OTHER, WORKERS)]
    (folder / "flow.py").write_text(READS.format(paths=paths))
    command = ["unshare", "--mount", "sh", "-c", BELOW, "sh", folder, sys.executable, LOAD]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert ran.stdout.strip() == "of7 PermissionError PermissionError", ran.stderr


@ROOT_ONLY
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_what_is_closed_in_folders_of_a_profile_stays_closed_to_others(folder, tmp_path_factory, mode):
    """In those that everybody may look into; one that is closed is read as its owner's."""
    folder.chmod(mode)
    os.chown(folder, OTHER, OTHER)
    profile = tmp_path_factory.mktemp("profile") / "profile.yaml"
    profile.write_text(f"description: x\nextends: strict\nfilesystem: {{read: [{folder}]}}\n")
    text = READS.format(paths=[str(folder / f"x{OTHER}")])
    told = []
    for lent in (False, True):
        with FlowLoader(str(profile), lent=lent) as loader:
            told.append(loader.load_text(text).stdout.text.strip())
    assert told == ["of8", "PermissionError" if mode == 0o755 else "of8"]


@ROOT_ONLY
@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("named", ["shared", "shared/x8"])
def test_what_others_put_in_the_place_of_a_profiles_folder_is_not_read(folder, tmp_path_factory, lent, named):
    """A link is refused, and what is closed stays closed, though root opens it."""
    place = tmp_path_factory.mktemp("place")
    profile = place / "profile.yaml"
    profile.write_text(f"description: x\nextends: strict\nfilesystem: {{read: [{folder / named}]}}\n")
    (folder / "shared").mkdir()
    (folder / "shared" / "open").write_text("open")
    os.chown(folder, SEVEN, SEVEN)
    (folder / f"x{OTHER}").rename(folder / "shared" / "x8")
    paths = [str(folder / "shared" / "x8"), *([str(folder / "shared" / "open")] * (named == "shared"))]
    text = READS.format(paths=paths)

    def told():
        with FlowLoader(str(profile), lent=lent) as loader:
            outcome = loader.load_text(text)
        return outcome.stdout.text.strip() or outcome.error.message

    assert told() == "PermissionError open" if named == "shared" else "PermissionError"
    (folder / "shared").rename(folder / "was")
    (folder / "shared").symlink_to("was")
    os.lchown(folder / "shared", SEVEN, SEVEN)
    assert f"{folder}/shared is a link that others may change" in told()
