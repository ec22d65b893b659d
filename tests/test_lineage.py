"""What a worker says of a flow's file leads its caller no further than the folder that was loaded."""

import dataclasses
import shutil

import pytest

from loader import (
    DeploymentSpec,
    EmbeddedRegistry,
    Flow,
    FlowLoader,
    SelectionError,
    SourceError,
    deployment_specs_and_flows_from_script,
    deployment_specs_from_script,
    lineage,
    load_flow_from_deployment,
    load_flow_from_script,
    load_flow_from_text,
    select_deployment,
)
from loader.client import documents

pytestmark = pytest.mark.filterwarnings("ignore:You have not configured default storage")
SCRIPT = "from prefect import flow\n@flow\ndef answer(): pass\n"
FORGED = """\
from prefect import flow
def answer(): pass
answer.__code__ = answer.__code__.replace(co_filename={file!r})
answer = flow(answer)
"""


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An embedded registry of the test's own, and storage of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with EmbeddedRegistry(tmp_path / "registry" / "r.db") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    """A folder of scripts, with a secret beside it."""
    (tmp_path / "secret").write_text("a secret\n")
    (tmp_path / "flows").mkdir()
    return tmp_path / "flows"


def script(folder, name="own.py"):
    path = folder / name
    path.write_text(SCRIPT)
    return path


def lying(folder, file):
    """A script whose flow says that it is of another file."""
    path = folder / "liar.py"
    path.write_text(FORGED.format(file=str(file)))
    return path


def deployed(flow, registry, **options):
    spec = DeploymentSpec(name="d", flow=flow, flow_runner="subprocess")
    return registry.read_deployment(spec.create_deployment(registry, **options))


def test_a_flow_that_was_loaded_leads_to_its_script(folder, registry):
    """The one that it is of, and one beside it that holds it."""
    script(folder)
    (folder / "main.py").write_text("from own import answer\n")
    for name in ("own.py", "main.py"):
        record = deployed(load_flow_from_script(folder / name), registry)
        assert registry.resolve_datadoc(record.flow_data) == SCRIPT.encode()


def test_a_flow_leads_no_further_than_the_folder_it_was_loaded_from(folder, registry, tmp_path):
    """By whichever door it came."""
    path = lying(folder, tmp_path / "secret")
    with FlowLoader() as loader:
        outcome = loader.load(path)
    _, flows = deployment_specs_and_flows_from_script(path)
    text = load_flow_from_text(path.read_text())
    for flow in (load_flow_from_script(path), *outcome.flows, *flows, text):
        assert flow.file == str(tmp_path / "secret")
        with pytest.raises(SourceError, match="the flow 'answer' names it"):
            deployed(flow, registry)
    assert not list((tmp_path / "data").rglob("*"))


def test_a_flow_in_a_scripts_spec_leads_no_further_either(folder, registry, tmp_path):
    """Also where the caller makes a spec of its own of it."""
    path = lying(folder, tmp_path / "secret")
    path.write_text(
        path.read_text() + "from prefect.deployments import DeploymentSpec\nDeploymentSpec(flow=answer)\n"
    )
    (spec,) = deployment_specs_from_script(path)
    with pytest.raises(SourceError, match="names it"):
        deployed(spec.flow, registry)


def test_a_records_flow_leads_no_further(folder, registry, tmp_path):
    """Neither of one that is text, nor of one that is a file below the root that the caller names."""
    path = lying(folder, tmp_path / "secret")
    record = deployed(load_flow_from_script(script(folder)), registry)
    named = record.model_copy(update={"flow_data": None, "path": str(folder), "entrypoint": "liar.py:answer"})
    kept = named.model_copy(update={"flow_data": documents.text(path.read_text())})
    for flow in (
        load_flow_from_deployment(named, registry, root=folder),
        load_flow_from_deployment(kept, registry),
    ):
        assert flow.file == str(tmp_path / "secret")
        with pytest.raises(SourceError, match="names it"):
            deployed(flow, registry)


def test_a_root_that_the_caller_names_holds_what_a_flow_names(folder, registry, tmp_path):
    """As for everything that somebody else names."""
    flow = load_flow_from_script(lying(folder, script(tmp_path, "other.py")))
    record = deployed(flow, registry, root=tmp_path)
    assert registry.resolve_datadoc(record.flow_data) == SCRIPT.encode()


def test_a_link_or_another_folder_in_its_place_leads_nowhere(folder, registry, tmp_path):
    """The folder is the one that was loaded from, and what is read lies in it."""
    (folder / "linked.py").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError):
        deployed(load_flow_from_script(lying(folder, folder / "linked.py")), registry)
    flow = load_flow_from_script(script(folder))
    shutil.move(folder, tmp_path / "away")
    shutil.copytree(tmp_path / "away", folder, symlinks=True)
    with pytest.raises(SourceError):
        deployed(flow, registry)


NAMELESS = """\
from prefect.deployments import DeploymentSpec
DeploymentSpec(name="inside", flow_location={inside!r})
DeploymentSpec(name="outside", flow_location={outside!r})
"""


def test_claims_lead_no_further_when_a_deployment_is_selected(folder, tmp_path):
    """Those of a load, and those of a plan: a flow's name is found out below the folder alone."""
    inside, outside = script(folder), script(tmp_path, "outside.py")
    path = folder / "deployments.py"
    path.write_text(NAMELESS.format(inside=str(inside), outside=str(outside)))
    manifest = folder / "m.yaml"
    manifest.write_text(
        f"- {{name: inside, flow_location: {inside}}}\n- {{name: outside, flow_location: {outside}}}\n"
    )
    with FlowLoader() as loader:
        found = [loader.load(path).specs, [item.spec for item in loader.specs(manifest).specs]]
    for specs in found:
        unnamed = [dataclasses.replace(spec, flow_name=None) for spec in specs]
        for spec, claim in zip(unnamed, specs, strict=True):
            lineage.found_in(spec, lineage.home_of(claim))
        assert select_deployment(unnamed, "inside", "answer").name == "inside"
        with pytest.raises(SelectionError) as caught:
            select_deployment(unnamed, "outside", "answer")
        assert "names it, and it lies outside" in str(caught.value.__notes__)
        assert select_deployment(unnamed, "outside", "answer", root=tmp_path).name == "outside"


def test_where_a_flow_was_found_is_no_fact_of_it(folder):
    """Flows compare and show themselves by what is said of them."""
    flow = load_flow_from_script(script(folder))
    plain = Flow(**dataclasses.asdict(flow))
    assert (plain, hash(plain), repr(plain)) == (flow, hash(flow), repr(flow))
