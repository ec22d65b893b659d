"""Watched folders: what changed is loaded again, what did not is not, and nothing that was good is lost."""

import asyncio
import contextlib
import os
import shutil
import threading
import time
from collections import Counter

import pytest

from loader import FlowLoader, sources
from loader.access import Access
from loader.client.embedded import EmbeddedRegistry
from loader.daemon import following, judging, listening, places
from loader.daemon.events import Events
from loader.daemon.places import Place
from loader.daemon.state import State
from loader.daemon.watching import Watch
from loader.models import Interpreter
from tests.daemon.conftest import flow, settled

pytestmark = pytest.mark.slow
SETTLE = 0.15
QUIET = 0.7
"""Seconds after which nothing more is to come."""
PATIENCE = 60
"""Seconds for which what is to come may take: the machine may have much else to do."""


class Watching:
    """A watch in an event loop, and what it loaded."""

    def __init__(self, loader, folder, state):
        self.loader, self.folder, self.path = loader, folder, state
        self.events, self.loads, self.fails, self.under_way = Events(), Counter(), None, 0
        self.files = places.FILES

    async def load(self, place, script):
        self.loads[base(script.location)] += 1
        if self.fails is not None:
            raise RuntimeError(self.fails)
        self.under_way += 1
        try:
            return await self.loader.in_thread(lambda wake: self.loader.run(script, timeout=2, wake=wake))
        finally:
            self.under_way -= 1

    @contextlib.asynccontextmanager
    async def on(self, *watched, **how):
        """A running watch, when it has looked at everything twice."""
        settled()  # what was just written is loaded twice, to be sure
        state = State(self.path)
        listed = watched or [Place(location=str(self.folder), **how)]
        watch = self.watch = Watch(listed, self.load, state, self.events, settle=SETTLE, files=self.files)
        for follower in watch.followers:
            follower.look_at_all = self.counted(follower)
        self.looks, task = Counter(), asyncio.create_task(watch.run())
        try:
            # Once more when the listener hears everything.
            self.at_first = await self.until(
                lambda: all(self.looks[one] > (one.listener is not None) for one in watch.followers)
            )
            yield watch
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            state.close()

    def counted(self, follower):
        """Looks at everything, and counts it."""
        look = follower.look_at_all

        async def looking():
            await look()
            self.looks[follower] += 1

        return looking

    async def quiet(self, seconds=QUIET):
        """Wait until nothing happens any more; what was loaded since this was asked last."""
        before, since = None, time.monotonic()
        while time.monotonic() - since < seconds:
            now = (self.events.everything.number, self.loads.total())
            busy = self.under_way or any(follower.due for follower in self.watch.followers)
            if busy or now != before:
                before, since = now, time.monotonic()
            await asyncio.sleep(0.02)
        loads, self.loads = dict(self.loads), Counter()
        return loads

    async def until(self, true):
        """Wait until something is so, and nothing happens any more; what was loaded meanwhile."""
        latest = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < latest, (self.loads, self.watch.sources(), self.watch.problems())
            await asyncio.sleep(0.02)
        return await self.quiet()

    async def tried(self, name, times):
        """Wait until loading a script was tried so often."""
        async with asyncio.timeout(PATIENCE):
            while self.loads[name] < times:  # noqa: ASYNC110 - a counter tells nobody
                await asyncio.sleep(0.02)

    async def loaded(self, *names):
        """Wait until scripts are loaded, each once and no other."""
        assert await self.until(lambda: self.loads.keys() >= set(names)) == dict.fromkeys(names, 1)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def base(location):
    """The name of a script's file."""
    return os.path.basename(location.partition("::")[0])


def seen(watch, name):
    """What is known of a script."""
    return next((item for item in watch.sources() if base(item.location) == name), None)


def kinds(watching):
    return Counter(event.kind for event in watching.events.everything.past)


def run(test):
    asyncio.run(asyncio.wait_for(test(), 300))


@pytest.fixture
def watching(loader, folder, tmp_path):
    return Watching(loader, folder, str(tmp_path / "state" / "state.db"))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Who listens ends with the watch."""
    yield
    until = time.monotonic() + PATIENCE
    while any(thread.name == "flow-loader-watch" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_is_there_is_loaded_once(watching):
    """Scripts that mention flows, and nothing else."""

    async def test():
        watching.write("a.py", flow("a"))
        watching.write("deep/b.py", flow("b"))
        watching.write("helper.py", "X = 1")
        watching.write(".hidden/c.py", flow("c"))
        async with watching.on() as watch:
            assert watching.at_first == {"a.py": 1, "b.py": 1}
            assert {os.path.basename(item.location) for item in watch.sources()} == {"a.py", "b.py"}
            assert [flow.name for flow in watch.get(seen(watch, "a.py").id).outcome.flows] == ["a"]
            assert (seen(watch, "a.py").ok, seen(watch, "a.py").flows) == (True, 1)
        assert kinds(watching) == {"source": 2}

    run(test)


def test_only_what_changed_is_loaded_again(watching):
    """Its bytes, and not when they were written."""

    async def test():
        path = watching.write("a.py", flow("a"))
        watching.write("b.py", flow("b"))
        async with watching.on() as watch:
            path.write_text(flow("changed"))
            await watching.loaded("a.py")
            assert seen(watch, "a.py").names[0].name == "changed"
            os.utime(path)
            path.write_text(flow("changed"))
            watching.write("notes.txt", "")
            watching.write("plain.py", "")
            assert await watching.quiet() == {}

    run(test)


@pytest.mark.parametrize("name", ["helper.py", "data/names.txt", "missing.txt", "json.py"])
def test_what_it_read_imported_or_missed_is_its_source(watching, name):
    """One that read it is loaded again, and no other."""

    async def test():
        watching.write("helper.py", "import csv")
        watching.write("data/names.txt", "")
        reads = (
            "import helper, json\nopen('data/names.txt')\ntry: open('missing.txt')\nexcept OSError: pass\n"
        )
        watching.write("a.py", reads + flow("a"))
        watching.write("b.py", flow("b"))
        async with watching.on():
            watching.write(name, "X = 1")
            await watching.loaded("a.py")

    run(test)


def test_a_removed_script_is_dropped_and_comes_back(watching):
    """With a word each time."""

    async def test():
        path = watching.write("a.py", flow("a"))
        async with watching.on() as watch:
            number = seen(watch, "a.py").id
            path.unlink()
            await watching.until(lambda: not watch.sources())
            assert watch.get(number) is None
            path.write_text(flow("a"))
            await watching.loaded("a.py")
            assert seen(watch, "a.py").id == number
        assert kinds(watching) == {"source": 2, "removed": 1}

    run(test)


def test_a_script_that_mentions_no_flow_any_more_is_dropped(watching):
    """It is a script of another kind now."""

    async def test():
        path = watching.write("a.py", flow("a"))
        async with watching.on() as watch:
            path.write_text("X = 1")
            await watching.until(lambda: not watch.sources())
            path.write_text(flow("a"))
            await watching.loaded("a.py")

    run(test)


def test_a_script_that_fails_keeps_what_was_good_beside_the_error(watching):
    """Marked stale, until it loads again; a restart changes nothing of it."""

    async def test():
        path = watching.write("a.py", flow("a"))
        watching.write("b.py", "import prefect, flow\n")
        async with watching.on() as watch:
            assert (seen(watch, "b.py").stale, watch.get(seen(watch, "b.py").id).good) == (False, None)
            for text in (flow("a") + "1 / 0\n", flow("a") + "while True: pass\n", "flow prefect ("):
                path.write_text(text)
                await watching.loaded("a.py")
                item = watch.get(seen(watch, "a.py").id)
                assert (item.stale, item.ok, item.names[0].name) == (True, False, "a")
                assert item.outcome.error is not None
                assert [flow.name for flow in item.good.flows] == ["a"]
        async with watching.on() as watch:
            assert watching.at_first == {}
            assert watch.get(item.id) == item
            path.write_text(flow("again"))
            await watching.loaded("a.py")
            item = watch.get(item.id)
            assert (item.stale, item.good, item.names[0].name) == (False, None, "again")
            assert [past.status for past in item.loads] == [
                *("loaded", "script_failed", "timed_out", "script_failed", "loaded")
            ]

    run(test)


def test_what_hung_in_a_module_is_loaded_again_when_that_changes(watching):
    """The worker did not live to tell what it had imported."""

    async def test():
        helper = watching.write("helper.py", "while True: pass")
        watching.write("a.py", "import helper\n" + flow("a"))
        async with watching.on() as watch:
            await watching.until(lambda: seen(watch, "a.py").status == "timed_out")
            helper.write_text("X = 1")
            await watching.loaded("a.py")
            assert seen(watch, "a.py").ok

    run(test)


def test_a_half_written_script_settles_first(watching):
    """However many steps it takes, as long as they follow each other."""

    async def test():
        async with watching.on() as watch:
            text = flow("a") + "(1,\n" * 3 + ")" * 3
            for end in range(0, len(text) + 40, 40):
                watching.write("a.py", text[:end])
                await asyncio.sleep(SETTLE / 3)
            await watching.loaded("a.py")
            assert seen(watch, "a.py").ok

    run(test)


def test_a_file_that_never_settles_is_loaded_all_the_same(watching):
    """Whoever writes to it for ever may not keep it from being seen."""

    async def test():
        async with watching.on() as watch:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until and not watch.sources():
                watching.write("a.py", flow("a") + f"# {time.monotonic()}\n")
                await asyncio.sleep(SETTLE / 3)
            await watching.until(lambda: watch.sources() and seen(watch, "a.py").ok)

    run(test)


@pytest.mark.parametrize("way", ["rename", "backup", "delete", "link"])
def test_editors_save_in_their_own_ways(watching, way):
    """A new file in the old one's place, by any way, is one change and never a removal."""

    async def test():
        path = watching.write("a.py", flow("a"))
        if way == "link":
            for name in ("one", "two"):
                watching.write(f".{name}/helper.py", f"X = {name!r}")
            path.write_text("from current import helper\n" + flow("a"))
            (watching.folder / "current").symlink_to(".one")
        async with watching.on() as watch:
            fresh = watching.write(".a.py.swp", flow("saved"))
            if way == "rename":
                fresh.rename(path)
            elif way == "backup":
                path.rename(watching.folder / "a.py~")
                fresh.rename(path)
            elif way == "delete":
                path.unlink()
                path.write_text(flow("saved"))
            else:
                (watching.folder / "next").symlink_to(".two")
                (watching.folder / "next").rename(watching.folder / "current")
            await watching.loaded("a.py")
            assert seen(watch, "a.py").names[0].name == ("a" if way == "link" else "saved")
        assert kinds(watching)["removed"] == 0

    run(test)


def test_a_folder_that_is_moved_away_and_back(watching, tmp_path):
    """Below the place its scripts are gone with it; they are new elsewhere, and known when they are back."""

    async def test():
        watching.write("deep/a.py", flow("a"))
        async with watching.on() as watch:
            (watching.folder / "deep").rename(watching.folder / "other")
            await watching.loaded("a.py")
            assert "other" in seen(watch, "a.py").location
            (watching.folder / "other").rename(tmp_path / "away")
            await watching.until(lambda: not watch.sources())
            (tmp_path / "away").rename(watching.folder / "deep")
            await watching.loaded("a.py")

    run(test)


@pytest.mark.parametrize("way", ["moved", "removed", "missing"])
def test_a_place_that_is_gone_loses_nothing(watching, tmp_path, way):
    """It may be a disk that is not mounted: what is known stays, with the problem beside it."""

    async def test():
        watching.write("a.py", flow("a"))
        if way == "missing":
            watching.folder.rename(tmp_path / "away")
        async with watching.on() as watch:
            if way == "moved":
                watching.folder.rename(tmp_path / "away")
            elif way == "removed":
                shutil.copytree(watching.folder, tmp_path / "away")
                shutil.rmtree(watching.folder)
            problem = lambda: watch.problems()[str(watching.folder)]  # noqa: E731
            await watching.until(lambda: "there is no such" in (problem() or ""))
            assert len(watch.sources()) == (way != "missing")
            (tmp_path / "away").rename(watching.folder)
            looks = watching.looks.total() + 1
            loads = await watching.until(lambda: problem() is None and watching.looks.total() > looks)
            assert loads == ({"a.py": 1} if way == "missing" else {})
            watching.write("a.py", flow("heard"))
            await watching.loaded("a.py")
        assert kinds(watching)["removed"] == 0

    run(test)


def test_the_event_loop_does_not_go_through_what_scripts_claim(watching, monkeypatch):
    """There may be much of it: what a change concerns, and what is used twice, is found in threads."""
    threads = {"twice": [], "concerned": []}

    def noted(kind, name):
        done = getattr(kind, name)

        def doing(*given):
            threads[name].append(threading.current_thread())
            return done(*given)

        monkeypatch.setattr(kind, name, doing)

    async def test():
        watching.write("a.py", flow("a"))
        async with watching.on():
            noted(Watch, "twice")
            noted(following.Follower, "concerned")
            watching.write("a.py", flow("b"))
            await watching.quiet()
        assert all(threads.values())
        assert threading.main_thread() not in {*threads["twice"], *threads["concerned"]}

    run(test)


def test_names_that_are_used_twice_are_told(watching):
    """Of flows and of deployments, when they come and when they go."""

    async def test():
        spec = "from prefect.deployments import DeploymentSpec\nDeploymentSpec(name='d', flow=first)\n"
        watching.write("a.py", flow("same") + spec)
        path = watching.write("b.py", flow("other") + spec)
        async with watching.on() as watch:
            assert watch.twice() == ()
            path.write_text(flow("same") + spec)
            await watching.until(lambda: len(watch.twice()) == 2)
            found = {(item.kind, item.name): len(item.places) for item in watch.twice()}
            assert found == {("flow", "same"): 2, ("deployment", "same/d"): 2}
        async with watching.on() as watch:
            assert len(watch.twice()) == 2
            path.unlink()
            await watching.until(lambda: not watch.twice())
        assert kinds(watching)["twice"] == 2

    run(test)


def test_a_restart_loads_only_what_changed_meanwhile(watching):
    """What was removed is dropped, what another profile is to load is loaded again."""

    async def test():
        watching.write("a.py", "import helper\n" + flow("a"))
        watching.write("helper.py", "")
        watching.write("b.py", flow("b"))
        watching.write("c.py", flow("c"))
        async with watching.on():
            pass
        (watching.folder / "b.py").unlink()
        watching.write("helper.py", "X = 1")
        async with watching.on() as watch:
            assert watching.at_first == {"a.py": 1}
            assert seen(watch, "b.py") is None
        async with watching.on(profile="network"):
            assert watching.at_first == {"a.py": 1, "c.py": 1}
        other = Place(location=str(watching.folder / "c.py"))
        async with watching.on(other) as watch:
            assert [os.path.basename(item.location) for item in watch.sources()] == ["c.py"]

    run(test)


def test_one_script_may_be_a_place(watching):
    """With what it reads, and nothing beside it."""

    async def test():
        path = watching.write("a.py", "import helper\n" + flow("a"))
        watching.write("b.py", flow("b"))
        watching.write("helper.py", "")
        async with watching.on(Place(location=str(path))) as watch:
            watching.write("helper.py", "X = 1")
            watching.write("b.py", flow("changed"))
            await watching.loaded("a.py")
            path.unlink()
            await watching.until(lambda: not watch.sources())

    run(test)


def test_a_root_above_the_place_is_listened_to(watching, tmp_path):
    """What scripts import from there is a source like any other."""

    async def test():
        (tmp_path / "shared.py").write_text("")
        watching.write("a.py", "import sys\nsys.path.append('..')\nimport shared\n" + flow("a"))
        async with watching.on(root=str(tmp_path)) as watch:
            assert seen(watch, "a.py").sources == ("shared.py",)
            (tmp_path / "shared.py").write_text("X = 1")
            await watching.loaded("a.py")

    run(test)


def test_a_lie_about_what_was_read_leads_nowhere(watching, tmp_path):
    """A file elsewhere is not looked at, and what the code says it imports counts all the same."""

    async def test():
        secret = tmp_path / "secret"
        secret.write_text("a")
        lie = (
            "import gc, helper\nfor item in gc.get_objects():\n    if type(item).__name__ == 'Reads':\n"
            f"        item.found.add({str(secret)!r})\n"
        )
        watching.write("helper.py", "")
        watching.write("a.py", lie + flow("a"))
        async with watching.on(every=0.3) as watch:
            assert "helper.py" in seen(watch, "a.py").sources
            assert str(secret) not in seen(watch, "a.py").sources
            secret.write_text("b")
            looks = watching.looks.total() + 2
            assert await watching.until(lambda: watching.looks.total() > looks) == {}
            watching.write("helper.py", "X = 1")
            await watching.loaded("a.py")

    run(test)


@pytest.mark.parametrize("allowed", [False, True])
def test_what_a_manifest_names_elsewhere_counts_only_where_the_place_allows_it(
    loader, folder, tmp_path, allowed
):
    """Nobody learns of a file by naming it; its script's worker names nothing but what it may read."""
    (tmp_path / "far").mkdir()
    far = tmp_path / "far" / "flow.py"
    far.write_text(
        "import gc\nfor item in gc.get_objects():\n    if type(item).__name__ == 'Reads':\n"
        "        item.found.update(['/etc/hostname', '../secret'])\n" + flow("far")
    )
    manifest = folder / "deployments.yaml"
    spec = "schedule: {cron: '30 2 * * *'}\nflow_runner: {type: subprocess}\n"
    manifest.write_text(f"name: far\nflow_name: far\nflow_location: {far}\n{spec}")
    access = Access(linked=frozenset({"file"} if allowed else ()))
    place = Place(location=str(folder), access=access)
    script = sources.read(str(manifest), None, access)
    with EmbeddedRegistry(str(tmp_path / "registry.db"), access=access) as client:
        plan = judging.judge(loader, place, script, client, None)
    assert plan.outcome.sources == ((str(far),) if allowed else ())
    assert judging.folders_beside(place, str(manifest), ()) == (("/",) if allowed else ())
    assert judging.folders_beside(place, str(far), ()) == ()


@pytest.mark.parametrize("trouble", ["silent", "deaf"])
def test_where_nothing_is_heard_it_is_looked_at_every_now_and_then(watching, monkeypatch, trouble):
    """A file system of another host, or a limit of this one."""

    def deaf(*_, **__):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(following, "tells", lambda _: trouble == "deaf")
    monkeypatch.setattr(listening, "watch", deaf)

    async def test():
        path = watching.write("a.py", flow("a"))
        async with watching.on(every=0.3) as watch:
            path.write_text(flow("b"))
            await watching.loaded("a.py")
            problem = watch.problems()[str(watching.folder)]
            assert ("limit reached" in (problem or "")) is (trouble == "deaf")

    run(test)


def test_file_systems_of_other_hosts_are_known(tmp_path, monkeypatch):
    """They tell only of what this host changes."""
    assert listening.tells(str(tmp_path))
    assert not listening.tells("/proc") or listening.file_system is not None
    for kind, tells in (("nfs4", False), ("fuse.sshfs", False), ("ext4", True), ("overlay", True)):
        monkeypatch.setattr(listening, "file_system", lambda _, kind=kind: kind)
        assert listening.tells(str(tmp_path)) is tells


def test_what_could_not_be_loaded_is_tried_again(watching, monkeypatch):
    """A full queue is no fault of the script's, and what was good stays."""
    monkeypatch.setattr(following, "AGAIN", 0.3)

    async def test():
        path = watching.write("a.py", flow("a"))
        async with watching.on() as watch:
            watching.fails = "the queue is full"
            path.write_text(flow("b"))
            await watching.tried("a.py", 2)
            item = watch.get(seen(watch, "a.py").id)
            assert (item.problem, item.stale, item.names[0].name) == ("the queue is full", True, "a")
            watching.fails = None
            await watching.until(lambda: seen(watch, "a.py").problem is None)
            item = seen(watch, "a.py")
            assert (item.problem, item.stale, item.names[0].name) == (None, False, "b")
            await watching.quiet()
            assert await watching.quiet() == {}
        assert kinds(watching) == {"source": 3}

    run(test)


def test_a_host_that_cannot_confine_is_asked_again(watching, loader):
    """Nothing is known of a script that was not run, and nothing is said twice of it."""

    async def test():
        watching.write("a.py", flow("a"))
        with FlowLoader() as broken:
            broken.supervisor.python = Interpreter(path="/nowhere/python")
            watching.loader = broken
            async with watching.on(every=3 * QUIET) as watch:
                assert seen(watch, "a.py").status == "sandbox_unavailable"
                assert kinds(watching) == {"source": 1}
                watching.loader = loader
                await watching.until(lambda: seen(watch, "a.py").ok)

    run(test)


def test_a_file_that_cannot_be_read_is_a_problem(watching):
    """And none any more once it can be; what was good stays."""

    async def test():
        path = watching.write("a.py", flow("a"))
        async with watching.on() as watch:
            path.write_text(flow("a") + "#" * (9 << 20))
            assert await watching.until(lambda: seen(watch, "a.py").problem) == {}
            item = seen(watch, "a.py")
            assert (item.stale, item.names[0].name) == (True, "a")
            assert "larger than" in item.problem
            path.write_text(flow("b"))
            await watching.loaded("a.py")
            item = seen(watch, "a.py")
            assert (item.stale, item.problem, item.names[0].name) == (False, None, "b")

    run(test)


def test_odd_names_end_nothing(watching):
    """They are told as a problem of the place."""

    async def test():
        watching.write("a.py", flow("a"))
        watching.write("new\nline.py", flow("b"))
        watching.write("\udcff.py", flow("c"))
        async with watching.on() as watch:
            assert len(watch.sources()) == 1
            assert "no plain text" in watch.problems()[str(watching.folder)]

    run(test)


def test_a_prefix_elsewhere_is_looked_at_every_now_and_then(watching, tmp_path):
    """Its scripts are loaded with their project, and again when what they read of it changes."""

    async def test():
        archive = str(tmp_path / "project")
        watching.write("a.py", "import helper\n" + flow("a"))
        watching.write("b.py", flow("b"))
        watching.write("helper.py", "")
        shutil.make_archive(archive, "zip", watching.folder)
        place = Place(location=f"zip://::{archive}.zip", every=0.3, access=Access())
        async with watching.on(place) as watch:
            assert len(watch.sources()) == 2
            await watching.quiet()
            watching.write("helper.py", "X = 1")
            shutil.make_archive(archive, "zip", watching.folder)
            await watching.loaded("a.py")
            os.unlink(f"{archive}.zip")
            await watching.until(lambda: None not in watch.problems().values())
            assert len(watch.sources()) == 2

    run(test)


def test_more_files_than_are_watched_are_a_problem(watching, tmp_path):
    """Of all places together; those that were looked at are there, and none is dropped for one too many."""
    watching.files = 3

    async def test():
        for number in range(5):
            watching.write(f"{number}.py", flow(str(number)))
        other = tmp_path / "other"
        other.mkdir()
        listed = [Place(location=str(path), every=0.3) for path in (watching.folder, other)]
        async with watching.on(*listed) as watch:
            assert len(watch.sources()) == 3
            assert "limits.watched_files" in watch.problems()[str(watching.folder)]
            (other / "more.py").write_text(flow("more"))
            await watching.until(lambda: "the 3 files of" in (watch.problems()[str(other)] or ""))
            assert len(watch.sources()) == 3
            for name in "01234":
                (watching.folder / f"{name}.py").unlink()
            await watching.until(lambda: not any(watch.problems().values()) and len(watch.sources()) == 1)

    run(test)


def test_a_thousand_scripts(watching):
    """One more, one changed and one removed cost what they are, and not a thousand."""

    async def test():
        for number in range(1000):
            watching.write(f"flow{number}.py", flow(f"flow{number}"))
        async with watching.on() as watch:
            assert len(watch.sources()) == 1000
            await watching.quiet()
            began = time.monotonic()
            watching.write("flow1.py", flow("changed"))
            watching.write("more.py", flow("more"))
            (watching.folder / "flow2.py").unlink()
            await watching.loaded("flow1.py", "more.py")
            await watching.until(lambda: seen(watch, "flow2.py") is None)
            assert len(watch.sources()) == 1000
            print(f"a change among a thousand took {time.monotonic() - began - 2 * QUIET:.2f} s to be known")
            for number in range(1000):
                watching.write(f"flow{number}.py", flow(f"again{number}"))
            loads = await watching.until(lambda: len(watching.loads) == 1000)
            assert set(loads.values()) <= {1, 2}
        began = time.monotonic()
        async with watching.on():
            print(f"a restart with a thousand took {time.monotonic() - began - QUIET:.2f} s")
            assert watching.at_first == {}

    run(test)
