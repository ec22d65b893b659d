"""A folder from which somebody's words came is no other one later, however it is named."""

import os
import zipfile
from pathlib import Path

import pytest

from loader import (
    Access,
    EmbeddedRegistry,
    FlowLoader,
    SourceError,
    batches,
    deployment_specs_from_script,
    deployment_specs_from_yaml,
    load_flow_from_deployment,
    select_deployment,
)
from loader.client.interface import DeploymentRecord
from loader.deploying import Deployer
from loader.finding import Finder
from loader.sources import pinned

SPECS = """
from prefect.deployments import DeploymentSpec
from prefect.flow_runners import SubprocessFlowRunner
for name in ("a", "b"):
    DeploymentSpec(name=name, flow_runner=SubprocessFlowRunner(), flow_location={location!r})
"""
FLOW = "from prefect import flow\n@flow\ndef {name}(): pass\n"
MANIFEST = """
- {{name: a, flow_location: {where}main.py, flow_runner: subprocess}}
- {{name: b, flow_location: {where}flow.py, flow_runner: subprocess}}
"""


@pytest.fixture
def registry(tmp_path):
    with EmbeddedRegistry(tmp_path / "registry.db") as made:
        yield made


@pytest.fixture
def project(tmp_path):
    """A folder of somebody's, whose script and manifest name what will be the victim's."""
    folder = tmp_path / "project"
    victim = tmp_path / "victim"
    for path, name in ((folder, "own"), (victim, "stolen")):
        path.mkdir()
        (path / "flow.py").write_text(FLOW.format(name=name))
        (path / "main.py").write_text(FLOW.format(name=name) + SPECS.format(location=f"{folder}/flow.py"))
        (path / "m.yaml").write_text(MANIFEST.format(where=""))
    (tmp_path / "m.yaml").write_text(MANIFEST.format(where="project/"))
    return folder


def exchange(project):
    """What an accomplice does."""
    project.rename(f"{project}.old")
    project.symlink_to(project.parent / "victim")


class Exchanging(FlowLoader):
    """While its first script runs, the folder is exchanged."""

    project = None

    def run(self, script, **how):
        outcome = super().run(script, **how)
        if self.project is not None:
            exchange(self.project)
            self.project = None
        return outcome


ROOTS = ("{}/", "file://{}", "../project", "{}/../project/")
NAMED = [
    *((name, root) for name in ("project/main.py", "project/m.yaml") for root in (None, *ROOTS)),
    *(("m.yaml", root) for root in ROOTS),
]


@pytest.mark.sampled
@pytest.mark.parametrize(("name", "root"), NAMED)
def test_the_folder_is_the_same_while_specs_are_judged(project, registry, monkeypatch, name, root):
    """Whatever it is called, and whether the script or the caller names it."""
    monkeypatch.chdir(project)
    with Exchanging() as loader:
        loader.project = project
        finder = Finder(loader, Access(), root=pinned(root and root.format(project)))
        batch = batches.judge(str(project.parent / name), Deployer(registry, finder))
    last = batch.verdicts[-1]
    assert last.valid is None
    assert "was exchanged while it was in use" in last.problems[0]


def test_the_specs_of_a_script_remember_their_folder(project, registry):
    """As long as they live."""
    specs = list(deployment_specs_from_script(project / "main.py"))
    exchange(project)
    for spec in specs:
        with pytest.raises(SourceError, match="exchanged"):
            spec.validate(registry)


def test_the_specs_of_a_manifest_remember_their_folder(project, registry):
    specs = list(deployment_specs_from_yaml(project / "m.yaml"))
    exchange(project)
    for spec in specs:
        with pytest.raises(SourceError, match="exchanged"):
            spec.create_deployment(registry)


def test_the_specs_of_an_archive_remember_its_folder(project, registry):
    """An archive is read again only from where it lay."""
    for folder in (project, project.parent / "victim"):
        with zipfile.ZipFile(folder / "a.zip", "w") as made:
            made.write(folder / "flow.py", "flow.py")
            made.writestr("main.py", SPECS.format(location=f"zip://flow.py::{project}/a.zip"))
    spec, _ = deployment_specs_from_script(f"zip://main.py::{project}/a.zip")
    with pytest.warns(UserWarning, match="Using local storage"):
        assert spec.validate(registry).flow_name == "own"
    exchange(project)
    with pytest.raises(SourceError, match="exchanged"):
        spec.validate(registry)


def test_a_flow_is_not_named_after_what_another_folder_holds(project):
    """Selecting looks only where the specs' author may lead."""
    specs = list(deployment_specs_from_script(project / "main.py"))
    assert select_deployment(specs, "a", "own").name == "a"
    exchange(project)
    with pytest.raises(LookupError) as caught:
        select_deployment(specs, "a", "stolen")
    assert any("exchanged" in note for note in caught.value.__notes__)


def test_a_record_leads_into_the_root_that_was_named(project, registry, monkeypatch):
    """The folder is taken before the record is read."""
    record = DeploymentRecord(
        id="0" * 32, flow_id="1" * 32, flow_name="own", name="d", path=str(project), entrypoint="flow.py:own"
    )
    monkeypatch.setattr(
        type(registry), "read_deployment", lambda *_: exchange(project) or record, raising=True
    )
    assert load_flow_from_deployment(record, registry, root=f"{project}/").name == "own"
    with pytest.raises(SourceError, match="exchanged"):
        load_flow_from_deployment(record.id, registry, root=f"{os.path.relpath(project)}/")


class Sudden(FlowLoader):
    """A folder is exchanged after its script was read, and before it is shown."""

    def run(self, script, **how):
        folder = Path(script.filename).parent
        if folder.name == "project" and not folder.is_symlink():
            exchange(folder)
        return super().run(script, **how)


def test_a_folder_that_cannot_be_shown_is_its_own_specs_problem(project, registry, tmp_path):
    """What concerns one folder hides no other verdict; what concerns the host is the host's."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "m.yaml").write_text(MANIFEST.format(where="../project/"))
    (tmp_path / "own" / "flow.py").write_text(FLOW.format(name="fine"))
    with (tmp_path / "own" / "m.yaml").open("a") as file:
        file.write("- {name: c, flow_location: flow.py, flow_runner: subprocess}\n")
    with Sudden() as loader:
        finder = Finder(loader, Access(linked=frozenset({"file"})))
        first, second, third = batches.judge(
            str(tmp_path / "own" / "m.yaml"), Deployer(registry, finder)
        ).verdicts
    assert "was exchanged while it was opened" in first.problems[0]
    assert first.problems[0].endswith("load again")
    assert second.valid is not None  # the victim's folder is one that the caller lets be named
    assert third.valid is not None
