"""What `flow-loader specs` says of scripts and manifests."""

import datetime as dt
import json

import pytest

from loader.models import Status


def judged(told):
    """Each spec's name and whether it is valid."""
    return [(spec["name"], spec["valid"]) for spec in told["specs"]]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No registry of the user who runs the tests is looked at."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.sampled
def test_a_manifest_is_judged(anyone):
    """Every spec with file and line, and when it runs."""
    code, told = anyone.json("specs", "manifests/deployments.yaml")
    assert code == 0, told
    assert (told["status"], told["error"]) == (Status.LOADED, None)
    assert judged(told) == [("nightly", True), ("hourly", True)]
    assert [spec["line"] for spec in told["specs"]] == [2, 12]
    assert {spec["flow_name"] for spec in told["specs"]} == {"report"}
    assert told["specs"][0]["parameters"] == {"day": "2026-11-22"}
    assert told["source"]["digest"].startswith("sha256:")
    for spec in told["specs"]:
        runs = [dt.datetime.fromisoformat(moment) for moment in spec["next_runs"]]
        assert len(runs) == 3
        assert runs == sorted(runs)
        assert runs[0] > dt.datetime.now(dt.UTC)


@pytest.mark.slow
def test_one_bad_spec_hides_no_other(anyone):
    """Each has its own verdict, with line and reason."""
    code, told = anyone.json("specs", "manifests/mistakes.yaml")
    assert (code, told["status"]) == (1, Status.LOADED)
    assert judged(told) == [("fine", True), ("never", False), ("elsewhere", False), ("gone", False)]
    problems = [spec["problems"] for spec in told["specs"]]
    assert problems[0] == []
    assert problems[1] == ["line 7: key 'schedule.cron': Invalid cron string: \"never\""]
    assert "lies outside" in problems[2][0]
    assert "there is no such file" in problems[3][0]


@pytest.mark.slow
def test_a_script_is_judged(anyone):
    """The rest of the outcome is that of a load."""
    code, told = anyone.json("specs", "deployments.py")
    assert code == 1
    assert judged(told) == [("often", True), ("mornings", False), ("monthly", False)]
    assert "requires remote storage" in told["specs"][1]["problems"][0]
    assert "current machine" in told["specs"][0]["warnings"][0]
    assert [flow["name"] for flow in told["flows"]] == ["clean-up"]
    assert told["sandbox"]["guarantees"]


@pytest.mark.slow
def test_storage_for_specs_that_name_none(anyone, tmp_path):
    """Nothing is written there: judging is only looking."""
    code, told = anyone.json("specs", "deployments.py", "--storage", tmp_path / "kept")
    assert (code, [spec["valid"] for spec in told["specs"]]) == (0, [True] * 3)
    assert not (tmp_path / "kept").exists()


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: a\n  b: [", 2, ""),
        ("- 5\n", 1, "a spec is due"),
        ("\x00", 1, "not allowed"),
    ],
)
def test_what_is_no_manifest_is_its_authors_mistake(command, tmp_path, text, line, said):
    """The error names line and reason, as that of a script would."""
    path = tmp_path / "bad.yml"
    path.write_text(text)
    code, told = command.json("specs", path)
    assert (code, told["status"]) == (1, Status.SCRIPT_FAILED)
    error = told["error"]
    assert error["type"] == "ManifestError"
    assert error["frames"][0]["file"] == str(path)
    assert error["frames"][0]["line"] == line
    assert said in error["message"]


@pytest.mark.slow
def test_a_failed_script_keeps_its_specs_and_none_is_valid(command, tmp_path):
    """What was found before the error is told beside it."""
    path = tmp_path / "fails.py"
    path.write_text(
        "from prefect import flow\nfrom prefect.deployments import DeploymentSpec\n"
        "@flow\ndef f(): pass\nDeploymentSpec(name='d', flow=f)\n1 / 0\n"
    )
    code, told = command.json("specs", path)
    assert (code, told["status"], judged(told)) == (1, Status.SCRIPT_FAILED, [("d", False)])
    assert "ZeroDivisionError" in told["specs"][0]["problems"][0]


@pytest.mark.slow
def test_secrets_are_masked(command, tmp_path):
    """In every format."""
    path = tmp_path / "secret.py"
    path.write_text(
        "from prefect import flow\nfrom prefect.deployments import DeploymentSpec\n"
        "from prefect.blocks.storage import S3StorageBlock\n@flow\ndef f(): pass\n"
        "DeploymentSpec(flow=f, flow_storage=S3StorageBlock(bucket='b', aws_secret_access_key='hush-hush'))\n"
    )
    for form in ("text", "json", "msgpack"):
        done = command("specs", path, "--format", form, text=False)
        assert done.returncode == 0, done
        assert b"hush-hush" not in done.stdout + done.stderr
    _, told = command.json("specs", path)
    assert told["specs"][0]["flow_storage"]["config"]["aws_secret_access_key"] == "**********"


@pytest.mark.slow
def test_the_table_says_it_all(command):
    """Names, places, reasons; the last line counts."""
    done = command("specs", "manifests/mistakes.yaml")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["deployment", "flow"]
    assert lines[1].split() == ["valid", "fine", "report", "manifests/mistakes.yaml:1"]
    assert "invalid  never" in done.stdout
    assert "manifests/mistakes.yaml:5" in done.stdout
    assert lines[-1] == "not valid: 4 deployment specs, 3 of them not valid; profile strict"
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_a_script_on_standard_input_is_judged(command):
    """Its specs have no file to be deployed from, and say so."""
    text = (
        "from prefect import flow\nfrom prefect.deployments import DeploymentSpec\n"
        "@flow\ndef f(): pass\nDeploymentSpec(name='d', flow=f)\n"
    )
    done = command("specs", "-", "--format", "json", input=text)
    told = json.loads(done.stdout)
    assert (done.returncode, judged(told)) == (1, [("d", False)])


@pytest.mark.sampled
@pytest.mark.parametrize("words", [["none.yaml"], ["deployments.py", "--allow-scheme", "gopher"]])
def test_the_callers_mistakes_are_told(command, words):
    """Exit code 2, and the reason on standard error."""
    done = command("specs", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flow-loader: cannot ")
