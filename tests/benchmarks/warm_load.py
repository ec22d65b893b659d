"""What a warm load costs, against the same script run with no sandbox: ratios of one interleaved run.

Compares a load by a warm FlowLoader with (1) the same script run by the worker's code in one process,
and (2) a bare fork for each script of a process that preloaded the same. Then loads a thousand scripts
and compares memory, descriptors and processes before and after. A load is also compared with its kept
result, given again. Run it from the project's folder:

    python tests/benchmarks/warm_load.py
"""

import argparse
import contextlib
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from loader import FlowLoader, sources
from loader.daemon.kept import Kept
from worker import protocol, script

SCRIPT = """\
from prefect import flow, task
from prefect.deployments import DeploymentSpec

@task
def add(a: int, b: int = 1) -> int:
    return a + b

@flow(name="adding")
def first(a: int, b: int = 2):
    '''Adds two numbers.'''
    return add(a, b)

@flow
async def second(names: list = ["x"]):
    return names

DeploymentSpec(name="daily", flow=first, parameters={"a": 1}, tags=["bench"])
"""


class Unsandboxed:
    """A preloaded process that runs the script without confinement, in itself or in forks of itself."""

    def __init__(self, path: str) -> None:
        self.load = protocol.Load(path, Path(path).read_bytes(), "bench", str(Path(path).parent), "orion")
        self.requests, self.answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.requests[1])  # its end is the end of requests
            self.serve()
            os._exit(0)

    def serve(self) -> None:
        script.rehearse()
        while kind := os.read(self.requests[0], 1):
            started, before = time.perf_counter(), cpu_of_process()
            self.in_process() if kind == b"p" else self.in_fork()
            wall, cpu = time.perf_counter() - started, cpu_of_process() - before
            os.write(self.answers[1], f"{wall} {cpu}\n".encode())

    def in_process(self) -> None:
        protocol.encode(script.execute(self.load, lambda _: None))

    def in_fork(self) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, protocol.encode(script.execute(self.load, lambda _: None)))
            os._exit(0)
        os.close(writing)
        os.read(reading, 1 << 20)
        os.close(reading)
        os.waitpid(child, 0)

    def run(self, kind: bytes) -> tuple[float, float]:
        os.write(self.requests[1], kind)
        wall, cpu = os.read(self.answers[0], 100).split()
        return float(wall), float(cpu)

    def close(self) -> None:
        os.close(self.requests[1])
        os.waitpid(self.pid, 0)


def cpu_of_process() -> float:
    """Processor seconds of this process and of its children that were waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def clock_of(pid: int) -> float:
    """Processor seconds of process ``pid``."""
    return time.clock_gettime((~pid << 3) | 2)


def clock_of_children(pid: int) -> float:
    """Processor seconds of the children of ``pid`` that it has reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def child_of(pid: int) -> int:
    """The one child of process ``pid``."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


class Sandboxed:
    """A warm loader, and what it and its processes used."""

    def __init__(self, loader: FlowLoader, path: str) -> None:
        self.loader, self.path = loader, path

    def run(self) -> float:
        """Wall seconds of one load."""
        started = time.perf_counter()
        outcome = self.loader.load(self.path)
        wall = time.perf_counter() - started
        assert outcome.status == "loaded", outcome.error
        return wall

    def cpu(self) -> float:
        """Processor seconds of the supervisor, the broker, the zygote and every worker that was reaped."""
        zygote = self.loader.supervisor.zygote
        assert zygote is not None
        broker = zygote.process.pid
        forking = child_of(broker)
        return time.process_time() + clock_of(broker) + clock_of(forking) + clock_of_children(forking)


def compare(loader: FlowLoader, path: str, rounds: int, each: int) -> None:
    """Print the medians' ratios over interleaved rounds, and those of the processor time spent."""
    ours, rows, spent = Sandboxed(loader, path), [], {"p": 0.0, "f": 0.0, "s": 0.0}
    with contextlib.closing(Unsandboxed(path)) as plain:
        for _ in range(20):
            plain.run(b"p"), plain.run(b"f"), ours.run()
        for _ in range(rounds):
            row = []
            for kind in ("p", "f"):
                runs = [plain.run(kind.encode()) for _ in range(each)]
                row.append(statistics.median(wall for wall, _ in runs))
                spent[kind] += sum(cpu for _, cpu in runs)
            before = ours.cpu()
            row.append(statistics.median(ours.run() for _ in range(each)))
            spent["s"] += ours.cpu() - before
            rows.append(row)
    report(rows, spent)


def report(rows: list[list[float]], spent: dict[str, float]) -> None:
    """Print what was measured."""
    in_process, in_fork, in_sandbox = (statistics.median(column) * 1e3 for column in zip(*rows, strict=True))
    print(f"median ms: in-process {in_process:.2f}, bare fork {in_fork:.2f}, warm load {in_sandbox:.2f}")
    for index, name, kind in ((0, "in-process", "p"), (1, "bare fork", "f")):
        latency = statistics.median(row[2] / row[index] for row in rows)
        print(f"warm load / {name}: latency {latency:.2f}, processor time {spent['s'] / spent[kind]:.2f}")


def soak(loader: FlowLoader, path: str, loads: int) -> None:
    """Print resident memory, descriptors and processes before and after ``loads`` loads."""
    before = standing(loader)
    for _ in range(loads):
        assert loader.load(path).status == "loaded"
    time.sleep(0.5)
    after = standing(loader)
    print(f"{loads} loads: ", end="")
    print(", ".join(f"{name} {before[name]} -> {after[name]}" for name in before))


def keep(loader: FlowLoader, path: str, folder: str, rounds: int) -> None:
    """Print what a kept result costs against a load of the same script."""
    results, seconds = Kept(folder), {True: [], False: []}
    for fresh in [True, False] * rounds:
        started = time.perf_counter()
        outcome = results.run(loader, sources.read(path), fresh=fresh)
        seconds[fresh].append(time.perf_counter() - started)
        assert outcome.kept is not fresh
    loaded, kept = (statistics.median(seconds[fresh]) * 1e3 for fresh in (True, False))
    print(f"kept result: {kept:.2f} ms, warm load / kept result {loaded / kept:.1f}")


def standing(loader: FlowLoader) -> dict[str, int]:
    """What the supervisor, broker and zygote hold now."""
    zygote = loader.supervisor.zygote
    assert zygote is not None
    pids = {"supervisor": os.getpid(), "broker": zygote.process.pid}
    pids["zygote"] = child_of(zygote.process.pid)
    children = Path(f"/proc/{pids['zygote']}/task/{pids['zygote']}/children").read_text().split()
    found = {"workers": len(children)}
    for name, pid in pids.items():
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        found[f"{name} KiB"] = pages * resource.getpagesize() // 1024
        found[f"{name} descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--loads", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, FlowLoader() as loader:
        path = str(Path(folder, "bench.py"))
        Path(path).write_text(SCRIPT)
        loader.load(path)
        compare(loader, path, options.rounds, options.each)
        keep(loader, path, str(Path(folder, "kept")), options.rounds * options.each)
        soak(loader, path, options.loads)


if __name__ == "__main__":
    main()
