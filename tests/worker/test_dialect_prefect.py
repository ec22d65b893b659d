"""Scripts of an installed Prefect: what is told of them is what Prefect itself says."""

import json
import os
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from loader import EmbeddedRegistry, FlowLoader
from loader.access import DEFAULT
from loader.batches import judge
from loader.deploying import Deployer
from loader.finding import Finder

SAMPLES = Path(__file__).parents[1] / "samples/prefect"
SAME = [
    "asynchronous.py",
    "methods.py",
    "parameters.py",
    "plain.py",
    "postponed.py",
    "project/load_events.py",
]
"""Scripts that either generation loads."""
GENERATIONS = ("prefect2", "prefect3")
THIRD_ONLY = ["static.py"]
COMPARED = (
    "name version description parameters retries retry_delay_seconds timeout_seconds is_async persist_result"
).split()
PREFECT_SAYS = """
import importlib.util, json, sys
from prefect import Flow
path = sys.argv[1]
sys.path.insert(0, path.rpartition("/")[0])
spec = importlib.util.spec_from_file_location("said", path)
module = importlib.util.module_from_spec(spec)
sys.modules["said"] = module
spec.loader.exec_module(module)

def told(flow):
    schema = flow.parameters
    schema = schema.model_dump() if hasattr(schema, "model_dump") else schema.dict()
    return {
        "name": flow.name, "version": flow.version, "description": flow.description, "parameters": schema,
        "retries": flow.retries, "retry_delay_seconds": flow.retry_delay_seconds,
        "timeout_seconds": flow.timeout_seconds, "is_async": flow.isasync,
        "persist_result": flow.persist_result,
    }

held = [vars(module)] + [vars(item) for item in vars(module).values() if isinstance(item, type)]
flows = {id(item): item for space in held for item in space.values() if isinstance(item, Flow)}
print("SAID" + json.dumps([told(flow) for flow in flows.values()], default=str))
"""


@pytest.fixture(scope="module")
def loaders(prefect_python, prefect2_python):
    """A warm loader for each generation."""
    with FlowLoader(python=prefect2_python) as second, FlowLoader(python=prefect_python) as third:
        yield {"prefect2": second, "prefect3": third}


@pytest.fixture(params=GENERATIONS)
def generation(request):
    return request.param


@pytest.fixture
def load(loaders, generation):
    """A callable: the outcome of one sample, or of another script, with one generation."""
    return lambda name: loaders[generation].load(SAMPLES / name, root=(SAMPLES / name).parent)


@pytest.fixture
def load_text(loaders, generation, tmp_path):
    """A callable: the outcome of a script that is given as text."""

    def run(text, name="flow.py"):
        (tmp_path / name).write_text(text)
        return loaders[generation].load(tmp_path / name)

    return run


def prefect_says(python, path, home):
    """What Prefect says of a script's flows in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
    quiet = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [python, "-B", "-c", PREFECT_SAYS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**kept, **quiet}, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("SAID")[2])


def line_of(name, mark):
    """The first line of a sample that holds `mark`."""
    lines = (SAMPLES / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if mark in line)


def notices(outcome, *kinds):
    return [notice for notice in outcome.notices if notice.kind in kinds]


def explained(flows):
    """What Prefect says of itself, without what differs between two processes."""
    for flow in flows:
        # The set has no order of its own, and an object's text names where it lies in memory.
        for schema in flow["parameters"]["properties"].values():
            if isinstance(schema.get("default"), str) and " at 0x" in schema["default"]:
                schema["default"] = None
    return flows


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SAME, *THIRD_ONLY])
def test_flows_are_told_as_prefect_tells_them(load, loaders, generation, name, tmp_path):
    """Name, version, description, schema, retries and the rest are equal, flow by flow."""
    if name in THIRD_ONLY and generation != "prefect3":
        assert load(name).status == "script_failed"  # as it does with that Prefect alone
        return
    outcome = load(name)
    assert outcome.status == "loaded", outcome.error
    assert outcome.dialect.name == generation
    python = loaders[generation].supervisor.python.path
    said = explained(prefect_says(python, SAMPLES / name, tmp_path))
    told = [flow for flow in outcome.model_dump(mode="json")["flows"] if "Inner" not in flow["function"]]
    told = explained([{key: flow[key] for key in COMPARED} for flow in told])
    assert told == said


def test_the_outcome_says_which_prefect_read_the_script_and_why(load, generation, loaders):
    """An agent can tell a real answer from one of the API that is brought along."""
    outcome = load("plain.py")
    major = generation[-1]
    assert (outcome.dialect.name, outcome.dialect.version[0]) == (generation, major)
    python = loaders[generation].supervisor.python.path
    assert outcome.dialect.reason == f"{python} has Prefect {outcome.dialect.version}"
    assert outcome.sandbox.python.path == python
    assert outcome.sandbox.python.version.startswith("3.")


def test_flow_has_its_place_and_options(load):
    """What Prefect does not say is told too: lines, entrypoint, kind, hooks."""
    flows = {flow.name: flow for flow in load("methods.py").flows}
    hooked = flows["hooked"]
    assert hooked.hooks == {"on_completion": ["done"], "on_failure": ["done"]}
    assert (hooked.is_generator, hooked.persist_result) == (True, True)
    assert hooked.validate_parameters is True
    assert load("postponed.py").flows[-1].validate_parameters is False
    assert flows["daily"].entrypoint == "methods.py:Jobs.daily"
    assert flows["hourly"].entrypoint == "methods.py:Jobs.Inner.hourly"
    assert flows["daily"].line == line_of("methods.py", "@flow")
    assert list(flows) == ["built", "first", "second", "hooked", "daily", "hourly"]


def test_siblings_and_packages_are_found(load):
    """A script's folder is its project."""
    (flow,) = load("project/load_events.py").flows
    assert flow.name == "shared-load"
    assert flow.entrypoint == "load_events.py:load_events"


def test_flow_called_at_import_is_not_run(load):
    """The call gives None and leaves a notice of its line."""
    outcome = load("at_import/flow_called.py")
    assert outcome.status == "loaded"
    lines = [notice.line for notice in notices(outcome, "flow_called")]
    assert lines == [
        line_of("at_import/flow_called.py", mark) for mark in ("compute(2)", "add.submit", "add.map")
    ]


def test_serve_at_import_registers_nothing_and_tells_what_it_would(load):
    """The specs are those that serve was asked for; nothing waits for a server."""
    started = time.monotonic()
    outcome = load("at_import/served.py")
    assert time.monotonic() - started < 10
    assert outcome.status == "loaded", outcome.error
    specs = {spec.name: spec for spec in outcome.specs}
    assert list(specs) == ["fast-served", "slow-hourly", "fast-rule"]
    served = specs["fast-served"]
    assert (served.flow_name, served.tags, served.schedule["cron"]) == ("fast", ("daily",), "0 6 * * 1-5")
    assert served.flow_location == str(SAMPLES / "at_import/served.py")
    assert served.line == line_of("at_import/served.py", "fast.serve")
    assert specs["slow-hourly"].schedule["interval"] == 3600
    assert specs["slow-hourly"].parameters == {"seconds": 5}
    assert specs["slow-hourly"].line == line_of("at_import/served.py", "slow.to_deployment")
    assert specs["fast-rule"].schedule["rrule"].endswith("FREQ=DAILY;INTERVAL=2")
    messages = [notice.message.partition(" was called")[0] for notice in notices(outcome, "not_done")]
    assert messages == ["serve() of flow 'fast'", "serve()"]


def test_deploy_at_import_registers_nothing_and_tells_what_it_would(load):
    """No work pool is looked up, no image built, no run started."""
    outcome = load("at_import/deployed.py")
    assert outcome.status == "loaded", outcome.error
    (spec,) = outcome.specs
    assert (spec.name, spec.flow_name, spec.tags) == ("etl-prod", "etl", ("prod",))
    assert (spec.parameters, spec.schedule["cron"]) == ({"source": "gcs"}, "15 * * * *")
    assert [notice.line for notice in notices(outcome, "not_done")] == [
        line_of("at_import/deployed.py", "etl.deploy"),
        line_of("at_import/deployed.py", "run_deployment("),
    ]
    assert not notices(outcome, "denied")


def test_blocks_variables_and_clients_are_not_used(load):
    """A value that is only kept is None, or the default that the script gave."""
    outcome = load("at_import/block_kept.py")
    assert outcome.status == "loaded", outcome.error
    said = " ".join(notice.message for notice in notices(outcome, "not_done"))
    for act in (
        "Secret.load('api-token')",
        "Variable.get('region')",
        "Secret.save('other')",
        "concurrency('database')",
        "read_flows()",
    ):
        assert act in said
    assert not notices(outcome, "denied")


def test_error_of_a_missing_answer_says_where_it_was_asked_for(load):
    """A block's value that the script goes on with: the hint names the line and the way out."""
    error = load("at_import/block_used.py").error
    assert error.type == "AttributeError"
    assert "Secret.load('api-token')" in error.hint
    assert f"line {line_of('at_import/block_used.py', 'Secret.load')}" in error.hint
    assert "move it into the flow" in error.hint


def test_engines_transactions_and_automations_do_nothing(loaders, tmp_path):
    """Each leaves a notice of its line."""
    path = tmp_path / "flow.py"
    path.write_text(
        "from prefect import flow\nfrom prefect.automations import Automation\n"
        "from prefect.flow_engine import run_flow\nfrom prefect.transactions import transaction\n"
        "@flow\ndef f(): raise ValueError\n"
        "run_flow(f)\nwith transaction(key='k') as held:\n    held.set('a', 1)\n"
        "assert Automation.read(name='a') is None\n"
    )
    outcome = loaders["prefect3"].load(path)
    assert (outcome.status, outcome.error) == ("loaded", None)
    assert [notice.line for notice in notices(outcome, "not_done", "flow_called")] == [7, 8, 9, 10]


def test_error_of_several_missing_answers_names_each(load_text):
    """Which of them is missed cannot be told once they are kept."""
    outcome = load_text(
        "from prefect import flow, task\n@task\ndef t(x): ...\n@flow\ndef f(): ...\n"
        "first = f()\nfutures = [t.submit(i) for i in range(3)]\n[future.result() for future in futures]\n"
    )
    assert outcome.error.type == "AttributeError"
    assert "what the lines 6, 7 call is not done" in outcome.error.hint


def test_flow_called_in_a_thread_has_a_line(load_text):
    """Its own if the thread runs some of the script, else the one at which the script waits for it."""
    outcome = load_text(
        "import threading\nfrom prefect import flow\n@flow\ndef f(): ...\n"
        "def own():\n    f()\n"
        "for target in (f, own):\n"
        "    thread = threading.Thread(target=target)\n    thread.start(); thread.join()\n"
    )
    assert [notice.line for notice in notices(outcome, "flow_called")] == [9, 6]


def test_hook_that_ends_the_process_when_asked_its_name(load_text):
    """Its flow cannot be read, and the script goes on."""
    outcome = load_text(
        "from prefect import flow\nclass Hook:\n    def __call__(self, *a): ...\n"
        "    def __getattribute__(self, name):\n"
        "        return object.__getattribute__(self, name) if name != '__name__' else exit(3)\n"
        "@flow\ndef f(): ...\n@flow(on_failure=[Hook()])\ndef g(): ...\n"
    )
    assert (outcome.status, [flow.name for flow in outcome.flows]) == ("loaded", ["f"])
    assert any(notice.message.startswith("cannot read a flow") for notice in outcome.notices)


def test_entrypoint_of_the_script_itself_is_not_loaded_again(load_text):
    """The flow is the one that the running script has defined; Prefect alone would wait for itself."""
    text = """
        from prefect import flow
        from prefect.deployments.runner import RunnerDeployment
        @flow
        def f(a: int = 1): ...
        RunnerDeployment.from_entrypoint("flow.py:f", name="own", cron="0 0 * * *")
    """
    outcome = load_text(textwrap.dedent(text))
    assert outcome.status == "loaded", outcome.error
    (spec,) = outcome.specs
    assert (spec.name, spec.flow_name, len(outcome.flows)) == ("own", "f", 1)
    early = load_text(textwrap.dedent(text).replace("flow.py:f", "flow.py:later"))
    assert "has no later at this line yet" in early.error.message


def test_source_elsewhere_is_not_fetched_and_its_deployment_is_told(load_text):
    """What lies in a repository is not known; what was asked for is."""
    outcome = load_text(
        "from prefect import flow\n"
        "etl = flow.from_source(source='https://example.org/r.git', entrypoint='flows/etl.py:etl')\n"
        "etl.deploy(name='remote', work_pool_name='p', cron='0 1 * * *', tags=['a'])\n"
    )
    assert outcome.status == "loaded", outcome.error
    (spec,) = outcome.specs
    assert (spec.name, spec.flow_location, spec.line) == ("remote", "https://example.org/r.git", 3)
    assert (spec.tags, spec.schedule["cron"], outcome.flows) == (("a",), "0 1 * * *", ())
    assert [notice.line for notice in notices(outcome, "not_done")] == [2, 3]


def test_missing_dependency_names_module_line_and_interpreter(load, loaders, generation):
    """One clear error, and never a flow that is not there."""
    outcome = load("at_import/missing.py")
    assert (outcome.status, outcome.flows) == ("script_failed", ())
    assert "surely_not_installed_anywhere" in outcome.error.message
    assert outcome.error.frames[-1].line == line_of("at_import/missing.py", "surely_not")
    assert loaders[generation].supervisor.python.path in outcome.error.hint


def test_deployments_of_the_second_generation(loaders):
    """`build_from_flow` reads nothing from a server, `apply` writes nothing to it."""
    outcome = loaders["prefect2"].load(SAMPLES / "at_import/deployment2.py")
    (spec,) = outcome.specs
    assert (spec.name, spec.flow_name, spec.parameters) == ("legacy-nightly", "legacy", {"x": 2})
    assert (spec.schedule["cron"], spec.schedule["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    assert spec.flow_location == str(SAMPLES / "at_import/deployment2.py")
    assert spec.line == line_of("at_import/deployment2.py", "build_from_flow")
    (notice,) = notices(outcome, "not_done")
    assert notice.line == line_of("at_import/deployment2.py", "deployment.apply")
    newer = loaders["prefect3"].load(SAMPLES / "at_import/deployment2.py")
    assert "has been removed" in newer.error.message
    assert "--python" in newer.error.hint


def test_script_for_the_seed_api_is_read_with_it(load, generation):
    """What no installed Prefect has decides, and the outcome says so."""
    outcome = load("beta/spec.py")
    assert (outcome.status, outcome.dialect.name) == ("loaded", "orion")
    assert "prefect.deployments.DeploymentSpec" in outcome.dialect.reason
    assert [spec.name for spec in outcome.specs] == ["beta"]


def test_script_that_mixes_apis_is_read_with_the_installed_one(load_text, generation):
    """A script that the seed API could not load either fails as it would when it is run."""
    outcome = load_text(
        "from prefect.flow_runners import DockerFlowRunner\nfrom prefect.variables import Variable\n"
    )
    assert (outcome.status, outcome.dialect.name) == ("script_failed", generation)


def test_main_block_is_not_run(load_text):
    """What stands below the guard is for those who run the script."""
    text = (
        "from prefect import flow\n@flow\ndef f(): ...\nif __name__ == '__main__':\n    raise SystemExit(3)\n"
    )
    assert load_text(text).status == "loaded"


def test_neighbour_named_like_a_dependency_does_not_break_prefect(load_text, tmp_path):
    """A folder may hold a `rich.py`: the script gets it, Prefect goes on with its own."""
    (tmp_path / "rich.py").write_text("NAME = 'mine'\n")
    outcome = load_text("import rich\nfrom prefect import flow\n@flow(name=rich.NAME)\ndef f(): ...\n")
    assert [flow.name for flow in outcome.flows] == ["mine"]


def test_two_loads_share_nothing(load_text):
    """What a script does to Prefect is gone with its worker."""
    spoil = "prefect.Flow.__call__ = prefect.flow = None\n"
    assert load_text(f"import prefect\n@prefect.flow\ndef f(): ...\n{spoil}").status == "loaded"
    outcome = load_text("from prefect import flow\n@flow\ndef f(): ...\nf()\n")
    assert (outcome.status, len(notices(outcome, "flow_called"))) == ("loaded", 1)


def test_script_cannot_import_our_packages(load_text):
    """The interpreter is the script's: nothing of ours is in it."""
    for name in ("worker", "loader", "msgpack"):
        outcome = load_text(f"import {name}\n")
        assert (outcome.status, outcome.error.type) == ("script_failed", "ModuleNotFoundError")


def test_nothing_is_said_on_the_streams_of_a_quiet_script(load):
    """Prefect's own chatter about its home and settings is not the script's."""
    outcome = load("plain.py")
    assert (outcome.stdout.text, outcome.stderr.text) == ("", "")


@pytest.mark.parametrize("profile", ["network", "no-namespaces", "development"])
def test_other_profiles_do_no_more(prefect_python, profile):
    """What a profile would allow is not done either, and nothing is left on the host."""
    with FlowLoader(profile, python=prefect_python) as loader:
        for name in ("at_import/block_kept.py", "at_import/served.py"):
            outcome = loader.load(SAMPLES / name)
            assert outcome.status == "loaded", outcome.error
            assert notices(outcome, "not_done")
            assert not notices(outcome, "denied")


def test_forced_dialect(prefect_python):
    """The seed API can be asked for where Prefect is installed."""
    with FlowLoader(python=prefect_python, dialect="orion") as loader:
        outcome = loader.load(SAMPLES / "project/load_events.py")
        assert outcome.dialect.name == "orion"
        assert outcome.dialect.reason == "it was asked for"


def test_what_serve_would_register_can_be_deployed(loaders, tmp_path):
    """Flows of an installed Prefect run in a process of their own: no storage has to be configured."""
    finder = Finder(loaders["prefect3"], DEFAULT)
    with EmbeddedRegistry(tmp_path / "registry.db") as registry:
        batch = judge(str(SAMPLES / "at_import/served.py"), Deployer(registry, finder))
    assert [verdict.problems for verdict in batch.verdicts] == [(), (), ()]
    assert all("only be usable from the current machine" in item.warnings[0] for item in batch.verdicts)
