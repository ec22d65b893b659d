"""What `FlowLoader.check` answers: real workers, and schemas of people who wish us ill."""

import asyncio
import datetime as dt
import time
import tracemalloc
from uuid import uuid4

import pytest

from loader import DeploymentRecord, EmbeddedRegistry, FlowLoader, Kind, Recorded, SourceError, Status
from loader.brief import CUT, brief
from loader.drift import drifted
from loader.fitting import Fit
from loader.sources.entrypoints import split
from worker.protocol import Flow

SCRIPT = """
from prefect import flow
from prefect.deployments import DeploymentSpec

@flow(name="load data", version="3")
def load(count: int, name: str = "x", day: str = None):
    "Fetch."

@flow
def other():
    pass

DeploymentSpec(name="d", flow=load, parameters={"count": 1}, flow_runner={"type": "subprocess"})
DeploymentSpec(name="wrong", flow=load, parameters={"cuont": 1}, flow_runner={"type": "subprocess"})
DeploymentSpec(name="invalid", flow=load, flow_runner={"type": "docker"})
"""
PROPERTIES = {"count": {"type": "integer"}, "name": {"default": "x", "type": "string"}}
RECORDED = Recorded(
    name="load data",
    version="3",
    entrypoint="flow.py:load",
    parameter_schema={
        "title": "Parameters",
        "type": "object",
        "properties": {**PROPERTIES, "day": {"title": "day", "type": "string"}},
        "required": ["count"],
    },
)


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as warm:
        yield warm


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "flow.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def registry(tmp_path):
    with EmbeddedRegistry(tmp_path / "registry.db") as client:
        yield client


def kinds(verdict):
    return [(reason.kind.value, reason.parameter or reason.field) for reason in verdict.reasons]


def fit(schema, parameters, **options):
    """Kinds, parameters and messages of one schema's reasons."""
    held = Fit(schema, **options)
    return [*held.reasons(parameters), *held.missing(parameters)], held.warnings


# --- the whole question ---


def test_a_run_that_may_go_ahead(loader, script):
    """The flow, no reason, and the outcome that it was learnt from."""
    verdict = loader.check(script, flow="load data", parameters={"count": 1, "day": None})
    assert (verdict.ok, verdict.status, verdict.reasons) == (True, Status.LOADED, ())
    assert verdict.flow.function == "load"
    assert verdict.outcome.source.digest.startswith("sha256:")
    assert repr(verdict).endswith(": ok>")


def test_every_reason_is_told(loader, script):
    """Unknown, wrong and missing parameters are each named."""
    verdict = loader.check(f"{script}:load", parameters={"nmae": 1, "day": 5})
    assert not verdict.ok
    assert kinds(verdict) == [
        ("unknown_parameter", "nmae"),
        ("wrong_parameter", "day"),
        ("missing_parameter", "count"),
    ]
    assert all(reason.message.startswith("cannot ") for reason in verdict.reasons)


def test_parameters_that_are_not_given_are_not_missed(loader, script):
    """The question was another one."""
    assert loader.check(script, flow="load").ok


def test_values_that_the_flow_does_not_validate_are_not_judged(loader, tmp_path):
    """The run takes any value then; a name that the function does not have it refuses all the same."""
    path = tmp_path / "flow.py"
    path.write_text("from prefect import flow\n@flow(validate_parameters=False)\ndef f(n: int): ...\n")
    verdict = loader.check(path, parameters={"n": "one"})
    assert verdict.ok
    assert verdict.flow.validate_parameters is False
    assert verdict.warnings == ("the value of parameter n, which the flow does not validate, was not tried",)
    assert kinds(loader.check(path, parameters={"m": 1})) == [
        ("unknown_parameter", "m"),
        ("missing_parameter", "n"),
    ]


@pytest.mark.parametrize(
    ("flow", "kind"), [("gone", Kind.FLOW_MISSING), (None, Kind.FLOW_AMBIGUOUS), ("load", None)]
)
def test_exactly_this_flow(loader, script, flow, kind):
    """By its name or its function; none and several are reasons."""
    verdict = loader.check(script, flow=flow)
    assert [reason.kind for reason in verdict.reasons] == ([kind] if kind else [])


def test_an_entrypoint_means_the_function(loader, tmp_path):
    """Where one flow has the name of another's function, a run would take the function."""
    path = tmp_path / "a.py"
    path.write_text(
        "from prefect import flow\n@flow(name='b')\ndef a(): pass\n@flow(name='c')\ndef b(): pass\n"
    )
    assert loader.check(f"{path}:b").flow.name == "c"
    assert loader.check(path, flow="b").flow.name == "b"
    assert [reason.kind for reason in loader.check(f"{path}:b", flow="a").reasons] == [Kind.FLOW_MISSING]


NAMED = """
from prefect import flow
@flow(name="g")
def base(): pass
def g(): pass
alias = base
def make():
    @flow(name="made flow")
    def inner(): pass
    return inner
made = make()
class Held:
    @staticmethod
    @flow(name="held")
    def inside(): pass
    kept = flow(name="gone")(lambda: None)
@flow
def gone(): pass
Held.gone = gone
def gone(): pass
"""


@pytest.mark.parametrize(
    ("function", "name"),
    [("base", "g"), ("made", "made flow")]
    + [(gone, None) for gone in ("g", "inner", "made flow", "gone", "")],
)
def test_an_entrypoint_means_what_the_script_calls_so(loader, tmp_path, function, name):
    """As Python looks it up: neither a flow's name nor a function that nothing leads to is one."""
    path = tmp_path / "a.py"
    path.write_text(NAMED)
    verdict = loader.check(path, function=function)
    assert (verdict.ok, verdict.flow and verdict.flow.name) == (name is not None, name)
    assert [reason.kind for reason in verdict.reasons] == ([] if name else [Kind.FLOW_MISSING])
    if function:
        assert loader.check(f"{path}:{function}").reasons == verdict.reasons


def test_a_location_beside_a_function_is_no_entrypoint(loader, tmp_path):
    """Whatever lies beside the script under the name of both together."""
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): pass")
    (tmp_path / "a.py:f").write_text("1 / 0")
    assert loader.check(tmp_path / "a.py", function="f").ok
    with pytest.raises(SourceError, match="no such file"):
        loader.check(tmp_path / "a.py:g", function="f")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 / 0", Kind.SCRIPT_FAILED),
        ("import os; os._exit(3)", Kind.CRASHED),
        ("while True: pass", Kind.TIMED_OUT),
        ("'a script without flows'", Kind.FLOW_MISSING),
    ],
)
def test_a_script_that_does_not_load(loader, tmp_path, text, kind):
    """The one reason is the load's own; nothing else is guessed at."""
    path = tmp_path / "flow.py"
    path.write_text(text)
    verdict = loader.check(path, flow="f", parameters={"x": 1}, timeout=1)
    assert [reason.kind for reason in verdict.reasons] == [kind]
    assert str(path) in verdict.reasons[0].message


def test_what_cannot_be_read_is_the_callers_mistake(loader, tmp_path):
    """As for a load."""
    with pytest.raises(SourceError, match="no such file"):
        loader.check(tmp_path / "none.py")


def test_asynchronously(loader, script):
    """The same answer; a check that is cancelled ends at once, and its worker with it."""

    async def both():
        verdict = await loader.check_async(script, flow="load")
        hangs = script.with_name("hangs.py")
        hangs.write_text("while True: pass")
        started = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loader.check_async(hangs), 0.5)
        return verdict, time.monotonic() - started

    verdict, took = asyncio.run(both())
    assert verdict.ok
    assert took < 3


# --- deployments ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d", []),
        ("load data/d", []),
        ("wrong", [("invalid_spec", "cuont"), ("missing_parameter", "count")]),
        ("invalid", [("invalid_spec", "invalid"), ("missing_parameter", "count")]),
        ("none", [("deployment_missing", None)]),
        ("other/d", [("deployment_missing", None)]),
    ],
)
def test_a_spec_of_the_script(loader, script, registry, name, expected):
    """It is valid, and its parameters count as given."""
    verdict = loader.check(script, deployment=name, parameters={}, client=registry)
    assert kinds(verdict) == expected


def test_a_spec_of_a_manifest(loader, script, registry):
    """A manifest leads to the flow."""
    manifest = script.with_name("m.yaml")
    manifest.write_text(
        "name: n\nflow_location: ./flow.py\nflow_name: load data\nparameters: {count: x}\n"
        "flow_runner: subprocess\n"
    )
    verdict = loader.check(manifest, client=registry)
    assert (verdict.flow.name, verdict.spec.name) == ("load data", "n")
    assert kinds(verdict) == [("invalid_spec", "count")]
    assert loader.check(manifest, client=registry, parameters={"count": 5}).ok


def test_what_is_recorded_still_holds(loader, script):
    """A record that was made of this script: titles and descriptions may differ."""
    assert loader.check(script, recorded=RECORDED, parameters={"count": 2}).ok


def test_drift_is_told_field_by_field(loader, script):
    """Each field by its name, parameters by theirs."""
    old = Recorded(
        name="load",
        version="2",
        entrypoint="flow.py:load",
        parameter_schema={
            "properties": {"count": {"type": "string"}, "gone": {}, "name": {"type": "string", "default": 1}},
        },
        parameters={"gone": 1, "name": "ok"},
    )
    verdict = loader.check(script, recorded=old)
    assert {reason.kind for reason in verdict.reasons} == {Kind.DRIFT}
    assert {reason.field for reason in verdict.reasons} == {
        "name",
        "version",
        "parameters.count.type",
        "parameters.count.required",
        "parameters.gone",
        "parameters.name.default",
        "parameters.day",
    }


def test_a_flow_that_is_gone_is_no_drift(loader, script):
    """Nothing is left to compare."""
    verdict = loader.check(script, recorded=Recorded(name="gone", entrypoint="flow.py:gone"))
    assert kinds(verdict) == [("flow_missing", None)]


def test_a_registrys_record_can_be_given(loader, script):
    """As a client reads it; what a server works out before a run is not judged."""
    late = {"__prefect_kind": "jinja", "template": "{{ x }}"}
    record = DeploymentRecord(
        id=uuid4(), flow_id=uuid4(), flow_name="load data", name="d", version="3", parameters={"count": late}
    )
    verdict = loader.check(script, recorded=record, parameters={})
    assert verdict.ok
    assert "count" in verdict.warnings[0]


def test_equal_numbers_of_another_kind_are_drift():
    """1, 1.0 and true are three defaults."""
    old = Recorded(parameter_schema={"properties": {"a": {"default": 1}}})
    assert not list(drifted(old, flow_of({"a": {"default": 1}})))
    (told,) = drifted(old, flow_of({"a": {"default": True}}))
    assert told.field == "parameters.a.default"


@pytest.mark.parametrize(
    ("schema", "other"),
    [
        ({"default": {"title": "one"}}, {"default": {"title": "two"}}),
        ({"default": [{"x": {"position": 1}}]}, {"default": [{"x": {"position": 2}}]}),
        ({"const": {"description": 1}}, {"const": {"description": 2}}),
        ({"items": {"enum": [{"title": 1}]}}, {"items": {"enum": [{"title": 2}]}}),
        ({"properties": {"default": {"type": "string"}}}, {"properties": {"default": {"type": "null"}}}),
    ],
)
def test_a_value_that_changes_is_drift_whatever_its_keys(schema, other):
    """What only explains in a schema is data in a default."""
    told = list(drifted(Recorded(parameter_schema={"properties": {"x": schema}}), flow_of({"x": other})))
    assert len(told) == 1
    assert not list(drifted(Recorded(parameter_schema={"properties": {"x": schema}}), flow_of({"x": schema})))


LIST, SET = {"type": "array"}, {"type": "array", "uniqueItems": True}
MAYBE = {"anyOf": [SET, {"type": "null"}]}
PARTS = {
    "M": {"properties": {"names": MAYBE, "order": LIST, "by": {"additionalProperties": SET}}},
    "N": {"properties": {"names": LIST, "order": SET}},
    "Pair": {"prefixItems": [SET, LIST], "items": SET},
    "Old": {"items": [SET, LIST], "additionalItems": SET},
    "Deep": {"properties": {"names": SET, "next": {"$ref": "#/definitions/Deep"}}},
}


@pytest.mark.parametrize(
    ("part", "default", "other", "drifts"),
    [
        ("M", {"names": ["a", "b"]}, {"names": ["b", "a"]}, False),
        ("M", {"names": ["a", "b"]}, {"names": ["b", "c"]}, True),
        ("M", {"names": ["a"], "order": [1, 2]}, {"names": ["a"], "order": [2, 1]}, True),
        ("M", {"by": {"k": ["a", "b"]}}, {"by": {"k": ["b", "a"]}}, False),
        ("M", {"names": [["a", "b"]]}, {"names": [["b", "a"]]}, True),
        ("N", {"names": ["a", "b"]}, {"names": ["b", "a"]}, True),
        ("N", {"order": ["a", "b"]}, {"order": ["b", "a"]}, False),
        ("Pair", [[1, 2], [1, 2], [1, 2]], [[2, 1], [1, 2], [2, 1]], False),
        ("Pair", [[1, 2], [1, 2]], [[1, 2], [2, 1]], True),
        ("Old", [[1, 2], [1, 2], [1, 2]], [[2, 1], [1, 2], [2, 1]], False),
        ("Old", [[1, 2], [1, 2]], [[1, 2], [2, 1]], True),
        ("Deep", {"next": {"next": {"names": [1, 2]}}}, {"next": {"next": {"names": [2, 1]}}}, False),
        ("Deep", {"next": {"other": [1, 2]}}, {"next": {"other": [2, 1]}}, True),
        ("gone", [1, 2], [2, 1], True),
    ],
)
def test_only_what_its_own_schema_calls_a_set_has_no_order(part, default, other, drifts):
    """A set is written in any order; lists keep theirs, also where a set elsewhere has their name."""
    for form in ({"$ref": f"#/definitions/{part}"}, {"allOf": [{"$ref": f"#/definitions/{part}"}]}):
        old, new = ({**form, "default": value} for value in (default, other))
        recorded = Recorded(parameter_schema={"properties": {"m": old, "s": SET}, "definitions": PARTS})
        told = list(drifted(recorded, flow_of({"m": new, "s": SET}, definitions=PARTS)))
        assert bool(told) is drifts


def test_what_may_be_a_list_has_an_order():
    """A difference too many can be looked at; one too few cannot."""
    old, new = ({"anyOf": [LIST, SET], "default": value} for value in ([1, 2], [2, 1]))
    assert list(drifted(Recorded(parameter_schema={"properties": {"x": old}}), flow_of({"x": new})))


@pytest.mark.parametrize(
    ("schema", "recorded", "said", "drifts"),
    [
        ({"type": "number"}, None, "inf", False),
        ({}, None, "nan", False),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, None, "-inf", False),
        ({"items": {"type": "number"}}, [None, 1], ["inf", 1], False),
        ({"type": "string"}, None, "inf", True),
        ({"type": "number"}, 1.5, "inf", True),
        ({"type": "number"}, "inf", "inf", False),
        ({"type": "number"}, "inf", "-inf", True),
        ({"type": "number"}, "inf", None, True),
        ({"type": "number"}, float("inf"), "inf", False),
        ({"type": "integer"}, 2**70, str(2**70), False),
        ({"type": "integer"}, 2**70, str(2**71), True),
        ({"type": "integer"}, 5, "5", True),
    ],
)
def test_a_number_is_the_same_in_each_form_that_it_is_recorded_in(schema, recorded, said, drifts):
    """Prefect records null for what JSON cannot say, and integers of any size; we record a worker's text."""
    old, new = ({"x": {**schema, "default": value}} for value in (recorded, said))
    assert bool(list(drifted(Recorded(parameter_schema={"properties": old}), flow_of(new)))) is drifts


FORMS = {f"F{i}": {"anyOf": [{"$ref": f"#/definitions/F{i + 1}"}] * 2_000} for i in range(20)}
WIDE = {"anyOf": [{"items": {"type": "array"}, "additionalProperties": {}} for _ in range(20_000)]}
FAR = {
    "anyOf": [{"$ref": "#" + "/definitions" * 40} for _ in range(20_000)],
    "items": {"$ref": "#/definitions/Far"},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("F0", [[]] * 10_000),
        ("Wide", [[1]] * 10_000),
        ("Wide", {str(place): {} for place in range(10_000)}),
        ("Far", [[1]] * 10_000),
        ("Loop", [[1]] * 10_000),
    ],
)
def test_a_comparison_is_bounded_in_time(name, value):
    """However much is said of a value; what is the same is no drift then either."""
    rest = {"definitions": {**FORMS, "Wide": WIDE, "Far": FAR, "Loop": {"$ref": "#/definitions/Loop"}}}
    properties = {"x": {"$ref": f"#/definitions/{name}", "default": value}}
    started = time.process_time()
    assert not list(
        drifted(Recorded(parameter_schema={"properties": properties, **rest}), flow_of(properties, **rest))
    )
    assert time.process_time() - started < 5


def flow_of(properties, **rest):
    """A flow of these parameters."""
    return Flow(name="f", function="f", entrypoint=None, parameters={"properties": properties, **rest})


# --- schemas ---

GENERATION_2 = {
    "properties": {
        "when": {"type": "string", "format": "date-time"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "maxItems": 2},
        "old_pair": {"type": "array", "items": [{"type": "integer"}, {"type": "string"}]},
        "model": {"$ref": "#/definitions/Model"},
        "kind": {"enum": ["cat", "dog"]},
    },
    "required": ["when"],
    "definitions": {
        "Model": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "note": {"type": "string"},
                "said": {"type": "string", "default": None},
            },
            "required": ["size"],
        }
    },
}


@pytest.mark.parametrize(
    "values",
    [
        {"when": "2026-01-02T03:04:05Z"},
        {"when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)},
        {"maybe": None},
        {"maybe": 5},
        {"pair": [1, "x"]},
        {"model": {"size": 1, "said": None}},
        {"kind": "cat"},
    ],
)
def test_what_fits(values):
    """As the flow itself would take it."""
    assert fit(GENERATION_2, {"when": "2026-01-01", **values}) == ([], ())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"when": "soon"}, "when"),
        ({"when": None}, "when"),
        ({"maybe": "x"}, "maybe"),
        ({"pair": [1, 2]}, "pair.1"),
        ({"old_pair": ["x", "y"]}, "old_pair.0"),
        ({"model": {}}, "model"),
        ({"model": {"size": "x"}}, "model.size"),
        ({"model": {"size": 1e308}}, "model.size"),
        ({"kind": "cow"}, "kind"),
        ({"kind": object()}, "kind"),
    ],
)
def test_what_does_not_fit(values, field):
    """The reason names the parameter and the place in it."""
    reasons, _ = fit(GENERATION_2, {"when": "2026-01-01", **values})
    assert [(reason.kind, reason.parameter, reason.field) for reason in reasons] == [
        (Kind.WRONG_PARAMETER, field.split(".")[0], field)
    ]


BOMB = {f"B{i}": {"allOf": [{"$ref": f"#/definitions/B{i + 1}"}] * 2} for i in range(60)} | {"B60": {}}
DRAFT = "http://json-schema.org/draft-07/schema#"
UNUSABLE = {
    "circle": {"$ref": "#/definitions/loop"},
    "bomb": {"$ref": "#/definitions/B0"},
    "remote": {"$ref": "http://127.0.0.1:9/schema.json"},
    "file": {"$ref": "file:///etc/passwd"},
    "well known": {"$ref": DRAFT},
    "relative": {"$ref": "other.json#/x"},
    "long": {"$ref": "#/" + "a/" * 1000},
    "nowhere": {"$ref": "#/definitions/none"},
    "type": {"type": 5},
    "unknown type": {"type": "flow"},
    "list": [1, 2],
    "number": {"maximum": "x"},
    "properties": {"allOf": 7},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_schema_that_judges_nothing_is_refused(name, monkeypatch):
    """In bounded time, with nothing fetched, and the parameter is named."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("a request"))
    schema = {
        "properties": {"x": UNUSABLE[name], "y": {"type": "integer"}},
        "definitions": {"loop": {"$ref": "#/definitions/loop"}, **BOMB},
    }
    started = time.process_time()
    reasons, _ = fit(schema, {"x": 1, "y": "wrong"}, seconds=0.5)
    assert time.process_time() - started < 2
    assert (reasons[0].kind, reasons[0].parameter) == (Kind.UNUSABLE_SCHEMA, "x")
    assert reasons[1].parameter == "y"


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"$schema": DRAFT, "pattern": "^(a+)+$"},
        {"allOf": [{"$schema": DRAFT, "pattern": "^(a+)+$"}]},
    ],
)
def test_regular_expressions_are_not_tried(schema):
    """They can take for ever; that they were left out is told, whatever draft a part says it is of."""
    started = time.process_time()
    reasons, warnings = fit({"properties": {"x": schema}}, {"x": "a" * 40 + "!"})
    assert time.process_time() - started < 1
    assert (reasons, warnings) == ([], ("pattern of parameter x was not tried",))


@pytest.mark.parametrize(
    ("schema", "value", "warned"),
    [
        ({"type": "string", "format": "uri"}, "no url", "format 'uri' of parameter x was not tried"),
        ({"format": "uri"}, 5, None),
        ({"type": "string", "format": "path"}, "a", None),
        ({"contentMediaType": "application/json"}, "{", "contentMediaType of parameter x was not tried"),
        (
            {"anyOf": [{"format": "ipv4"}, {"type": "null"}]},
            "a",
            "format 'ipv4' of parameter x was not tried",
        ),
        ({"type": "array"}, None, "whether null is the default of x was not tried"),
        ({"anyOf": [{"type": "array"}, {"type": "null"}]}, None, None),
        (
            {"$ref": "#/definitions/M"},
            {"z": None},
            "whether null is the default of z of parameter x was not tried",
        ),
    ],
)
def test_what_is_not_tried_is_told(schema, value, warned):
    """What cannot be known from a schema is a warning and no reason."""
    held = {"properties": {"x": schema}, "definitions": {"M": {"properties": {"z": {"type": "array"}}}}}
    assert fit(held, {"x": value}) == ([], () if warned is None else (warned,))


@pytest.mark.slow
def test_parameters_that_prefect_does_not_tell_are_not_missed(prefect_python, tmp_path):
    """Its schemas do not say which take any number of arguments, and leave out one called cls."""
    path = tmp_path / "flow.py"
    path.write_text(
        "from prefect import flow\n@flow\ndef many(a, *args, **kwargs): ...\n"
        "@flow\ndef plain(a, cls=1): ...\n@flow\ndef due(args: int): ...\n"
    )
    with FlowLoader(python=prefect_python) as loader:
        many, plain, due = (
            loader.check(f"{path}:{name}", parameters=parameters)
            for name, parameters in (("many", {"a": 1}), ("plain", {"a": 1, "cls": 2}), ("due", {}))
        )
    assert (many.ok, len(many.warnings)) == (True, 2)
    assert (plain.ok, len(plain.warnings)) == (True, 1)
    assert (due.ok, kinds(due)) == (False, [("missing_parameter", "args")])


def test_regular_expressions_for_names_are_not_tried():
    """Nor does what depends on them refuse anything."""
    schema = {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}
    reasons, warnings = fit({"properties": {"x": schema}}, {"x": {"a" * 40 + "!": 1}})
    assert (reasons, len(warnings)) == ([], 1)


@pytest.mark.parametrize("properties", [[], "x", 5, {"x": True}, {"x": False}, {"x": 5}, {"x": None}])
def test_schemas_of_any_shape(properties):
    """None of them raises."""
    fit({"properties": properties, "required": "x"}, {"x": 1})


@pytest.mark.parametrize(
    ("schema", "fits", "misfits"),
    [
        ({"uniqueItems": True}, [[1, True, "1", [1], {"a": 1}], "aa"], [[1, 1.0], [{"a": [1]}, {"a": [1]}]]),
        ({"uniqueItems": False}, [[1, 1]], []),
        ({"const": {"a": [1]}}, [{"a": [1.0]}], [{"a": [True]}, {"a": []}, [["a", [1]]]]),
        ({"enum": [[0], {"a": 1}]}, [[0.0], {"a": 1}], [[False], {"a": 1, "b": 1}, 0]),
        ({"contains": {"type": "string"}}, [["x", 1], "x"], [[1], []]),
        ({"contains": {"type": "string"}, "minContains": 0, "maxContains": 1}, [[], ["x"]], [["x", "y"]]),
    ],
)
def test_values_are_equal_as_json_has_it(schema, fits, misfits):
    """Whatever they hold, and whatever Python says."""
    properties = {"properties": {"x": schema}}
    assert [fit(properties, {"x": value})[0] for value in fits] == [[]] * len(fits)
    assert [len(fit(properties, {"x": value})[0]) for value in misfits] == [1] * len(misfits)


MANY = [{"a": place} for place in range(4_000)]
ALIKE = [place * (2**61 - 1) for place in range(100_000)]
"""Integers that all have one hash."""


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("schema", "value", "told", "seconds"),
    [
        ({"uniqueItems": True}, MANY, [], 5),
        (
            {"uniqueItems": True},
            [place * (2**61 - 1) for place in range(100_000)],
            [Kind.UNUSABLE_SCHEMA],
            0.2,
        ),
        ({"enum": [[MANY[place], *MANY] for place in range(400)]}, [{}, *MANY], [Kind.UNUSABLE_SCHEMA], 0.2),
        ({"contains": {"enum": MANY}}, [[]] * 4_000, [Kind.UNUSABLE_SCHEMA], 0.2),
    ],
)
def test_comparing_is_bounded_in_time(schema, value, told, seconds):
    """However many items there are, and however alike they are made."""
    started = time.monotonic()
    reasons, _ = fit({"properties": {"x": schema}}, {"x": value}, seconds=seconds)
    assert time.monotonic() - started < 5
    assert [reason.kind for reason in reasons] == told


def test_messages_are_short():
    """However long what they are about is."""
    schema = {"properties": {"x": {"enum": ["e" * 10_000] * 100}, "y" * 10_000: {}}}
    reasons, _ = fit(schema, {"x": "v" * 100_000, "z" * 100_000: 1})
    assert [len(reason.message) < 1000 for reason in reasons] == [True, True]


def test_warnings_are_few():
    """However much of a schema is not tried."""
    schema = {"properties": {"x": {"allOf": [{"format": f"form {place}"} for place in range(1000)]}}}
    reasons, warnings = fit(schema, {"x": "v"})
    assert (reasons, len(warnings)) == ([], 100)


def test_a_value_is_not_written_out_for_each_form():
    """Nor is a schema: what does not fit costs no more memory than there is of it."""
    forms = [{"type": "array", "items": {"const": number}} for number in range(400)]
    one = {"not": {"description": "a" * 1_000_000}}
    schema = {"properties": {"x": {"anyOf": forms}, "y": {"anyOf": [{"$ref": "#/one"}] * 400}}, "one": one}
    for parameters in ({"x": "a" * 2_000_000}, {"x": {"a" * 2_000_000: ["b" * 1000] * 1000}}, {"y": 1}):
        tracemalloc.start()
        assert list(Fit(schema).reasons(parameters))
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
        tracemalloc.stop()


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 1.5, True, None, "it's", '"', "\n", [], {}], "b": {"c": [[1, 2], {"d": ""}]}},
        ["a" * CUT, {"b" * CUT: ["c"] * CUT}],
        "a" * 2 * CUT,
        list(range(CUT)),
    ],
)
def test_what_is_told_of_a_value_begins_as_python_writes_it(value):
    """And it is equal to it."""
    short = repr(brief(value))
    assert brief(value) == value
    assert short[:CUT] == repr(value)[:CUT]
    assert len(short) <= max(CUT, len(repr(value)))


def test_a_hostile_scripts_schema(loader, tmp_path):
    """The same through a worker: a script may say what it likes of itself."""
    path = tmp_path / "flow.py"
    path.write_text(
        "from prefect import flow\nfrom typing import Any\nfrom pydantic import Field\n"
        "@flow\ndef f(x: str = Field(..., regex='^(a+)+$')): pass\n"
    )
    started = time.monotonic()
    loader.check(path, parameters={"x": "a" * 60 + "!"})
    assert time.monotonic() - started < 5


# --- entrypoints ---


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/flow.py:f", ("s3://bucket/flow.py", "f")),
        ("https://host:80/flow.py:f", ("https://host:80/flow.py", "f")),
        ("https://host:80/flow.py", ("https://host:80/flow.py", None)),
        ("https://host/flow.py?key=x.py:f", ("https://host/flow.py?key=x.py:f", None)),
        ("git:///srv/r:main@flow.py:f", ("git:///srv/r:main@flow.py", "f")),
        ("zip://flow.py::/srv/a.zip", ("zip://flow.py::/srv/a.zip", None)),
        ("zip://flow.py::a.zip", ("zip://flow.py::a.zip", None)),
        ("nowhere.py:f", ("nowhere.py", "f")),
        ("nowhere", ("nowhere", None)),
        ("", ("", None)),
        (":", (":", None)),
    ],
)
def test_a_location_and_its_flow(location, expected):
    """Only what stands behind a script is a flow."""
    assert split(location) == expected


def test_paths_with_colons(tmp_path):
    """A path that is there is a path; else the longest beginning that is."""
    for name in ("a.py", "a.py:b", "c:d.py", "script"):
        (tmp_path / name).touch()
    assert split(f"{tmp_path}/a.py:b") == (f"{tmp_path}/a.py:b", None)
    assert split(f"{tmp_path}/a.py:c") == (f"{tmp_path}/a.py", "c")
    assert split(f"{tmp_path}/a.py:b:c") == (f"{tmp_path}/a.py:b", "c")
    assert split(f"{tmp_path}/c:d.py") == (f"{tmp_path}/c:d.py", None)
    assert split(f"{tmp_path}/c:d.py:e") == (f"{tmp_path}/c:d.py", "e")
    assert split(f"{tmp_path}/script:a flow: with colons") == (f"{tmp_path}/script", "a flow: with colons")
