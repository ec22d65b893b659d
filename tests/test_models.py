"""The outcome: its JSON has exactly the contract's keys, and it is a value."""

import json
from dataclasses import FrozenInstanceError

import pytest
from pydantic import ValidationError

from loader.models import (
    Denied,
    Dialect,
    Error,
    Exit,
    Flow,
    Frame,
    Guarantee,
    Notice,
    Outcome,
    Output,
    Sandbox,
    Source,
    Spec,
    Status,
    Usage,
)

FLOW = Flow("hello", parameters={"properties": {}}, tags=("a",))
SPEC = Spec("daily", "hello", parameters={"x": 1}, flow_storage=[1, {}])
ERROR = Error(
    "run",
    "ValueError",
    "no",
    (Frame("f.py", 1, "<module>", "x"),),
    "Traceback",
    Error("run", "KeyError", "'x'"),
    "try",
    Denied("filesystem", "/etc/passwd"),
)
OUTCOME = Outcome(
    status=Status.SCRIPT_FAILED,
    source=Source(location="f.py", digest="sha256:00", size=3),
    sandbox=Sandbox(profile="strict", guarantees=(Guarantee("cpu", "full", ("rlimits",)),)),
    usage=Usage(wall_seconds=0.5, cpu_seconds=0.25, max_rss_bytes=1 << 20),
    exit=Exit(code=0),
    flows=(FLOW,),
    specs=(SPEC,),
    notices=(Notice("warning", "careful", "f.py", 2),),
    error=ERROR,
    stdout=Output(text="hi", bytes=2),
    stderr=Output(),
    dialect=Dialect("orion", None),
)
SHORT = Outcome(
    status=Status.LOADED,
    source=Source(location="f.py", digest="sha256:00", size=3),
    sandbox=Sandbox(profile="strict"),
)

KEYS = {
    "": "status source sandbox usage exit flows specs notices error stdout stderr dialect sources kept",
    "source": "location digest size",
    "sandbox": "profile guarantees python",
    "sandbox.guarantees.0": "name level by",
    "usage": "wall_seconds cpu_seconds max_rss_bytes",
    "exit": "code signal",
    "flows.0": (
        "name function entrypoint version description parameters file line end_line is_async retries"
        " timeout_seconds task_runner tags is_generator retry_delay_seconds persist_result hooks"
        " variable validate_parameters"
    ),
    "specs.0": "name flow_name flow_location parameters schedule tags flow_runner flow_storage file line"
    " prefect",
    "notices.0": "kind message file line",
    "error": "stage type message frames traceback cause hint denied",
    "error.cause": "stage type message frames traceback cause hint denied",
    "error.frames.0": "file line function source",
    "error.denied": "act target",
    "stdout": "text bytes truncated",
    "stderr": "text bytes truncated",
    "dialect": "name version reason",
}
"""Each object of an outcome's JSON, by its place in it: its keys in their order.

Some are not of the published contract, which may be added to.
"""


def at(value, place):
    """What lies at a dotted place of plain data."""
    for step in filter(None, place.split(".")):
        value = value[int(step)] if step.isdigit() else value[step]
    return value


def objects(value, place=""):
    """The place of every map, but for those whose keys are the script's own."""
    if isinstance(value, dict) and not place.endswith(("parameters", "flow_storage.1")):
        yield place
        for key, item in value.items():
            yield from objects(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, f"{place}.{index}")


@pytest.mark.parametrize("place", KEYS)
def test_json_has_exactly_the_contracts_keys(place):
    """Callers read by name: nothing is missing, nothing is called otherwise, and the order is kept."""
    assert list(at(OUTCOME.model_dump(mode="json"), place)) == KEYS[place].split()


def test_every_object_of_the_json_is_checked():
    """A new one needs a line above."""
    assert set(objects(OUTCOME.model_dump(mode="json"))) == KEYS.keys()


def test_keys_are_there_when_there_is_nothing_to_say():
    """What is not known is null or empty, and never absent."""
    dumped = SHORT.model_dump(mode="json")
    assert list(dumped) == KEYS[""].split()
    assert (dumped["error"], dumped["dialect"], dumped["exit"]) == (
        None,
        None,
        {"code": None, "signal": None},
    )
    assert (dumped["flows"], dumped["specs"], dumped["notices"]) == ([], [], [])


def test_json_is_plain_and_strict():
    """Both ways of writing it agree, and any reader of JSON takes it."""
    dumped = OUTCOME.model_dump(mode="json")
    assert json.loads(json.dumps(dumped, allow_nan=False)) == dumped
    assert json.loads(OUTCOME.model_dump_json()) == dumped
    assert dumped["status"] == "script_failed"
    assert dumped["flows"][0]["tags"] == ["a"]


def test_json_can_be_read_back():
    """An outcome survives being written down."""
    assert Outcome.model_validate_json(OUTCOME.model_dump_json()) == OUTCOME


def test_the_statuses_are_the_vocabulary():
    """Eight words, for callers to compare with."""
    assert (
        list(Status)
        == (
            "loaded script_failed timed_out out_of_memory output_exceeded crashed violated_protocol"
            " sandbox_unavailable"
        ).split()
    )


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (OUTCOME, "status"),
        (OUTCOME.source, "digest"),
        (OUTCOME.usage, "wall_seconds"),
        (OUTCOME.stdout, "text"),
    ],
)
def test_facts_are_frozen(value, field):
    """An outcome is what happened."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, field, "other")


@pytest.mark.parametrize("value", [FLOW, SPEC, ERROR, OUTCOME.notices[0], OUTCOME.dialect])
def test_claims_are_frozen(value):
    """And so is what was claimed."""
    with pytest.raises(FrozenInstanceError):
        value.name = "other"


def test_flows_and_specs_can_be_kept_in_sets():
    """Equal ones are one, whatever their parameters hold."""
    assert len({FLOW, Flow("hello", parameters={"properties": {}}, tags=("a",)), Flow("other")}) == 2
    assert len({SPEC, Spec("daily", "hello", parameters={"x": 1}, flow_storage=[1, {}])}) == 1
    assert len({FLOW, Flow("hello", parameters={"other": []}, tags=("a",))}) == 2
    assert hash(OUTCOME) == hash(Outcome.model_validate_json(OUTCOME.model_dump_json()))


def test_what_is_not_named_is_refused():
    """A key that is misspelt is no key."""
    with pytest.raises(ValidationError):
        Usage(wall=1.0)


def test_a_repr_is_short():
    """One line: the status, where from, how much; not a page of metadata."""
    assert repr(OUTCOME) == "<Outcome script_failed 'f.py': 1 flows, 1 specs>"
    many = OUTCOME.model_copy(update={"flows": (FLOW,) * 1000})
    assert len(repr(many)) < 100
