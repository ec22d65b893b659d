"""What clients are told of deployments: where their scripts are, and how a Prefect worker gets them."""

import hashlib
import time
from uuid import UUID

import pytest

from loader import DeploymentSpec, DockerFlowRunner, Flow, SpecValidationError, TempStorageBlock
from loader.packing import check_for_server, job_variables, kept_as, request, steps_to
from loader.packing_prefect import templates
from loader.validation import Surroundings, validated

STEPS = "prefect.deployments.steps"


@pytest.fixture
def valid():
    """A callable: a valid spec whose flow is at a location."""

    def make(location="/flows/a.py", **fields):
        flow = Flow("f", function="f", file=location, version="1")
        spec = DeploymentSpec(
            flow=flow, flow_storage=TempStorageBlock(), **{"flow_runner": "subprocess", **fields}
        )
        return validated(spec, Surroundings(None, None, None))

    return make


@pytest.mark.parametrize(
    ("location", "steps"),
    [
        ("/srv/flows", [{f"{STEPS}.set_working_directory": {"directory": "/srv/flows"}}]),
        (
            "s3://bucket/team/flows",
            [
                {
                    "prefect_aws.deployments.steps.pull_from_s3": {
                        "requires": "prefect-aws>=0.3.4",
                        "bucket": "bucket",
                        "folder": "team/flows",
                    }
                }
            ],
        ),
        (
            "gcs://bucket/flows",
            [
                {
                    "prefect_gcp.deployments.steps.pull_from_gcs": {
                        "requires": "prefect-gcp>=0.4.3",
                        "bucket": "bucket",
                        "folder": "flows",
                    }
                }
            ],
        ),
        (
            "abfs://container/flows",
            [
                {
                    "prefect_azure.deployments.steps.pull_from_azure_blob_storage": {
                        "requires": "prefect-azure>=0.2.8",
                        "container": "container",
                        "folder": "flows",
                    }
                }
            ],
        ),
        (
            "github://owner:repository@v1/flows",
            [
                {
                    f"{STEPS}.git_clone": {
                        "id": "clone",
                        "repository": "https://github.com/owner/repository.git",
                        "branch": "v1",
                    }
                },
                {f"{STEPS}.set_working_directory": {"directory": "{{ clone.directory }}/flows"}},
            ],
        ),
    ],
)
def test_each_place_has_its_pull_steps(valid, location, steps):
    """No credentials among them: a worker has its own."""
    assert list(steps_to(location, valid())) == steps


@pytest.mark.parametrize("location", ["https://example.org/flows", "memory://flows", "zip://a::/b.zip"])
def test_a_place_that_no_worker_can_fetch_is_refused(valid, location):
    with pytest.raises(SpecValidationError, match="its workers cannot fetch"):
        steps_to(location, valid())


@pytest.mark.parametrize(
    "location", ["/srv/{{ prefect.variables.x }}", "s3://b/{{ prefect.blocks.secret.x }}"]
)
def test_a_place_that_a_worker_would_fill_in_is_refused(valid, location):
    """A folder's name is a name, and no question to the worker's server."""
    with pytest.raises(SpecValidationError, match="rename the folder"):
        steps_to(location, valid())


def test_parameters_that_a_server_would_work_out_are_refused(valid):
    """At any depth."""
    check_for_server(valid(parameters={"a": [{"b": "{{ x }}"}]}))
    with pytest.raises(SpecValidationError, match="would work out the parameter"):
        check_for_server(valid(parameters={"a": [{"b": {"__prefect_kind": "jinja", "template": "x"}}]}))


def test_settings_that_a_worker_would_fill_in_are_refused(valid):
    """A spec's author does not read the worker's secrets by their names."""
    runner = {"type": "subprocess", "config": {"env": {"KEY": "{{ prefect.blocks.secret.key }}"}}}
    with pytest.raises(SpecValidationError, match="setting of its flow runner"):
        check_for_server(valid(flow_runner=runner))


def test_templates_are_what_stands_between_braces():
    """The shortest; where no end comes nothing is, and that costs no time."""
    assert list(templates(["{{ a }} }} {{b{{c}}}}{{\n}}{{ d"])) == ["a", "b{{c", ""]
    began = time.process_time()
    assert list(templates("{{" * 1_000_000)) == []
    assert time.process_time() - began < 5


def test_a_flow_whose_function_has_no_name_cannot_be_found_by_a_worker(valid):
    """Nor can a name that a script only claims lead elsewhere."""
    for function in ("<lambda>", "a; import os", "a:b", None, ""):
        claimed = Flow("f", function=function, file="/flows/a.py")
        spec = DeploymentSpec(flow=claimed, flow_storage=TempStorageBlock(), flow_runner="subprocess")
        made = validated(spec, Surroundings(None, None, None))
        assert request(made, UUID(int=1)).entrypoint is None
        with pytest.raises(SpecValidationError, match="function has no name"):
            check_for_server(made)


def test_a_query_is_no_part_of_a_files_name(valid):
    """It may be a key."""
    spec = valid("https://example.org/flows/a.py?signature=hush")
    assert request(spec, UUID(int=1)).entrypoint == "a.py:f"
    assert kept_as(spec, b"1") == f"{hashlib.sha256(b'1').hexdigest()}/a.py"


def test_settings_that_are_not_the_usual_ones_are_job_variables():
    assert job_variables(DockerFlowRunner(image="a:1", env={"A": "1"}, auto_remove=True)) == {
        "image": "a:1",
        "env": {"A": "1"},
        "auto_remove": True,
    }
    assert job_variables(DockerFlowRunner()) == {}


def test_a_script_is_kept_under_its_own_name_and_its_digest(valid):
    """Two scripts of one name do not meet, and the same one is kept once."""
    first, same, other = kept_as(valid(), b"1"), kept_as(valid(), b"1"), kept_as(valid(), b"2")
    assert first == same != other
    assert first.endswith("/a.py")


def test_a_request_says_where_the_flow_is(valid):
    made = request(valid("/flows/a.py", schedule={"cron": "* * * * *"}, tags=["x"]), UUID(int=1))
    assert (made.path, made.entrypoint) == ("/flows", "a.py:f")
    assert made.schedules[0].schedule == {"cron": "* * * * *", "day_or": True}
    assert (made.name, made.version, made.tags) == ("f", "1", ("x",))
