"""What `import` finds for a script."""

import pytest

FLOW = "from prefect import flow\n@flow\ndef hello(): ...\n"


def test_modules_beside_the_script_are_one_object_by_either_name(run):
    """`import x` and `from . import x` are the same module, whichever comes first."""
    files = {
        "a.py": "import b\nVALUE = b.VALUE",
        "b.py": "from . import c\nVALUE = c.VALUE",
        "c.py": "VALUE = 7",
    }
    run(
        FLOW
        + "import a, b\nfrom . import b as same, c\nfrom .a import VALUE\nassert same is b and VALUE == 7\n",
        files,
    )
    run(FLOW + "from . import b\nimport b as same\nassert same is b and b.__name__ == 'b'\n", files)


def test_packages_beside_the_script_work(run):
    """Subpackages import relatively inside themselves and up to the folder."""
    files = {
        "pack/__init__.py": "from .inner import VALUE",
        "pack/inner.py": "from . import other\nfrom ..top import TOP\nVALUE = other.VALUE + TOP",
        "pack/other.py": "VALUE = 1",
        "top.py": "TOP = 2",
    }
    run(
        FLOW
        + "import pack, pack.inner\n"
        + "from .pack import inner\n"
        + "assert inner is pack.inner and pack.VALUE == 3\n",
        files,
    )


def test_folder_that_is_a_package_runs_its_init(run):
    """`from . import name` gives what the folder's `__init__.py` defines."""
    run(FLOW + "from . import SETTING\nassert SETTING == 1\n", {"__init__.py": "SETTING = 1"})


def test_script_can_be_imported_by_its_siblings(run):
    """The running module is found under its name, not run again."""
    run(
        FLOW + "COUNT = 1\nimport a\nassert a.flow_module.hello is hello\n",
        {"a.py": "from . import flow as flow_module"},
    )


@pytest.mark.parametrize("name", ["worker", "loader"])
def test_our_packages_are_not_found(run, name):
    """A script that has none of its own cannot import ours."""
    source = (
        FLOW
        + "try:\n"
        + f"    import {name}\n"
        + "except ModuleNotFoundError as error:\n"
        + f"    assert error.name == '{name}'\n"
        + "else:\n"
        + "    raise AssertionError\n"
    )
    run(source)
    ran = run(f"import {name}.protocol\n", fails=True)
    assert ran.error["type"] == "ModuleNotFoundError"


@pytest.mark.sampled
@pytest.mark.parametrize(
    "name", ["worker", "loader", "msgpack", "types", "enum", "logging", "traceback", "os"]
)
def test_script_gets_its_own_module_of_a_taken_name(run, name):
    """A module beside the script wins, while the standard library goes on finding its own."""
    source = FLOW + (
        f"import {name}\n"
        f"from . import {name} as same\n"
        f"assert {name}.OWN and same is {name}\n"
        "import asyncio, concurrent.futures, email.message, xml.dom.minidom, multiprocessing.pool\n"
        "import decimal, fractions, sqlite3, http.client\n"
        f"import {name} as again\nassert again is {name}\n"
        "hello()\n"
    )
    ran = run(source, {f"{name}.py": "OWN = True"})
    assert ran.flows[0]["name"] == "hello"
    assert len(ran.notices("flow_called")) == 1


def test_package_of_a_taken_name_is_the_scripts(run):
    """The same for a package, with its submodules."""
    files = {"json/__init__.py": "from .own import OWN", "json/own.py": "OWN = True"}
    run(
        FLOW + "import json.own\nassert json.OWN\nimport email, http.client, xmlrpc.client, logging.config\n",
        files,
    )


def test_standard_module_that_is_not_loaded_yet_is_shadowed_only_for_the_script(run):
    """The standard library finds its own `queue`, the script finds the one beside it."""
    source = FLOW + "import concurrent.futures.thread, multiprocessing.pool\nimport queue\nassert queue.OWN\n"
    run(source, {"queue.py": "OWN = True"})


def test_models_in_a_module_of_a_taken_name_work(run):
    """Libraries written in C go on finding the original, and find the classes of the folder's own."""
    files = {
        "types.py": """
            from __future__ import annotations
            import typing
            import pydantic
            class Model(pydantic.BaseModel):
                x: int
                later: typing.Optional[Later] = None
            class Later(pydantic.BaseModel):
                y: pydantic.conint(gt=0) = 1
            """
    }
    source = """
        import pickle
        import types
        from types import Model
        from prefect import flow

        assert pickle.loads(pickle.dumps(types.Model(x=1, later={"y": 2}))).later.y == 2

        @flow
        def f(m: Model): ...
        """
    ran = run(source, files)
    assert set(ran.flows[0]["parameters"]["definitions"]) == {"Later", "Model"}


def test_script_uses_the_interpreters_own_builtins(run):
    """What a script puts there, the modules it imports see."""
    run(
        FLOW + "import builtins\nbuiltins.here = 1\nassert here == 1\nimport a\n",
        {"a.py": "assert here == 1"},
    )


def test_plain_folder_shadows_nothing(run):
    """A folder without `__init__.py` gives way to a module, as everywhere."""
    run(FLOW + "import logging\nassert logging.getLogger\n", {"logging/notes.txt": ""})


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["types", "time", "prefect", "my-flow", "worker"])
def test_script_may_have_any_name(run, name):
    """A script that is named as a module of the standard library or of ours runs."""
    run(FLOW + "import asyncio, traceback\n", name=f"{name}.py")


def test_missing_sibling_is_told_by_name(run):
    """The message names the module; the hint says where to put it."""
    ran = run(FLOW + "from .nothing import x\n", fails=True)
    assert ran.error["type"] == "ModuleNotFoundError"
    assert ran.error["hint"] == "put nothing.py beside the script"
    ran = run(FLOW + "from . import json\n", fails=True)
    assert ran.error["type"] == "ImportError"
    ran = run(FLOW + "from .. import x\n", fails=True)
    assert "end at the script's folder" in ran.error["hint"]


def test_error_in_a_sibling_shows_its_frames_and_no_others(run):
    """Frames of the import system and of ours are cut off."""
    ran = run(FLOW + "from . import broken\n", {"broken.py": "def f():\n    1 / 0\nf()\n"}, fails=True)
    places = [(frame["file"].rpartition("/")[2], frame["line"]) for frame in ran.error["frames"]]
    assert places == [("flow.py", 4), ("broken.py", 3), ("broken.py", 2)]


def test_msgpack_is_the_environments(run):
    """A script that uses msgpack gets a module of its own."""
    run(FLOW + "import msgpack\nassert msgpack.unpackb(msgpack.packb([1])) == [1]\n")


def test_text_runs_in_its_folder(run):
    """A script from text has no file, but imports from its working directory."""
    run(
        FLOW
        + "import beside\n"
        + "from . import beside as same\n"
        + "assert same is beside\n"
        + "assert '__file__' not in globals()\n",
        {"beside.py": ""},
        text=True,
    )
