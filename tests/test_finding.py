"""Where specs may lead: below the folder that they came from, and further only where the caller says so."""

import http.server
import os
import threading
import zipfile
from contextlib import suppress
from uuid import uuid4

import pytest

from loader import (
    Access,
    DeploymentSpec,
    EmbeddedRegistry,
    FlowLoader,
    ManifestError,
    ScriptError,
    ScriptTimedOut,
    SelectionError,
    SourceError,
    batches,
    deployment_specs_from_yaml,
    finding,
    load_flow_from_deployment,
    select_deployment,
)
from loader.client import documents
from loader.client.interface import DeploymentRecord
from loader.deploying import Deployer
from loader.finding import KEPT, Finder
from loader.sources import Origin, Project, origin_of

SCRIPT = "from prefect import flow\n@flow\ndef {name}(): pass\n"


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as made:
        yield made


@pytest.fixture
def finder(loader):
    """A callable: a finder under some access."""
    return lambda **access: Finder(loader, Access(**access))


def spec(location, origin=None):
    home = None if origin is None else origin_of(origin) if origin else Origin()
    return DeploymentSpec(name="d", flow_location=location).at("/m.yaml", 3, origin=home)


@pytest.fixture
def home(tmp_path):
    """A folder with a script, and a script outside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "flow.py").write_text(SCRIPT.format(name="inside"))
    (tmp_path / "outside.py").write_text(SCRIPT.format(name="outside"))
    return tmp_path / "home"


ELSEWHERE = [
    "{outside}",
    "{home}/../outside.py",
    " https://../../../..{outside}",
    "ht\ttps://../../../..{outside}",
    "\nhttps://x{outside}",
    "file://{outside}",
    "FILE://{outside}",
    "file://localhost{outside}",
    "zip://a.py::{outside}",
    "git://{home}:main@a.py",
    "memory://outside.py",
]


@pytest.mark.parametrize("location", ELSEWHERE)
@pytest.mark.parametrize("linked", [frozenset(), frozenset({"https", "http", "zip"})], ids=["none", "web"])
def test_somebody_elses_words_lead_nowhere_else(finder, home, location, linked):
    """However they are spelt, and whatever other schemes are linked."""
    written = location.format(outside=home.parent / "outside.py", home=home)
    with pytest.raises(SourceError):
        finder(linked=linked).flow(spec(written, str(home)))


@pytest.mark.parametrize(
    "location",
    [
        "http://[x",
        "x://[",
        "file://[x/y.py",
        "github://[",
        "http://\u2100/",
        "",
        " ",
        "\0",
        "/a\0b",
        "a" * 5000,
    ],
)
def test_what_is_no_location_is_an_error_of_its_own_kind(finder, home, location):
    """Never a raw one."""
    for origin in (str(home), "", None):
        with pytest.raises(SourceError) as caught:
            finder().flow(spec(location, origin))
        assert str(caught.value).startswith("cannot ")


def test_an_archives_own_location_must_be_linked_too(finder, home, tmp_path):
    """The outer scheme says nothing of where the archive lies."""
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.py", SCRIPT.format(name="zipped"))
    written = spec(f"zip://a.py::{path}", str(home))
    with pytest.raises(SourceError, match="--root"):
        finder(linked=frozenset({"zip"})).flow(written)
    assert finder(linked=frozenset({"zip", "file"})).flow(written).name == "zipped"


def test_the_callers_own_words_lead_anywhere(finder, home):
    assert finder().flow(spec(str(home.parent / "outside.py"))).name == "outside"
    assert finder().flow(spec(str(home / "flow.py"), str(home))).name == "inside"


def test_a_folder_that_is_exchanged_is_refused(finder, home, tmp_path):
    """Whoever may rename it cannot have another folder's scripts run in its stead."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "flow.py").write_text(SCRIPT.format(name="stolen"))
    written = spec(str(home / "flow.py"), str(home))
    assert finder().flow(written).name == "inside"
    home.rename(tmp_path / "old")
    (tmp_path / "home").symlink_to(tmp_path / "victim")
    with pytest.raises(SourceError, match="exchanged"):
        finder().flow(written)


def test_an_archive_is_read_once(finder, tmp_path):
    """Its scripts share one project, however many of them are named."""
    path = tmp_path / "project.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name in ("one", "two", "three"):
            made.writestr(f"{name}.py", SCRIPT.format(name=name))
    found = finder()
    for name in ("one", "two", "three"):
        assert found.flow(spec(f"zip://{name}.py::{path}")).name == name
        path.unlink(missing_ok=True)
    assert len({id(script.project.files) for script in found.scripts.values()}) == 1


def test_finding_a_file_costs_nothing_by_the_size_of_its_project(finder, tmp_path, monkeypatch):
    """However many names it has, and in however many ways its archive is spelled."""
    path = tmp_path / "project.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("one.py", SCRIPT.format(name="one"))
        made.writestr("two.py", SCRIPT.format(name="two"))
        for number in range(1_900):
            made.writestr(f"d/{number}", "")
    asked = []
    display = Project.display
    monkeypatch.setattr(Project, "display", lambda *of: asked.append(of) or display(*of))
    found = finder()
    for number in range(20):
        assert found.script(spec(""), f"zip://two.py::{'/' * number}{path}").content.endswith(
            b"two(): pass\n"
        )
    assert (
        found.script(spec(""), f"zip://one.py::{path}").project.files
        is next(iter(found.scripts.values())).project.files
    )
    assert len(found.scripts) == 2
    assert len(asked) < 100


def test_projects_that_are_kept_are_bounded_in_files(finder, tmp_path):
    """Also where they hold no bytes."""
    found = finder(project_files=10)
    for number in range(4):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as made:
            for name in range(6):
                made.writestr(f"{name}.py", "")
        found.script(spec(""), f"zip://0.py::{tmp_path}/{number}.zip")
        found.script(spec(""), f"zip://1.py::{tmp_path}/{number}.zip")
        assert len({id(script.project.files) for script in found.scripts.values()}) == 1


def test_what_is_kept_is_bounded_and_what_is_read_again_must_be_the_same(loader, tmp_path):
    """A script that was forgotten is read again; another in its place is an error."""
    found = Finder(loader, Access(project_size=300))
    paths = [tmp_path / f"f{number}.py" for number in range(KEPT + 5)]
    for path in paths:
        path.write_text(SCRIPT.format(name=path.stem))
        assert found.flow(spec(str(path))).name == path.stem
    assert len(found.scripts) < 10
    assert len(found.outcomes) == KEPT
    assert found.content(spec(str(paths[0]))) == paths[0].read_bytes()
    paths[1].write_text(SCRIPT.format(name="other"))
    with pytest.raises(SourceError, match="has changed since it was loaded"):
        found.content(spec(str(paths[1])))


@pytest.fixture
def loads(loader, monkeypatch):
    """The locations of the scripts that were run."""
    run, seen = loader.run, []
    monkeypatch.setattr(
        loader, "run", lambda script, **options: seen.append(script.location) or run(script, **options)
    )
    return seen


def test_a_script_is_run_once_however_its_location_is_written(finder, home, loads):
    """One that hangs costs its time once."""
    (home / "bad.py").write_text("while True: pass\n")
    found = finder()
    found.timeout = 0.5
    for written in ("{0}/bad.py", "{0}/./bad.py", "{0}/x/../bad.py", "{0}//bad.py", "file://{0}/bad.py"):
        with pytest.raises(ScriptTimedOut, match=r"cannot finish loading within 0\.5 seconds") as caught:
            found.flow(spec(written.format(home), str(home)))
        assert caught.value.error.frames[-1].line == 1
    assert loads == [f"{home}/bad.py"]


def test_failures_are_remembered_when_what_loaded_is_forgotten(finder, home, loads, monkeypatch):
    """They are small: of what the script said, only what is told again is kept."""
    monkeypatch.setattr(finding, "KEPT", 1)
    (home / "bad.py").write_text("print('x' * 10_000)\nraise ValueError('x' * 100_000)\n")
    found = finder()
    for name in ("bad.py", "flow.py", "../outside.py", "flow.py", "bad.py"):
        with suppress(ScriptError):
            found.flow(spec(str(home / name)))
    assert [os.path.basename(location) for location in loads] == [
        "bad.py",
        "flow.py",
        "outside.py",
        "flow.py",
    ]
    assert all(len(kept.model_dump_json()) < 5000 for kept in found.failures.values())


def test_what_is_left_when_the_time_is_over_is_not_run(finder, home, loads):
    """What was run before is still told."""
    found = finder()
    assert found.flow(spec(str(home / "flow.py"))).name == "inside"
    found.until = 0.0
    assert found.flow(spec(str(home / "flow.py"))).name == "inside"
    with pytest.raises(SourceError, match=r"^cannot judge .*outside\.py: the batch's time is over, "):
        found.flow(spec(str(home.parent / "outside.py")))
    assert loads == [str(home / "flow.py")]


def test_what_was_forgotten_is_not_read_when_the_time_is_over(finder, home):
    """What is held is still given."""
    found = finder()
    found.flow(spec(str(home / "flow.py")))
    found.until = 0.0
    assert found.content(spec(str(home / "flow.py"))) == (home / "flow.py").read_bytes()
    found.scripts.clear()
    with pytest.raises(SourceError, match="the batch's time is over"):
        found.content(spec(str(home / "flow.py")))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with a script whose flow is named after the query."""

    def do_GET(self):
        query = self.path.partition("?")[2]
        body = SCRIPT.format(name=query if query.isidentifier() else "none").encode()
        if self.path.startswith("/m.yaml"):
            body = self.manifest
        target = self.path.partition("?to=")[2]
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """The URL of a small server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_two_queries_are_two_scripts(finder, web):
    """One script's answer is not given for another's bytes."""
    found = finder(hosts=frozenset({"127.0.0.1"}))
    for name in ("first", "second"):
        written = spec(f"{web}/flow.py?{name}")
        assert found.flow(written).name == name
        assert name.encode() in found.content(written)


def test_a_web_manifests_scripts_lie_beside_it(finder, web):
    """Below its folder they are its own; no listing is asked for."""
    found = finder(hosts=frozenset({"127.0.0.1"}))
    assert found.flow(spec(f"{web}/team/flow.py?f", f"{web}/team")).name == "f"
    with pytest.raises(SourceError, match="--allow-scheme"):
        found.flow(spec(f"{web}/other/flow.py?f", f"{web}/team"))


def test_a_redirect_leads_no_word_out_of_its_folder(finder, web):
    """Neither to another folder nor to a host that the caller allows for something else."""
    found = finder(hosts=frozenset({"127.0.0.1", "localhost"}))
    written = f"{web}/team/flow.py?to="
    assert found.flow(spec(f"{written}/team/other.py?f", f"{web}/team")).name == "f"
    for target in ("/other/flow.py?f", f"{web.replace('127.0.0.1', 'localhost')}/team/flow.py?f"):
        with pytest.raises(SourceError, match="which lies outside"):
            found.flow(spec(written + target, f"{web}/team"))
        assert found.flow(spec(written + target)).name == "f"


def test_a_redirect_keeps_to_the_schemes_that_words_may_name(finder, web):
    """Who may name http by way of --allow-scheme is not led to https by a server."""
    found = finder(hosts=frozenset({"127.0.0.1"}), linked=frozenset({"http"}))
    with pytest.raises(SourceError, match="it is redirected to https://"):
        found.flow(spec(f"{web}/team/flow.py?to=https://127.0.0.1:9/x.py", ""))


def test_a_redirect_keeps_to_them_for_records_and_names_too(web):
    """A deployment's record, and a spec whose flow's name is found out."""
    location = f"{web}/team/flow.py?to=https://127.0.0.1:9/x.py"
    access = Access(hosts=frozenset({"127.0.0.1"}), linked=frozenset({"http"}))
    data = documents.json_data(location)
    record = DeploymentRecord(id=uuid4(), flow_id=uuid4(), flow_name="f", name="d", flow_data=data)
    with pytest.raises(SourceError, match="it is redirected to https://"):
        load_flow_from_deployment(record, access=access)
    specs = [spec(location, ""), spec(f"{web}/team/flow.py?f", "")]
    with pytest.raises(SelectionError) as caught:
        select_deployment(specs, flow_name="none", access=access)
    assert "it is redirected to https://" in str(caught.value.__notes__)


def test_a_refusal_tells_no_password_and_no_key(finder, home):
    """Locations are quoted without them."""
    for location in (
        "https://u:HUNTER2@h/x.py",
        "https://h/x.py?sig=HUNTER2",
        "zip://a::https://h/x?HUNTER2",
    ):
        with pytest.raises(SourceError) as caught:
            finder().flow(spec(location, str(home)))
        assert "HUNTER2" not in str(caught.value)


def test_nothing_special_is_opened(finder, home):
    """What a spec names beside itself is a script, or refused before it is opened."""
    os.mkfifo(home / "fifo.py")
    (home / "folder.py").mkdir()
    (home / "link.py").symlink_to("/proc/self/environ")
    for name in ("fifo.py", "folder.py", "link.py"):
        with pytest.raises(SourceError):
            finder().flow(spec(str(home / name), str(home)))


def test_a_key_in_a_manifests_url_is_told_nowhere(loader, web, tmp_path, monkeypatch):
    """It is needed to read the manifest, and nobody else is to have it."""
    key, access = "HUNTER2", Access(hosts=frozenset({"127.0.0.1"}))
    good = "- {name: a, flow_location: flow.py, flow_runner: subprocess}\n"
    for text in (good, good + "- {name: b, flow_locaton: x}\n"):
        monkeypatch.setattr(Handler, "manifest", text.encode(), raising=False)
        url = f"{web}/m.yaml?sig={key}"
        said = ""
        try:
            specs = deployment_specs_from_yaml(url, access=access)
        except ManifestError as error:
            specs, said = error.specs, str(error)
        assert bool(said) == (text != good)
        assert key not in said
        ((spec, place),) = specs.items()
        assert key not in f"{spec!r} {place} {spec.file}"
        assert place["file"] == f"{web}/m.yaml?…"
        with EmbeddedRegistry(tmp_path / "r.db") as registry:
            batch = batches.judge(url, Deployer(registry, Finder(loader, access)))
        assert batch.outcome.source.location == f"{web}/m.yaml?…"
        assert key not in f"{batch!r} {batch.outcome.model_dump_json()} {batch.verdicts}"
    outcome = loader.load(f"{web}/flow.py?sig={key}", access=access)
    assert outcome.source.location == f"{web}/flow.py?…"
    assert key not in outcome.model_dump_json()


def test_a_location_without_a_key_is_told_as_it_was_given(loader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text(SCRIPT.format(name="f"))
    assert loader.load("./flow.py").source.location == "./flow.py"
    assert loader.load_text("", name="<x>").source.location == "<x>"
