"""What a flow runner may say: what scripts can make is taken, and a mistake names its field."""

import pytest
from pydantic import ValidationError

from loader.flow_runners import (
    KINDS,
    DockerFlowRunner,
    FlowRunnerSettings,
    KubernetesFlowRunner,
    SubprocessFlowRunner,
    UniversalFlowRunner,
)
from worker.dialects.orion import flow_runners as scripts
from worker.plain import plain


def mistake(kind, **fields):
    with pytest.raises(ValidationError) as caught:
        kind(**fields)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def test_settings_are_the_type_and_the_rest():
    """A runner is `{type, config}` for whoever runs it."""
    assert UniversalFlowRunner(env={"A": 1}).settings() == {
        "type": "universal",
        "config": {"env": {"A": "1"}},
    }
    assert {kind: runner().kind for kind, runner in KINDS.items()} == {kind: kind for kind in KINDS}


def test_one_environment_at_most():
    """The message is the seed's."""
    message = "Received incompatible settings. You cannot provide both a conda and virtualenv to use."
    assert mistake(SubprocessFlowRunner, condaenv="a", virtualenv="b") == ("", message)


def test_a_volume_has_two_sides():
    """The message is the seed's, and shows the volume."""
    field, message = mistake(DockerFlowRunner, volumes=["/a:/b", "/c"])
    assert field == "volumes"
    assert message == "Invalid volume specification. Expected format 'path:container_path', but got '/c'"


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        (UniversalFlowRunner, {"env": {"A": None}}, "env.A"),
        (UniversalFlowRunner, {"env": []}, "env"),
        (UniversalFlowRunner, {"typename": "docker"}, "typename"),
        (UniversalFlowRunner, {"image": "x"}, "image"),
        (DockerFlowRunner, {"image_pull_policy": "Sometimes"}, "image_pull_policy"),
        (DockerFlowRunner, {"networks": "one"}, "networks"),
        (DockerFlowRunner, {"auto_remove": "perhaps"}, "auto_remove"),
        (KubernetesFlowRunner, {"restart_policy": "Always"}, "restart_policy"),
        (KubernetesFlowRunner, {"image_pull_policy": "ALWAYS"}, "image_pull_policy"),
        (FlowRunnerSettings, {"name": "docker"}, "name"),
    ],
)
def test_a_mistake_names_its_field(kind, fields, field):
    """One mistake, one error."""
    assert mistake(kind, **fields)[0] == field


MADE_BY_SCRIPTS = [
    scripts.UniversalFlowRunner(),
    scripts.UniversalFlowRunner(env={"A": 1, "B": "2"}),
    scripts.SubprocessFlowRunner(condaenv="c", stream_output=False),
    scripts.SubprocessFlowRunner(virtualenv="/v", stream_output="no"),
    *(scripts.DockerFlowRunner(image_pull_policy=policy) for policy in ("Always", "NEVER", None)),
    scripts.DockerFlowRunner(
        image="i", networks={"b", "a"}, labels={"a": 1.5}, volumes=("/a:/b",), auto_remove=1
    ),
    scripts.DockerFlowRunner(network_mode="host", stream_output="off"),
    scripts.KubernetesFlowRunner(image="i", namespace="n", service_account_name="s", labels={}),
    scripts.KubernetesFlowRunner(restart_policy="OnFailure", image_pull_policy="Never"),
]


@pytest.mark.parametrize("made", MADE_BY_SCRIPTS, ids=str)
def test_what_a_script_makes_is_taken_as_it_says(made):
    """A runner's settings make the same runner here, which says the same of itself."""
    said = plain(scripts.settings(made))
    assert KINDS[said["type"]](**said["config"]).settings() == said
