"""Granted folders are the very ones that were there, for as long as they are granted."""

import gc
import os

import pytest

from loader.daemon.grants import grant_of


def test_no_other_folder_becomes_the_granted_one(tmp_path):
    """Where inodes are used again, the granted one's is not, though its folder is gone."""
    folder = tmp_path / "mine"
    folder.mkdir()
    grant = grant_of(str(folder), pytest.fail)
    folder.rmdir()
    for number in range(300):
        other = tmp_path / str(number)
        other.mkdir()
        status = other.stat()
        assert (status.st_dev, status.st_ino) != grant.identity


def test_a_grant_that_nobody_has_any_more_holds_nothing(tmp_path):
    """A daemon reads its configuration again and again."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert grant_of(str(tmp_path), pytest.fail).path == str(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        grant_of(str(tmp_path / "gone"), pytest.fail)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
