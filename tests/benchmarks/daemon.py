"""What the daemon adds to a warm load, and how much it does side by side: ratios of one interleaved run.

Compares a warm load through the daemon with one by the library in this process, by the client of the library
and by the bare connection of the standard library; then kept results with fresh ones; then how many loads a
second are done for 1, 2, 4 and 8 callers at once. Run it from the project's folder:

    python tests/benchmarks/daemon.py
"""

import argparse
import http.client
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from loader import DaemonClient, FlowLoader
from tests.benchmarks.warm_load import SCRIPT
from tests.daemon.running import Connection, start

CALLERS = (1, 2, 4, 8)
TARGET_MS = 1.5


def timed(do: object) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


class Bare:
    """The least that a caller can do: one connection, and nothing made of the answer but JSON."""

    def __init__(self, socket: Path, path: str) -> None:
        self.connection = Connection(socket)
        self.body = json.dumps({"location": path, "cache": False})

    def load(self) -> None:
        self.connection.request("POST", "/v1/load", self.body, {"Content-Type": "application/json"})
        response: http.client.HTTPResponse = self.connection.getresponse()
        assert json.loads(response.read())["status"] == "loaded"


def loads(loader: FlowLoader | DaemonClient, path: str) -> None:
    """One load."""
    assert loader.load(path).status == "loaded"


def latency(library: object, ways: dict, n: int) -> None:
    """Print medians and ratios of each way against the library, in an order that is drawn anew each time.

    What a load leaves to be done weighs on whichever comes next.
    """
    for name, way in ways.items():
        pair = [library, way]
        for _ in range(20):
            library()
            way()
        rows = []
        for _ in range(n):
            order = random.sample(pair, 2)
            took = {do: timed(do) for do in order}
            rows.append([took[do] for do in pair])
        alone, through = (statistics.median(column) * 1e3 for column in zip(*rows, strict=True))
        allowed = max(TARGET_MS, alone / 2)
        print(
            f"{name} / library: {through / alone:.2f}, {through - alone:+.2f} ms of {alone:.2f} ms"
            f" (allowed: {allowed:+.2f} ms)"
        )


def throughput(make: object, path: str, callers: int, each: int) -> float:
    """Loads a second of so many callers at once."""

    def work(loader: FlowLoader | DaemonClient) -> None:
        for _ in range(each):
            loads(loader, path)

    loader = make()
    threads = [threading.Thread(target=work, args=(loader,)) for _ in range(callers)]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return callers * each / timed(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--each", type=int, default=60)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-bench-"))
    path = str(folder / "bench.py")
    Path(path).write_text(SCRIPT)
    running = start(folder, "--log-level", "warning")
    try:
        with (
            FlowLoader() as library,
            DaemonClient(running.socket, cache=False) as fresh,
            DaemonClient(running.socket) as kept,
        ):
            ways = {
                "daemon": lambda: loads(fresh, path),
                "bare connection": Bare(running.socket, path).load,
                "kept result": lambda: loads(kept, path),
            }
            latency(lambda: loads(library, path), ways, options.rounds)
            for callers in CALLERS:
                own = throughput(lambda: library, path, callers, options.each)
                through = throughput(lambda: fresh, path, callers, options.each)
                held = throughput(lambda: kept, path, callers, options.each)
                print(
                    f"{callers} callers: library {own:.0f}/s, daemon {through:.0f}/s ({through / own:.2f}),"
                    f" kept {held:.0f}/s ({held / own:.2f})"
                )
    finally:
        running.end()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
