"""Resource limits: which ones a policy plans, and that the kernel has them afterwards."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from worker.confine import limits
from worker.confine.limits import CPU_GRACE, SHARED_TASKS, plan, tasks, used

ROOT = Path(__file__).parents[3]
ALWAYS = {"core": (0, 0), "msgqueue": (0, 0), "nice": (0, 0), "rtprio": (0, 0), "sigpending": (128, 128)}


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
    assert planned(policy(processes=3, threads=4))["nproc"] == (7, 7)


def test_where_tasks_are_counted_for_the_user_all_workers_share_a_number(policy):
    """On top of what the user runs already, whatever the policy says; nothing where nothing is asked."""
    values = policy(processes=3, threads=4)
    assert planned(values, counted=False)["nproc"] == (SHARED_TASKS, SHARED_TASKS)
    assert {item.name: item.beyond for item in plan(values, counted=False)}["nproc"] == "tasks"
    assert "nproc" not in planned(policy(demands={}), counted=False)


@pytest.fixture
def uncounted():
    """The user's tasks have not been counted yet, and what a test counts is forgotten."""
    tasks.cache_clear()
    yield
    tasks.cache_clear()


@pytest.mark.usefixtures("uncounted")
def test_the_tasks_of_a_user_are_counted(monkeypatch):
    """Every thread of every process of this user; not others' processes, nor what ends meanwhile."""
    folders = {
        "/proc": ["1", "20", "21", "22", "self", "sys", "99x"],
        "/proc/1/task": ["1"] * 100,
        "/proc/20/task": ["20", "30", "31"],
        "/proc/21/task": ["21"],
    }
    owners = {"1": 0, "20": 7, "21": 7, "22": 7, "self": 7, "sys": 7, "99x": 7}

    def listed(path):
        if path not in folders:
            raise FileNotFoundError(path)
        return folders[path]

    def status(path):
        return os.stat_result([0, 0, 0, 0, owners[path.removeprefix("/proc/")], 0, 0, 0, 0, 0])

    with monkeypatch.context() as patch:
        patch.setattr(limits.os, "getuid", lambda: 7)
        patch.setattr(limits.os, "listdir", listed)
        patch.setattr(limits.os, "stat", status)
        assert tasks() == used("tasks") == 4


@pytest.mark.usefixtures("uncounted")
def test_the_tasks_of_a_user_are_counted_once(monkeypatch):
    """The number is the one of the start: a worker's own tasks do not raise its limit."""
    first = tasks()
    assert first >= len(os.listdir("/proc/self/task"))
    with monkeypatch.context() as patch:
        patch.setattr(limits.os, "listdir", lambda path: pytest.fail(f"{path} is read again"))
        assert tasks() == first


@pytest.mark.parametrize(
    ("guarantee", "named"),
    [("memory", {"as"}), ("cpu", {"cpu"}), ("open_files", {"nofile", "fsize"}), ("processes", {"nproc"})],
)
def test_what_is_not_asked_for_is_not_limited(policy, guarantee, named):
    """Of each guarantee there is what belongs to it, and nothing of the others."""
    assert planned(policy(demands={guarantee: "full"})).keys() == ALWAYS.keys() | named
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
before = {what: used(what) for what in ("memory", "tasks")}
apply(tuple(wanted))
print(json.dumps([before, {item.name: resource.getrlimit(item.resource) for item in wanted}]))
"""


def applied(*limits, before=()):
    """What a process used that applied `limits`, memory and tasks, and the limits it has."""
    done = subprocess.run(
        [sys.executable, "-c", APPLY, ROOT, json.dumps(limits)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: [resource.setrlimit(number, values) for number, values in before],
    )
    used_before, found = json.loads(done.stdout)
    return used_before, {name: tuple(values) for name, values in found.items()}


def test_the_kernel_has_what_was_applied():
    """Soft and hard, and on top of what was used where that is meant."""
    size = 1 << 30
    used_before, found = applied(
        ("nofile", resource.RLIMIT_NOFILE, 50, 60),
        ("as", resource.RLIMIT_AS, size, size, "memory"),
        ("cpu", resource.RLIMIT_CPU, 5, 6, "cpu"),
        ("sigpending", resource.RLIMIT_SIGPENDING, 128, 128),
    )
    memory = used_before["memory"]
    assert found["nofile"] == (50, 60)
    assert memory + size <= found["as"][0] == found["as"][1] < memory + size + (1 << 24)
    assert found["cpu"] in {(6, 7), (7, 8)}
    assert found["sigpending"] == (128, 128)


def test_a_shared_number_of_tasks_is_on_top_of_those_there_are():
    """What the user runs already takes nothing of it."""
    used_before, found = applied(("nproc", resource.RLIMIT_NPROC, 100, 200, "tasks"))
    ceiling = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    wanted = (used_before["tasks"] + more for more in (100, 200))
    assert found["nproc"] == tuple(item if ceiling == -1 else min(item, ceiling) for item in wanted)


def test_a_limit_that_is_in_force_is_never_raised():
    """Whoever started this process may have been stricter."""
    _, found = applied(
        ("nofile", resource.RLIMIT_NOFILE, 50, 60), before=[(resource.RLIMIT_NOFILE, (40, 45))]
    )
    assert found["nofile"] == (45, 45)
