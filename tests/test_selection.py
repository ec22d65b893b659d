"""Selection: which flow or deployment a name means, and what is said when it means none or several."""

import pickle

import pytest

from loader import (
    MissingDeploymentError,
    MissingFlowError,
    SelectionError,
    UnspecifiedDeploymentError,
    UnspecifiedFlowError,
)
from loader.selection import MOST, select_deployment, select_flow, unknown_locations
from worker.protocol import Flow, Spec

A, B = Flow("a", file="/x/flows.py", line=3), Flow("b", file="/x/flows.py", line=9)
OTHER_A = Flow("a", file="/x/more.py", line=2)
SPEC_A = Spec("a", flow_name="fa", file="/x/specs.py", line=4)
SPEC_B = Spec("b", flow_name="fb", file="/x/specs.py", line=8)
OTHER_SPEC_A = Spec("a", flow_name="fc", file="/x/specs.py", line=12)
SPEC_C = Spec("c", flow_name="fa", file="/x/specs.py", line=16)
FROM = "in script 'x.py'"


def refusal(error, call, *arguments, **options):
    """The message of the one exception that a call ends with."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    assert type(caught.value) is error
    return str(caught.value)


# --- flows ---


@pytest.mark.parametrize("collection", [list, tuple, set, frozenset, iter, dict.fromkeys])
def test_the_only_flow_is_selected_from_whatever_holds_it(collection):
    """Any iterable will do, also one that can be read only once."""
    assert select_flow(collection([A])) is A


def test_a_flow_is_selected_by_name():
    """The name decides among several."""
    assert select_flow([A, B], "b") is B


def test_equal_flows_are_one():
    """What nobody can tell apart needs no choice."""
    assert select_flow([A, Flow("a", file="/x/flows.py", line=3)], "a") is A


@pytest.mark.parametrize(
    ("flows", "name", "source", "error", "message"),
    [
        ([], None, None, MissingFlowError, "No flows found."),
        ([], "x", FROM, MissingFlowError, "No flows found in script 'x.py'."),
        (
            [B, A],
            "x",
            None,
            MissingFlowError,
            "Flow 'x' not found. Found the following flows: 'a' 'b'",
        ),
        (
            [B, A, OTHER_A],
            "",
            FROM,
            MissingFlowError,
            "Flow '' not found in script 'x.py'. Found the following flows: 'a' 'b'",
        ),
        (
            [B, A],
            None,
            None,
            UnspecifiedFlowError,
            "Found 2 flows: 'a' 'b'. Specify a flow name to select a flow.",
        ),
        (
            [B, A],
            None,
            FROM,
            UnspecifiedFlowError,
            "Found 2 flows in script 'x.py': 'a' 'b'. Specify a flow name to select a flow.",
        ),
    ],
)
def test_a_flow_that_is_not_there_or_not_specified_is_refused(flows, name, source, error, message):
    """The words are the seed's, the names sorted."""
    assert refusal(error, select_flow, flows, name, source) == message


@pytest.mark.parametrize("flows", [[OTHER_A, A, B], [B, A, OTHER_A]])
def test_an_ambiguous_flow_name_lists_every_flow_with_file_and_line(flows):
    """A name that several flows have selects none of them."""
    assert refusal(UnspecifiedFlowError, select_flow, flows, "a", FROM) == (
        "cannot select one of 2 flows named 'a' in script 'x.py':"
        " 'a' ('/x/flows.py', line 3), 'a' ('/x/more.py', line 2). Rename all but one."
    )


def test_flows_that_only_share_a_name_are_not_told_to_specify_it():
    """The remedy is one that works."""
    assert "Rename" in refusal(UnspecifiedFlowError, select_flow, [A, OTHER_A])


def test_a_hostile_name_is_shown_as_python_writes_it():
    """A name acts on no terminal."""
    assert r"'\x1b[2J\u202e'" in refusal(MissingFlowError, select_flow, [Flow("\x1b[2J\u202e")], "x")


def test_an_error_holds_the_candidates_and_survives_pickling():
    """A caller can offer the choice, in another process too."""
    with pytest.raises(UnspecifiedFlowError) as caught:
        select_flow([A, B])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.candidates) == (str(caught.value), (A, B))


# --- deployments ---


@pytest.mark.parametrize("collection", [list, set, iter, lambda specs: {spec: {"line": 1} for spec in specs}])
def test_the_only_deployment_is_selected_from_whatever_holds_it(collection):
    """Any iterable will do, and a mapping of specs as the functions that load them give it."""
    assert select_deployment(collection([SPEC_A])) is SPEC_A


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("b", None), SPEC_B), ((None, "fb"), SPEC_B), (("a", "fa"), SPEC_A), (("a", "fc"), OTHER_SPEC_A)],
)
def test_a_deployment_is_selected_by_its_name_its_flow_or_both(names, expected):
    """Either name will do where it leaves one."""
    assert select_deployment([SPEC_A, SPEC_B, OTHER_SPEC_A], *names) is expected


def test_a_deployment_without_a_name_has_its_flows():
    """That is the name it will be given."""
    spec = Spec(flow_name="fa")
    assert select_deployment([SPEC_B, spec], "fa") is spec


@pytest.mark.parametrize(
    ("specs", "names", "error", "message"),
    [
        ([], (None, None), MissingDeploymentError, "No deployments found."),
        ([], ("a", "f", FROM), MissingDeploymentError, "No deployments found in script 'x.py'."),
        (
            [SPEC_B, SPEC_A],
            ("z", None, FROM),
            MissingDeploymentError,
            "Deployment 'z' not found in script 'x.py'. Found the following deployments: 'a' 'b'",
        ),
        (
            [SPEC_B, SPEC_A],
            ("z", "fa"),
            MissingDeploymentError,
            "Deployment 'z' not found. Found the following deployments: 'a' 'b'",
        ),
        (
            [SPEC_B, SPEC_A, SPEC_C],
            (None, "z", FROM),
            MissingDeploymentError,
            "Deployment for flow 'z' not found in script 'x.py'."
            " Found deployments for the following flows: 'fa' 'fb'",
        ),
        (
            [SPEC_A],
            ("a", "fb", FROM),
            MissingDeploymentError,
            "Deployment 'a' for flow 'fb' not found. Found deployment 'a' but it is for flow 'fa'.",
        ),
        (
            [SPEC_B, SPEC_A],
            (None, None, FROM),
            UnspecifiedDeploymentError,
            "Found 2 deployments in script 'x.py': 'a' 'b'."
            " Specify a deployment or flow name to select a deployment.",
        ),
        (
            [SPEC_A, OTHER_SPEC_A],
            (None, None),
            UnspecifiedDeploymentError,
            "Found 2 deployments: 'a' 'a'. Specify a deployment or flow name to select a deployment.",
        ),
    ],
)
def test_a_deployment_that_is_not_there_or_not_specified_is_refused(specs, names, error, message):
    """The words are the seed's, the names sorted."""
    assert refusal(error, select_deployment, specs, *names) == message


@pytest.mark.parametrize(
    ("specs", "names", "message"),
    [
        (
            [OTHER_SPEC_A, SPEC_A],
            ("a",),
            "cannot select one of 2 deployments named 'a': 'a' ('/x/specs.py', line 4),"
            " 'a' ('/x/specs.py', line 12). Specify a flow name to select a deployment.",
        ),
        (
            [SPEC_A, SPEC_B, SPEC_C],
            (None, "fa"),
            "cannot select one of 2 deployments for flow 'fa': 'a' ('/x/specs.py', line 4),"
            " 'c' ('/x/specs.py', line 16). Specify a deployment name to select a deployment.",
        ),
        (
            [SPEC_A, Spec("a", flow_name="fa", file="/x/specs.py", line=20)],
            ("a", "fa"),
            "cannot select one of 2 deployments named 'a': 'a' ('/x/specs.py', line 4),"
            " 'a' ('/x/specs.py', line 20). Rename all but one.",
        ),
    ],
)
def test_ambiguous_names_list_every_deployment_with_file_and_line(specs, names, message):
    """Names that several deployments fit select none of them, and the remedy is one that works."""
    assert refusal(UnspecifiedDeploymentError, select_deployment, specs, *names) == message


LOCATED = Spec("l", flow_location="/x/l.py")
UNNAMED = Spec(flow_location="/x/u.py")


def test_a_flow_name_that_was_found_out_is_the_specs():
    """The spec itself stays as it is, so that it is found again where the caller keeps it."""
    assert select_deployment([SPEC_A, LOCATED], flow_name="fl", flow_names={"/x/l.py": "fl"}) is LOCATED


def test_a_spec_whose_flow_nobody_knows_fits_no_name():
    """It is listed as unknown and hides no other."""
    assert select_deployment([SPEC_A, LOCATED], flow_name="fa") is SPEC_A
    assert "'fa' (unknown)" in refusal(
        MissingDeploymentError, select_deployment, [SPEC_A, LOCATED], None, "z"
    )


@pytest.mark.parametrize(
    ("names", "locations"),
    [
        ((None, None), ["/x/u.py"]),
        (("l", None), ["/x/u.py"]),
        (("a", "fa"), ["/x/u.py"]),
        ((None, "fa"), ["/x/l.py", "/x/u.py"]),
        (("l", "fa"), ["/x/l.py", "/x/u.py"]),
    ],
)
def test_only_locations_on_which_the_answer_depends_need_a_look(names, locations):
    """A spec that says its flow's name, or that the other name excludes, is not asked for it."""
    assert unknown_locations([SPEC_A, LOCATED, UNNAMED, SPEC_B, LOCATED], *names) == locations


def test_a_lone_spec_needs_a_look_only_when_a_name_is_asked_for():
    """The only deployment is selected without running anything."""
    assert unknown_locations([UNNAMED]) == []
    assert unknown_locations([LOCATED], flow_name="fl") == ["/x/l.py"]


class Alike:
    """What differs from another only in what has no hash; counts how often it is compared."""

    name, flow_name, flow_location, file, line = "a", "fa", None, "/x/flows.py", 3
    compared = 0

    def __eq__(self, other):
        Alike.compared += 1
        return self is other

    def __hash__(self):
        return 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (select_flow, UnspecifiedFlowError),
        (select_deployment, UnspecifiedDeploymentError),
        (lambda items, name: unknown_locations(items) or select_flow(items, name), UnspecifiedFlowError),
    ],
)
def test_thousands_that_are_alike_are_not_all_compared(monkeypatch, call, error):
    """A script may make as many as fit into its answer, whose reader has no time limit."""
    monkeypatch.setattr(Alike, "compared", 0)
    message = refusal(error, call, [Alike() for _ in range(3000)], "a")
    assert f"cannot select one of more than {MOST} " in message
    assert Alike.compared <= 4 * MOST**2


@pytest.mark.parametrize("name", ["missing", None])
def test_of_many_names_the_first_are_told(name):
    """A message is repeated for each spec that asks, and there may be thousands of those, too."""
    flows = [Flow(f"{'x' * 500}{number:04}") for number in range(3000)]
    specs = [Spec(flow.name, flow_name=flow.name) for flow in flows]
    for call, things in ((select_flow, flows), (select_deployment, specs)):
        with pytest.raises(SelectionError) as caught:
            call(things, name)
        assert len(str(caught.value)) < 300 * MOST
