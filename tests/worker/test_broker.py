"""A broker that cannot judge one folder refuses that one, and goes on to serve."""

import os
import resource

import pytest

from loader import process, sources
from loader.profiles import load_profile


@pytest.fixture
def root(tmp_path):
    """The folder of a script."""
    (tmp_path / "flow.py").touch()
    return sources.read(tmp_path / "flow.py").root


def opened(zygote, root):
    """The inode that a broker shows for a folder."""
    zygote.ask_folder(root)
    descriptor = zygote.take_folder()
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("profile", ["strict", "no-namespaces"])
def test_a_folder_that_cannot_be_judged_is_refused_alone(root, profile):
    """Here there are too few descriptors for one step or another, as where a host runs out of something."""
    zygote = process.Zygote(load_profile(profile))
    broker, refused = zygote.process.pid, []
    soft, hard = resource.prlimit(broker, resource.RLIMIT_NOFILE)
    try:
        for limit in range(4, 24):
            resource.prlimit(broker, resource.RLIMIT_NOFILE, (limit, hard))
            try:
                assert opened(zygote, root) == root.inode
            except process.HostFailure as failure:
                refused.append(failure)
        resource.prlimit(broker, resource.RLIMIT_NOFILE, (soft, hard))
        assert opened(zygote, root) == root.inode
    finally:
        zygote.close()
    judged = [failure for failure in refused if failure.step == f"folder: judge {root.path}"]
    assert {failure.guarantees for failure in judged} == {("filesystem",)}
