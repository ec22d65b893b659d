"""Transactions of the embedded registry: all or nothing, for threads, processes, forks and the killed."""

import random
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import DeploymentRequest
from loader.errors import ClientError, ObjectAlreadyExists, ObjectNotFound

pytestmark = pytest.mark.slow

PRELUDE = """
import os, sys
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import DeploymentRequest
from loader.errors import ClientError

path, *arguments = sys.argv[1:]
def create(registry, flow, name="d"):
    return registry.create_deployment(DeploymentRequest(name=name, flow_id=registry.create_flow(flow).id))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "registry.db"


@pytest.fixture
def registry(path):
    with EmbeddedRegistry(path) as registry:
        yield registry


def create(registry, flow, name="d", **changes):
    flow_id = registry.create_flow(flow).id
    return registry.create_deployment(DeploymentRequest(name=name, flow_id=flow_id, **changes))


def names(registry):
    return [flow.name for flow in registry.read_flows()]


def fail_after(registry, *acts):
    """Do `acts` in a transaction that ends with an exception."""
    with registry.transaction():
        for act in acts:
            act()
        raise ZeroDivisionError


def is_sound(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_exception_undoes_the_whole_transaction(registry):
    """New things are gone, updated ones as they were; the exception is the caller's own."""
    before = registry.read_deployment(create(registry, "old", tags=("first",)).id)

    def make_default():
        registry.set_default_storage_block(registry.create_block("b", "Local Storage", {}))
        assert len(registry.read_deployments()) == 2

    with pytest.raises(ZeroDivisionError):
        fail_after(
            registry,
            lambda: create(registry, "new"),
            lambda: create(registry, "old", tags=("changed",)),
            make_default,
        )
    assert registry.read_deployments() == (before,)
    assert names(registry) == ["old"]
    assert registry.get_default_storage_block() is None
    with pytest.raises(ObjectNotFound):
        registry.read_block_by_name("b")


def test_an_inner_transaction_joins_the_outer(registry):
    """It is undone with the outer one, and kept with it."""

    def inner():
        with registry.transaction(), registry.transaction():
            registry.create_flow("inner")

    with pytest.raises(ZeroDivisionError):
        fail_after(registry, inner)
    assert names(registry) == []
    with registry.transaction():
        inner()
    assert names(registry) == ["inner"]


def test_an_inner_failure_that_is_caught_undoes_the_inner_alone(registry):
    """So that a taken name can be followed by the next one."""
    registry.create_block("b", "Local Storage", {})
    with registry.transaction():
        registry.create_flow("outer")
        with pytest.raises(ZeroDivisionError):
            fail_after(registry, lambda: registry.create_flow("inner"))
        with pytest.raises(ObjectAlreadyExists):
            registry.create_block("b", "Local Storage", {})
        registry.create_block("b-1", "Local Storage", {})
    assert names(registry) == ["outer"]
    assert registry.read_block_by_name("b-1")


def test_others_see_a_transaction_when_it_is_over(registry, path):
    """Not a part of it, and without waiting."""
    with EmbeddedRegistry(path) as other, ThreadPoolExecutor(1) as thread:
        with registry.transaction():
            registry.create_flow("hello")
            assert names(other) == thread.submit(names, registry).result(10) == []
        assert names(other) == thread.submit(names, registry).result(10) == ["hello"]


def test_one_who_writes_too_long_is_named(registry, path):
    """Others give up after their time with a clear error, and can try again."""
    registry.create_flow("first")
    with EmbeddedRegistry(path, wait=0.2) as other:
        with registry.transaction():
            began = time.monotonic()
            with pytest.raises(
                ClientError, match=r"others have been writing to it for 0\.2 seconds; try again"
            ):
                other.create_flow("second")
            assert 0.2 <= time.monotonic() - began < 5
            assert names(other) == ["first"]
        other.create_flow("second")
    assert names(registry) == ["first", "second"]


def test_many_threads_share_one_registry(registry):
    """Everything is there once, and a flow that all create is one flow."""
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        for index in range(10):
            create(registry, "shared", f"{number}-{index}")
            registry.read_deployments()
        return registry.create_flow("shared").id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(work, range(8)))) == 1
    found = registry.read_deployments()
    assert len({item.id for item in found}) == len(found) == 80


def test_a_thread_s_transaction_is_its_own(registry):
    """What another thread creates meanwhile waits for it, and is not undone with it."""
    with ThreadPoolExecutor(1) as thread:

        def wait_for_nothing():
            fail_after.other = thread.submit(registry.create_flow, "other's")
            time.sleep(0.05)
            assert not fail_after.other.done()

        with pytest.raises(ZeroDivisionError):
            fail_after(registry, lambda: registry.create_flow("mine"), wait_for_nothing)
        fail_after.other.result(10)
    assert names(registry) == ["other's"]


def test_a_new_file_is_made_by_many_at_once(tmp_path):
    """Whoever comes in between finds a registry, never a half made one."""
    barrier = threading.Barrier(6)

    def work(number):
        for index in range(25):
            barrier.wait(10)
            with EmbeddedRegistry(tmp_path / f"{index}.db") as registry:
                registry.create_flow(f"flow-{number}")
                assert registry.get_default_storage_block() is None

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    for index in range(25):
        with EmbeddedRegistry(tmp_path / f"{index}.db") as registry:
            assert names(registry) == [f"flow-{number}" for number in range(6)]


def test_processes_that_write_at_once_lose_nothing(start_program, registry, path):
    """Neither those that make a new file at the same moment; nobody is told that it is locked."""
    code = (
        PRELUDE
        + """
print("ready", flush=True)
sys.stdin.read()
with EmbeddedRegistry(path) as registry:
    for index in range(40):
        print(create(registry, "shared", f"{arguments[0]}-{index}").id)
"""
    )
    code = code.replace("sys.stdin.read()", "while not os.path.exists(arguments[1]): pass")
    signal = path.with_name("go")
    processes = [start_program(code, path, number, signal) for number in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    signal.touch()
    ids = [line for process in processes for line in process.communicate(timeout=60)[0].splitlines()]
    assert [process.returncode for process in processes] == [0] * 4, "\n".join(ids)
    assert len(set(ids)) == 160
    assert {str(item.id) for item in registry.read_deployments()} == set(ids)
    assert names(registry) == ["shared"]
    assert is_sound(path)


def test_a_killed_writer_leaves_nothing_half_made(start_program, registry, path):
    """Whenever it is killed: each flow has both of its deployments, and the next writer is not hindered."""
    code = (
        PRELUDE
        + """
registry = EmbeddedRegistry(path)
for index in range(100000):
    with registry.transaction():
        for name in ("first", "second"):
            create(registry, f"{os.getpid()}-{index}", name)
    if index == 0:
        print("ready", flush=True)
"""
    )
    chance = random.Random(7)
    processes = [start_program(code, path) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        time.sleep(chance.uniform(0.02, 0.2))
        process.kill()
        process.wait(10)
        create(registry, f"after-{process.pid}", "first")
        create(registry, f"after-{process.pid}", "second")
        found = Counter(item.flow_name for item in registry.read_deployments())
        assert set(found.values()) == {2}
    assert found.keys() == set(names(registry))
    assert len(names(registry)) > 8
    assert is_sound(path)


def test_a_forked_process_opens_its_own_connection(run_program, path):
    """Parent and child both go on, while threads of the parent write."""
    code = (
        PRELUDE
        + """
import threading, warnings
warnings.simplefilter("ignore")
registry = EmbeddedRegistry(path)
registry.create_flow("before")
def work(number):
    for index in range(30):
        create(registry, f"thread-{number}-{index}")
threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
for thread in threads: thread.start()
for number in range(10):
    child = os.fork()
    if child == 0:
        registry.create_flow(f"child-{number}")
        registry.close()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0, number
for thread in threads: thread.join()
found = [flow.name for flow in registry.read_flows()]
print(len(found), sum(name.startswith("child") for name in found))
"""
    )
    assert run_program(code, path) == "101 10\n"
    assert is_sound(path)


def test_a_fork_among_threads_that_never_rest_is_not_kept_waiting(run_program, path):
    """Those who want a connection wait for the fork, so that it comes to pass with none in use."""
    code = (
        PRELUDE
        + """
import threading, time, warnings
warnings.simplefilter("ignore")
registry = EmbeddedRegistry(path)
ended, counts = threading.Event(), [0] * 4
def work(number):
    while not ended.is_set():
        registry.create_flow(f"thread-{number}-{counts[number]}")
        counts[number] += 1
threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
for thread in threads: thread.start()
try:
    for number in range(8):
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            EmbeddedRegistry(path).create_flow(f"child-{number}")
            os._exit(0)
        assert time.monotonic() - began < 0.9, "the fork gave up waiting"
        assert os.waitpid(child, 0)[1] == 0, number
finally:
    ended.set()
    for thread in threads: thread.join()
found = [flow.name for flow in registry.read_flows()]
print(len(found) - sum(counts), min(counts) > 0)
"""
    )
    assert run_program(code, path) == "8 True\n"
    assert is_sound(path)


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(run_program, path):
    """The child is refused, whatever it does with the file, and its end undoes nothing."""
    code = (
        PRELUDE
        + """
registry = EmbeddedRegistry(path)
child = None
try:
    with registry.transaction():
        registry.create_flow("mine")
        for index in range(60):  # more than SQLite keeps in memory until the end
            registry.create_block(f"b-{index}", "Local Storage", {"x": "y" * 100000})
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            registry.create_flow("also mine")
except ClientError as error:
    assert child == 0, error
    print(error, flush=True)
    for other in (registry, EmbeddedRegistry(path)):
        try:
            other.create_flow("the child's")
        except ClientError as error:
            print(error, flush=True)
    sys.exit(0)
assert all(len(registry.read_block_by_name(f"b-{index}").config["x"]) == 100000 for index in range(60))
print([flow.name for flow in registry.read_flows()])
"""
    )
    first, second, third, last = run_program(code, path).splitlines()
    assert "an earlier error or a fork undid this transaction" in first
    assert "this process was forked while it was in use" in second
    assert "this process was forked while it was in use" in third
    assert last == "['also mine', 'mine']"
    assert is_sound(path)


def test_a_full_disk_undoes_a_transaction_and_says_so(run_program, tmp_path):
    """Also for those who go on after the error; afterwards what was there can be read and deleted."""
    code = (
        PRELUDE
        + """
import subprocess
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", path], check=True)
registry = EmbeddedRegistry(path + "/registry.db")
kept = registry.create_block("kept", "Local Storage", {"x": "y" * 10000})
try:
    with registry.transaction():
        try:
            for index in range(100):
                registry.create_block(f"lost-{index}", "Local Storage", {"x": "y" * 100000})
        except ClientError as error:
            print(error)
        registry.create_flow("lost")
except ClientError as error:
    print(error)
print(registry.read_flows(), registry.read_block(kept).name)
registry.close()
registry = EmbeddedRegistry(path + "/registry.db")
registry.delete_block(kept)
registry.create_flow("after")
print([flow.name for flow in registry.read_flows()])
registry.close()
subprocess.run(["mount", "-o", "remount,ro", path], check=True)
try:
    EmbeddedRegistry(path + "/registry.db").create_flow("more")
except ClientError as error:
    print(error)
"""
    )
    output = run_program(code, tmp_path, before=("unshare", "--user", "--map-root-user", "--mount"))
    full, undone, there, after, read_only = output.splitlines()
    assert full == f"cannot use the registry {tmp_path}/registry.db: the disk is full; make room on it"
    assert "undid this transaction" in undone
    assert there == "() kept"
    assert after == "['after']"
    assert read_only.startswith(f"cannot use the registry {tmp_path}/registry.db: this user may not write")
