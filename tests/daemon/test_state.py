"""What is known of watched scripts outlives the daemon, and no damage to its file ends anything."""

import os
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from loader.daemon.state import Judgement, Name, Past, State, Watched, small
from loader.models import Outcome, Sandbox, Source, Status
from worker.protocol import Error, Flow, Frame

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, or give away")
PLACE = Source(location="/srv/flow.py", digest="sha256:0", size=1)
GOOD = Outcome(
    status=Status.LOADED,
    source=PLACE,
    sandbox=Sandbox(profile="strict"),
    flows=(Flow("a", parameters={"x": [1, {"y": None}]}, tags=("t",)),),
    sources=("helper.py",),
)
BAD = Outcome(
    status=Status.SCRIPT_FAILED,
    source=PLACE,
    sandbox=Sandbox(profile="strict"),
    error=Error("run", "E", "m\x1b\u2028", (Frame("f", 1, "g"),), cause=Error("run", "C", "")),
)


def watched(number, **values):
    return Watched(id=number, place="/srv", location=f"/srv/{number}.py", status="loaded", **values)


FULL = watched(
    "full",
    stale=True,
    problem="p",
    loads=(Past(at=1.5, status="loaded", seconds=0.1),),
    names=(Name(kind="flow", name="a", place="/srv/flow.py:1"),),
    flows=1,
    fingerprint="f",
    sources=("helper.py",),
    outcome=BAD,
    good=GOOD,
    verdicts=(Judgement(valid=False, problems=("p",), warnings=("w",)),),
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "deep" / "state.db")


def test_what_is_known_outlives_the_daemon(path):
    """All of it, claims of any kind included, and lists do without the outcomes."""
    state = State(path)
    for item in (FULL, watched("other"), watched("gone")):
        state.put(item)
    state.remove(["gone", "never"])
    state.close()
    again = State(path)
    assert (again.get("full"), again.get("gone")) == (FULL, None)
    assert again.all() == [small(FULL), small(watched("other"))]
    assert not hasattr(again.all()[0], "outcome")
    again.close()


def test_what_was_put_last_counts(path):
    """One script, one row."""
    state = State(path)
    state.put(FULL)
    state.put(watched("full", outcome=GOOD))
    assert state.get("full").outcome == GOOD
    assert len(state.all()) == 1
    state.close()


def test_nobody_else_may_read_it(path):
    """It holds what scripts print."""
    before = os.umask(0)
    try:
        state = State(path)
        state.put(FULL)
        modes = {stat.S_IMODE(os.stat(path + end).st_mode) for end in ("", "-wal", "-shm")}
    finally:
        os.umask(before)
    assert modes == {0o600}
    state.close()


def test_a_state_that_nobody_closed_is_there_as_well(path):
    """A daemon may be killed at any moment."""
    state = State(path)
    state.put(FULL)
    other = State(path)
    assert other.get("full") == FULL
    state.close()
    other.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"no database at all, and longer than a header" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + b"\xff" * (len(data) - 100),
        lambda data: b"",
    ],
    ids=["text", "cut", "overwritten", "empty"],
)
def test_a_damaged_file_is_set_aside(path, damage):
    """The daemon begins anew, and says nothing of it again."""
    state = State(path)
    for number in range(200):
        state.put(watched(str(number), outcome=GOOD))
    state.close()
    Path(path).write_bytes(damage(Path(path).read_bytes()))
    for _ in range(2):
        state = State(path)
        assert isinstance(state.all(), list)
        state.put(FULL)
        assert (state.get("full"), state.trouble) == (FULL, None)
        state.close()


def test_a_row_that_cannot_be_read_is_left_out(path):
    """The others are there."""
    state = State(path)
    state.put(FULL)
    state.put(watched("other"))
    state.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE watched SET seen = '{}' WHERE id = 'full'")
    database.close()
    state = State(path)
    assert ([seen.id for seen in state.all()], state.get("full")) == (["other"], None)
    state.close()


def test_another_format_is_begun_anew(path):
    """What a later release wrote is not guessed at."""
    state = State(path)
    state.put(FULL)
    state.database.execute("PRAGMA user_version = 99")
    state.close()
    state = State(path)
    assert state.all() == []
    state.close()


@pytest.mark.parametrize("path", ["/proc/state.db", "/dev/null/state.db"])
def test_without_a_file_it_is_held_in_memory(path):
    """And why is told."""
    state = State(path)
    state.put(FULL)
    assert state.get("full") == FULL
    assert state.trouble.startswith(f"cannot keep what is watched in {path}: ")
    state.close()


@pytest.mark.parametrize("way", ["mode", pytest.param("owner", marks=ROOT_ONLY)])
def test_a_folder_of_others_is_not_used(path, way):
    """Whoever owns it, or may look into it, would have what scripts print, and say what they hold."""
    folder = Path(path).parent
    folder.mkdir(0o700)
    if way == "mode":
        folder.chmod(0o770)
    else:
        os.chown(folder, 65534, -1)
    state = State(path)
    state.put(FULL)
    assert (state.get("full"), os.path.exists(path)) == (FULL, False)
    assert "others may look into it" in state.trouble
    state.close()


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
@pytest.mark.parametrize("way", ["symlink", "link", "mkfifo"])
def test_only_a_file_of_ours_is_written(tmp_path, path, way, end):
    """Neither through a link nor under another name, nor what lies beside the database."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(path).parent.mkdir(0o700)
    os.mkfifo(path + end) if way == "mkfifo" else getattr(os, way)(victim, path + end)
    state = State(path)
    state.put(FULL)
    assert "no file of yours alone" in state.trouble
    state.close()
    assert victim.read_text() == "precious"


@ROOT_ONLY
def test_a_full_disk_loses_nothing_while_the_daemon_lives(tmp_path):
    """What could not be written is written when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k,mode=700", "none", disk], check=True)
    try:
        state = State(str(disk / "state.db"))
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))
        items = [watched(str(number), outcome=GOOD) for number in range(20)]
        for item in items:
            state.put(item)
        assert "full" in state.trouble
        assert [state.get(item.id) for item in items] == items
        assert len(state.all()) == 20
        filler.unlink()
        state.put(FULL)
        assert state.trouble is None
        assert state.unsaved == {}
        state.close()
        state = State(str(disk / "state.db"))
        assert len(state.all()) == 21
        state.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
