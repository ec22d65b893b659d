"""Kept results: given again as long as nothing has changed, never when they might be wrong."""

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loader import FlowLoader, sources
from loader.access import DEFAULT
from loader.daemon import traces
from loader.daemon.freshness import Moment, latest
from loader.daemon.kept import WATCHER, Kept, Line, is_closed
from loader.daemon.traces import trace
from loader.models import Status
from loader.sources import read
from tests.daemon.conftest import flow, settled

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
READS = "import helper, pkg.inner\nSETTINGS = open('settings.txt').read()\n" + flow()
FILES = {
    "flow.py": READS,
    "helper.py": "import json\n",
    "pkg/__init__.py": "",
    "pkg/inner.py": "",
    "settings.txt": "a",
}


@pytest.fixture
def kept(tmp_path):
    return Kept(str(tmp_path / "kept"))


@pytest.fixture
def run(kept, loader, folder):
    """A callable: the outcome of a script of the folder, kept or fresh."""

    def running(name="flow.py", root=None, loader=loader, kept=kept, **how):
        return kept.run(loader, sources.read(str(folder / name), root), **how)

    return running


def files_in(kept):
    return [os.path.join(kept.folder, name) for name in os.listdir(kept.folder)]


def test_an_unchanged_script_is_not_loaded_again(run, write):
    """The outcome is that of the load, facts and all, and says that it was kept."""
    write(FILES)
    first, second = run(), run()
    assert (first.kept, second.kept, first.status) == (False, True, "loaded")
    assert second == first.model_copy(update={"kept": True})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["helper.py", "deep/inner.py"])
def test_a_module_that_hides_itself_is_not_kept_for_good(run, write, name):
    """What the code imports counts, whatever the worker says that it read."""
    hide = (
        "import gc\nfor item in gc.get_objects():\n    if type(item).__name__ == 'Reads':\n"
        "        item.tops = []; item.found.clear()\n"
    )
    files = {
        "flow.py": "from helper import first\n",
        "helper.py": "from deep.inner import (\n    first,\n)\n",
    }
    files |= {"deep/inner.py": flow("forged")}
    write(files | {name: hide + files[name]})
    assert run().sources == ()
    assert [found.name for found in run().flows] == ["forged"]
    write({name: flow("honest")})
    assert [found.name for found in run().flows] == ["honest"]


def test_an_error_of_the_script_is_kept_with_its_traceback(run, write):
    """It will be there again."""
    write({"flow.py": "import helper\nhelper.fail()\n", "helper.py": "def fail(): 1 / 0\n"})
    first, second = run(), run()
    assert (second.kept, second.status) == (True, "script_failed")
    assert second.error == first.error
    assert second.sources == ("helper.py",)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flow.py", READS + "# changed\n"),
        ("helper.py", "import json, csv\n"),
        ("pkg/inner.py", "X = 1\n"),
        ("settings.txt", "b"),
        ("json.py", ""),
        ("json/__init__.py", ""),
        ("pkg/helper.py", ""),
        ("helper/__init__.py", ""),
    ],
)
def test_a_change_of_anything_it_depends_on_is_a_load_again(run, write, name, text):
    """The script, a module, a module's module, data, and what would now be imported in place of another."""
    write(FILES)
    run()
    write({name: text})
    assert [run().kept, run().kept] == [False, True]


@pytest.mark.slow
def test_a_file_that_nothing_asks_for_changes_nothing(run, write):
    """A folder of a thousand scripts is not loaded again for one of them."""
    write(FILES)
    run()
    write({"other.py": "", "csv.py": "", "notes/new.txt": "", "__pycache__/helper.cpython-311.pyc": ""})
    assert run().kept


def test_a_file_that_was_looked_for_counts_when_it_comes(run, write):
    """And again when it goes."""
    write({"flow.py": "try: open('local.txt')\nexcept OSError: pass\n" + flow()})
    run()
    assert run().kept
    write({"local.txt": ""})
    assert [run().kept, run().kept] == [False, True]


@pytest.mark.sampled
@pytest.mark.parametrize("change", ["removed", "moved", "link", "touched", "back"])
def test_a_module_that_is_removed_or_exchanged(run, write, folder, change):
    """Only what its name leads to counts, and not when that was written."""
    write(FILES)
    run()
    helper = folder / "helper.py"
    if change == "removed":
        helper.unlink()
    elif change == "moved":
        (folder / "pkg").rename(folder / "gkp")
    elif change == "link":
        write({"elsewhere.py": "X = 1\n"})
        helper.unlink()
        helper.symlink_to("elsewhere.py")
    elif change == "touched":
        os.utime(helper)
    else:
        folder.rename(folder.parent / "away")
        (folder.parent / "away").rename(folder)
    settled()
    assert run().kept is (change in {"touched", "back"})


def test_a_link_that_now_leads_out_of_the_root_is_not_followed(run, write, folder, tmp_path):
    """What lies elsewhere is neither read nor taken for what it was."""
    write(FILES)
    run()
    shutil.copy(folder / "helper.py", tmp_path / "same.py")
    (folder / "helper.py").unlink()
    (folder / "helper.py").symlink_to(tmp_path / "same.py")
    settled()
    assert (run().kept, run().status) == (False, "script_failed")


@pytest.mark.slow
def test_a_listed_folder_counts_by_its_names(run, write):
    """A script may define a flow for each file of a folder."""
    write({"flow.py": "import os\nos.listdir('data')\n" + flow(), "data/a.txt": ""})
    run()
    write({"data/a.txt": "changed"})
    assert run().kept
    write({"data/b.txt": ""})
    assert not run().kept


@pytest.mark.slow
def test_what_changes_while_it_is_loaded_is_not_kept(run, write, folder):
    """The worker may have read one content and we another."""
    write({"flow.py": "import time\nopen('data.txt').close()\ntime.sleep(0.5)\n" + flow(), "data.txt": "a"})
    changing = threading.Timer(0.25, (folder / "data.txt").write_text, ["b"])
    changing.start()
    run()
    changing.join()
    assert not run().kept
    settled()
    run()
    assert run().kept


def test_a_clock_that_was_moved_proves_nothing():
    """What was changed then may bear any time."""
    now = Moment.now()
    assert now.is_after(now.wall - 10**9)
    assert not dataclasses.replace(now, wall=now.wall - 10**10).is_after(0)
    assert not dataclasses.replace(now, wall=now.wall + 10**10).is_after(0)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("import os\nos._exit(0)\n", Status.CRASHED),
        ("while True: pass\n", Status.TIMED_OUT),
        ("x = [0] * 10**11\n", Status.OUT_OF_MEMORY),
        ("raise OSError(24, 'too many')\n", Status.SCRIPT_FAILED),
        ("import os\nos.listdir(os.open('.', 0))\n" + flow(), Status.LOADED),
    ],
)
def test_what_may_end_otherwise_is_not_kept(run, write, script, status):
    """Time-outs, memory, crashes, errors of the host, and what read more than is known."""
    write({"flow.py": script})
    assert [run(timeout=1).status, run(timeout=1).kept] == [status, False]


def test_whoever_asks_gets_a_fresh_one(run, write):
    """It is kept for the others."""
    write(FILES)
    run()
    assert [run(fresh=True).kept, run().kept] == [False, True]


@pytest.mark.slow
def test_each_of_policy_interpreter_dialect_and_place_has_its_own(run, write, kept, folder, policy):
    """One of them may make all the difference."""
    write({**FILES, **{f"copy/{name}": text for name, text in FILES.items()}})
    run()
    assert not run("copy/flow.py").kept
    assert not run("copy/flow.py", str(folder)).kept
    with FlowLoader(dialect="orion") as other:
        assert [run(loader=other).kept, run(loader=other).kept] == [False, True]
        other.policy = policy(memory=512 << 20)
        assert not run(loader=other).kept


@pytest.mark.parametrize("profile", ["network", "development"])
def test_nothing_is_kept_where_a_script_can_reach_more(policy, profile):
    """What a network or another process said may be otherwise now."""
    assert is_closed(policy())
    assert is_closed(policy("no-namespaces"))
    assert not is_closed(policy(profile))


def test_details_are_never_kept(loader, kept, write, folder):
    """They may be secrets."""
    write(FILES)
    script = dataclasses.replace(sources.read(str(folder / "flow.py")), details=True)
    assert [kept.run(loader, script).kept, kept.run(loader, script).kept] == [False, False]
    assert not os.path.exists(kept.folder)


def test_the_location_is_the_one_that_was_asked_for(loader, kept, write, folder, monkeypatch):
    """One file has many names."""
    write(FILES)
    kept.run(loader, sources.read(str(folder / "flow.py")))
    monkeypatch.chdir(folder)
    told = kept.run(loader, sources.read("flow.py"))
    assert (told.kept, told.source.location) == (True, "flow.py")


def test_text_and_projects_are_kept(loader, kept, tmp_path, write, folder):
    """What has no folder here depends on what was sent, or on all that was fetched."""
    script = sources.from_text(flow())
    assert [kept.run(loader, script).kept, kept.run(loader, script).kept] == [False, True]
    write(FILES)
    location = f"zip://flow.py::{tmp_path}/project.zip"
    for changed in (False, True):
        if changed:
            write({"helper.py": "X = 1"})
        shutil.make_archive(str(tmp_path / "project"), "zip", folder)
        outcomes = [kept.run(loader, sources.read(location, None, DEFAULT)) for _ in range(2)]
        assert [outcome.kept for outcome in outcomes] == [False, True]


@pytest.mark.slow
def test_what_is_read_where_the_profile_lets_it_counts(kept, write, folder, tmp_path):
    """A profile's own folders are no part of a root."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "common.py").write_text("X = 1")
    profile = tmp_path / "profile.yaml"
    profile.write_text(f"extends: strict\ndescription: shares\nfilesystem: {{read: [{shared}]}}\n")
    write({"flow.py": f"import sys\nsys.path.append({str(shared)!r})\nimport common\n" + flow()})
    with FlowLoader(str(profile)) as own:
        script = sources.read(str(folder / "flow.py"))
        assert kept.run(own, script).sources == (f"{shared}/common.py",)
        assert kept.run(own, script).kept
        assert not any(kept.run(own, script, asker="uid 1").kept for _ in range(2))
        (shared / "common.py").write_text("X = 2")
        assert not kept.run(own, script).kept


@pytest.mark.slow
def test_an_environment_that_has_changed_has_results_of_its_own(run, write, tmp_path):
    """And none as long as a zygote runs that imported the former one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    [site] = (tmp_path / "venv/lib").glob("*/site-packages")
    write(FILES)
    with FlowLoader(python=tmp_path / "venv") as own:
        assert [run(loader=own).kept, run(loader=own).kept] == [False, True]
        (site / "thing-1.0.dist-info").mkdir()
        assert [run(loader=own).kept, run(loader=own).kept] == [False, False]
    with FlowLoader(python=tmp_path / "venv") as own:
        assert [run(loader=own).kept, run(loader=own).kept] == [False, True]


@pytest.mark.sampled
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:70],
        lambda _: b"",
        lambda data: data.replace(b"loaded", b"failed"),
        lambda data: data + b"more",
        lambda _: b"\x80\x04cos\nsystem\n",
    ],
    ids=["short", "cut", "empty", "changed", "longer", "pickle"],
)
def test_a_damaged_file_is_a_load_more(run, write, kept, damage):
    """It is removed, and made anew."""
    write(FILES)
    run()
    [path] = map(Path, files_in(kept))
    path.write_bytes(damage(path.read_bytes()))
    assert [run().kept, run().kept] == [False, True]


def test_a_file_under_another_name_is_not_believed(run, write, kept):
    """A whole file of another key is as good as a damaged one."""
    write({**FILES, "other.py": flow("other")})
    run()
    [path] = files_in(kept)
    run("other.py")
    [other] = {*files_in(kept)} - {path}
    shutil.copy(other, path)
    assert [flow.name for flow in run().flows] == ["first"]


@pytest.mark.sampled
@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_whatever_lies_in_a_files_place_is_no_end(run, write, kept, what):
    """Nothing is waited for, nothing is followed."""
    write(FILES)
    run()
    [path] = map(Path, files_in(kept))
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)
    assert [run().kept, run().status] == [False, "loaded"]


def test_the_folder_may_vanish(run, write, kept):
    """It is made again, and nobody else may look into it."""
    write(FILES)
    run()
    assert os.stat(kept.folder).st_mode & 0o777 == 0o700
    shutil.rmtree(kept.folder)
    assert [run().kept, run().kept] == [False, True]


def test_a_folder_that_others_may_change_is_not_used(run, write, kept):
    """Whoever can write there would say what scripts hold."""
    os.mkdir(kept.folder)
    os.chmod(kept.folder, 0o755)
    write(FILES)
    assert [run().kept, run().kept, os.listdir(kept.folder)] == [False, False, []]
    assert "others may look into it" in kept.trouble


@pytest.mark.slow
def test_the_longest_unused_make_room(run, write, tmp_path):
    """What is kept stays below its bound, and what was used last stays."""
    small = Kept(str(tmp_path / "small"), 256 << 10)
    names = [f"flow{n}.py" for n in range(120)]
    write(dict.fromkeys(names, flow()))
    run(names[0], kept=small)
    for name in names[1:]:
        run(name, kept=small)
        assert run(names[0], kept=small).kept
    held = sum(max(4096, os.path.getsize(path)) for path in files_in(small))
    assert 64 << 10 < held <= 256 << 10
    assert run(names[-1], kept=small).kept
    assert not run(names[1], kept=small).kept


def test_whoever_has_the_most_makes_room(run, write, tmp_path):
    """However much a peer keeps, what others have stays: the owner, other peers, and what is watched."""
    small = Kept(str(tmp_path / "small"), 256 << 10)
    askers = ["", "uid 2", WATCHER]
    names = [f"flow{n}.py" for n in range(100)]
    write({**dict.fromkeys(names, flow()), "own.py": "# own\n" + flow()})
    for asker in askers:
        run("own.py", kept=small, fresh=True, asker=asker)
    for name in names:
        run(name, kept=small, asker="uid 1")
    held = [os.path.basename(path).partition(".")[2] for path in files_in(small)]
    assert sorted(set(held)) == sorted([*askers, "uid 1"])
    assert 16 < len(held) <= 64
    assert not run(names[1], kept=small, asker="uid 1").kept


@pytest.mark.parametrize("asker", ["", WATCHER, "uid 1"])
def test_peers_are_given_their_own_and_nobody_else_is(run, write, asker):
    """What is the owner's, and what is watched, is given to each other: no peer learns that they had it."""
    write(FILES)
    run(asker=asker)
    everybody = {"", WATCHER, "uid 1", "uid 2"}
    given = {who for who in everybody if run(asker=who, later=lambda _: None).kept}
    assert given == ({asker} if asker == "uid 1" else {"", WATCHER})


def test_leftovers_of_others_are_removed(run, write, kept):
    """A process may be killed while it writes."""
    os.mkdir(kept.folder, 0o700)
    for name, age in ((".old", 7200), (".new", 60)):
        Path(kept.folder, name).write_text("")
        os.utime(Path(kept.folder, name), (0, time.time() - age))
    write(FILES)
    run()
    assert [name for name in os.listdir(kept.folder) if name.startswith(".")] == [".new"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_full_disk_keeps_nothing_and_ends_nothing(run, write, kept):
    """Loads go on, the trouble is told, and is over when there is room."""
    os.mkdir(kept.folder, 0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", kept.folder], check=True)
    try:
        filler = Path(kept.folder, "f" * 64)
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))
        write(FILES)
        assert [run().status, run().kept] == ["loaded", False]
        assert "No space left" in kept.trouble
        assert os.listdir(kept.folder) == [filler.name]
        filler.unlink()
        assert [run().kept, run().kept, kept.trouble] == [False, True, None]
    finally:
        subprocess.run(["umount", kept.folder], check=True)


SHARING = """
import sys
from loader import FlowLoader, sources
from loader.daemon.kept import Kept

kept, wrong = Kept(sys.argv[1], 64 << 10), 0
with FlowLoader() as loader:
    for n in range(60):
        outcome = kept.run(loader, sources.read(f"{sys.argv[2]}/flow{n % 20}.py"))
        wrong += [flow.name for flow in outcome.flows] != [f"flow{n % 20}"]
print(wrong, kept.trouble)
"""


@pytest.mark.sampled
@pytest.mark.parametrize(
    "sources",
    [
        ["x.txt"] * 3000,
        ["a/" * 100_000],
        ["a\0b"],
        [f"{number}/" * 40 for number in range(2000)],
        ["../../../etc/passwd", "/etc/passwd", "link/passwd", ""],
        ["helper.py/../helper.py", "./helper.py", "//helper.py", "/"],
    ],
    ids=["many", "long", "null", "deep", "elsewhere", "odd"],
)
def test_a_lie_about_sources_costs_little_and_leads_nowhere(write, folder, sources):
    """A worker's word is only where to look."""
    write(FILES)
    (folder / "link").symlink_to("/etc")
    script = read(str(folder / "flow.py"))
    began = time.process_time()
    seen = trace(script, sources)
    assert time.process_time() - began < 1
    assert seen is None or len(seen.digest) == 64


def test_what_lies_elsewhere_is_not_looked_at(write, folder, tmp_path):
    """A link may lead to it, and its content counts for nothing."""
    write(FILES)
    (tmp_path / "x.txt").write_text("")
    (folder / "link").symlink_to(tmp_path)
    script = read(str(folder / "flow.py"))
    before = trace(script, ["link/x.txt", "link"])
    (tmp_path / "x.txt").write_text("a")
    assert trace(script, ["link/x.txt", "link"]) == before is not None


@pytest.mark.slow
@pytest.mark.parametrize("asker", ["", "uid 1"])
def test_a_worker_that_says_it_read_elsewhere_is_not_kept(run, write, folder, tmp_path, asker):
    """Otherwise whether it is kept would tell what lies there."""
    secret = tmp_path / "private" / "secret.py"
    secret.parent.mkdir()
    secret.write_text("pin = 4711")
    lie = (
        "import gc\nfor item in gc.get_objects():\n    if type(item).__name__ == 'Reads':\n"
        f"        item.found.add({str(secret)!r})\n"
    )
    write({"flow.py": lie + flow()})
    assert run(asker=asker).sources == (str(secret),)
    assert not run(asker=asker).kept


@pytest.mark.parametrize(
    "name", ["{0}/secret", "{0}/shared/../secret", "{0}/shared-not/x", "../secret", "/{0}/shared/x", "/"]
)
def test_nothing_is_told_of_what_lies_beside_the_folders_of_the_host(write, folder, tmp_path, name):
    """Neither of a file that is there nor of one that is not."""
    write(FILES)
    (tmp_path / "secret").write_text("")
    (tmp_path / "shared").mkdir()
    script = read(str(folder / "flow.py"))
    assert trace(script, [name.format(tmp_path)], [str(tmp_path / "shared")]) is None


def test_a_folder_of_the_host_is_looked_at_as_far_as_no_link_leads_out(write, folder, tmp_path):
    """What the link leads to may be read or not: nothing is known of either."""
    write(FILES)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "x.txt").write_text("a")
    (tmp_path / "secret").write_text("a")
    (shared / "inside").symlink_to("x.txt")
    (shared / "outside").symlink_to(tmp_path / "secret")
    script = read(str(folder / "flow.py"))
    seen = lambda *names: trace(script, [f"{shared}/{name}" for name in names], [str(shared)])  # noqa: E731
    before = seen("inside", "missing")
    assert seen("outside") is None
    (shared / "x.txt").write_text("b")
    assert None is not seen("inside", "missing") != before
    one = str(shared / "x.txt")
    assert trace(script, [f"{one}/"], [one]) is not None


@pytest.mark.parametrize("names", [["large.py"], ["one.py", "two.py", "three.py"]])
def test_the_words_of_much_code_are_not_read(write, folder, names):
    """They are many objects, and take long: no trace is left, whoever asks for it."""
    write(FILES)
    script = read(str(folder / "flow.py"))
    each = (traces.CODE * 9 // 8) // len(names)
    for name in names:
        (folder / name).write_bytes(b"ab " * (each // 3))
    assert trace(script, names) is None
    assert len(names) == 1 or trace(script, names[1:]) is not None
    spoken = "".join(f"import {name[:-3]}\n" for name in names).encode()
    assert trace(dataclasses.replace(script, content=spoken), ()) is None
    assert trace(dataclasses.replace(script, content=b"a " * traces.CODE), ()) is None
    assert traces.guessed(dataclasses.replace(script, content=b"helper " * traces.CODE)) == []


def test_what_nobody_waits_for_is_done_in_one_thread_or_not_at_all():
    """However much comes at once, and whatever of it fails."""
    line, go, done = Line(3), threading.Event(), []

    def do(number):
        go.wait(60)
        done.append((number, threading.get_ident()))
        raise OSError

    for number in range(9):
        line.add(lambda number=number: do(number))
    go.set()
    until = time.monotonic() + 60
    while len(done) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert [number for number, _ in done] == [0, 1, 2]
    assert len({thread for _, thread in done}) == 1
    for _ in range(3):
        assert line.room.acquire(timeout=60)
    line.close()
    line.add(lambda: None)


def test_even_seconds_may_be_later():
    """A file system that knows no less says nothing of when in them it was."""
    assert latest(5 * 10**9) == 7 * 10**9
    assert latest(5 * 10**9 + 1) == 5 * 10**9 + 1


@pytest.mark.slow
def test_a_script_of_prefect_is_kept(kept, write, folder, prefect_python):
    """What its Prefect reads is no source of the script's."""
    write({"flow.py": "import helper, json\n" + flow(), "helper.py": ""})
    with FlowLoader(python=prefect_python) as own:
        script = read(str(folder / "flow.py"))
        outcomes = [kept.run(own, script) for _ in range(2)]
        assert [(one.kept, one.sources) for one in outcomes] == [
            (False, ("helper.py",)),
            (True, ("helper.py",)),
        ]


@pytest.mark.slow
def test_several_processes_share_a_folder(write, kept, folder):
    """While each makes room for its own, none gets a wrong answer."""
    write({f"flow{n}.py": flow(f"flow{n}") for n in range(20)})
    command = [sys.executable, "-c", SHARING, kept.folder, str(folder)]
    sharing = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0] for process in sharing] == ["0 None\n"] * 3


@pytest.mark.slow
def test_a_kept_result_is_much_cheaper_than_a_load(run, write):
    """Otherwise there was no reason to keep it."""
    write(FILES)
    run()
    seconds = {True: [], False: []}
    for _ in range(50):
        for fresh in (True, False):
            began = time.perf_counter()
            assert run(fresh=fresh).kept is not fresh
            seconds[fresh].append(time.perf_counter() - began)
    ratio = sorted(seconds[True])[25] / sorted(seconds[False])[25]
    print(f"a fresh load takes {ratio:.1f} times a kept one")
    assert ratio > 3
