"""Granted folders are the very ones that were there, for as long as they are granted."""

import asyncio
import gc
import os
import struct
import subprocess
import threading
from types import SimpleNamespace

import pytest

from loader.daemon import grants, peers
from loader.daemon.config import Peer
from loader.daemon.grants import User, grant_of, granted_at
from loader.daemon.peers import Caller, Looking
from loader.sources.beneath import DEEP

NOBODYS = 0xFFFF_FFFF
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
ME = User(os.geteuid(), (os.getegid(),))


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


def test_what_lies_below_a_granted_folder_is_granted(tmp_path):
    """By the path that was granted, and only so deep; what is put in the folder's place is not it."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    deepest = mine.joinpath(*["x"] * (DEEP - 1))
    for folder in (deepest / "x", other / "inner"):
        folder.mkdir(parents=True)
    (mine / "out").symlink_to(other)
    (other / "in").symlink_to(mine)
    grant = grant_of(str(mine), pytest.fail)
    is_granted = lambda *path: granted_at(str(tmp_path.joinpath(*path)), [grant], ME) is not None  # noqa: E731
    assert is_granted("mine")
    (mine / "inside").symlink_to(mine / "x")
    assert is_granted("mine", "inside", "x")
    assert is_granted(deepest)
    assert not is_granted(deepest / "x")
    elsewhere = ["other"], ["other", "in"], ["other", "in", "x"]
    for path in (*elsewhere, ["mine", "out"], ["mine", "out", "inner"], ["none"], [], ["mine\0"]):
        assert not is_granted(*path), path
    mine.rename(tmp_path / "away")
    other.rename(mine)
    assert not is_granted("mine")
    assert not is_granted("mine", "inner")


ELSEWHERE = (
    "mount -t tmpfs none {mine}/m && mkdir {mine}/m/there && mount --bind {secret} {mine}/m/there"
    " && echo ready && exec sleep 60"
)


def test_what_a_caller_mounted_for_itself_lies_in_no_granted_folder(tmp_path):
    """It reads as if it lay below one; here that place is a link to what it may not see."""
    mine, secret = tmp_path / "mine", tmp_path / "secret"
    for folder in (mine / "m", secret):
        folder.mkdir(parents=True)
    (mine / "m" / "there").symlink_to(secret)
    grant = grant_of(str(mine), pytest.fail)
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = ELSEWHERE.format(mine=mine, secret=secret)
    with subprocess.Popen([*command, script], stdout=subprocess.PIPE) as caller:
        try:
            assert caller.stdout.readline() == b"ready\n"
            theirs = f"/proc/{caller.pid}/root{mine}"
            assert os.path.samefile(f"{theirs}/m/there", secret)
            for path in (theirs, f"{theirs}/m", f"{theirs}/m/there"):
                assert granted_at(path, [grant], ME) is None
            (mine / "root").symlink_to(theirs)
            assert granted_at(str(mine / "root" / "m"), [grant], ME) is None
        finally:
            caller.kill()


def test_a_folder_that_does_not_answer_keeps_no_other_from_being_granted(tmp_path, monkeypatch):
    """It is granted to nobody, and what others were granted before ends with the old configuration."""
    go, look, warned = threading.Event(), grants.grant_of, []

    def wait(folder, warn):
        assert folder != "/hangs" or go.wait(30)
        return look(folder, warn)

    monkeypatch.setattr(grants, "grant_of", wait)
    monkeypatch.setattr(grants, "ANSWER", 0.2)
    peers = [Peer(uid=1, folders=["/hangs", str(tmp_path)]), Peer(uid=2, folders=[str(tmp_path)])]
    try:
        found = grants.granted(SimpleNamespace(peers=peers), warned.append)
    finally:
        go.set()
    assert [[held.path for held in found[uid]] for uid in (1, 2)] == [[str(tmp_path)]] * 2
    assert [said for said in warned if "does not answer" in said] == warned
    assert len(warned) == 1


def test_a_grant_is_asked_for_as_it_was_written(tmp_path):
    """Or by its real path: links that lead to it from elsewhere are not looked at."""
    (tmp_path / "real" / "x").mkdir(parents=True)
    for name in ("link", "other"):
        (tmp_path / name).symlink_to(tmp_path / "real")
    grant = grant_of(f"{tmp_path}/link", pytest.fail)
    found = {name: granted_at(f"{tmp_path}/{name}/x", [grant], ME) for name in ("link", "real", "other")}
    assert found["link"].held.path == found["real"].held.path == f"{tmp_path}/real/x"
    assert found["other"] is None


@pytest.fixture
def ungrouped(tmp_path):
    """A folder that all may enter, in a process that has put its groups away, as the daemon has."""
    groups = os.getgroups()
    os.setgroups([])
    tmp_path.chmod(0o755)
    yield tmp_path
    os.setgroups(groups)


@ROOT_ONLY
def test_who_can_look_as_nobody_else_is_told(ungrouped):
    """Every request for a folder is refused then, and whoever runs the daemon has to know why."""
    config, warned = SimpleNamespace(peers=[Peer(uid=1, folders=[str(ungrouped)])]), []
    grants.granted(config, warned.append)
    os.setgroups([9])
    assert warned == []
    found = grants.granted(config, warned.append)
    assert "this process cannot put its groups away; give the daemon the capabilities" in warned[0]
    assert granted_at(str(ungrouped / "x"), found[1], User(1, (1,))) is None


@ROOT_ONLY
def test_a_folder_that_is_closed_to_a_peer_is_not_granted(ungrouped):
    """Its own are open to it, those of its groups as far as that one counts, and what everybody may enter."""
    for name, mode, uid, gid in (
        ("open", 0o711, 0, 0),
        ("own", 0o700, 7, 0),
        ("of_group", 0o710, 0, 70),
        ("shared", 0o710, 0, 8),
        ("closed", 0o700, 0, 0),
    ):
        (ungrouped / name / "x").mkdir(parents=True)
        os.chown(ungrouped / name, uid, gid)
        (ungrouped / name).chmod(mode)
    grant = grant_of(str(ungrouped), pytest.fail)
    user = User(7, (70, 8))
    names = ("open", "own", "of_group", "shared", "closed")
    entered = lambda: [name for name in names if granted_at(f"{ungrouped}/{name}/x", [grant], user)]  # noqa: E731
    assert entered() == ["open", "own", "of_group"]
    os.chown(ungrouped, 0, 8)
    assert entered() == ["open", "own", "shared"]


ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in ((1, 7, NOBODYS), (2, 7, 9), (4, 0, NOBODYS), (16, 7, NOBODYS), (32, 0, NOBODYS))
)
"""All rights of the owner and of user 9, none of the group or of others: ``acl(5)`` as it is stored."""


@ROOT_ONLY
def test_lists_of_access_count(ungrouped):
    """The kernel judges: the bits of a file's group are but a mask where it has such a list."""
    (ungrouped / "closed" / "x").mkdir(parents=True)
    os.chown(ungrouped / "closed", 0, 70)
    (ungrouped / "closed").chmod(0o700)
    os.setxattr(ungrouped / "closed", "system.posix_acl_access", ACL)
    assert (ungrouped / "closed").stat().st_mode & 0o070
    grant = grant_of(str(ungrouped), pytest.fail)
    assert granted_at(f"{ungrouped}/closed/x", [grant], User(7, (70,))) is None
    assert granted_at(f"{ungrouped}/closed/x", [grant], User(9, (70,))) is not None


def test_nothing_is_looked_at_for_who_was_granted_no_folder(tmp_path, monkeypatch):
    """It is refused without."""
    monkeypatch.setattr(grants, "placed", lambda *_: pytest.fail("it was looked for"))
    caller = Caller("uid 1", peer=Peer(uid=1))
    assert asyncio.run(Looking().granted_at(str(tmp_path), caller)) is None
    assert granted_at(str(tmp_path), [], ME) is None
    assert granted_at("/", [grant_of(str(tmp_path), pytest.fail)], ME) is None


def test_folders_are_looked_for_one_at_a_time_for_each_caller(tmp_path, monkeypatch):
    """Beside the event loop: a folder that does not answer keeps nobody else, also when its caller goes."""
    came, go, inside = threading.Semaphore(0), threading.Event(), []

    def wait(path, *_):
        inside.append(path)
        came.release()
        assert go.wait(30)

    monkeypatch.setattr(peers, "granted_at", wait)
    grant = grant_of(str(tmp_path), pytest.fail)
    one, two = (Caller(f"uid {uid}", peer=Peer(uid=uid), grants=(grant,)) for uid in (1, 2))

    async def asked():
        looking = Looking()
        first = asyncio.create_task(looking.granted_at("first", one))
        await asyncio.to_thread(came.acquire)
        second = asyncio.create_task(looking.granted_at("second", one))
        first.cancel()
        third = asyncio.create_task(looking.granted_at("third", two))
        await asyncio.to_thread(came.acquire)
        assert inside == ["first", "third"]
        go.set()
        await asyncio.gather(second, third)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert inside == ["first", "third", "second"]

    asyncio.run(asyncio.wait_for(asked(), 60))


def test_a_folder_that_was_found_for_nobody_is_closed(tmp_path):
    """Its descriptor is not left open."""
    grant = grant_of(str(tmp_path), pytest.fail)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    found = [granted_at(str(tmp_path), [grant], ME).held for _ in range(3)]
    assert len(os.listdir("/proc/self/fd")) == before + 3
    found.pop().close()
    del found
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
