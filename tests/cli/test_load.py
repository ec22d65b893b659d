"""What `flow-loader load` finds in good scripts, in each format."""

import json

import msgpack
import pytest

OUTCOME = {
    "status": str,
    "source": ["location", "digest", "size"],
    "sandbox": ["profile", "guarantees", "python"],
    "usage": ["wall_seconds", "cpu_seconds", "max_rss_bytes"],
    "exit": ["code", "signal"],
    "flows": list,
    "specs": list,
    "notices": list,
    "error": None,
    "stdout": ["text", "bytes", "truncated"],
    "stderr": ["text", "bytes", "truncated"],
    "dialect": ["name", "version", "reason"],
    "sources": list,
    "kept": bool,
}
FLOW = (
    "name function entrypoint version description parameters file line end_line is_async retries"
    " timeout_seconds task_runner tags is_generator retry_delay_seconds persist_result hooks variable"
    " validate_parameters"
).split()
SPEC = "name flow_name flow_location parameters schedule tags flow_runner flow_storage file line".split()
ERROR = "stage type message frames traceback cause hint".split()
FRAME = "file line function source".split()


@pytest.mark.sampled
def test_json_has_every_key_of_the_contract_in_its_order(anyone):
    """Callers rely on the shape, and on its order where they compare text."""
    code, outcome = anyone.json("load", "deployments.py")
    assert code == 0
    assert list(outcome) == list(OUTCOME)
    for key, expected in OUTCOME.items():
        if isinstance(expected, list):
            assert list(outcome[key]) == expected
        elif expected is not None:
            assert isinstance(outcome[key], expected)
    assert [list(flow) for flow in outcome["flows"]] == [FLOW]
    assert [list(spec)[: len(SPEC)] for spec in outcome["specs"]] == [SPEC] * 3
    assert {tuple(item) for item in outcome["sandbox"]["guarantees"]} == {("name", "level", "by")}
    assert outcome["error"] is None


@pytest.mark.sampled
def test_json_of_a_failure_has_every_key_of_the_contract(anyone):
    """Errors are read by programs too, causes like the error itself."""
    _, outcome = anyone.json("load", "failing/cause_chain.py")
    for error in (outcome["error"], outcome["error"]["cause"]):
        assert list(error)[: len(ERROR)] == ERROR
        assert {tuple(frame) for frame in error["frames"]} == {tuple(FRAME)}
    assert outcome["error"]["cause"]["type"] == "KeyError"
    assert outcome["error"]["cause"]["cause"] is None


@pytest.mark.sampled
def test_strict_gives_every_guarantee_in_full(anyone):
    """The default profile holds here as root and as anyone else."""
    _, outcome = anyone.json("load", "single_flow.py")
    assert outcome["sandbox"]["profile"] == "strict"
    assert {item["level"] for item in outcome["sandbox"]["guarantees"]} == {"full"}


@pytest.mark.slow
def test_two_loads_of_one_script_find_the_same(command):
    """Metadata has no addresses and no order of chance."""
    first, second = (command.json("load", "deployments.py")[1] for _ in range(2))
    for fact_of_one_run in ("usage",):
        del first[fact_of_one_run], second[fact_of_one_run]
    assert json.dumps(first) == json.dumps(second)


@pytest.mark.slow
def test_text_lists_flows_and_deployments(anyone):
    """The whole listing, as a reader sees it at 80 columns."""
    done = anyone("load", "deployments.py")
    assert done.returncode == 0
    assert done.stderr == ""
    listing, _, summary = done.stdout.rstrip("\n").rpartition("\n\n")
    assert summary.startswith("loaded: 1 flow, 3 deployment specs; profile strict, ")
    assert (
        listing
        == """\
flow clean-up  deployments.py:11
    Delete what is older than some days.
    parameters  folder: string
                days: integer = 30

deployment often  deployments.py:16
    flow        clean-up
    schedule    every 10 minutes
    parameters  folder = "/srv/upload"
                days = 7
    tags        upload, hourly
    runner      subprocess (env = {"LEVEL": "…"})

deployment mornings  deployments.py:25
    flow        clean-up
    schedule    cron 0 6 * * 1-5, Europe/Berlin
    parameters  folder = "/srv/archive"
    runner      docker (image = "archive:3")

deployment monthly  deployments.py:33
    flow      clean-up
    schedule  rrule FREQ=MONTHLY;BYMONTHDAY=1, UTC
    runner    universal"""
    )


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("sample", "lines"),
    [
        ("single_flow.py", ["flow hello  single_flow.py:11", '    parameters  name: string = "world"']),
        ("several_flows.py", ["    runs  async, timeout 90 s", "flow extract-nightly  several_flows.py:7"]),
        (
            "parameters.py",
            [
                "    parameters  day: date",
                "                regions: array of Region",
                "                limit: integer = 100",
                "                title: string (optional)",
                '                options: object = {"currency": "EUR", "round": true}',
            ],
        ),
        ("siblings/main.py", ["flow paint-the-fence  siblings/main.py:9", "    Paint it."]),
    ],
)
def test_text_says_what_a_script_holds(anyone, sample, lines):
    """Names, places, types and defaults are told without a schema to read."""
    done = anyone("load", sample)
    assert done.returncode == 0
    for line in lines:
        assert line in done.stdout.splitlines()


@pytest.mark.slow
def test_msgpack_is_one_map_equal_to_the_json(command):
    """Formats differ in their writing only."""
    done = command("load", "parameters.py", "--format", "msgpack", text=False)
    outcome = msgpack.unpackb(done.stdout)
    _, same = command.json("load", "parameters.py")
    assert {**outcome, "usage": None} == {**same, "usage": None}


@pytest.mark.sampled
def test_standard_input_is_a_script(anyone, samples):
    """A script needs no file."""
    done = anyone("load", "-", input=(samples / "single_flow.py").read_text())
    assert done.returncode == 0
    assert "flow hello  <stdin>:11" in done.stdout


@pytest.mark.slow
def test_traceback_of_standard_input_shows_its_lines(anyone):
    """Source lines come from the text that was sent."""
    done = anyone("load", "-", input="def fail():\n    return 1 / 0\n\nfail()\n")
    assert done.returncode == 1
    assert done.stdout.startswith("<stdin>:2: ZeroDivisionError: division by zero\n")
    assert "    <stdin>:4, in <module>\n      fail()\n" in done.stdout


@pytest.mark.slow
def test_file_url_is_a_path(command, samples):
    """Both name the same script."""
    _, outcome = command.json("load", f"file://{samples}/single_flow.py")
    assert [flow["name"] for flow in outcome["flows"]] == ["hello"]


@pytest.mark.slow
def test_root_is_what_a_script_may_read(command, tmp_path):
    """A script that needs its neighbours' folder is shown it, and without the option is told how."""
    script = tmp_path / "scripts" / "reads.py"
    script.parent.mkdir()
    (tmp_path / "data.txt").write_text("42")
    script.write_text(
        "from prefect import flow\nfound = flow(name=open('../data.txt').read())(lambda: None)\n"
    )
    code, outcome = command.json("load", script)
    assert (code, outcome["error"]["type"]) == (1, "FileNotFoundError")
    assert "--root" in outcome["error"]["hint"]
    _, outcome = command.json("load", script, "--root", tmp_path)
    assert [flow["name"] for flow in outcome["flows"]] == ["42"]


@pytest.mark.slow
def test_users_of_the_host_are_not_seen(anyone):
    """A worker's /etc/passwd is its own."""
    _, outcome = anyone.json("load", "users.py")
    names = [line.split(":")[0] for line in outcome["stdout"]["text"].splitlines()]
    assert not {"daemon", "bin", "sync", "games"} & set(names)


@pytest.mark.slow
def test_development_warns_at_every_use(command):
    """Whoever opens the host to a script is told so, and the answer stays clean."""
    done = command("load", "single_flow.py", "--profile", "development", "--format", "json")
    assert done.stderr.startswith("flow-loader: warning: profile development limits time and memory only")
    outcome = json.loads(done.stdout)
    assert [notice["kind"] for notice in outcome["notices"]] == ["profile"]
    assert (
        "profile development limits"
        not in command("load", "single_flow.py", "--profile", "development").stdout
    )


@pytest.mark.slow
def test_profile_file_of_ones_own(command, tmp_path):
    """A profile may be a file."""
    profile = tmp_path / "short.yaml"
    profile.write_text("description: Little time.\nextends: strict\nwall:\n  seconds: 1\n")
    code, outcome = command.json("load", "failing/infinite_loop.py", "--profile", profile)
    assert (code, outcome["status"]) == (1, "timed_out")
    assert "1 seconds" in outcome["error"]["message"]
