"""In front of a real worker: good runs complete, others end at once with the reasons in their state."""

import datetime as dt
import errno
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from uuid import uuid4

import pytest

from tests.prefect_server import STOP_SECONDS, environment

pytestmark = pytest.mark.slow

START_SECONDS, RUN_SECONDS = 60, 60
BUSY = 503
"""What a Prefect server answers while its database is locked."""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
SET = "prefect.deployments.steps.set_working_directory"
CHECK = "loader.prefect.steps.check"
TRACED = """
import os
try:
    with open({trace!r}, "a") as file:
        print(os.getpid(), file=file)
except OSError:
    pass  # the sandbox of the check
from prefect import flow
"""
NOTES = """
with open({noted!r}, "a") as file:
    print("ran", file=file)
"""
WAITS = """
with open({gate!r}) as file:
    file.read()
"""
GOOD = """
@flow
def greet(name: str, times: int = 1):
    return name * times
"""
HANGS = """
while True:
    pass
"""
CRASHES = """
def hook(flow, flow_run, state):
    with open({noted!r}, "w") as file:
        print(os.getpid(), file=file)

@flow(on_crashed=[hook])
def greet():
    os._exit(3)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("agent")


@contextmanager
def worker_of(kind, url, python, installed, home):
    """A real worker of some type; its process, and the name of its pool."""
    pool = f"{kind}-{uuid4().hex[:6]}"
    told = {"PREFECT_API_URL": url, "PYTHONPATH": str(installed), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = [python, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind]
    with (home / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(home) | told, cwd=home, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process, pool
    finally:
        started = descendants(process.pid)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    await_end(started)


def descendants(pid):
    """The processes that a process started, and those that they started."""
    tasks = Path("/proc", str(pid), "task")
    found = [int(child) for task in tasks.glob("*/children") for child in task.read_text().split()]
    return [*found, *(further for child in found for further in descendants(child))]


def await_end(pids):
    """Return when none of these processes is left."""
    until = time.monotonic() + STOP_SECONDS
    while left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]:
        assert time.monotonic() < until, left
        time.sleep(0.1)


@pytest.fixture(scope="module")
def worker(prefect_url, agent_python, installed, home):
    """The worker of our type and its pool."""
    with worker_of("flow-loader-process", prefect_url, agent_python, installed, home) as running:
        yield running


@pytest.fixture(scope="module")
def plain_worker(prefect_url, agent_python, installed, home):
    """A worker of Prefect's own type, for those who cannot change it."""
    with worker_of("process", prefect_url, agent_python, installed, home) as running:
        yield running


def rest(url, path, data=None, method=None):
    """What the server answers."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url + path, body, {"content-type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with opener.open(request, timeout=120) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != BUSY or time.monotonic() > until:
                raise
            time.sleep(0.2)


class Runs:
    """Runs of deployments of one script; `trace` holds the processes in which it ran outside of a sandbox."""

    def __init__(self, url, folder):
        self.url, self.folder, self.trace = url, folder, folder / "trace"

    def script(self, text, name="flow.py"):
        place = self.folder / "code" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(TRACED.format(trace=str(self.trace)) + dedent(text))
        return str(self.folder / "code")

    def start(self, worker, parameters, **deployment):
        """The id of a run of a new deployment, once the worker's pool is there."""
        _, pool = worker
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                rest(self.url, f"/work_pools/{pool}")
                break
            except urllib.error.HTTPError:
                assert time.monotonic() < until
                time.sleep(0.2)
        flow = rest(self.url, "/flows/", {"name": "greet"})
        facts = {
            "name": uuid4().hex,
            "flow_id": flow["id"],
            "work_pool_name": pool,
            "entrypoint": "flow.py:greet",
            "enforce_parameter_schema": False,
        }
        made = rest(self.url, "/deployments/", facts | deployment)
        wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return rest(self.url, f"/deployments/{made['id']}/create_flow_run", wanted)["id"]

    def ended(self, run):
        """The run, once it has come to its end."""
        until = time.monotonic() + RUN_SECONDS
        while (told := rest(self.url, f"/flow_runs/{run}"))["state"]["type"] not in FINAL:
            assert time.monotonic() < until, told["state"]
            time.sleep(0.2)
        return told

    def run(self, worker, parameters, **deployment):
        return self.ended(self.start(worker, parameters, **deployment))

    def traced(self):
        return self.trace.read_text().split() if self.trace.exists() else []


@pytest.fixture
def runs(prefect_url, tmp_path):
    return Runs(prefect_url, tmp_path)


@contextmanager
def opened(gate):
    """The writing end of a named pipe, once somebody reads it."""
    until = time.monotonic() + RUN_SECONDS
    while True:
        try:
            end = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > until:
                raise
            time.sleep(0.1)
    try:
        yield
    finally:
        os.close(end)


def reasons(run):
    """The message of a run that ended with a mistake of its authors, and for which no process was started."""
    assert (run["state"]["type"], run["infrastructure_pid"]) == ("FAILED", None), run["state"]
    return run["state"]["message"]


def test_good_run_completes_in_a_process_of_its_own(worker, runs):
    """The worker lets it through, and its own process never imports the flow."""
    run = runs.run(worker, {"name": "you"}, path=runs.script(GOOD))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert runs.traced() == [run["infrastructure_pid"]]
    assert run["infrastructure_pid"] != str(worker[0].pid)


def test_script_that_hangs_ends_its_run_at_once(worker, runs):
    """The state says where it hung, and nobody waits for a process that never starts its flow."""
    place = runs.script(HANGS)
    run = runs.run(worker, {}, path=place, job_variables={"timeout": 1.5})
    said = reasons(run)
    assert f"timed_out: cannot load {place}/flow.py: cannot finish loading within 1.5 seconds" in said
    assert re.search(r"flow\.py:1[01]\b", said)
    assert "hint: " in said
    assert not runs.traced()


def test_flow_that_is_gone_ends_its_run(worker, runs):
    """The state says which are there."""
    said = reasons(runs.run(worker, {}, path=runs.script(GOOD), entrypoint="flow.py:old"))
    assert "- flow_missing: " in said
    assert "greet" in said
    assert not runs.traced()


def test_parameters_that_do_not_fit_end_the_run(worker, runs):
    """Each is told."""
    said = reasons(runs.run(worker, {"times": "many", "nmae": "you"}, path=runs.script(GOOD)))
    kinds = [line.split(":")[0] for line in said.splitlines()[1:]]
    assert sorted(kinds) == ["- missing_parameter", "- unknown_parameter", "- wrong_parameter"]
    assert not runs.traced()


def test_hostile_words_stay_in_their_line(worker, runs):
    """What a script says of itself cannot pass for words of ours in the state."""
    place = runs.script(r"raise ValueError('\x1b[31mred\u202e\n- ok: nothing')")
    said = reasons(runs.run(worker, {}, path=place))
    assert "ValueError: \\x1b[31mred\\u202e" in said
    assert "\n- ok" not in said
    assert not runs.traced()


def test_code_in_a_folder_that_a_pull_step_names(worker, runs):
    """Pull steps that bring nothing are followed, and a module's entrypoint leads to its file."""
    parent = str(Path(runs.script(GOOD, "flows/etl.py")).parent)
    steps = [{SET: {"directory": parent}}, {SET: {"directory": "code"}}]
    run = runs.run(worker, {"name": "you"}, pull_steps=steps, entrypoint="flows.etl.greet")
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert "missing_parameter" in reasons(
        runs.run(worker, {}, pull_steps=steps, entrypoint="flows.etl.greet")
    )


def test_code_that_is_yet_to_come_is_not_run_unchecked(worker, runs):
    """The state names the pull step that helps; with it the run's own process asks."""
    place = runs.script(GOOD)
    steps = [{SET: {"directory": "{{ $HOME }}"}}]
    assert f"add {CHECK} as the last of its pull steps" in reasons(runs.run(worker, {}, pull_steps=steps))
    steps = [{CHECK: {"directory": place}}]
    assert runs.run(worker, {"name": "you"}, pull_steps=steps)["state"]["type"] == "COMPLETED"


def test_file_that_is_not_there_crashes_the_run(worker, runs):
    """What the host does not give is no mistake of the flow."""
    run = runs.run(worker, {}, path=str(runs.folder))
    assert run["state"]["type"] == "CRASHED"
    assert f"cannot load {runs.folder}/flow.py" in run["state"]["message"]


def test_command_is_refused(worker, runs):
    """Prefect would import the flow in the worker's process to find the hooks of such a run."""
    run = runs.run(worker, {}, path=runs.script(GOOD), job_variables={"command": "python -m prefect.engine"})
    assert run["state"]["type"] == "CRASHED"
    assert "cannot use a command" in run["state"]["message"]
    assert not runs.traced()


def test_deployment_does_not_say_how_it_is_checked(worker, runs):
    """It can start no program of its choice before it is checked, open no sandbox and hold up no worker."""
    program = runs.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {runs.folder}/started\n")
    program.chmod(0o755)
    place = runs.script(GOOD)
    told = {"python": str(program), "profile": "development"}
    assert "missing_parameter" in reasons(runs.run(worker, {}, path=place, job_variables=told))
    assert not (runs.folder / "started").exists()
    assert not runs.traced()  # as the profile that was asked for would have let it
    steps = [{CHECK: {"directory": place, "profile": "development"}}]
    assert "by which profile" in reasons(runs.run(worker, {"name": "you"}, pull_steps=steps))
    with pytest.raises(urllib.error.HTTPError):
        runs.start(worker, {}, path=place, job_variables={"timeout": 86_400})


def test_code_that_was_not_checked_is_not_run(worker, runs):
    """Neither from a variable of the job nor from where the run starts; others of its variables it has."""
    place, noted, other = runs.script(GOOD), runs.folder / "noted", runs.folder / "other"
    other.mkdir()
    for name in ("sitecustomize", "anyio"):
        (other / f"{name}.py").write_text(NOTES.format(noted=str(noted)))
    for of in ({"path": place}, {"pull_steps": [{CHECK: {"directory": place}}]}):
        steered = {"env": {"PYTHONPATH": str(other), "DB": "x"}}
        said = reasons(runs.run(worker, {"name": "you"}, **of, job_variables=steered))
        assert "cannot check a run whose job sets PYTHONPATH: " in said
        elsewhere = {"working_dir": str(other)}
        said = reasons(runs.run(worker, {"name": "you"}, **of, job_variables=elsewhere))
        assert f"cannot check a run that starts in {other}" in said
    assert not noted.exists()
    assert not runs.traced()
    runs.script("import os\nassert os.environ['DB'] == 'x'" + GOOD)
    wanted = {"path": place, "job_variables": {"env": {"DB": "x"}}}
    assert "hint: the check has no variable 'DB'" in reasons(runs.run(worker, {"name": "you"}, **wanted))
    runs.script(GOOD.replace("return", "import os\n    assert os.environ['DB'] == 'x'\n    return"))
    assert runs.run(worker, {"name": "you"}, **wanted)["state"]["type"] == "COMPLETED"


@pytest.mark.parametrize("changed", ["parameters", "path"])
def test_run_that_changes_while_it_is_checked_is_refused(worker, runs, changed):
    """It, or its deployment: what was checked is not what would run."""
    gate = runs.folder / "code/gate"
    place = runs.script(WAITS.format(gate=str(gate)) + GOOD)
    os.mkfifo(gate)
    run = runs.start(worker, {"name": "you"}, path=place, job_variables={"timeout": RUN_SECONDS})
    with opened(gate):  # until then the script waits
        if changed == "path":
            made = rest(runs.url, f"/flow_runs/{run}")["deployment_id"]
            rest(runs.url, f"/deployments/{made}", {"path": str(runs.folder)}, "PATCH")
        else:
            rest(runs.url, f"/flow_runs/{run}", {"parameters": {"name": "me"}}, "PATCH")
    assert f"cannot run what was not checked: {changed} of the run" in reasons(runs.ended(run))
    assert not runs.traced()


def test_checks_of_one_deployment_wait_for_each_other(worker, runs):
    """However many of its runs hang, there is room for others."""
    place = runs.script(HANGS, "hangs.py")
    wanted = {"path": place, "entrypoint": "hangs.py:greet", "job_variables": {"timeout": 3}}
    first = runs.start(worker, {}, **wanted)
    of = {"parameters": {}, "state": {"type": "SCHEDULED"}}
    made = rest(runs.url, f"/flow_runs/{first}")["deployment_id"]
    more = [rest(runs.url, f"/deployments/{made}/create_flow_run", of)["id"] for _ in range(2)]
    ends = [dt.datetime.fromisoformat(runs.ended(run)["end_time"]) for run in (first, *more)]
    last, middle = (after - before for before, after in pairwise(sorted(ends)))
    assert min(last, middle) > dt.timedelta(seconds=2)


def test_hooks_of_a_crashed_run_do_not_run_in_the_worker(worker, runs):
    """They get a process of their own, too."""
    noted = runs.folder / "noted"
    run = runs.run(worker, {}, path=runs.script(CRASHES.format(noted=str(noted))))
    assert run["state"]["type"] == "CRASHED"
    until = time.monotonic() + RUN_SECONDS
    while not noted.exists() or not noted.read_text():
        assert time.monotonic() < until
        time.sleep(0.2)
    assert noted.read_text().split() != [str(worker[0].pid)]
    assert str(worker[0].pid) not in runs.traced()


def test_run_that_is_cancelled_while_it_is_checked_stays_so(worker, runs):
    """A verdict of no comes too late for it."""
    run = runs.start(worker, {}, path=runs.script(HANGS), job_variables={"timeout": 4})
    until = time.monotonic() + RUN_SECONDS
    while rest(runs.url, f"/flow_runs/{run}")["state"]["name"] != "Submitting":
        assert time.monotonic() < until
        time.sleep(0.1)
    rest(runs.url, f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
    time.sleep(5)
    assert runs.ended(run)["state"]["type"] == "CANCELLED"
    assert not runs.traced()


def test_pull_step_lets_a_good_run_through(plain_worker, runs):
    """Those who cannot change the worker's type ask in the run's own process, before it loads the flow."""
    pulled = {SET: {"id": "code", "directory": runs.script(GOOD)}}
    steps = [pulled, {CHECK: {"directory": "{{ code.directory }}", "timeout": 20}}]
    run = runs.run(plain_worker, {"name": "you"}, pull_steps=steps)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert runs.traced() == [run["infrastructure_pid"]]


def test_pull_step_ends_other_runs_with_the_reasons(plain_worker, runs):
    """The run's process ends before it has loaded the flow, and the state keeps what the step said."""
    bad = {"timed_out": (HANGS, {}), "flow_missing": ("", {}), "wrong_parameter": (GOOD, {"name": 3})}
    started = {}
    for kind, (text, parameters) in bad.items():
        place = str(Path(runs.script(text, f"{kind}/flow.py")) / kind)
        steps = [{SET: {"directory": place}}, {CHECK: {"timeout": 4}}]
        started[kind] = runs.start(plain_worker, parameters, pull_steps=steps)
    for kind, run in started.items():
        state = runs.ended(run)["state"]
        assert state["type"] == "FAILED", state
        assert f"\n- {kind}: " in state["message"]
    await_end(descendants(plain_worker[0].pid))
    time.sleep(2)  # the worker learns that a process failed, and may not say otherwise
    assert {runs.ended(run)["state"]["type"] for run in started.values()} == {"FAILED"}
    assert not runs.traced()


def test_pull_step_refuses_a_run_that_changes_while_it_is_checked(plain_worker, runs):
    """Its process would run it with what it is by then."""
    gate = runs.folder / "code/gate"
    steps = [{CHECK: {"directory": runs.script(WAITS.format(gate=str(gate)) + GOOD), "timeout": RUN_SECONDS}}]
    os.mkfifo(gate)
    run = runs.start(plain_worker, {"name": "you"}, pull_steps=steps)
    with opened(gate):  # until then the script waits
        rest(runs.url, f"/flow_runs/{run}", {"parameters": {"name": "me"}}, "PATCH")
    state = runs.ended(run)["state"]
    assert state["type"] == "FAILED", state
    assert "cannot run what was not checked: parameters" in state["message"]
    assert not runs.traced()


def test_pull_step_without_the_code_crashes_the_run(plain_worker, runs):
    """The state says where it was looked for."""
    run = runs.run(plain_worker, {}, pull_steps=[{CHECK: {}}])
    assert run["state"]["type"] == "CRASHED"
    assert "flow.py" in run["state"]["message"]
