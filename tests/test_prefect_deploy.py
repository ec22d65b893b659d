"""A project deployed by us, and by ``prefect deploy``: the server is told the same."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from loader import FlowLoader, PrefectServer
from loader.access import DEFAULT
from loader.batches import judge
from loader.deploying import Deployer
from loader.finding import Finder
from tests.prefect_server import asking, environment

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parent / "samples" / "project"
OWN = {"id", "created", "updated", "created_by", "updated_by", "last_polled", "status"}
"""What a server makes of itself."""
VARIABLES = {"type": "object", "properties": {"image": {"type": "string"}, "env": {"type": "object"}}}


@pytest.fixture
def ask(prefect_url):
    """A callable that asks the server itself."""
    return asking(prefect_url)


@pytest.fixture
def pool(ask):
    """The project's work pool."""
    template = {"job_configuration": {"image": "{{ image }}"}, "variables": VARIABLES}
    ask("POST", "/work_pools/", {"name": "kubernetes", "type": "process", "base_job_template": template})
    yield
    ask("DELETE", "/work_pools/kubernetes")


@pytest.fixture
def project(tmp_path):
    """A copy of the project, and in a file of its own a deployment without pull steps."""
    folder = tmp_path / "shop"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "local.yaml").write_text(
        "deployments:\n- {name: local, entrypoint: 'pkg/flows/etl.py:main', work_pool: {name: kubernetes}}\n"
    )
    return folder


def told(ask):
    """What the server knows of every deployment, by name, and forgets with that."""
    found = {}
    for item in ask("POST", "/deployments/filter", {}):
        ask("DELETE", f"/deployments/{item['id']}")
        kept = {key: value for key, value in item.items() if key not in OWN}
        kept["schedules"] = sorted(
            (
                {key: value for key, value in each.items() if key not in OWN | {"deployment_id"}}
                for each in kept["schedules"]
            ),
            key=json.dumps,
        )
        schema = {"required": [], "definitions": {}}  # what Prefect leaves out where it is empty
        kept["parameter_openapi_schema"] = schema | (kept["parameter_openapi_schema"] or {})
        limit = kept.pop("global_concurrency_limit", None)
        found[item["name"]] = kept | {"limit": limit and limit["limit"], "concurrency_limit_id": None}
    return found


@pytest.mark.usefixtures("pool")
def test_the_server_is_told_what_prefect_deploy_tells_it(project, prefect_python, prefect_url, ask):
    """Every field of every deployment, its schedules and pull steps among them; again changes nothing."""
    told(ask)  # what other tests left
    variables = environment(project.parent) | {
        "PREFECT_API_URL": prefect_url,
        "PYTHONPATH": str(project / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for file in ("prefect.yaml", "local.yaml"):
        command = [prefect_python, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file]
        done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    theirs = told(ask)
    with FlowLoader(python=prefect_python) as loader, PrefectServer(prefect_url, timeout=30) as server:
        made = []
        for file in ("prefect.yaml", "local.yaml", "prefect.yaml"):
            deployer = Deployer(server, Finder(loader, DEFAULT))
            batch = judge(str(project / file), deployer)
            assert [verdict.problems for verdict in batch.verdicts] == [()] * len(batch.verdicts)
            made += [deployer.create(verdict.valid).new for verdict in batch.verdicts]
        assert made == [True, True, True, True, False, False, False]
        record = server.read_deployment_by_name("main", "north")
        assert [item.slug for item in record.schedules] == [None, "hourly"]
        assert (record.concurrency_limit, record.work_pool) == (1, "kubernetes")
    ours = told(ask)
    assert sorted(theirs) == ["local", "nightly", "north", "small"]
    assert ours["local"].pop("path") == str(project), "where a worker finds it; the pull step says it, too"
    assert theirs["local"].pop("path") is None
    for name, item in theirs.items():
        assert ours[name] == item, name


DEPLOYED = """
from prefect import flow
flow.from_source(source=".", entrypoint="flows.py:strange").to_deployment(name="d").apply()
"""
STRANGE = """
from typing import List, Optional, Set
from prefect import flow
from pydantic import BaseModel

class Steps(BaseModel):
    names: List[str] = ["a", "b"]
    limit: float = float("inf")

class Only(BaseModel):
    names: Set[str] = set("abcdefgh")
    most: int = 2**70

@flow(version="1")
def strange(
    steps: Steps = Steps(),
    only: Only = Only(),
    some: Optional[Set[str]] = set("xyz"),
    least: float = float("-inf"),
    big: int = 2**64,
    free=float("nan"),
): pass
"""
CHANGES = [
    ("", "", set()),
    ('["a", "b"]', '["b", "a"]', {"parameters.steps.default", "definitions.Steps"}),
    ('set("xyz")', 'set("xy")', {"parameters.some.default"}),
    ("2**64", "2**65", {"parameters.big.default"}),
]


def test_what_prefect_deploys_itself_drifts_when_it_changes(tmp_path, prefect_python, prefect_url, ask):
    """Its client records some numbers in another form than a worker says them, and sets in any order."""
    script = tmp_path / "flows.py"
    script.write_text(STRANGE)
    variables = environment(tmp_path) | {"PREFECT_API_URL": prefect_url}
    command = [prefect_python, "-c", DEPLOYED]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with FlowLoader(python=prefect_python) as loader, PrefectServer(prefect_url, timeout=30) as server:
        record = server.read_deployment_by_name("strange", "d")
        for was, now, fields in CHANGES:
            script.write_text(STRANGE.replace(was, now))
            verdict = loader.check(script, recorded=record)
            assert verdict.status.value == "loaded"
            assert {reason.field for reason in verdict.reasons} == fields
    told(ask)
