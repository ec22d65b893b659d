"""Manifests into specs, and deployments back into flows: nothing of either is opened outside a worker."""

import asyncio
import base64
import os
import pickle
import re
from uuid import uuid4

import pytest

import loader
from loader import (
    Access,
    DeploymentRecord,
    EmbeddedRegistry,
    FileStorageBlock,
    ManifestError,
    MissingFlowError,
    ObjectNotFound,
    ScriptError,
    SourceError,
    deployment_specs_from_yaml,
    deployment_specs_from_yaml_async,
    load_flow_from_deployment,
    load_flow_from_deployment_async,
)
from loader.client import documents
from loader.stores import store_of

SCRIPT = "from prefect import flow\n\n@flow\ndef greet(name: str = 'you'): pass\n"
MANIFEST = """\
# two documents, one of them a list
name: first
flow_location: ./flows.py
schedule:
  cron: "0 6 * * *"
---
- name: second
  flow_location: flows.py
  parameters: {name: me}
- flow_location: flows.py
  flow_name: greet
  tags: [a]
"""


@pytest.fixture
def manifest(tmp_path):
    """A callable that writes a manifest beside a script and gives its path."""
    (tmp_path / "flows.py").write_text(SCRIPT)

    def write(text=MANIFEST, name="deployments.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def record(data=None, **more):
    """A deployment's record, as a client gives it."""
    return DeploymentRecord(id=uuid4(), flow_id=uuid4(), flow_name="greet", name="d", flow_data=data, **more)


@pytest.fixture
def registry(tmp_path):
    with EmbeddedRegistry(tmp_path / "registry" / "r.db") as opened:
        yield opened


# --- manifests ---


def test_documents_and_lists_give_specs_with_file_and_line(manifest, tmp_path):
    path = manifest()
    found = deployment_specs_from_yaml(path)
    assert [(spec.name, place["line"]) for spec, place in found.items()] == [
        ("first", 2),
        ("second", 7),
        (None, 10),
    ]
    assert {place["file"] for place in found.values()} == {str(path)}
    assert {spec.flow_location for spec in found} == {str(tmp_path / "flows.py")}


def test_locations_are_relative_to_the_manifests_folder(manifest, tmp_path, monkeypatch):
    """Wherever the caller is, and however the manifest is named."""
    manifest()
    monkeypatch.chdir(tmp_path.parent)
    path = os.path.join(tmp_path.name, "deployments.yaml")
    for given in (path, (tmp_path / "deployments.yaml").as_uri()):
        assert {spec.flow_location for spec in deployment_specs_from_yaml(given)} == {
            str(tmp_path / "flows.py")
        }


def test_one_bad_spec_hides_no_other(manifest):
    """Every mistake is listed with its line, and the error holds the specs that have none."""
    path = manifest(MANIFEST.replace("0 6 * * *", "never").replace("tags: [a]", "tgas: [a]"))
    with pytest.raises(ManifestError) as caught:
        deployment_specs_from_yaml(path)
    assert [spec.name for spec in caught.value.specs] == ["second"]
    message = str(caught.value)
    assert f"{path}:5" in message
    assert 'Invalid cron string: "never"' in message
    assert f"{path}:12" in message
    assert "did you mean 'tags'?" in message


def test_a_manifest_that_is_not_there_is_the_callers_mistake(tmp_path):
    with pytest.raises(SourceError, match="there is no such file"):
        deployment_specs_from_yaml(tmp_path / "none.yaml")


def test_a_manifest_from_elsewhere_names_scripts_beside_it():
    """A remote manifest, and a script that it names relatively."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/team/deployments.yaml", MANIFEST.encode())
    files.pipe("/team/flows.py", SCRIPT.encode())
    try:
        found = deployment_specs_from_yaml("memory://team/deployments.yaml")
        assert {spec.flow_location for spec in found} == {"memory://team/flows.py"}
        first = next(iter(found)).with_values(flow_runner="subprocess")
        with pytest.warns(UserWarning, match="current machine"):
            assert first.validate(Nowhere()).flow_name == "greet"
    finally:
        files.rm("/team", recursive=True)


class Nowhere:
    """A client that has no default storage."""

    def get_default_storage_block(self):
        return None

    def read_block(self, block_id):
        raise ObjectNotFound("cannot find it")


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../other/flows.py", "~/flows.py", "file:///etc/hostname", "http://127.0.0.1:9/a.py"],
)
def test_a_manifest_cannot_point_elsewhere(manifest, tmp_path, location):
    """What it names must lie in its folder: nothing else is read, no host is asked."""
    (tmp_path.parent / "other").mkdir(exist_ok=True)
    (tmp_path.parent / "other" / "flows.py").write_text(SCRIPT)
    path = manifest(f"name: d\nflow_location: {location}\nflow_runner: {{type: subprocess}}\n")
    with pytest.raises((SourceError, ManifestError)):
        next(iter(deployment_specs_from_yaml(path))).validate(Nowhere())


def test_a_link_beside_a_manifest_does_not_lead_out(manifest, tmp_path):
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    (spec,) = deployment_specs_from_yaml(manifest("flow_location: link.py\nflow_runner: subprocess\n"))
    with pytest.raises(SourceError, match="symbolic link leads out"):
        spec.validate(Nowhere())


# --- deployments ---


def test_a_scripts_text_is_loaded(registry):
    flow = load_flow_from_deployment(record(documents.text(SCRIPT)), registry)
    assert (flow.name, flow.line) == ("greet", 3)


def test_a_pickle_is_opened_in_a_worker_and_nowhere_else(registry, tmp_path):
    """A hostile one finds itself confined: it can neither start a program nor leave a file."""
    proof = tmp_path / "proof"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {proof}",)

    with pytest.raises((ScriptError, TypeError), match="cannot load"):
        load_flow_from_deployment(record(documents.cloudpickle(pickle.dumps(Hostile()))), registry)
    assert not proof.exists()


def pickled_flow():
    """A pickled flow, made where its class exists: in a worker."""
    text = (
        "import base64, pickle, sys\nfrom prefect import flow\nimport os.path\n"
        "made = flow(os.path.join, name='greet')\n"
        "print(base64.b64encode(pickle.dumps(made)).decode())\n"
    )
    with loader.FlowLoader() as held:
        outcome = held.load_text(text)
    return base64.b64decode(outcome.stdout.text)


def test_a_pickled_flow_is_told_like_any_other(registry):
    flow = load_flow_from_deployment(record(documents.cloudpickle(pickled_flow())), registry)
    assert (flow.name, flow.function) == ("greet", "join")


def test_a_pickle_of_something_else_is_no_flow(registry):
    with pytest.raises((TypeError, ScriptError)):
        load_flow_from_deployment(record(documents.cloudpickle(pickle.dumps({"a": 1}))), registry)


@pytest.mark.parametrize("data", [[1], {"a": 1}, 5, None])
def test_data_of_another_kind_is_a_type_error(registry, data):
    with pytest.raises(TypeError, match="neither a location, a script's text nor a pickle"):
        load_flow_from_deployment(record(documents.json_data(data)), registry)
    with pytest.raises(TypeError):
        load_flow_from_deployment(record(), registry)


def test_a_location_is_loaded_from_where_the_caller_allows(registry, tmp_path):
    """A record may name no file on its own."""
    path = tmp_path / "flows.py"
    path.write_text(SCRIPT)
    told = record(documents.text(str(path)))
    with pytest.raises(SourceError, match="--root"):
        load_flow_from_deployment(told, registry)
    assert load_flow_from_deployment(told, registry, root=tmp_path).file == str(path)
    placed = record(path=str(tmp_path), entrypoint="flows.py:greet")
    with pytest.raises(SourceError):
        load_flow_from_deployment(placed, registry)
    assert load_flow_from_deployment(placed, registry, root=tmp_path).name == "greet"


def test_a_location_elsewhere_needs_its_scheme_allowed(registry):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/kept/flows.py", SCRIPT.encode())
    try:
        told = record(documents.text("memory://kept/flows.py"))
        with pytest.raises(SourceError, match="--allow-scheme"):
            load_flow_from_deployment(told, registry)
        access = Access(linked=frozenset({"memory"}))
        assert load_flow_from_deployment(told, registry, access=access).file == "memory://kept/flows.py"
    finally:
        files.rm("/kept", recursive=True)


def test_the_flow_must_be_the_deployments_own(registry):
    """By its name, as the record has it."""
    with pytest.raises(MissingFlowError, match="Flow 'greet' not found in deployment 'd'"):
        load_flow_from_deployment(record(documents.text(SCRIPT.replace("greet", "other"))), registry)


@pytest.mark.parametrize(
    "key",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        ".",
        "x\x00y",
        "~",
        "private.key",
        "id_rsa",
        "a" * 63,
    ],
)
def test_a_records_key_cannot_lead_out_of_its_storage(registry, tmp_path, key):
    """Whatever a document says, only what was written under a key is read: nothing else that lies there."""
    (tmp_path / "kept").mkdir()
    if re.fullmatch(r"[\w.]+", key) and key != ".":  # of the others nothing is to be written anywhere
        (tmp_path / "kept" / key).write_text(SCRIPT)
    block = registry.create_block("b", "Local Storage", {"storage_path": str(tmp_path / "kept")})
    told = record(documents.blockstorage(key, block))
    with pytest.raises((loader.StorageError, loader.ClientError)):
        load_flow_from_deployment(told, registry)


@pytest.mark.parametrize("kind", ["hash", "uuid", "timestamp"])
def test_every_key_that_storage_gives_leads_to_what_it_kept(registry, tmp_path, kind):
    """And those that Prefect 2.0 beta gave."""
    storage = FileStorageBlock(base_path=str(tmp_path / "kept"), key_type=kind)
    block = registry.create_block("b", storage.block_name, storage.plain())
    given = store_of(storage, Access(), trusted=True).write(SCRIPT.encode())
    for key in (given, uuid4().hex, str(uuid4())):
        (tmp_path / "kept" / key).write_text(SCRIPT)
        assert load_flow_from_deployment(record(documents.blockstorage(key, block)), registry).name == "greet"


def test_both_have_twins_for_event_loops(manifest, registry):
    async def run():
        specs = await deployment_specs_from_yaml_async(manifest())
        return specs, await load_flow_from_deployment_async(record(documents.text(SCRIPT)), registry)

    specs, flow = asyncio.run(run())
    assert (len(specs), flow.name) == (3, "greet")
