"""What a script defined becomes messages."""

import textwrap

from worker import extract, protocol


def test_facts_become_a_message_whatever_they_are():
    """Each field is made plain by its kind; what does not fit is absent."""
    flow = extract.flow({"name": 7, "line": "x", "tags": {"b", "a"}, "parameters": [1], "is_async": "yes"})
    assert flow == protocol.Flow(name="7", tags=("a", "b"))
    spec = extract.spec({"parameters": None, "tags": None, "flow_storage": {"a": {1}}})
    assert spec == protocol.Spec(flow_storage={"a": [1]})


def test_instances_are_globals_of_the_true_type_each_once():
    """A class that lies about itself is not taken for another, and subclasses count."""

    class Thing: ...

    class Special(Thing): ...

    class Liar:
        __class__ = Thing

    one, two = Thing(), Special()
    namespace = {"a": one, "b": [Thing()], "c": Liar(), "d": two, "e": one}
    assert extract.instances(namespace, Thing) == [one, two]


def test_entrypoint_is_relative_to_the_root():
    """A file of the script's folder is named relative to it, another in full, text not at all."""
    assert extract.entrypoint("/srv/flows/a/b.py", "f", "/srv/flows") == "a/b.py:f"
    assert extract.entrypoint("/srv/flows2/b.py", "f", "/srv/flows") == "/srv/flows2/b.py:f"
    assert extract.entrypoint("<stdin>", "f", "/srv/flows") is None


def test_last_line_is_the_last_that_has_code():
    """Functions inside a function and statements over several lines count."""
    source = textwrap.dedent(
        """
        def f():
            def g():
                return 1
            return [
                g,
                1,
            ]
        x = 1
        """
    )
    code = compile(source, "x", "exec").co_consts[0]
    assert code.co_name == "f"
    assert extract.last_line(code) == 8


def test_only_globals_count_in_order_of_definition(run):
    """Imported flows count; flows in containers, and a second name for one, do not."""
    ran = run(
        """
        from prefect import flow
        from helper import imported
        hidden = [flow(lambda: 1, name="hidden")]
        @flow
        def last(): ...
        @flow
        def first(): ...
        again = last
        """,
        {"helper.py": "from prefect import flow\n@flow\ndef imported(): ...\n"},
    )
    assert [flow["name"] for flow in ran.flows] == ["imported", "last", "first"]
    assert ran.flows[0]["entrypoint"] == "helper.py:imported"


def test_flow_that_cannot_be_read_does_not_hide_the_others(run):
    """It leaves a notice."""
    ran = run(
        """
        from prefect import Flow, flow
        @flow
        def good(): ...
        bad = Flow(lambda: 1)
        del bad.__dict__["fn"], bad.__dict__["name"]
        """
    )
    assert [flow["name"] for flow in ran.flows] == ["good"]
    assert len(ran.notices("flow")) == 1


def test_what_changed_after_the_definition_is_told_as_it_is_in_the_end(run):
    """Facts are read again when the script has ended."""
    ran = run(
        """
        from prefect import flow
        from prefect.deployments import DeploymentSpec
        @flow
        def f(): ...
        f.description = "late"
        spec = DeploymentSpec(flow=f)
        spec.tags = ["late"]
        """
    )
    assert ran.flows[0]["description"] == "late"
    assert ran.specs[0]["tags"] == ["late"]
