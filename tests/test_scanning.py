"""What `FlowLoader.scan` finds: real workers, and folders of people who wish us ill."""

import asyncio
import os
import random
import shutil
import socket
import subprocess
import time
import tracemalloc
import zipfile

import pytest

from loader import EmbeddedRegistry, FlowLoader, LoaderClosed, SourceError
from loader.sources import archives, ignoring, read
from loader.sources.walking import Walk

FLOW = "from prefect import flow\n@flow(name={name!r})\ndef f(): pass\n"
HANGS = "# prefect flow\nwhile True: pass\n"


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as warm:
        yield warm


@pytest.fixture
def registry(tmp_path_factory):
    with EmbeddedRegistry(tmp_path_factory.mktemp("registry") / "registry.db") as client:
        yield client


def made(folder, **files):
    """Files with these texts; `__` in a name is a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def relative(folder, scan):
    """Each result's path and status, and whether it is well."""
    return sorted((os.path.relpath(item.location, folder), item.status, item.ok) for item in scan)


# --- what is found ---


def test_each_script_and_manifest_has_its_own_verdict(loader, registry, tmp_path):
    """One that fails hides no other; what mentions no flow is counted."""
    manifest = "name: {}\nflow_location: ./a.py\nflow_runner: subprocess\n{}"
    made(
        tmp_path,
        a_dot_py=FLOW.format(name="a"),
        sub__b_dot_py=FLOW.format(name="b"),
        sub__fails_dot_py="# prefect flow\n1 / 0",
        util_dot_py="x = 1",
        helper_dot_py="import prefect  # of flows",
        good_dot_yaml=manifest.format("good", ""),
        bad_dot_yml=manifest.format("bad", "schedule: {cron: never}\n"),
        compose_dot_yaml="services: {}",
        notes_dot_txt="flow prefect",
    )
    with loader.scan(tmp_path, client=registry) as scan:
        assert relative(tmp_path, scan) == [
            ("a.py", "loaded", True),
            ("bad.yml", "loaded", False),
            ("good.yaml", "loaded", True),
            ("helper.py", "script_failed", True),
            ("sub/b.py", "loaded", True),
            ("sub/fails.py", "script_failed", False),
        ]
    summary = scan.summary
    assert (summary.complete, summary.ok, summary.failed, summary.empty) == (True, 4, 2, 1)
    assert (summary.flows, summary.specs, dict(summary.skipped)) == (2, 2, {"no_flow": 2})
    assert len(summary.slowest) == 5
    assert next(scan, None) is None


def test_names_that_several_files_use_are_told(loader, registry, tmp_path):
    """With their places; a flow that is imported belongs to the file that defines it."""
    made(
        tmp_path,
        a_dot_py=FLOW.format(name="same"),
        b_dot_py=FLOW.format(name="same"),
        c_dot_py=FLOW.format(name="own"),
        uses_dot_py="from c import f  # a prefect flow",
        m_dot_yaml="name: d\nflow_location: ./a.py\nflow_runner: subprocess\n",
        n_dot_yaml="name: d\nflow_location: ./b.py\nflow_runner: subprocess\n",
    )
    with loader.scan(tmp_path, client=registry) as scan:
        list(scan)
    told = {(item.kind, item.name): sorted(item.places) for item in scan.summary.twice}
    assert told == {
        ("flow", "same"): [f"{tmp_path}/a.py:2", f"{tmp_path}/b.py:2"],
        ("deployment", "same/d"): [f"{tmp_path}/m.yaml:1", f"{tmp_path}/n.yaml:1"],
    }


def test_a_script_reads_its_own_folder_unless_a_root_is_given(loader, registry, tmp_path):
    """As for a load: a scan opens no more than that."""
    made(
        tmp_path,
        sub__a_dot_py="open('beside.txt'); open('../above.txt')\n" + FLOW.format(name="a"),
        sub__beside_dot_txt="",
        above_dot_txt="",
    )
    assert relative(tmp_path, loader.scan(tmp_path, client=registry)) == [
        ("sub/a.py", "script_failed", False)
    ]
    found = loader.scan(tmp_path, client=registry, root=tmp_path)
    assert relative(tmp_path, found) == [("sub/a.py", "loaded", True)]


def test_an_archive_is_scanned(loader, registry, tmp_path):
    """Fetched once; each script finds its siblings."""
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p/flow.py", "import sibling\n" + FLOW.format(name="a"))
        archive.writestr("p/sibling.py", "")
        archive.writestr("p/.hidden/flow.py", FLOW.format(name="a"))
        archive.writestr("q.py", FLOW.format(name="q"))
    found = [(item.location, item.ok) for item in loader.scan(f"zip://::{path}", client=registry)]
    assert sorted(found) == [(f"zip://p/flow.py::{path}", True), (f"zip://q.py::{path}", True)]
    (item,) = loader.scan(f"zip://p::{path}", client=registry)
    assert item.location == f"zip://p/flow.py::{path}"


def test_what_is_no_folder_is_refused(loader, tmp_path):
    """At once, as the caller's mistake."""
    made(tmp_path, a_dot_py="")
    for place in (tmp_path / "none", tmp_path / "a.py", "gopher://x/", "https://localhost/folder/"):
        with pytest.raises(SourceError, match="cannot "):
            list(loader.scan(place))


def test_an_archive_is_unpacked_once_for_all_its_manifests(loader, registry, tmp_path, monkeypatch):
    """What they name is judged as it was then, below their own folders."""
    path = tmp_path / "p.zip"
    manifest = "deployments:\n- {{name: a, entrypoint: {}, work_pool: {{name: p}}}}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for folder in "ab":
            archive.writestr(f"{folder}/prefect.yaml", manifest.format("sub/flow.py:f"))
            text = "open('beside.txt')\n" + FLOW.format(name=folder)
            archive.writestr(f"{folder}/sub/flow.py", text)
            archive.writestr(f"{folder}/beside.txt", "")
        archive.writestr("a/m.yaml", manifest.format("gone.py:f"))
        archive.writestr("a/n.yaml", manifest.format("../b/sub/flow.py:f"))
    unpacked = []
    unpack = archives.unpack
    monkeypatch.setattr(archives, "unpack", lambda *given: unpacked.append(given) or unpack(*given))
    with loader.scan(f"zip://::{path}", client=registry) as scan:
        found = {item.location.partition("::")[0]: item for item in scan}
    assert len(unpacked) == 1
    assert [found[f"zip://{folder}/prefect.yaml"].ok for folder in "ab"] == [True, True]
    assert "there is no such file in zip://a::" in found["zip://a/m.yaml"].specs[0].problems[0]
    assert "lies outside zip://a::" in found["zip://a/n.yaml"].specs[0].problems[0]


# --- what is exchanged meanwhile ---


@pytest.mark.parametrize("kind", ["link", "folder"])
@pytest.mark.parametrize("whole", [False, True])
def test_folder_that_is_exchanged_meanwhile_is_not_read(loader, registry, tmp_path, kind, whole):
    """A script that takes its time gives an accomplice all of it; the next file is refused."""
    folder, victim = tmp_path / "scanned", tmp_path / "victim"
    manifest = "deployments:\n- {{name: {}, entrypoint: b.py:f, work_pool: {{name: p}}}}\n"
    for place, name in ((folder / "sub", "own"), (victim if not whole else victim / "sub", "stolen")):
        made(place, a_dot_py=FLOW.format(name=name), b_dot_py=FLOW.format(name=name))
        made(place, prefect_dot_yaml=manifest.format(name))
    with loader.scan(folder, client=registry, jobs=1) as scan:
        looked = scan.look
        moved = folder if whole else folder / "sub"

        def look(place, client):
            item = looked(place, client)
            if not victim.with_name("old").exists():
                moved.rename(victim.with_name("old"))
                moved.symlink_to(victim) if kind == "link" else victim.rename(moved)
            return item

        scan.look = look
        found = sorted(scan, key=lambda item: item.location)
    assert [item.ok for item in found] == [True, False, False]
    assert all("was exchanged" in item.problem for item in found[1:])


# --- ending ---


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_who_stops_asking_ends_it(registry, tmp_path):
    """Closed in the middle: what hangs is killed at once, and nothing stays open."""
    made(tmp_path, a_dot_py=FLOW.format(name="a"), b_dot_py=HANGS, c_dot_py=HANGS)
    with FlowLoader() as loader:
        loader.warm()
        before = descriptors()
        scan = loader.scan(tmp_path, client=registry, jobs=3)
        assert next(scan).ok
        started = time.monotonic()
        scan.close()
        assert time.monotonic() - started < 3
        assert not scan.summary.complete
        assert wait_for(lambda: descriptors() <= before)
        loader.scan(tmp_path, client=registry).close()  # never begun
        assert descriptors() <= before


@pytest.mark.slow
def test_asynchronously(loader, registry, tmp_path):
    """The event loop goes on meanwhile, and a scan that is cancelled ends at once."""
    made(tmp_path, a_dot_py=FLOW.format(name="a"), b_dot_py=FLOW.format(name="b"))

    async def whole():
        return sorted([item.location async for item in loader.scan_async(tmp_path, client=registry)])

    async def cut():
        async for _ in loader.scan_async(tmp_path, client=registry):
            pass

    async def cancelled():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(cut(), 1)

    assert asyncio.run(whole()) == [f"{tmp_path}/a.py", f"{tmp_path}/b.py"]
    made(tmp_path, b_dot_py=HANGS)
    started = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - started < 4


def test_a_loader_that_is_closed_scans_nothing(registry, tmp_path):
    """As it loads nothing."""
    made(tmp_path, a_dot_py=FLOW.format(name="a"))
    loader = FlowLoader()
    loader.close()
    with pytest.raises(LoaderClosed):
        list(loader.scan(tmp_path, client=registry))


# --- hostile folders ---


def test_nothing_is_opened_that_is_no_file(loader, registry, tmp_path):
    """Pipes, sockets, links and devices are counted and left alone."""
    outside = made(tmp_path / "outside", a_dot_py=FLOW.format(name="a"))
    folder = made(tmp_path / "folder", a_dot_py=FLOW.format(name="a"))
    os.mkfifo(folder / "pipe.py")
    os.mkfifo(folder / ".gitignore")
    (folder / "link.py").symlink_to(outside / "a.py")
    (folder / "loop").symlink_to(folder)
    (folder / "out").symlink_to(outside)
    (folder / "folder.py").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folder / "socket.py"))
        scan = loader.scan(folder, client=registry)
        assert relative(folder, scan) == [("a.py", "loaded", True)]
    assert dict(scan.summary.skipped) == {"special": 2, "link": 3}


def test_names_of_any_kind(loader, registry, tmp_path):
    """What turns the reading order is a name's own affair; control characters are refused, each by itself."""
    made(tmp_path, **{"a\u202e_dot_py": FLOW.format(name="a"), "c\x1b[31m_dot_py": FLOW.format(name="c")})
    (tmp_path / os.fsdecode(b"\xff.py")).write_text(FLOW.format(name="b"))
    found = relative(tmp_path, loader.scan(tmp_path, client=registry))
    assert found == [
        ("a\u202e.py", "loaded", True),
        ("c\x1b[31m.py", "usage", False),
        ("\udcff.py", "usage", False),
    ]


def test_huge_files_are_not_read(loader, registry, tmp_path):
    """No more than a script may have is in memory."""
    made(tmp_path, a_dot_py=FLOW.format(name="a"), b_dot_yaml="", huge_dot_py="")
    for name in ("huge.py", "b.yaml"):
        os.truncate(tmp_path / name, 1 << 36)
    tracemalloc.start()
    found = list(loader.scan(tmp_path, client=registry))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert sorted(item.status for item in found) == ["loaded", "usage", "usage"]
    assert all("larger than" in item.problem for item in found if item.problem)


@pytest.mark.slow
def test_ten_thousand_files_and_a_deep_tree(loader, registry, tmp_path):
    """In bounded time and memory; what is too deep to be named is told."""
    for number in range(100):
        (tmp_path / f"{number}").mkdir()
        for other in range(100):
            (tmp_path / f"{number}/{other}.py").write_text("x = 1")
    made(tmp_path, z_dot_py=FLOW.format(name="z"))
    held = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=held)
        below = os.open("deep", os.O_RDONLY, dir_fd=held)
        os.close(held)
        held = below
    os.close(held)
    tracemalloc.start()
    started = time.monotonic()
    with loader.scan(tmp_path, client=registry) as scan:
        found = list(scan)
    assert time.monotonic() - started < 60
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert sorted(item.status for item in found) == ["loaded", "usage"]
    assert "cannot look into" in next(item.problem for item in found if item.problem)
    assert scan.summary.skipped["no_flow"] == 10_000
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


# --- what is left out ---


def walked(folder):
    walk = Walk(str(folder))
    return sorted(os.path.relpath(item.path, folder) for item in walk.files()), dict(walk.skipped)


def test_folders_that_hold_nobodys_own_scripts_are_left_out(tmp_path):
    """Hidden ones, caches, environments; each counts once."""
    made(
        tmp_path,
        a_dot_py="",
        _dot_hidden__a_dot_py="",
        _dot_a_dot_py="",
        node_modules__a_dot_py="",
        env__pyvenv_dot_cfg="",
        env__lib__a_dot_py="",
    )
    made(tmp_path / "__pycache__", a_dot_py="")
    assert walked(tmp_path) == (["a.py"], {"ignored": 5})
    assert walked(tmp_path / "env") == (["lib/a.py"], {})


def test_ignore_files_are_honoured(tmp_path):
    """Those of the folder, of folders below, and up to the repository's own."""
    made(
        tmp_path,
        _dot_gitignore="build/\n*_gen.py\n!keep_gen.py\n/flows/top.py\n",
        flows___dot_gitignore="!back_gen.py\n",
        flows___dot_prefectignore="secret*\n",
        flows__top_dot_py="",
        flows__sub__top_dot_py="",
        flows__a_gen_dot_py="",
        flows__back_gen_dot_py="",
        flows__keep_gen_dot_py="",
        flows__secret_dot_py="",
        flows__build__a_dot_py="",
    )
    (tmp_path / ".git").mkdir()
    kept = ["back_gen.py", "keep_gen.py", "sub/top.py"]
    assert walked(tmp_path / "flows") == (kept, {"ignored": 4})
    assert walked(tmp_path)[0] == [f"flows/{name}" for name in kept]


PIECES = (
    *("a", "b", "c", "x", "q", "z", ".py", "*", "**", "?", "/", "/", "[a-c]", "[!a]", "docs", "build", "!"),
    *("\\", "[]x]", "[a", "x.py", "-", " ", "#"),
)
PLACES = (
    *("a/x.py", "a/b/x.py", "a/b/c/keep.py", "build/x/y.py", "docs/a/z/q.py", "docs/q.py", "foo.py"),
    *("a/b/#h.py", "!n.py", "xa.py", "xc.py", "x].py", "x-.py", "t .py"),
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is what it is compared with")
def test_rules_mean_what_they_mean_to_git(tmp_path):
    """Patterns by chance, over names that they may fit."""
    for place in PLACES:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    empty = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    git = ["git", "-c", "core.excludesFile=/dev/null"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, env=empty, check=True)
    chance = random.Random(4)
    for _ in range(150):
        lines = ["".join(chance.choices(PIECES, k=chance.randint(1, 5))) for _ in range(chance.randint(1, 3))]
        (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
        listing = [*git, "ls-files", "-z", "-o", "--exclude-standard"]
        done = subprocess.run(listing, cwd=tmp_path, env=empty, capture_output=True, check=True)
        theirs = sorted(name for name in done.stdout.decode().split("\0") if name.endswith(".py"))
        assert walked(tmp_path)[0] == theirs, lines


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 60 + "*b", "/".join(["**", "a"] * 60) + "/b", "[a-" * 2000, "*" * 5000 + "b", "?*" * 80],
)
def test_no_pattern_takes_for_ever(pattern):
    """What is scanned is somebody else's folder, and its ignore files are theirs, too."""
    rules = ignoring.parse(f"{pattern}\n".encode() * 20, 0, ignoring.Budget(10_000_000))
    started = time.process_time()
    ignoring.is_left_out((rules,), ("a" * 250,), folder=False)
    ignoring.is_left_out((rules,), ("a",) * 1000, folder=False)
    assert time.process_time() - started < 2


@pytest.mark.slow
def test_rules_that_take_too_long_are_a_problem(tmp_path):
    """Of their folder: what lies beside it is found."""
    made(tmp_path, hostile___dot_gitignore=f"*{'a' * 100}b?\n" * 2_000, other__a_dot_py="")
    for place in range(20):
        made(tmp_path / "hostile" / ("a" * 240 + str(place)), a_dot_py="")
    started = time.monotonic()
    found = list(Walk(str(tmp_path)).files())
    assert time.monotonic() - started < 10
    assert [os.path.relpath(item.path, tmp_path) for item in found] == ["hostile", "other/a.py"]
    assert "cannot go by the ignore files" in found[0].problem


def test_folder_that_becomes_a_link_is_not_followed(tmp_path, monkeypatch):
    """What was opened is what is read."""
    made(tmp_path, sub__a_dot_py="", other__b_dot_py="")
    opened = os.open

    def exchanged(path, *args, **values):
        descriptor = opened(path, *args, **values)
        if path == "sub":
            (tmp_path / "sub").rename(tmp_path / "moved")
            (tmp_path / "sub").symlink_to("other")
        return descriptor

    monkeypatch.setattr(os, "open", exchanged)
    assert walked(tmp_path)[0] == ["other/b.py", "sub/a.py"]


def test_folder_that_was_exchanged_is_not_looked_into(tmp_path):
    """Nor is one that lies in it: only what was listed is."""
    made(tmp_path, a_dot_py="", sub__deep__b_dot_py="", victim__deep__c_dot_py="")
    walk = Walk(str(tmp_path))
    walk.check()
    found = []
    for item in walk.files():
        found.append((os.path.relpath(item.path, tmp_path), item.problem))
        if len(found) == 1:
            (tmp_path / "sub").rename(tmp_path / "gone")
            (tmp_path / "victim").rename(tmp_path / "sub")
    assert found[0] == ("a.py", None)
    assert [path for path, problem in found if problem and "was exchanged" in problem] == ["sub"]
    assert not any(path.endswith("c.py") for path, _ in found)


@pytest.mark.parametrize("part", ["a", "a/deep"])
def test_what_a_link_in_a_folders_place_leads_to_is_never_looked_at(tmp_path, part):
    """Whatever is there, the answer is the same: neither the walk nor reading what it found follows it."""
    folder, outside = tmp_path / "scanned", tmp_path / "outside"
    made(folder, a__deep__b_dot_py="", a__deep__deeper__c_dot_py="")
    walk = Walk(str(folder))
    walk.check()
    found = []
    for item in walk.files():
        found.append(item)
        if len(found) == 1:
            (folder / part).rename(tmp_path / "away")
            (folder / part).symlink_to(outside)
    (script, deeper) = found
    assert "was exchanged" in deeper.problem
    said = set()
    for files in ({}, {"deep__x": ""}, {"deep__b_dot_py": "", "b_dot_py": ""}):
        made(outside, **files)
        with pytest.raises(SourceError, match="was exchanged") as refused:
            read(script.path, folder=script.folder)
        said.add(str(refused.value))
    assert len(said) == 1


def test_ignore_files_above_count_if_this_user_or_root_wrote_them(tmp_path, monkeypatch):
    """Who may make a folder above must not hide what is below."""
    made(tmp_path, _dot_git__config="", _dot_gitignore="a.py\n", sub__a_dot_py="", sub__b_dot_py="")
    assert walked(tmp_path / "sub")[0] == ["b.py"]
    if os.geteuid() == 0:
        os.chown(tmp_path / ".gitignore", 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert walked(tmp_path / "sub") == (["a.py", "b.py"], {})
    assert walked(tmp_path)[0] == ["sub/b.py"]


def test_ignore_files_of_any_size(tmp_path):
    """Their beginning counts."""
    (tmp_path / ".gitignore").write_bytes(b"\xff\n*.tmp\r\nb.py\r\n" + b"x\n" * 1_000_000)
    made(tmp_path, a_dot_py="", b_dot_py="")
    started = time.process_time()
    assert walked(tmp_path)[0] == ["a.py"]
    assert time.process_time() - started < 2
