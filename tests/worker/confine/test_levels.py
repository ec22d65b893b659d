"""What holds by which mechanisms: the table of guarantees, with every set of mechanisms there can be."""

from dataclasses import replace
from itertools import chain, combinations

import pytest

from loader.profiles import load_profile
from worker import confine
from worker.confine import levels, unmet, wants_namespaces
from worker.protocol import FULL, GUARANTEES, NONE, PARTIAL, Guarantee

NEEDED = {
    "filesystem": {FULL: "mount-namespace landlock descriptors", PARTIAL: "landlock descriptors"},
    "network": {FULL: "seccomp"},
    "processes": {FULL: "seccomp user-namespace pid-namespace rlimits", PARTIAL: "seccomp"},
    "memory": {FULL: "rlimits"},
    "cpu": {FULL: "rlimits"},
    "wall": {FULL: "supervisor"},
    "open_files": {FULL: "rlimits"},
    "output": {FULL: "supervisor"},
    "result": {FULL: "supervisor"},
    "environment": {FULL: "exec"},
    "identity": {FULL: "capabilities no_new_privs"},
    "visibility": {FULL: "pid-namespace mount-namespace", PARTIAL: "seccomp"},
    "syscalls": {FULL: "seccomp"},
}
"""Without which mechanisms a guarantee does not hold, for each level that there is of it."""
EVERYTHING = frozenset(" ".join(chain.from_iterable(item.values() for item in NEEDED.values())).split())
BESIDE = {"network-namespace", "ipc-namespace", "uts-namespace", "landlock-net", "landlock-scope"}
RANK = (NONE, PARTIAL, FULL)
STRICT = load_profile("strict")


def level(name, in_force):
    """The level of a guarantee, by the table above."""
    return next(
        (level for level, needed in NEEDED[name].items() if in_force.issuperset(needed.split())), NONE
    )


def held(in_force, policy=STRICT):
    """Name and level of each guarantee, by the code."""
    return {item.name: item.level for item in levels(policy, set(in_force))}


def subsets():
    names = sorted(EVERYTHING)
    return chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))


def test_every_set_of_mechanisms_gives_what_it_gives_and_no_more():
    """A level holds when all that it needs is in force, and only then."""
    for chosen in map(frozenset, subsets()):
        assert held(chosen) == {name: level(name, chosen) for name in GUARANTEES}, chosen


def test_everything_in_force_leaves_nothing_unmet():
    """What all mechanisms together give is what the strictest profile asks for."""
    assert unmet(STRICT, levels(STRICT, set(EVERYTHING))) == ()


@pytest.mark.parametrize("missing", sorted(EVERYTHING))
def test_each_mechanism_that_is_missing_is_named_by_what_it_costs(missing):
    """No mechanism can be lost without a required guarantee's saying so."""
    lost = tuple(name for name in GUARANTEES if missing in NEEDED[name][FULL].split())
    assert lost
    assert unmet(STRICT, levels(STRICT, set(EVERYTHING - {missing}))) == lost


def test_with_nothing_in_force_nothing_holds():
    """A guarantee that nobody gives is none, and every required one is unmet."""
    assert set(held(()).values()) == {NONE}
    assert unmet(STRICT, levels(STRICT, set())) == GUARANTEES


def test_what_stands_behind_gives_no_level():
    """Namespaces of the network, Landlock's other rules: named when they are there, never counted."""
    assert set(held(BESIDE).values()) == {NONE}
    assert held(EVERYTHING | BESIDE) == held(EVERYTHING)


def test_a_report_names_the_mechanisms_that_are_in_force():
    """Those that give the level come first, then what stands behind them, each once."""
    by = {item.name: item.by for item in levels(STRICT, set(EVERYTHING | BESIDE))}
    assert by["network"] == ("seccomp", "network-namespace", "landlock-net", "landlock-scope")
    assert by["filesystem"] == ("mount-namespace", "landlock", "descriptors", "seccomp")
    few = {item.name: item.by for item in levels(STRICT, {"seccomp"})}
    assert few["network"] == ("seccomp",)
    assert few["visibility"] == ("seccomp",)
    assert few["memory"] == ()
    for name, mechanisms in by.items():
        assert len(set(mechanisms)) == len(mechanisms), name


def test_guarantees_are_reported_in_their_order():
    """All of them, asked for or not."""
    assert tuple(item.name for item in levels(STRICT, set())) == GUARANTEES


def test_what_is_not_asked_for_holds_not_at_all():
    """Nothing is done for it, whatever happens to be in force."""
    few = replace(STRICT, demands={"cpu": FULL}, required=("cpu",))
    assert {name for name, level in held(EVERYTHING, few).items() if level != NONE} == {"cpu"}
    assert unmet(few, levels(few, {"rlimits"})) == ()


@pytest.mark.parametrize("demanded", [PARTIAL, FULL])
@pytest.mark.parametrize("holds", [NONE, PARTIAL, FULL])
@pytest.mark.parametrize("hold", ["required", "best-effort"])
def test_unmet_is_what_is_required_and_holds_less_than_demanded(demanded, holds, hold):
    """More than demanded is enough, and best effort is never a reason to refuse."""
    required = ("filesystem",) if hold == "required" else ()
    policy = replace(STRICT, demands={"filesystem": demanded}, required=required)
    short = hold == "required" and RANK.index(holds) < RANK.index(demanded)
    assert unmet(policy, (Guarantee("filesystem", holds),)) == (("filesystem",) if short else ())


def test_no_namespaces_needs_no_namespace():
    """That profile is met by what a host without user namespaces has."""
    policy = load_profile("no-namespaces")
    without = {name for name in EVERYTHING if not name.endswith("-namespace")}
    assert unmet(policy, levels(policy, without)) == ()
    assert not wants_namespaces(policy)
    for missing in without:
        assert unmet(policy, levels(policy, without - {missing})) != (), missing


def test_namespaces_are_wanted_where_only_they_will_do():
    """Files or processes out of sight: nothing else gives that."""
    assert wants_namespaces(STRICT)
    assert wants_namespaces(replace(STRICT, demands={"filesystem": FULL}))
    assert wants_namespaces(replace(STRICT, demands={"visibility": FULL}))
    assert not wants_namespaces(replace(STRICT, demands={"filesystem": PARTIAL, "visibility": PARTIAL}))
    assert not wants_namespaces(load_profile("development"))


def test_a_step_that_fails_is_noted_and_the_next_is_taken():
    """Whether the rest suffices is decided from the table, not by where it stopped."""
    failure = confine.StepFailed("landlock: version", 95)

    def fails(worker):
        raise failure

    worker = confine.Confinement(STRICT, 1, 1, [], [], [], b"")
    worker.walk((lambda worker: ("a",), fails, lambda worker: ("b", "c")))
    assert worker.in_force == {"a", "b", "c"}
    assert worker.failures == [failure]


def test_the_filter_is_the_last_step():
    """It forbids what the steps before it need."""
    assert confine.ONCE_SCRIPT_IS_KNOWN[-1] is confine.filter_calls
