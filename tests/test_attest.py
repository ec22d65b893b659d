"""Attesting: what the kernel says of a worker is read from /proc, and every lie is named."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from loader import attest
from loader.attest import NAMESPACES, Facts, objections
from loader.profiles import load_profile
from worker.protocol import FULL, GUARANTEES, NONE, PARTIAL, Guarantee

OWN = {name: f"{name}:[1]" for name in NAMESPACES}
CLAIMED = tuple(Guarantee(name, FULL) for name in GUARANTEES)
VM_SIZE = 100 << 20


@pytest.fixture
def honest(policy):
    """The facts of a worker that is confined as the strict profile wants it."""
    strict = policy()
    return Facts(
        status={
            "Uid": "65534\t65534\t65534\t65534",
            "NoNewPrivs": "1",
            "Seccomp": "2",
            "CapInh": "0000000000000000",
            "CapPrm": "0000000000000000",
            "CapEff": "0000000000000000",
            "CapBnd": "0000000000000000",
            "CapAmb": "0000000000000000",
            "VmSize": f"{VM_SIZE >> 10} kB",
        },
        namespaces={name: f"{name}:[2]" for name in NAMESPACES},
        limits={
            "Max address space": str(strict.memory + VM_SIZE),
            "Max cpu time": str(strict.cpu + 1),
            "Max open files": str(strict.open_files),
            "Max file size": str(strict.file_size),
            "Max core file size": "0",
        },
    )


def test_an_honest_worker_meets_no_objection(policy, honest):
    """What is claimed, required and seen is one."""
    assert objections(policy(), CLAIMED, honest, OWN) == []


@pytest.mark.parametrize(
    ("line", "value", "objection"),
    [
        ("Uid", "0\t65534\t65534\t65534", "it is root"),
        ("Uid", "65534\t65534\t0\t65534", "it is root"),
        ("Uid", "65534\t65534\t65534\t0", "it is root"),
        ("Uid", None, "it is root"),
        ("NoNewPrivs", "0", "it can gain privileges"),
        ("NoNewPrivs", None, "it can gain privileges"),
        ("Seccomp", "0", "no seccomp filter is in force"),
        ("Seccomp", "1", "no seccomp filter is in force"),
        ("Seccomp", None, "no seccomp filter is in force"),
        *(
            (name, "0000000000200000", f"{name} is not empty")
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")
        ),
        *(
            (name, None, f"{name} is not empty")
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")
        ),
        ("CapBnd", "000001ffffffffff", "CapBnd is not empty"),
    ],
)
def test_each_line_of_its_status_is_held_against_it(policy, honest, line, value, objection):
    """A line that is not there is the worst that it could be."""
    status = {key: text for key, text in {**honest.status, line: value}.items() if text is not None}
    assert objections(policy(), CLAIMED, replace(honest, status=status), OWN) == [objection]


@pytest.mark.parametrize("name", NAMESPACES)
def test_a_namespace_that_is_the_supervisors_is_named(policy, honest, name):
    """Each must be the worker's own; the network's only where connections are not allowed."""
    shared = replace(honest, namespaces={**honest.namespaces, name: OWN[name]})
    named = [f"its {name} namespace is the supervisor's"]
    assert objections(policy(), CLAIMED, shared, OWN) == named
    assert objections(policy(outbound=True), CLAIMED, shared, OWN) == ([] if name == "net" else named)


def test_namespaces_matter_where_full_visibility_or_files_are_required(policy, honest):
    """What is partial, or asked for with best effort, is done without them."""
    shared = replace(honest, namespaces=OWN, status={**honest.status, "CapBnd": "1ff"})
    assert objections(policy("no-namespaces"), CLAIMED, shared, OWN) == []
    loose = tuple(name for name in GUARANTEES if name not in ("visibility", "filesystem"))
    assert objections(policy(required=loose), CLAIMED, shared, OWN) == []
    files = objections(policy(required=(*loose, "filesystem")), CLAIMED, shared, OWN)
    assert files == [
        "CapBnd is not empty",
        "its user namespace is the supervisor's",
        "its mnt namespace is the supervisor's",
    ]


@pytest.mark.parametrize(
    ("line", "guarantee"),
    [
        ("Max address space", "memory"),
        ("Max cpu time", "cpu"),
        ("Max open files", "open_files"),
        ("Max file size", "open_files"),
        ("Max core file size", "open_files"),
    ],
)
@pytest.mark.parametrize("value", ["unlimited", str(1 << 60), None, ""])
def test_a_limit_that_is_not_in_force_is_named(policy, honest, line, guarantee, value):
    """Too high, none at all, or not to be read; and only where it is required."""
    limits = {key: text for key, text in {**honest.limits, line: value}.items() if text is not None}
    lax = replace(honest, limits=limits)
    (objection,) = objections(policy(), CLAIMED, lax, OWN)
    assert objection.startswith(f"{line} is {value}, not ")
    loose = tuple(name for name in GUARANTEES if name != guarantee)
    assert objections(policy(required=loose), CLAIMED, lax, OWN) == []


def test_memory_is_counted_beyond_what_the_worker_holds(policy, honest):
    """A limit that would give the script more than its share is named."""
    most = policy().memory + VM_SIZE + attest.SLACK
    for value, objected in ((most, False), (most + 1, True)):
        limits = {**honest.limits, "Max address space": str(value)}
        assert bool(objections(policy(), CLAIMED, replace(honest, limits=limits), OWN)) is objected


@pytest.mark.parametrize("name", GUARANTEES)
@pytest.mark.parametrize("level", [PARTIAL, NONE, "perfect", None])
def test_a_worker_that_admits_to_less_than_required_gets_no_script(policy, honest, name, level):
    """Its own word is held against the profile, too."""
    short = Guarantee(name, level)
    claimed = tuple(item for item in CLAIMED if item.name != name) + ((short,) if level else ())
    (objection,) = objections(policy(), claimed, honest, OWN)
    assert objection == f"{name} holds {level or NONE}, not full"
    loose = tuple(item for item in GUARANTEES if item != name)
    assert objections(policy(required=loose), claimed, honest, OWN) == []


def test_partial_is_enough_where_partial_is_demanded(policy, honest):
    """The profile says how far."""
    strict = policy()
    partial = policy(demands={**strict.demands, "processes": PARTIAL})
    claimed = tuple(Guarantee(item.name, PARTIAL if item.name == "processes" else FULL) for item in CLAIMED)
    assert objections(partial, claimed, honest, OWN) == []
    assert objections(strict, claimed, honest, OWN) == ["processes holds partial, not full"]


def test_a_filter_that_is_claimed_is_looked_for_though_it_is_not_required(policy, honest):
    """Best effort may fail; lying about it may not."""
    loose = policy(required=())
    unfiltered = replace(honest, status={**honest.status, "Seccomp": "0"})
    assert objections(loose, CLAIMED, unfiltered, OWN) == ["no seccomp filter is in force"]
    assert objections(loose, (Guarantee("syscalls", NONE),), unfiltered, OWN) == []


def test_facts_are_what_the_kernel_says_of_this_process():
    """Read from /proc, with every line in its place."""
    seen = attest.facts(os.getpid())
    assert seen.status["Pid"] == str(os.getpid())
    assert seen.status["Uid"].split() == [str(number) for number in (*os.getresuid(), os.geteuid())]
    assert {"Seccomp", "NoNewPrivs", "CapBnd", *attest.CAPABILITY_SETS} <= seen.status.keys()
    assert seen.namespaces == {name: os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}
    assert attest.namespaces(os.getpid()) == seen.namespaces
    strict = load_profile("strict")
    assert {line for _, line, _ in attest.ceilings(strict, 0)} <= seen.limits.keys()
    assert attest.held(seen) > 1 << 20


def test_hard_limits_are_read_and_not_soft_ones():
    """A soft limit is the process's own to change."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 60))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (77, 88))\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        seen = attest.facts(child.pid).limits
        child.communicate(b"")
    assert seen["Max open files"] == "60"
    assert seen["Max core file size"] == "4096"
    assert seen["Max cpu time"] == "88"


def test_a_process_that_is_gone_cannot_be_looked_at():
    """The caller is told, and does not take silence for consent."""
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(OSError, match=str(child.pid)):
        attest.facts(child.pid)


def test_this_process_would_get_no_script(policy):
    """Nothing of it is confined, and each missing piece is named."""
    pid = os.getpid()
    found = objections(policy(), CLAIMED, attest.facts(pid), attest.namespaces(pid))
    assert {f"its {name} namespace is the supervisor's" for name in NAMESPACES} <= set(found)
    assert any("address space" in item for item in found)
