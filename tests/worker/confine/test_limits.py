"""Resource limits: which ones a policy plans, and that the kernel has them afterwards."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from worker.confine.limits import CPU_GRACE, plan, used

ROOT = Path(__file__).parents[3]
ALWAYS = {"core": (0, 0), "msgqueue": (0, 0), "nice": (0, 0), "rtprio": (0, 0)}


def planned(policy, counted=True):
    """Name → soft and hard limit."""
    return {item.name: (item.soft, item.hard) for item in plan(policy, counted)}


def test_strict_plans_every_limit(policy):
    """Each value is the policy's; after the processor time a moment is left to say where it went."""
    values = policy(memory=7, cpu=5, open_files=6, file_size=8, threads=9)
    assert planned(values) == {
        **ALWAYS,
        "as": (7, 7),
        "cpu": (5, 5 + CPU_GRACE),
        "nofile": (6, 6),
        "fsize": (8, 8),
        "nproc": (9, 9),
    }


def test_threads_and_processes_are_counted_together(policy):
    """The kernel counts tasks, and counts them for this process only where it is alone."""
    values = policy(processes=3, threads=4)
    assert planned(values)["nproc"] == (7, 7)
    assert "nproc" not in planned(values, counted=False)


@pytest.mark.parametrize(
    ("guarantee", "limits"),
    [("memory", {"as"}), ("cpu", {"cpu"}), ("open_files", {"nofile", "fsize"}), ("processes", {"nproc"})],
)
def test_what_is_not_asked_for_is_not_limited(policy, guarantee, limits):
    """Of each guarantee there is what belongs to it, and nothing of the others."""
    assert planned(policy(demands={guarantee: "full"})).keys() == ALWAYS.keys() | limits
    assert planned(policy(demands={})) == ALWAYS


def test_each_limit_names_its_own_resource(policy):
    """A name and the number that the kernel knows it by."""
    for item in plan(policy(), counted=True):
        assert item.resource == getattr(resource, f"RLIMIT_{item.name.upper()}")


def test_memory_and_time_come_on_top_of_what_is_used(policy):
    """What the worker itself holds is not the script's."""
    beyond = {item.name: item.beyond for item in plan(policy(), counted=True)}
    assert {name: kind for name, kind in beyond.items() if kind} == {"as": "memory", "cpu": "cpu"}
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    assert abs(used("memory") - size) < 1 << 24
    assert used("cpu") >= 1


APPLY = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from worker.confine.limits import Limit, apply, used
wanted = [Limit(*item) for item in json.loads(sys.argv[2])]
before = used("memory")
apply(tuple(wanted))
print(json.dumps([before, {item.name: resource.getrlimit(item.resource) for item in wanted}]))
"""


def applied(*limits, before=()):
    """The limits of a process that applied `limits`, and the memory it had."""
    done = subprocess.run(
        [sys.executable, "-c", APPLY, ROOT, json.dumps(limits)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: [resource.setrlimit(number, values) for number, values in before],
    )
    memory, found = json.loads(done.stdout)
    return memory, {name: tuple(values) for name, values in found.items()}


def test_the_kernel_has_what_was_applied():
    """Soft and hard, and on top of what was used where that is meant."""
    size = 1 << 30
    memory, found = applied(
        ("nofile", resource.RLIMIT_NOFILE, 50, 60),
        ("as", resource.RLIMIT_AS, size, size, "memory"),
        ("cpu", resource.RLIMIT_CPU, 5, 6, "cpu"),
    )
    assert found["nofile"] == (50, 60)
    assert memory + size <= found["as"][0] == found["as"][1] < memory + size + (1 << 24)
    assert found["cpu"] in {(6, 7), (7, 8)}


def test_a_limit_that_is_in_force_is_never_raised():
    """Whoever started this process may have been stricter."""
    _, found = applied(
        ("nofile", resource.RLIMIT_NOFILE, 50, 60), before=[(resource.RLIMIT_NOFILE, (40, 45))]
    )
    assert found["nofile"] == (45, 45)
