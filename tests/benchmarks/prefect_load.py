"""What loading a Prefect script costs, against Prefect itself without a sandbox: ratios of one run.

Compares a warm load with (1) the same load by Prefect in a warm process, and (2) in a bare fork of such a
process; and the first load of a fresh loader with (3) a fresh process that imports Prefect and loads the
script. Run it from the project's folder, with an interpreter that has Prefect:

    python tests/benchmarks/prefect_load.py VENV
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from loader import FlowLoader
from loader.interpreters import interpreter

SCRIPT = """\
from typing import List, Optional

from prefect import flow, task
from pydantic import BaseModel


class Settings(BaseModel):
    table: str = "events"
    limit: Optional[int] = None


@task(retries=2)
def extract(day: str) -> List[str]:
    return [day]


@flow(name="nightly", retries=1)
def nightly(day: str, settings: Settings = Settings(), names: List[str] = ["a"]):
    '''Build the nightly report.

    Args:
        day: the day to report on
    '''
    return extract(day)


@flow
async def weekly(week: int = 1): ...
"""
LOAD = """\
import json, os, sys, time
from prefect.flows import Flow, load_flow_from_entrypoint

def load(path):
    script = load_flow_from_entrypoint(path + ":nightly").fn.__globals__
    return json.dumps([told(value) for value in script.values() if isinstance(value, Flow)])

def told(flow):
    schema = flow.parameters
    parameters = schema.model_dump() if hasattr(schema, "model_dump") else schema.dict()
    place = flow.fn.__code__.co_filename, flow.fn.__code__.co_firstlineno
    return [flow.name, flow.version, flow.description, parameters, flow.retries, flow.timeout_seconds, place]
"""
IN_PROCESS = (
    LOAD
    + """
load(sys.argv[1])
for line in sys.stdin:
    started = time.perf_counter()
    load(sys.argv[1])
    print(time.perf_counter() - started, flush=True)
"""
)
FORKED = (
    LOAD
    + """
def fork(path):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, load(path).encode())
        os._exit(0)
    os.close(writing)
    os.read(reading, 1 << 20)
    os.close(reading)
    os.waitpid(child, 0)

load(sys.argv[1])
import gc
gc.collect(); gc.freeze(); gc.disable()
for line in sys.stdin:
    started = time.perf_counter()
    (load if line == "p\\n" else fork)(sys.argv[1])
    print(time.perf_counter() - started, flush=True)
"""
)


def environment(home: str) -> dict[str, str]:
    """Variables for a Prefect that keeps to its folder and talks to nobody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
    quiet = {"PREFECT_HOME": home, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return {**kept, **quiet, "HOME": home}


def timed(do: object) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def compare_warm(python: str, path: str, home: str, rounds: int) -> None:
    """Print what a warm load takes beside Prefect's own, in-process and forked."""

    def serving(source: str) -> subprocess.Popen[str]:
        command = [python, "-B", "-c", source, path]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment(home), **pipes)

    def ask(peer: subprocess.Popen[str]) -> float:
        peer.stdin.write("\n")
        peer.stdin.flush()
        return float(peer.stdout.readline())

    with FlowLoader(python=python) as loader, serving(IN_PROCESS) as warm, serving(FORKED) as forked:

        def load() -> None:
            outcome = loader.load(path)
            assert outcome.status == "loaded", outcome.error

        rows = [(ask(warm), ask(forked), timed(load)) for _ in range(rounds + 2)][2:]
        warm.stdin.close()
        forked.stdin.close()
    medians = [statistics.median(column) * 1e3 for column in zip(*rows, strict=True)]
    print("median ms: in-process {:.1f}, bare fork {:.1f}, warm load {:.1f}".format(*medians))
    for index, name in enumerate(("in-process", "bare fork")):
        print(f"warm load / {name}: {statistics.median(row[2] / row[index] for row in rows):.2f}")


def compare_cold(python: str, path: str, home: str, rounds: int) -> None:
    """Print what a fresh loader's first load takes beside a fresh process's."""
    cold = LOAD + "print(load(sys.argv[1]))"
    command = [python, "-c", cold, path]

    def first() -> None:
        with FlowLoader(python=python) as loader:
            assert loader.load(path).status == "loaded"

    def fresh() -> None:
        subprocess.run(command, env=environment(home), check=True, capture_output=True)

    fresh()
    rows = [(timed(fresh), timed(first)) for _ in range(rounds)]
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print("median s: cold process {:.2f}, first load {:.2f}".format(*medians), end="; ")
    print(f"first load / cold process: {statistics.median(row[1] / row[0] for row in rows):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", metavar="PYTHON|VENV")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--cold", type=int, default=3)
    options = parser.parse_args()
    python = interpreter(options.python)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = str(Path(folder, "bench.py"))
        Path(path).write_text(SCRIPT)
        home = str(Path(folder, "home"))
        compare_warm(python, path, home, options.rounds)
        compare_cold(python, path, home, options.cold)


if __name__ == "__main__":
    main()
