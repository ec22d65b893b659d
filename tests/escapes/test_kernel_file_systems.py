"""No file system of the kernel's is shown, wherever it is mounted: it would show the host's processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loader import FlowLoader

ROOT = Path(__file__).parents[2]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount what an ordinary load meets")
FLOW = "import os\nfrom prefect import flow\n@flow\ndef f(): pass\nprint(len(os.listdir({place!r})))\n"
OWN = """\
mount --make-rprivate / && mount -t "$1" none "$2" && shift 2 && exec "$@"
"""
LOAD = """\
import sys
from loader import FlowLoader
with FlowLoader(sys.argv[1]) as loader:
    for script in sys.argv[2:]:
        outcome = loader.load(script)
        print(outcome.status, outcome.stdout.text, outcome.error and outcome.error.message, sep="|")
"""
NAMES = ("jürgen", "a b", "back\\slash", "ls\u2028x", "\\303\\244", "\\u0061")
BELOW = ("tab\tbed", "line\nfed", "returned\r31 ", os.fsdecode(b"x\xffy"))


def loads(kind, place, profile, *scripts):
    """What became of scripts where ``kind`` is mounted at ``place``: a line for each."""
    command = ["unshare", "--mount", "sh", "-c", OWN, "sh", kind, place, sys.executable, "-c", LOAD]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    ran = subprocess.run(
        [*command, profile, *scripts], env=environment, text=True, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.replace("\n|", "|").rstrip("\n").split("\n")


def listing(folder, place):
    """A script in a new folder that lists a place."""
    folder.mkdir(exist_ok=True)
    script = folder / "flow.py"
    script.write_text(FLOW.format(place=str(place)))
    return script


@pytest.fixture
def naming(tmp_path):
    """A profile that lets scripts read some paths."""

    def write(*paths, extends="strict"):
        profile = tmp_path / "profile.yaml"
        listed = ", ".join(f'"{path}"' for path in paths)
        profile.write_text(f"description: x\nextends: {extends}\nfilesystem: {{read: [{listed}]}}\n")
        return str(profile)

    return write


@ROOT_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("own", [*(f"{name}/plain" for name in NAMES), *(f"own/{name}" for name in BELOW)])
def test_a_folder_with_processes_below_is_not_shown_whatever_its_name(tmp_path, own):
    """Nor does its name end the workers of other scripts, which are loaded on."""
    place = tmp_path / own / "proc"
    place.mkdir(parents=True)
    scripts = listing(place.parents[1], str(place)), listing(tmp_path / "other", ".")
    first, second = loads("proc", place, "strict", *scripts)
    assert first.startswith("sandbox_unavailable||")
    assert "holds the host" in first
    assert second == "loaded|1|None"


@ROOT_ONLY
@pytest.mark.slow
@pytest.mark.parametrize("extends", ["strict", "no-namespaces"])
@pytest.mark.parametrize("kind", ["proc", "sysfs"])
def test_a_profile_cannot_name_what_a_kernel_file_system_lies_below(tmp_path, naming, kind, extends):
    """As below a root that was made for chroot; the message names the path and what is mounted there."""
    place = tmp_path / "chroot" / "mounted"
    place.mkdir(parents=True)
    profile = naming(place.parent, extends=extends)
    [line] = loads(kind, place, profile, listing(tmp_path / "own", place))
    assert line.startswith("sandbox_unavailable||")
    assert f"filesystem.read: {place.parent} shows the host, by {place}" in line


@pytest.mark.parametrize("extends", ["strict", "no-namespaces"])
@pytest.mark.parametrize("target", ["/", "/proc", "/dev", "/proc/self/root", "/sys/kernel"])
def test_a_profile_cannot_name_a_link_to_the_host(tmp_path, naming, target, extends):
    """A link is judged by what it leads to, also as a step on the way; the remedy is said."""
    link = tmp_path / "link"
    link.symlink_to(target)
    for path in (link, target if target.strip("/") else f"{link}/."):
        with FlowLoader(naming(path, extends=extends)) as loader:
            outcome = loader.load_text(FLOW.format(place=str(link)))
        assert outcome.status == "sandbox_unavailable"
        assert f"filesystem.read: {os.path.normpath(path)} shows the host, by /" in outcome.error.message
        assert "(filesystem)" in outcome.error.message
        assert "narrower folders under filesystem.read" in outcome.error.hint


def test_a_profile_can_name_a_link_and_a_folder(tmp_path, naming):
    """What holds nothing of the kernel's is shown, with two slashes before it as with one."""
    shared, link = tmp_path / "shared", tmp_path / "link"
    shared.mkdir()
    (shared / "file").touch()
    link.symlink_to(shared)
    with FlowLoader(naming(f"/{shared}", link)) as loader:
        for place in (shared, link):
            outcome = loader.load_text(FLOW.format(place=str(place)))
            assert (outcome.error, outcome.stdout.text) == (None, "1\n")
