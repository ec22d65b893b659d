"""What `flow-loader deploy` creates, what it does not, and what it says of both."""

import os
import shutil

import pytest

from loader import EmbeddedRegistry


@pytest.fixture
def place(tmp_path):
    """Options that keep a test's deployments to itself."""
    return ["--registry", str(tmp_path / "own" / "r.db"), "--storage", str(tmp_path / "kept")]


@pytest.fixture
def registry(place):
    with EmbeddedRegistry(place[1]) as opened:
        yield opened


def results(told):
    return [(spec["name"], spec["result"]) for spec in told["specs"]]


def kept(tmp_path):
    return [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


def test_deployments_of_a_script_are_created_and_then_updated(command, place, registry):
    """Each with its id, which stays."""
    code, first = command.json("deploy", "deployments.py", *place)
    assert code == 0, first
    assert results(first) == [("often", "created"), ("mornings", "created"), ("monthly", "created")]
    assert first["api"] == place[1]
    code, second = command.json("deploy", "deployments.py", *place)
    assert (code, {word for _, word in results(second)}) == (0, {"updated"})
    ids = [[spec["id"] for spec in told["specs"]] for told in (first, second)]
    assert ids[0] == ids[1]
    assert sorted(str(item.id) for item in registry.read_deployments()) == sorted(ids[0])


@pytest.mark.slow
def test_a_dry_run_does_nothing(command, place, tmp_path):
    """It says what would be done."""
    code, told = command.json("deploy", "deployments.py", *place, "--dry-run")
    assert (code, {word for _, word in results(told)}) == (0, {"would create"})
    assert not (tmp_path / "own").exists()
    assert kept(tmp_path) == []
    command.json("deploy", "deployments.py", *place)
    code, told = command.json("deploy", "deployments.py", *place, "--dry-run")
    assert (code, {word for _, word in results(told)}) == (0, {"would update"})


@pytest.mark.slow
def test_a_batch_with_bad_specs_creates_the_others_and_says_so(command, place, registry):
    """And its exit code is the author's fault."""
    code, told = command.json("deploy", "manifests/mistakes.yaml", *place)
    assert code == 1
    assert results(told) == [
        ("fine", "created"),
        ("never", "invalid"),
        ("elsewhere", "invalid"),
        ("gone", "invalid"),
    ]
    assert [item.name for item in registry.read_deployments()] == ["fine"]


@pytest.mark.slow
def test_a_failed_script_deploys_nothing(command, place, registry, tmp_path):
    path = tmp_path / "fails.py"
    path.write_text(
        "from prefect import flow\nfrom prefect.deployments import DeploymentSpec\n"
        "@flow\ndef f(): pass\nDeploymentSpec(name='d', flow=f)\n1 / 0\n"
    )
    code, told = command.json("deploy", path, *place)
    assert (code, results(told)) == (1, [("d", "invalid")])
    assert registry.read_deployments() == ()


@pytest.mark.slow
def test_nothing_is_half_made_where_nothing_can_be_kept(command, place, registry, tmp_path):
    """Storage that is no folder: told for each spec, and the registry stays empty."""
    (tmp_path / "kept").write_text("a file")
    code, told = command.json("deploy", "deployments.py", *place)
    assert (code, {word for _, word in results(told)}) == (2, {"failed"})
    assert all(spec["failure"].startswith("cannot ") for spec in told["specs"])
    assert (registry.read_flows(), registry.read_deployments()) == ((), ())


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told(command):
    """For each valid spec, with the remedy."""
    code, told = command.json("deploy", "manifests/deployments.yaml", "--api", "http://127.0.0.1:9/api")
    assert (code, {word for _, word in results(told)}) == (2, {"failed"})
    assert "nothing listens there" in told["specs"][0]["failure"]


@pytest.mark.slow
def test_a_schedule_that_never_comes_stops_nothing(command, place, tmp_path):
    """A spec with one is deployed like the others, and says that it never runs."""
    (tmp_path / "report.py").write_text("from prefect import flow\n@flow\ndef report(): pass\n")
    path = tmp_path / "never.yaml"
    path.write_text(
        "".join(
            f"---\nname: {name}\nflow_location: report.py\nschedule: {schedule}\n"
            for name, schedule in (
                ("a", "{cron: '0 0 30 2 *'}"),
                ("b", "{rrule: 'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30'}"),
                ("c", "{cron: '0 0 * * *'}"),
            )
        )
    )
    code, told = command.json("deploy", path, *place)
    assert (code, results(told)) == (0, [("a", "created"), ("b", "created"), ("c", "created")])
    assert [len(spec["next_runs"]) for spec in told["specs"]] == [0, 0, 3]
    assert "never, or not to be found in time" in command("specs", path, *place).stdout


@pytest.mark.slow
def test_a_storage_block_that_a_server_cannot_know_is_its_specs_own_mistake(command, tmp_path):
    """The others have their verdicts."""
    (tmp_path / "report.py").write_text("from prefect import flow\n@flow\ndef report(): pass\n")
    path = tmp_path / "uuid.yaml"
    path.write_text(
        "- {name: a, flow_location: report.py, flow_storage: 00000000-0000-0000-0000-000000000001}\n"
        "- {name: b, flow_location: report.py, flow_runner: subprocess}\n"
    )
    code, told = command.json("specs", path, "--api", "http://127.0.0.1:9/api")
    assert (code, [spec["valid"] for spec in told["specs"]]) == (1, [False, True])
    assert "keeps no scripts" in told["specs"][0]["problems"][0]


@pytest.mark.slow
def test_the_table_says_it_all(command, place):
    """Results, places and ids; the last line counts, and says where."""
    done = command("deploy", "manifests/deployments.yaml", *place)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["created", "nightly", "report", "manifests/deployments.yaml:2"]
    assert lines[2].split()[0] == "id"
    assert lines[-1] == f"deployed: 2 deployment specs: 2 created; {place[1]}"


@pytest.mark.slow
def test_an_ordinary_user_deploys_into_a_registry_of_ones_own(unprivileged, tmp_path_factory):
    """Nothing to start, nothing to name: everything lies in the user's home."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(unprivileged.folder / "manifests/deployments.yaml", home)
    os.chown(home, unprivileged.identity.get("user", os.geteuid()), -1)
    for folder in (home, *home.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o711)
    done = unprivileged("deploy", "manifests/deployments.yaml", environment={"HOME": str(home)})
    assert done.returncode == 0, done
    assert (home / ".local/share/flow-loader/registry.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.sampled
@pytest.mark.parametrize("words", [["-"], ["deployments.py", "--api", "x", "--registry", "y"], ["none.py"]])
def test_the_callers_mistakes_are_told(command, words):
    done = command("deploy", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flow-loader: cannot ")
