"""Which paths a worker sees: planned from the host, before anything is mounted."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.readable import readable
from worker.confine import mounts

NAMES = st.sampled_from(["a", "ab", "a-b", "a.b", "b"])
PATHS = st.lists(NAMES, max_size=4).map(lambda parts: "/" + "/".join(parts))


def below(path, other):
    return path == other or Path(other) in Path(path).parents


@given(st.lists(PATHS))
def test_outermost_covers_every_path_exactly_once(paths):
    """None is lost, and none lies below another."""
    kept = mounts.outermost(paths)
    assert all(any(below(path, other) for other in kept) for path in paths)
    assert set(kept) <= set(paths)
    assert not any(below(one, other) for one in kept for other in kept if one is not other)


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["/usr/lib", "/usr/lib/", "/usr/./lib", "/usr/share/../lib"], ["/usr/lib"]),
        (["/usr/lib64", "/usr/lib"], ["/usr/lib", "/usr/lib64"]),
        (["/a/b", "/a-b", "/a"], ["/a", "/a-b"]),
        (["/", "/usr"], ["/"]),
        (["//a/b", "/a", "/a//c"], ["/a"]),
        (["//a"], ["/a"]),
        ([], []),
    ],
)
def test_outermost_compares_whole_names(paths, kept):
    """A longer name is not a folder below a shorter one."""
    assert mounts.outermost(paths) == kept


def covers(paths, path):
    return any(below(path, other) for other in paths)


def test_a_plan_holds_the_interpreter_and_the_system_libraries(policy):
    """Everything that is there, once, and nothing that is not."""
    planned = mounts.plan(policy())
    assert planned == mounts.outermost(planned)
    assert all(os.path.lexists(path) for path in planned)
    for path in (os.path.realpath(os.__file__), sys.prefix, *filter(os.path.exists, mounts.SYSTEM)):
        assert covers(planned, os.path.realpath(path)), path


def test_a_plan_holds_nothing_of_the_host_beside(policy):
    """Homes, accounts and configuration stay out of sight unless a profile names them."""
    planned = mounts.plan(policy())
    for path in (
        "/",
        "/etc",
        "/etc/passwd",
        "/etc/shadow",
        "/proc",
        "/sys",
        "/dev",
        "/run",
        "/usr",
        "/var/lib",
    ):
        assert path not in planned
    assert not covers(planned, "/etc/hostname")


def test_a_profiles_own_paths_are_planned_with_what_they_point_to(policy, tmp_path):
    """A link is of use only where its target is to be seen; what is not there is left out."""
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    read = (str(link), str(tmp_path / "gone"))
    planned = mounts.plan(policy(read=read), [item.path for item in readable(policy(read=read))])
    assert {str(link), str(real)} <= set(planned)
    assert str(tmp_path / "gone") not in planned
    assert mounts.links([str(link), str(real)]) == [(str(link), str(real))]


def test_a_link_of_the_host_to_nothing_is_left_out(policy, monkeypatch, tmp_path):
    """Where nothing looks names up, the resolver's file often is one: it must not end every load."""
    link = tmp_path / "resolv.conf"
    link.symlink_to("gone")
    monkeypatch.setattr(mounts, "RESOLVER", (str(link),))
    assert str(link) not in mounts.plan(policy(outbound=True))


def test_names_are_looked_up_where_connections_are_allowed(policy):
    """The resolver's files are the host's, and are shown to nobody else."""
    there = [path for path in mounts.RESOLVER if os.path.exists(path)]
    assert there
    assert all(covers(mounts.plan(policy(outbound=True)), path) for path in there)
    assert not any(covers(mounts.plan(policy()), path) for path in there)


@pytest.mark.parametrize(
    ("path", "system"),
    [
        ("/usr/lib", True),
        ("/usr/lib/python3", True),
        ("/usr/library", False),
        ("/etc/hosts", True),
        ("/etc/hostsx", False),
        ("/dev/null", True),
        ("/etc", False),
        ("/", False),
        ("/home/someone/lib", False),
    ],
)
def test_system_is_what_every_user_may_read(path, system):
    """The host's own trees need no mapping of their owner."""
    assert mounts.is_system(path) is system


def test_accounts_say_who_the_worker_is():
    """One user and one group, whose home is the scratch space; the host's own are not copied."""
    files = mounts.accounts(1234, 5678)
    name, _, uid, gid, _, home, _ = files["/etc/passwd"].rstrip("\n").split(":")
    assert (name, uid, gid, home) == ("worker", "1234", "5678", mounts.SCRATCH)
    assert files["/etc/group"].split(":")[2] == "5678"
    assert all(content.endswith("\n") for content in files.values())
    assert "localhost" in files["/etc/hosts"]


def test_loaded_libraries_are_files_that_are_there():
    """What this process has mapped, by path."""
    found = mounts.loaded_libraries()
    assert any("libc" in Path(path).name or "ld-" in Path(path).name for path in found)
    assert all(Path(path).is_file() for path in found)


@pytest.mark.parametrize(
    ("shown", "place"),
    [
        ([], "/tmp"),
        (["/tmpfiles", "/var/lib/x"], "/tmp"),
        (["/tmp"], "/var/tmp"),
        (["/tmp/project/flows"], "/var/tmp"),
        (["/tmp/project", "/var/tmp/data"], "/scratch0"),
        (["/tmp/project", "/var"], "/scratch0"),
        (["/tmp", "/var/tmp", "/scratch0/x", "/scratch1"], "/scratch2"),
    ],
)
def test_scratch_space_is_where_nothing_shown_is(shown, place):
    """Neither at it nor below it, where one could write to pipes, nor above it, where it would be hidden."""
    assert mounts.scratch_place(shown) == place


@given(st.lists(PATHS), PATHS)
def test_what_is_apart_lies_neither_below_nor_above(paths, place):
    assert mounts.apart(place, paths) is not any(below(one, place) or below(place, one) for one in paths)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root maps other users")
def test_no_more_user_namespaces_are_held_than_are_of_use():
    """A caller may be in as many groups as it likes, one after the other."""
    held = lambda: {name for name in os.listdir("/proc/self/fd") if is_namespace(name)}  # noqa: E731
    before, owners = held(), mounts.Owners(65534, 65534)
    kept = owners.namespace(7, 0)
    for group in range(1, 2 * mounts.KNOWN):
        owners.namespace(7, group)
        assert owners.namespace(7, 0) == kept
    assert len(held() - before) == mounts.KNOWN
    for descriptor in owners.known.values():
        os.close(descriptor)


def is_namespace(name):
    """Whether a descriptor is one of a user namespace."""
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith("user:")
    except FileNotFoundError:
        return False
