"""What running a script's bytes gives."""

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FLOW = "from prefect import flow\n@flow\ndef hello(): ...\n"


def pythons():
    """Every Python from 3.9 up on the path or below pyenv, the newest of each minor version."""
    named = (shutil.which(f"python3.{minor}") for minor in range(9, 30))
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
    found = {}
    for python in [*installed, *(path for path in named if path), sys.executable]:
        asked = "import sys; print('%d.%02d' % sys.version_info[:2])"
        done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() >= "3.09":
            found.setdefault(done.stdout.strip(), str(python))
    return [pytest.param(path, id=version) for version, path in sorted(found.items())]


def test_flows_and_specs_of_a_script_are_told(run):
    """A flow is a global of the script, a spec is one that was made."""
    ran = run(
        """
        from prefect import flow
        from prefect.deployments import DeploymentSpec

        @flow
        def hello(name: str = "world"):
            "Says hello."

        DeploymentSpec(flow=hello, name="daily")
        """
    )
    assert [flow["name"] for flow in ran.flows] == ["hello"]
    assert [(spec["name"], spec["flow_name"], spec["line"]) for spec in ran.specs] == [("daily", "hello", 9)]
    assert ran.reply["dialect"] == {"name": "orion", "version": "2.0b5", "reason": "it was asked for"}


def test_version_is_the_digest_of_the_bytes_that_were_sent(run):
    """The file on disk may have changed since: it is not read again."""
    (run.folder / "flow.py").write_text("changed")
    ran = run(FLOW)
    assert ran.flows[0]["version"] == hashlib.md5(FLOW.encode()).hexdigest()


def test_two_loads_of_the_same_bytes_say_the_same(run):
    """Nothing depends on addresses or on the order of hashes."""
    source = """
        from prefect import flow
        from prefect.deployments import DeploymentSpec

        class Thing: ...

        @flow(tags={"b", "a", "c"})
        def hello(x=Thing(), y={"z", "a"}, z=print): ...

        DeploymentSpec(flow=hello, tags={"q", "p"}, parameters={"x": Thing(), "s": {"b", "a"}})
        """
    first, second = (run(source, environment={"PYTHONHASHSEED": seed}) for seed in ("1", "2"))
    assert first.reply == second.reply
    assert first.found == second.found


def test_found_things_are_told_at_once(run):
    """What a script defined survives its crash because it was told when it was defined."""
    ran = run(FLOW + "raise ValueError\n", fails=True)
    assert [found["flow"]["name"] for found in ran.found if found["flow"]] == ["hello"]
    assert [flow["name"] for flow in ran.flows] == ["hello"]


def test_main_block_is_skipped(run):
    """The module's name is the script's stem."""
    run(FLOW + "assert __name__ == 'flow'\nif __name__ == '__main__':\n    raise SystemExit\n")


def test_arguments_folder_and_main_module_are_the_scripts(run):
    """A script finds its own name in sys.argv, its folder as working directory, and nothing of ours."""
    run(
        FLOW
        + "import os, sys, __main__\n"
        + "assert sys.argv == [__file__] and os.getcwd() == os.path.dirname(__file__) == sys.path[0]\n"
        + "assert not hasattr(__main__, 'main') and not hasattr(__main__, '__file__')\n"
    )


def test_threads_asyncio_pickle_and_type_hints_work(run):
    """What needs the module to be importable, or an event loop, works while it is loaded."""
    ran = run(
        """
        from __future__ import annotations
        import asyncio, dataclasses, pickle, threading, typing
        from prefect import flow
        from prefect.deployments import DeploymentSpec

        @dataclasses.dataclass
        class Point:
            x: int
            other: typing.Optional[Point] = None

        @flow
        def hello(): ...

        async def seven():
            await asyncio.sleep(0)
            return 7

        assert asyncio.run(seven()) == 7
        assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
        assert typing.get_type_hints(Point)["other"] == typing.Optional[Point]
        thread = threading.Thread(target=lambda: DeploymentSpec(flow=hello, name="threaded"))
        thread.start()
        """
    )
    assert [(spec["name"], spec["line"]) for spec in ran.specs] == [("threaded", 22)]


def test_warnings_become_notices(run):
    """A warning is told once with its place, and not printed."""
    ran = run(FLOW + "import warnings\nfor _ in range(3):\n    warnings.warn('careful')\n")
    file = str(run.folder / "flow.py")
    assert ran.notices("warning") == [
        {"kind": "warning", "message": "UserWarning: careful", "file": file, "line": 6}
    ]
    assert ran.stderr == ""


def test_script_that_defines_nothing_fails_with_advice(run):
    """Flows inside functions or containers do not count, and neither do main blocks."""
    nested = run("from prefect import flow\nflows = [flow(lambda: 1)]\n", fails=True)
    assert nested.error["type"] == "NothingToLoad"
    assert nested.error["stage"] == "extract"
    assert "'<lambda>' (line 2)" in nested.error["hint"]
    guarded = run("if __name__ == '__main__':\n    pass\n", fails=True)
    assert "is not run" in guarded.error["hint"]
    assert "@flow" in run("", fails=True).error["hint"]


def test_script_that_patches_builtins_and_modules_is_still_told_of(run):
    """A script that breaks the interpreter's own functions does not break the reply."""
    ran = run(
        FLOW
        + "import builtins, json, linecache, sys, traceback\n"
        + "for name in ('len', 'isinstance', 'list', 'dict', 'str', 'type', 'print', 'sorted', 'repr'):\n"
        + "    setattr(builtins, name, None)\n"
        + "traceback.format_tb = linecache.getline = json.dumps = None\n"
        + "linecache.cache.clear()\n"
        + "sys.modules.clear()\n"
        + "raise ValueError('patched')\n",
        fails=True,
    )
    assert ran.error["message"] == "patched"
    assert ran.error["frames"][-1]["source"] == "raise ValueError('patched')"
    assert [flow["name"] for flow in ran.flows] == ["hello"]


def test_lowered_recursion_limit_and_trace_function_do_not_reach_us(run):
    """What a script does to the interpreter's limits ends with the script."""
    run(
        FLOW
        + "import sys\n"
        + "sys.setrecursionlimit(30)\n"
        + "sys.settrace(lambda *a: 1 / 0 if a[1] == 'call' else None)\n"
    )


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("source", "stage"),
    [
        (b"x = '\xff'\n", "decode"),
        (b"# -*- coding: nonsense -*-\n", "decode"),
        (b"x = 1\nx = '\0'\n", "decode"),
        (b"def f(:\n", "compile"),
        (b"raise ValueError\n", "run"),
    ],
)
def test_error_tells_its_stage(run, source, stage):
    """Bytes are decoded, text is compiled, code is run."""
    ran = run(source, fails=True)
    assert ran.error["stage"] == stage
    assert ran.reply["status"] == "script_failed"


def test_coding_line_and_byte_order_mark_are_obeyed(run):
    """A script may say its encoding."""
    run(b"# -*- coding: latin-1 -*-\n" + FLOW.encode() + b"assert ord('\xe9') == 0xe9\n")
    run(b"\xef\xbb\xbf" + FLOW.encode())


def test_too_complex_script_fails_to_compile(run):
    """What overwhelms the compiler is the script's fault and not a lack of memory."""
    ran = run(b"x = " + b"(" * 5000 + b")" * 5000, fails=True)
    assert (ran.error["stage"], ran.reply["status"]) == ("compile", "script_failed")


def test_memory_error_is_told_as_such(run):
    """A script that asks for too much ran out of memory."""
    ran = run("x = bytearray(1 << 62)\n", fails=True)
    assert ran.reply["status"] == "out_of_memory"
    assert ran.error["frames"][-1]["source"] == "x = bytearray(1 << 62)"


def test_denied_acts_that_a_script_swallows_are_noted(run):
    """The audit hook sees what the profile forbids; an event loop's own socket pair is not among it."""
    source = FLOW + (
        "import asyncio, os, socket\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass\n"
        "os.system('true')\n"
    )
    ran = run(source, forbids=["network", "processes"])
    told = [(notice["line"], notice["message"]) for notice in ran.notices("denied")]
    assert {line for line, _ in told} == {7, 9}
    assert any("('127.0.0.1', 9)" in message for _, message in told)
    assert run(source).notices("denied") == []


def test_denied_act_is_told_at_the_scripts_line(run):
    """However deep in a library it is, or in a thread that a library started."""
    library = """
        import socket, threading

        def deep(steps):
            return deep(steps - 1) if steps else socket.socket()

        def beside():
            thread = threading.Thread(target=socket.socket)
            thread.start()
            thread.join()
    """
    ran = run(
        FLOW + "import library\nlibrary.deep(200)\nlibrary.beside()\n",
        {"library.py": library},
        forbids=["network"],
    )
    lines = len(FLOW.splitlines())
    assert [notice["line"] for notice in ran.notices("denied")] == [lines + 2, lines + 3]


@pytest.mark.sampled
@pytest.mark.parametrize("python", pythons())
def test_every_python_rehearses_and_runs(run, packages, python, tmp_path):
    """The worker's modules run on every Python from 3.9 up, with msgpack's pure form where need be."""
    carried = tmp_path / "carried"
    carried.mkdir()
    (carried / "msgpack").symlink_to(packages / "msgpack")
    everything = (
        "import importlib, pkgutil, worker\n"
        "for found in pkgutil.walk_packages(worker.__path__, 'worker.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
    )
    environment = {
        "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[2]), str(carried))),
        "MSGPACK_PUREPYTHON": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([python, "-c", everything], check=True, env=environment)
    source = """
        from __future__ import annotations
        from typing import Optional
        from prefect import flow
        from prefect.deployments import DeploymentSpec
        import helper
        from . import helper as same

        assert helper is same

        @flow
        async def hello(x: int, y: Optional[Later] = None): "Doc."

        class Later(dict): ...

        DeploymentSpec(flow=hello)
        """
    ran = run(source, {"helper.py": "from . import flow"}, python=python, rehearsals=2, path=[str(carried)])
    assert ran.flows[0]["parameters"]["properties"]["y"] == {"title": "y", "type": "object"}
    assert ran.reply["notices"] == []
    failed = run("def f():\n    raise KeyError('x')\nf()\n", python=python, path=[str(carried)], fails=True)
    assert [frame["line"] for frame in failed.error["frames"]] == [3, 2]


@pytest.mark.slow
def test_rehearsal_leaves_no_trace():
    """After a rehearsal the interpreter is as before, but for modules of the standard library."""
    source = textwrap.dedent(
        """
        import builtins, linecache, logging, os, sys, warnings
        from worker import protocol, script
        from worker.dialects import registry

        def state():
            return (
                sys.path[:], sys.meta_path[:], sys.argv[:], os.getcwd(), dict(linecache.cache),
                builtins.__import__, warnings.showwarning, warnings.filters[:], sys.getrecursionlimit(),
                sys.modules["__main__"], sys.modules["worker"], sys.modules["msgpack"],
                logging.getLogger("prefect").handlers[:], logging.root.handlers[:], registry.Current.record,
                [name for name in sys.modules if name.startswith(("prefect", "<", "rehearsal"))],
                set(sys.path_importer_cache),
            )

        script.rehearse()
        before = state()
        loaded = set(sys.modules)
        for _ in range(3):
            script.rehearse()
            assert state() == before
        assert set(sys.modules) == loaded
        """
    )
    repository = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", source], check=True, cwd=repository)
