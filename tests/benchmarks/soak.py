"""Ten thousand mixed loads through a daemon whose processes are killed at random: what it holds stays flat.

Run it from the project's folder; it takes some minutes, and ends with 1 when something grows or goes wrong:

    python tests/benchmarks/soak.py [--loads N] [--callers N]
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from loader import DaemonClient
from tests.daemon.running import start

FLOW = "from prefect import flow\n\n@flow\ndef f{number}(n: int = {number}): ...\n"
SCRIPTS = {
    "good.py": (FLOW, {"loaded"}),
    "raises.py": (FLOW + "\n1 / 0\n", {"script_failed"}),
    "exits.py": (FLOW + "\nimport os; os._exit(3)\n", {"crashed"}),
    "dies.py": (FLOW + "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)\n", {"crashed"}),
    "hangs.py": (FLOW + "\nwhile True: pass\n", {"timed_out"}),
    "floods.py": (FLOW + "\nprint('x' * (1 << 22))\n", {"loaded"}),
    "eats.py": (FLOW + "\nx = []\nwhile True: x.append(bytearray(1 << 24))\n", {"out_of_memory"}),
}
LIMITS = {"hangs.py": 1}
WEIGHTS = (60, 15, 5, 5, 1, 10, 1)
KILLED = {"crashed", "sandbox_unavailable"}
"""What a load may end as, too, while its processes are killed."""
EVERY = 2.0
"""Seconds between two kills."""
SETTLED = 0.2
"""The part of all loads after which nothing may grow any more."""


def below(pid: int) -> list[int]:
    """Every process below one."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, thread.read_text().split()):
                found += [child, *below(child)]
    return found


def held(pid: int) -> dict[str, int]:
    """What a daemon holds: memory in KiB, descriptors, threads, and processes below it."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "memory": int(status["VmRSS"].split()[0]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
        "processes": len(below(pid)),
    }


def kill_some(pid: int, ended: threading.Event, killed: Counter) -> None:
    """Kill a random process below the daemon every now and then."""
    while not ended.wait(EVERY * random.uniform(0.5, 1.5)):
        try:
            chosen = random.choice(below(pid))
            os.kill(chosen, signal.SIGKILL)
            killed["processes"] += 1
        except (OSError, IndexError):
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loads", type=int, default=10_000)
    parser.add_argument("--callers", type=int, default=4)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flow-loader-soak-"))
    folder.chmod(0o755)
    daemon = start(folder, "--set", "limits.queue=1000", "--log-level", "error")
    pid, seen, wrong, killed, ended = daemon.process.pid, Counter(), [], Counter(), threading.Event()
    killer = threading.Thread(target=kill_some, args=(pid, ended, killed))

    def load(number: int) -> None:
        name, (text, due) = random.choices(list(SCRIPTS.items()), WEIGHTS)[0]
        with DaemonClient(str(daemon.socket)) as client:
            for round_ in range(10):
                outcome = client.load_text(
                    text.format(number=number * 10 + round_),
                    name=name,
                    timeout=1 if name == "hangs.py" else 20,
                )
                seen[outcome.status] += 1
                if outcome.status not in due | KILLED:
                    wrong.append((name, outcome.status, outcome.error))

    began, first = time.monotonic(), None
    killer.start()
    try:
        with ThreadPoolExecutor(options.callers) as pool:
            for done, _ in enumerate(pool.map(load, range(options.loads // 10)), 1):
                if first is None and done >= SETTLED * options.loads / 10:
                    first = held(pid)
        ended.set()
        killer.join()
        time.sleep(2)
        last = held(pid)
    finally:
        ended.set()
        code = daemon.end()
    left = [item for item in below(os.getpid()) if item != pid]
    told = {str(status): number for status, number in seen.items()}
    seconds = time.monotonic() - began
    print(f"{sum(seen.values())} loads in {seconds:.0f} s, {killed['processes']} kills: {told}")
    print(f"after {SETTLED:.0%}: {first}\nat the end: {last}\nexit {code}, left behind: {left}")
    shutil.rmtree(folder)
    grown = [name for name in last if last[name] > 1.25 * first[name] + 8]
    print("grown:", grown or "nothing", "; wrong:", wrong[:5] or "nothing")
    sys.exit(bool(grown or wrong or left or code))


if __name__ == "__main__":
    main()
