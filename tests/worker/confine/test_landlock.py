"""Landlock's plan: what each version of it takes away, and what is given back where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.confine.landlock import plan

ROOT = Path(__file__).parents[3]
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = 0, 1, 2, 3, 12, 13, 14, 15
ABIS = range(1, 8)


def bits(*names):
    return sum(1 << name for name in names)


@pytest.mark.parametrize("abi", ABIS)
def test_all_that_a_version_knows_of_files_is_taken(policy, abi):
    """A right that is left out would be everybody's; one that is unknown would be an error."""
    highest = {1: MAKE_SYM, 2: REFER, 3: TRUNCATE, 4: TRUNCATE}.get(abi, IOCTL_DEV)
    assert plan(policy(), abi).files == (1 << highest + 1) - 1


@pytest.mark.parametrize("abi", ABIS)
def test_tcp_is_taken_where_it_is_known(policy, abi):
    """Binding always; connecting unless connections are allowed."""
    bind, connect = 1, 2
    assert plan(policy(), abi).net == (bind | connect if abi >= 4 else 0)
    assert plan(policy("network"), abi).net == (bind if abi >= 4 else 0)


@pytest.mark.parametrize("abi", ABIS)
def test_abstract_sockets_and_signals_are_taken_where_they_are_known(policy, abi):
    """Those that lead out of the sandbox."""
    assert plan(policy(), abi).scoped == (3 if abi >= 6 else 0)


@pytest.mark.parametrize("abi", ABIS)
def test_what_is_readable_can_be_read_and_listed_only(policy, abi):
    """Programs can be executed where processes are allowed."""
    assert plan(policy(), abi).read == bits(READ_FILE, READ_DIR)
    assert plan(policy(processes=1), abi).read == bits(READ_FILE, READ_DIR, EXECUTE)


@pytest.mark.parametrize("abi", ABIS)
def test_what_is_writable_is_never_executable(policy, abi):
    """Scratch space holds files and no programs, whatever else is allowed."""
    for item in (policy(), policy(processes=1)):
        wanted = plan(item, abi)
        assert wanted.write == wanted.files & ~bits(EXECUTE)


TRY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from worker.confine import kernel, landlock
folder, other, gone, tree = sys.argv[2:]
descriptor = os.open(tree, os.O_PATH)
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
abi = landlock.abi()
rules = landlock.Plan(landlock.FILES_BY_ABI[min(abi, 5)], 0, 0, landlock.READ, 0)
wanted = landlock.Plan(rules.files, 0, 0, rules.read, rules.files & ~1)
landlock.apply(landlock.made(wanted, [("tree", descriptor)], [folder + "/read", gone], [folder + "/written"]))
def tried(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return error.errno
    return 0
def put(path):
    with open(path, "w") as file:
        file.write("x")
answers = {
    "read": tried(os.listdir, folder + "/read"),
    "write to read": tried(put, folder + "/read/new"),
    "write": tried(put, folder + "/written/new"),
    "read other": tried(os.listdir, other),
    "read tree": tried(os.listdir, tree),
    "up": tried(os.listdir, folder),
}
print(json.dumps(answers))
"""


def test_rules_hold_in_the_kernel(tmp_path):
    """By path, by descriptor; a path that is not there needs no rule; nothing else can be opened."""
    for name in ("read", "written", "other", "tree"):
        (tmp_path / name).mkdir()
    paths = [tmp_path, tmp_path / "other", tmp_path / "gone", tmp_path / "tree"]
    done = subprocess.run(
        [sys.executable, "-c", TRY, ROOT, *paths], capture_output=True, text=True, check=False
    )
    if "landlock: version" in done.stderr:
        pytest.skip("this kernel has no Landlock")
    assert done.returncode == 0, done.stderr
    allowed = {name for name, number in json.loads(done.stdout).items() if number == 0}
    assert allowed == {"read", "write", "read tree"}
    assert set(json.loads(done.stdout).values()) == {0, 13}
    assert sorted(os.listdir(tmp_path / "written")) == ["new"]
