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
    assert os.path.realpath(path).startswith(exposure.shown_by(opened).rstrip("/"))
    os.close(opened)


def test_a_folder_does_not_show_it(tmp_path):
    opened = os.open(tmp_path, os.O_PATH)
    assert exposure.shown_by(opened) is None
    os.close(opened)


def test_kernel_file_systems_are_found_at_above_and_below_a_folder(tmp_path):
    """A folder with a proc mount in it would show the host's processes."""
    assert exposure.kernel_mounts("/proc") == ["/proc/"]
    assert exposure.kernel_mounts("/proc/self/fd")[0] == "/proc/"
    assert "/proc/" in exposure.kernel_mounts("/")
    assert exposure.kernel_mounts(str(tmp_path)) == []


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
