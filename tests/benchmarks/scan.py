"""What a scan of Prefect scripts costs, against a bare fork for each: processor time of whole process trees.

Generates two hundred scripts and compares ``flow-loader scan`` with a process that imports Prefect once and
forks for each script, as many at a time, to load it and report its flow. Both are counted from their start to
their end. Run it from the project's folder, with an interpreter that has Prefect:

    python tests/benchmarks/scan.py PYTHON|VENV
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from loader.interpreters import interpreter
from tests.benchmarks.prefect_load import LOAD, SCRIPT, environment

FORKS = (
    LOAD
    + """
def report(path):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, load(path).encode())
        os._exit(0)
    os.close(writing)
    return child, reading

paths = sorted(os.path.join(sys.argv[1], name) for name in os.listdir(sys.argv[1]))
load(paths[0])
import gc
gc.collect(); gc.freeze(); gc.disable()
under_way = []
while paths or under_way:
    while paths and len(under_way) < len(os.sched_getaffinity(0)):
        under_way.append(report(paths.pop()))
    child, reading = under_way.pop(0)
    assert os.read(reading, 1 << 20)
    os.close(reading)
    os.waitpid(child, 0)
"""
)
SCAN = [sys.executable, "-m", "loader", "scan", "--format", "json", "--python"]


def spent(command: list[str], home: str, **options: object) -> tuple[float, str]:
    """Processor seconds of a command and all its processes, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env=environment(home), stdout=subprocess.PIPE, text=True, check=True, **options
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", metavar="PYTHON|VENV")
    parser.add_argument("--scripts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    python = interpreter(options.python)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home, scripts = str(Path(folder, "home")), Path(folder, "scripts")
        scripts.mkdir()
        for number in range(options.scripts):
            Path(scripts, f"flow_{number}.py").write_text(SCRIPT.replace('"nightly"', f'"nightly-{number}"'))
        rows = []
        for _ in range(options.rounds):
            forked, _ = spent([python, "-B", "-c", FORKS, str(scripts)], home)
            scanned, printed = spent(
                [*SCAN, python, str(scripts)], home, cwd=Path(__file__).parent.parent.parent
            )
            summary = json.loads(printed.splitlines()[-1])
            assert summary["ok"] == options.scripts, summary
            rows.append((forked, scanned))
    forked, scanned = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"{options.scripts} scripts, processor seconds: bare forks {forked:.2f}, scan {scanned:.2f}", end="; "
    )
    print(f"scan / bare forks: {statistics.median(row[1] / row[0] for row in rows):.2f}")


if __name__ == "__main__":
    main()
