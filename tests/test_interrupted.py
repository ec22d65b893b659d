"""Ctrl-C while a deployment is made: what a record may lead to is there, whenever it comes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loader import DeploymentSpec, EmbeddedRegistry, FileStorageBlock, load_flow_from_deployment
from loader.client.embedded.connections import Connections
from loader.client.interface import Transaction

SCRIPT = "from prefect import flow\n@flow\ndef greet(): pass\n"
RANDOMLY = """
import hashlib, os, random, signal, sys, time
from loader import DeploymentSpec, EmbeddedRegistry, FileStorageBlock
from loader.client import documents
from loader.deploying import deployer

folder = sys.argv[1]
script, chance, interrupted, took = os.path.join(folder, "flow.py"), random.Random(3), 0, []
signal.signal(signal.SIGALRM, signal.default_int_handler)
spec = DeploymentSpec(
    name="d", flow_location=script, flow_runner="subprocess",
    flow_storage=FileStorageBlock(base_path=os.path.join(folder, "kept")),
)
with EmbeddedRegistry(os.path.join(folder, "own", "r.db")) as registry:
    for number in range(150):
        with open(script, "w") as file:
            file.write(f"from prefect import flow\\n@flow\\ndef greet(): pass\\n# {number}\\n")
        work = deployer(registry)
        valid = work.valid(spec)
        began = time.perf_counter()
        try:
            if number >= 10:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.3, 1.2) * sorted(took)[5])
            work.create(valid)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
        else:
            took.append(time.perf_counter() - began)
        (record,) = registry.read_deployments()
        key, _ = documents.parse_blockstorage(record.flow_data)
        assert os.path.exists(os.path.join(folder, "kept", key)), number
print(interrupted)
"""


@pytest.fixture
def spec(tmp_path):
    """A spec whose script goes to a folder of the test's own."""
    (tmp_path / "flow.py").write_text(SCRIPT)
    kept = FileStorageBlock(base_path=str(tmp_path / "kept"))
    return DeploymentSpec(
        name="d", flow_location=tmp_path / "flow.py", flow_runner="subprocess", flow_storage=kept
    )


@pytest.mark.parametrize("when", ["before COMMIT", "after COMMIT"])
def test_a_deployment_that_is_there_has_its_script(spec, tmp_path, monkeypatch, when):
    """Where the interrupt comes once the deployment was committed; one that came before leaves nothing."""
    run = Connections._run

    def interrupted(self, connection, statement, values=()):
        if (when, statement) == ("before COMMIT", "COMMIT"):
            raise KeyboardInterrupt
        found = run(self, connection, statement, values)
        if statement == "COMMIT":
            raise KeyboardInterrupt
        return found

    with EmbeddedRegistry(tmp_path / "own" / "r.db") as registry:
        registry.create_flow("greet")
        monkeypatch.setattr(Connections, "_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spec.create_deployment(registry)
        monkeypatch.undo()
        found = registry.read_deployments()
        assert [record.name for record in found] == (["d"] if when == "after COMMIT" else [])
        assert [load_flow_from_deployment(record, registry).name for record in found] == ["greet"] * len(
            found
        )
    assert len(os.listdir(tmp_path / "kept")) == len(found)


@pytest.mark.slow
def test_an_interrupt_at_any_moment_leaves_no_deployment_without_its_script(tmp_path):
    """Updates of a deployment that was there, ended by a real signal at random moments."""
    ended = subprocess.run(
        [sys.executable, "-c", RANDOMLY, str(tmp_path)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 10


def test_a_transaction_knows_whether_it_is_undone(tmp_path):
    """An inner one, too; one that ended well is done, and one whose end is not known is neither."""
    seen = []

    def failing(registry):
        with registry.transaction() as outer, registry.transaction() as inner:
            seen.extend([outer, inner])
            registry.create_flow("f")
            raise ZeroDivisionError

    with EmbeddedRegistry(tmp_path / "own" / "r.db") as registry:
        with registry.transaction() as made:
            registry.create_flow("kept")
        with pytest.raises(ZeroDivisionError):
            failing(registry)
    assert (made, seen) == (Transaction(done=True), [Transaction(undone=True)] * 2)
