"""What shows the host is told by what it is, not by how it is spelled."""

import os

import pytest

from worker.confine import exposure


@pytest.mark.parametrize(
    "path", ["/", "/dev", "/proc", "/proc/self/root", "/proc/self/status", "/sys/kernel"]
)
def test_the_host_shows_itself(path):
    """Its root, its devices and the kernel's file systems, in whole or in part."""
    opened = os.open(path, os.O_PATH)
    assert os.path.realpath(path).startswith(exposure.look(opened).shows.rstrip("/"))
    os.close(opened)


def test_a_folder_does_not_show_it(tmp_path):
    opened = os.open(tmp_path, os.O_PATH)
    assert exposure.look(opened) == (None, False)
    os.close(opened)


def test_kernel_file_systems_are_found_at_above_and_below_a_folder(tmp_path):
    """A folder with a proc mount in it would show the host's processes."""
    assert exposure.mounted("/proc")[0] == ["/proc/"]
    assert exposure.mounted(f"/proc/{os.getpid()}/fd")[0][0] == "/proc/"
    kernels, below = exposure.mounted("/")
    assert ("/proc/" in kernels, below) == (True, True)
    assert exposure.mounted(str(tmp_path)) == ([], False)


def test_what_was_put_in_the_place_of_a_folder_is_not_looked_at(tmp_path):
    """Nor are links followed there, of which there may be very many."""
    folder = tmp_path / "folder"
    folder.mkdir()
    opened = os.open(folder, os.O_PATH)
    folder.rename(tmp_path / "away")
    for number in range(2000):
        (tmp_path / f"l{number}").symlink_to(f"l{number - 1}" if number else "/proc")
    for target in ("/proc", "l1999"):
        folder.unlink(missing_ok=True)
        folder.symlink_to(target)
        assert exposure.look(opened) == (None, False)
    os.close(opened)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (b"/a\\040b\\011c\\012d\\134e", "/a b\tc\nd\\e"),
        ("/jürgen\u2028\x85".encode(), "/jürgen\u2028\x85"),
        (b"/x\xffy\r", os.fsdecode(b"/x\xffy\r")),
        (b"/\\134040\\u0061", "/\\040\\u0061"),
    ],
)
def test_mounts_are_read_as_the_kernel_writes_them(written, path):
    """Bytes, of which few are octal: what a name looks like otherwise is its own affair."""
    assert exposure.unescaped(written) == path
