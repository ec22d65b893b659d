"""What `flow-loader check` says, and with which exit code."""

import json

import pytest

SCRIPT = """
from prefect import flow
from prefect.deployments import DeploymentSpec

@flow(version="1")
def greet(name: str, times: int = 1):
    pass

@flow
def other():
    pass

DeploymentSpec(name="local", flow=greet, parameters={"name": "x"}, flow_runner={"type": "subprocess"})
DeploymentSpec(name="bad", flow=greet, flow_runner={"type": "docker"})
"""


@pytest.fixture
def script(samples, request):
    path = samples / f"check-{abs(hash(request.node.name))}.py"
    path.write_text(SCRIPT)
    path.chmod(0o644)
    yield path
    path.unlink()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No registry of the user who runs the tests is looked at."""
    monkeypatch.setenv("HOME", str(tmp_path))


def kinds(told):
    return [reason["kind"] for reason in told["reasons"]]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--flow", "greet"], 0, []),
        (["--flow", "greet", "--parameters", '{"name": "x"}'], 0, []),
        (["--flow", "greet", "--parameters", "{}"], 2, ["missing_parameter"]),
        (["--flow", "greet", "--parameters", '{"name": 5}'], 2, ["wrong_parameter"]),
        (["--flow", "greet", "--parameters", '{"name": "", "nmae": 5}'], 2, ["unknown_parameter"]),
        ([], 4, ["flow_ambiguous"]),
        (["--flow", "gone"], 4, ["flow_missing"]),
        (["--deployment", "gone"], 4, ["deployment_missing"]),
        (["--deployment", "bad"], 1, ["invalid_spec"]),
        (["--deployment", "bad", "--parameters", "{}"], 1, ["invalid_spec", "missing_parameter"]),
    ],
)
def test_each_answer_has_its_exit_code(anyone, script, words, code, expected):
    """One object on standard output, whatever the answer."""
    found, told = anyone.json("check", script, "--registry", script.with_suffix(".none"), *words)
    assert (found, told["status"], told["ok"], kinds(told)) == (code, "loaded", not expected, expected)
    assert set(told) == {"status", "ok", "flow", "spec", "reasons", "warnings", "outcome"}


@pytest.mark.slow
def test_an_entrypoint(anyone, script):
    """`file.py:function`."""
    code, told = anyone.json("check", f"{script}:other")
    assert (code, told["flow"]["name"]) == (0, "other")


@pytest.mark.sampled
@pytest.mark.parametrize(("name", "code"), [("syntax_error", 1), ("segfault", 1), ("exits", 1)])
def test_a_script_that_does_not_load(anyone, name, code):
    """The status is the load's, and so is the reason."""
    found, told = anyone.json("check", f"failing/{name}.py:f", "--parameters", "{}")
    assert (found, told["ok"], kinds(told)) == (code, False, [told["status"]])
    assert told["outcome"]["error"]["frames"]


@pytest.mark.slow
def test_drift_against_a_registry(command, script, tmp_path):
    """What was deployed is compared with what the script says now."""
    where = ["--registry", tmp_path / "registry.db"]
    assert command("deploy", script, *where).returncode == 1  # the other spec is not valid
    named = ["check", script, "--deployment", "greet/local", *where]
    assert command.json(*named)[0] == 0
    assert command.json(*named, "--parameters", '{"times": 2}')[0] == 0
    script.write_text(SCRIPT.replace("times: int = 1", "often: int = 1").replace('"1"', '"2"'))
    code, told = command.json(*named)
    assert code == 1
    assert set(kinds(told)) == {"drift"}
    assert {reason["field"] for reason in told["reasons"]} == {
        "version",
        "parameters.times",
        "parameters.often",
    }
    done = command(*named)
    assert done.returncode == 1
    assert "drift: cannot vouch for version: recorded is '1', the script says '2'" in " ".join(
        done.stdout.split()
    )
    code, told = command.json("check", script, "--deployment", "greet/none", *where)
    assert (code, kinds(told)) == (4, ["deployment_missing"])
    script.write_text("from prefect import flow\n@flow\ndef renamed(): pass\n@flow\ndef b(): pass\n")
    code, told = command.json(*named)
    assert (code, kinds(told)) == (4, ["flow_missing"])


@pytest.mark.slow
def test_a_manifest(anyone, tmp_path):
    """A spec of it by name."""
    code, told = anyone.json(
        "check", "manifests/deployments.yaml", "--deployment", "nightly", "--parameters", '{"day": 5}'
    )
    assert (code, told["spec"]["name"], kinds(told)) == (2, "nightly", ["wrong_parameter"])


@pytest.mark.sampled
@pytest.mark.parametrize(
    "parameters", ["", "{", "[]", "5", "null", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000]
)
def test_parameters_that_are_no_object_are_the_callers_mistake(command, parameters):
    """No script is run for them."""
    code, told = command.json("check", "single_flow.py", "--parameters", parameters)
    assert (code, told["status"]) == (2, "usage")
    assert told["error"]["message"].startswith("cannot ")


@pytest.mark.slow
def test_a_script_on_standard_input(command):
    """As for `load`."""
    done = command("check", "-", "--flow", "greet", "--parameters", "{}", "--format", "json", input=SCRIPT)
    assert (done.returncode, kinds(json.loads(done.stdout))) == (2, ["missing_parameter"])


@pytest.mark.slow
def test_the_verdict_for_reading(command):
    """The flow, the reasons, and a last line; names cannot act on the terminal."""
    text = "from prefect import flow\n@flow(name='a\\x1b[31mb')\ndef f(x: int): pass\n"
    done = command("check", "-", "--parameters", '{"x": "\\u001b[31m"}', input=text)
    assert done.returncode == 2
    assert "wrong_parameter: cannot pass '\\x1b[31m' as x: an integer is due" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not ok: 1 reason; profile strict")
    assert "\x1b" not in done.stdout
    done = command("check", "-", input=text)
    assert done.stdout.splitlines()[-1].startswith("ok: nothing is in the way of a run")
