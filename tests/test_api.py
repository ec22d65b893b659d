"""The library's functions: real workers, and everything a caller sees is metadata or one exception."""

import asyncio
import builtins
import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import loader
from loader import (
    DeploymentSpec,
    Flow,
    LoaderClosed,
    LoadError,
    MissingDeploymentError,
    MissingFlowError,
    ProfileError,
    SandboxUnavailable,
    ScriptCrashed,
    ScriptError,
    ScriptOutOfMemory,
    ScriptOutputExceeded,
    ScriptTimedOut,
    ScriptViolatedProtocol,
    SourceError,
    Spec,
    Status,
    UnspecifiedDeploymentError,
    UnspecifiedFlowError,
    deployment_specs_and_flows_from_script,
    deployment_specs_from_script,
    load_flow_from_script,
    load_flow_from_text,
    load_flows_from_script,
    select_deployment,
    shared,
)
from loader.raising import EXCEPTIONS

ROOT = Path(__file__).parents[1]
HEAD = "from prefect import flow\nfrom prefect.deployments import DeploymentSpec\n"
FLOW = HEAD + "@flow\ndef answer(): pass\n"
TWO = FLOW + "@flow\ndef question(): pass\n"


@pytest.fixture
def script(tmp_path):
    """A callable that writes a script and gives its path."""

    def write(text, name="flows.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def names(found):
    return sorted(item.name for item in found)


def in_a_process(code, *arguments):
    """What a caller of its own prints, standard error included."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# --- flows ---


def test_flows_of_a_script_are_its_globals(script):
    """Imported ones count, ones inside containers and functions do not."""
    script("from prefect import flow\n@flow\ndef imported(): pass\n", "other.py")
    path = script(
        FLOW
        + "from other import imported\n@flow\ndef held(): pass\nbox = [held]\ndel held\n"
        + "def f():\n    @flow\n    def inner(): pass\nf()\n"
    )
    assert names(load_flows_from_script(path)) == ["answer", "imported"]


def test_a_flow_comes_with_its_facts(script):
    """What the script says of it, as plain data."""
    path = script(
        FLOW + "@flow(name='q', version='3', timeout_seconds=5)\nasync def f(x: int = 4):\n    'Ask.'\n"
    )
    flow = load_flow_from_script(path, "q")
    assert type(flow) is Flow
    assert (flow.function, flow.entrypoint, flow.version) == ("f", "flows.py:f", "3")
    assert (flow.description, flow.is_async, flow.timeout_seconds) == ("Ask.", True, 5.0)
    assert (flow.file, flow.line) == (str(path), 5)
    assert flow.parameters["properties"]["x"]["default"] == 4


def test_the_only_flow_needs_no_name(script):
    """A script of one flow is loaded as that flow."""
    assert load_flow_from_script(script(FLOW)).name == "answer"


def test_several_flows_need_a_name(script):
    """The message names the script and its flows."""
    path = script(TWO)
    with pytest.raises(UnspecifiedFlowError) as caught:
        load_flow_from_script(path)
    assert str(caught.value) == (
        f"Found 2 flows in script '{path}': 'answer' 'question'. Specify a flow name to select a flow."
    )
    assert load_flow_from_script(path, "question").name == "question"


def test_a_flow_of_another_name_is_missing(script):
    """The message names what is there."""
    path = script(TWO)
    with pytest.raises(MissingFlowError) as caught:
        load_flow_from_script(path, flow_name="x")
    assert str(caught.value) == (
        f"Flow 'x' not found in script '{path}'. Found the following flows: 'answer' 'question'"
    )


def test_a_script_that_holds_nothing_is_empty_or_misses_its_flow(script):
    """Who asks for all gets nothing; who asks for one is told what to do."""
    path = script("def f(): pass\n")
    assert load_flows_from_script(path) == set()
    assert deployment_specs_from_script(path) == {}
    assert deployment_specs_and_flows_from_script(path) == ({}, set())
    with pytest.raises(MissingFlowError) as caught:
        load_flow_from_script(path)
    assert str(caught.value) == f"No flows found in script '{path}'."
    assert "@flow" in caught.value.__notes__[0]


def test_a_script_of_specs_alone_misses_its_flow(script):
    """A spec is no flow."""
    path = script(HEAD + "DeploymentSpec(name='d', flow_location='/x/y.py')\n")
    assert load_flows_from_script(path) == set()
    with pytest.raises(MissingFlowError, match="No flows found"):
        load_flow_from_script(path)


@pytest.mark.parametrize("kind", [str, Path, Path.as_uri, lambda path: f"file://localhost{path}"])
def test_a_path_is_text_a_path_object_or_a_file_url(script, kind):
    """All name the same file; a URL is no path below the working directory."""
    path = script(FLOW, "with space.py")
    assert load_flow_from_script(kind(path)).file == str(path)


def test_a_location_that_cannot_be_read_is_the_callers_mistake(tmp_path):
    """No worker is asked."""
    with pytest.raises(SourceError, match="there is no such file"):
        load_flows_from_script(tmp_path / "nothing.py")


@pytest.mark.parametrize("kind", [str, str.encode])
def test_a_flow_is_loaded_from_text(kind):
    """Text and bytes alike."""
    assert load_flow_from_text(kind(TWO), "question").line == 5
    with pytest.raises(UnspecifiedFlowError, match="in script '<text>'"):
        load_flow_from_text(kind(TWO))


def test_an_error_in_text_names_the_line_and_shows_it():
    """There is no file, and the line is shown all the same."""
    with pytest.raises(ScriptError) as caught:
        load_flow_from_text(FLOW + "x = 1 / 0\n")
    assert str(caught.value) == "cannot load <text>: ZeroDivisionError: division by zero"
    assert 'File "<text>", line 5, in <module>\n    x = 1 / 0' in caught.value.__notes__[0]


def test_same_named_flows_are_all_kept_and_ambiguous(script):
    """None overwrites another in silence."""
    path = script(FLOW + "@flow(name='answer')\ndef other(): pass\n")
    assert names(load_flows_from_script(path)) == ["answer", "answer"]
    for name in (None, "answer"):
        with pytest.raises(UnspecifiedFlowError) as caught:
            load_flow_from_script(path, name)
        assert f"('{path}', line 3)" in str(caught.value)
        assert f"('{path}', line 5)" in str(caught.value)


# --- deployment specs ---


def test_specs_come_with_the_file_and_line_of_their_call(script):
    """Also where the call goes over several lines."""
    path = script(
        FLOW + "DeploymentSpec(\n    name='a',\n    flow=answer,\n)\nDeploymentSpec(name='b', flow=answer)\n"
    )
    specs = deployment_specs_from_script(path)
    assert {spec.name: place for spec, place in specs.items()} == {
        "a": {"file": str(path), "line": 5},
        "b": {"file": str(path), "line": 9},
    }


def test_specs_and_flows_come_from_one_execution(script):
    """Both agree, whatever chance does in the script."""
    path = script(
        HEAD + "import random\nname = str(random.random())\n"
        "@flow(name=name)\ndef f(): pass\nDeploymentSpec(name=name, flow=f)\n"
    )
    specs, flows = deployment_specs_and_flows_from_script(path)
    assert names(specs) == names(flows)


def test_specs_of_an_imported_module_are_found_each_time(script):
    """A second load imports it again."""
    script(FLOW + "DeploymentSpec(name='d', flow=answer)\n", "other.py")
    path = script("import other\n")
    first = deployment_specs_from_script(path)
    assert names(first) == ["d"]
    assert deployment_specs_from_script(path) == first


def test_specs_made_in_a_thread_are_found(script):
    """Whichever thread makes them."""
    path = script(
        FLOW + "import threading\n"
        "t = threading.Thread(target=lambda: DeploymentSpec(name='d', flow=answer))\nt.start()\nt.join()\n"
    )
    assert names(deployment_specs_from_script(path)) == ["d"]


def test_same_named_specs_are_all_kept_and_ambiguous(script):
    """The error lists them with file and line."""
    path = script(FLOW + "DeploymentSpec(name='d', flow=answer)\nDeploymentSpec(name='d', flow=answer)\n")
    specs = deployment_specs_from_script(path)
    assert len(specs) == 2
    with pytest.raises(UnspecifiedDeploymentError) as caught:
        select_deployment(specs, "d")
    assert f"'d' ('{path}', line 5), 'd' ('{path}', line 6)" in str(caught.value)


def test_the_name_of_a_flow_that_a_spec_only_locates_is_found_out(script):
    """In a worker: nothing of that script happens in the caller's process."""
    mark = "import builtins\nbuiltins.flow_loader_was_here = True\n"
    located = script(FLOW + mark, "located.py")
    path = script(
        FLOW + f"DeploymentSpec(name='a', flow=answer, flow_name='answer')\n"
        f"@flow\ndef other(): pass\nDeploymentSpec(name='b', flow=other)\n"
        f"DeploymentSpec(name='c', flow_location={str(located)!r})\n"
    )
    specs = deployment_specs_from_script(path)
    others = [spec for spec in specs if spec.name != "a"]
    chosen = select_deployment(others, flow_name="answer")
    assert chosen.name == "c"
    assert chosen in specs
    assert not hasattr(builtins, "flow_loader_was_here")
    with pytest.raises(MissingDeploymentError, match="but it is for flow 'answer'"):
        select_deployment(specs, "c", "other")


def test_a_spec_whose_flow_cannot_be_found_out_hides_no_other(script):
    """Another that fits is selected; when none does, the notes say why."""
    path = script(
        FLOW + "DeploymentSpec(name='a', flow=answer)\nDeploymentSpec(name='b', flow_location='gone.py')\n"
    )
    specs = deployment_specs_from_script(path)
    assert select_deployment(specs, flow_name="answer").name == "a"
    with pytest.raises(MissingDeploymentError) as caught:
        select_deployment(specs, flow_name="x")
    (note,) = caught.value.__notes__
    assert note.startswith("cannot find out the flow of '")
    assert "gone.py: there is no such file" in note


# --- what comes back ---


def test_flows_and_specs_are_hashable_and_comparable(script):
    """Two loads of one script give equal metadata, and a set or a dict finds it again."""
    path = script(FLOW + "DeploymentSpec(name='d', flow=answer, parameters={'k': [1]}, tags=['t'])\n")
    specs, flows = deployment_specs_and_flows_from_script(path)
    again, flows_again = deployment_specs_and_flows_from_script(path)
    assert (specs, flows) == (again, flows_again)
    assert len(flows | flows_again) == len(specs | again) == 1
    for item in (*specs, *flows):
        assert hash(item) == hash(copy.deepcopy(item))
        assert pickle.loads(pickle.dumps(item)) == item


def test_a_spec_in_a_dict_stays_found_when_its_parameters_change(script):
    """Its hash is of what cannot change."""
    specs = deployment_specs_from_script(script(FLOW + "DeploymentSpec(name='d', flow=answer)\n"))
    (spec,) = specs
    spec.parameters["more"] = 1
    assert spec in specs


def test_flows_and_specs_have_a_short_repr(script):
    """Name and place, on one line, whatever the name."""
    (spec,), (flow,) = deployment_specs_and_flows_from_script(
        script(HEAD + "@flow(name='f\\x1b' * 5000)\ndef f(): pass\nDeploymentSpec(name='d', flow=f)\n")
    )
    assert repr(spec) == "<DeploymentSpec 'd' at 'flows.py':5>"
    assert repr(flow).startswith(r"<Flow 'f\x1bf\x1b")
    assert len(repr(flow)) < 200


# --- the one exception for each status ---

FAILING = {
    "script_failed": ("raise KeyError('k')", ScriptError, "KeyError: 'k'"),
    "timed_out": ("while True: pass", ScriptTimedOut, "cannot finish loading within 1 seconds"),
    "out_of_memory": ("x = bytearray(1 << 40)", ScriptOutOfMemory, "MemoryError"),
    "output_exceeded": (
        "for n in range(40000): globals()[f'f{n}'] = flow(name='z' * 900 + str(n))(lambda: 0)",
        ScriptOutputExceeded,
        "",
    ),
    "crashed": ("import os; os.abort()", ScriptCrashed, "its process was ended by SIGABRT"),
    "violated_protocol": (
        "import os\nfor fd in range(3, 256):\n    try: os.write(fd, b'\\xff' * 9)\n    except OSError: pass",
        ScriptViolatedProtocol,
        "cannot believe the worker",
    ),
}


@pytest.mark.sampled
@pytest.mark.parametrize("status", FAILING)
def test_each_failure_has_an_exception_of_its_own(status):
    """It names the location and carries the outcome; whoever catches ScriptError catches them all."""
    code, expected, message = FAILING[status]
    timeout = 1 if status == "timed_out" else 60
    with pytest.raises(ScriptError) as caught:
        load_flow_from_text(FLOW + code, timeout=timeout)
    assert type(caught.value) is expected
    assert str(caught.value).startswith("cannot load <text>: ")
    assert message in str(caught.value)
    assert caught.value.outcome.status == status
    assert caught.value.path == "<text>"


def test_every_status_but_loaded_has_its_exception():
    """The table is whole, and no two statuses share an exception."""
    assert set(EXCEPTIONS) == set(Status) - {Status.LOADED}
    assert len(set(EXCEPTIONS.values())) == len(EXCEPTIONS)


def test_a_script_error_shows_the_scripts_own_traceback(script):
    """Chain included, ours left out, and nothing that a terminal acts on."""
    path = script(
        FLOW + "def f():\n    raise ValueError('a\\x1b[2J')\n"
        "try:\n    f()\nexcept ValueError as e:\n    raise RuntimeError('two\\nlines') from e\n"
    )
    with pytest.raises(ScriptError) as caught:
        load_flow_from_script(path)
    assert str(caught.value) == f"cannot load {path}: RuntimeError: two"
    traceback = caught.value.__notes__[0]
    assert f'File "{path}", line 6, in f' in traceback
    assert r"ValueError: a\x1b[2J" in traceback
    assert "The above exception was the direct cause" in traceback
    assert "\x1b" not in traceback
    assert caught.value.error.cause.type == "ValueError"


def test_an_error_says_what_can_be_done(script):
    """The hint is the last note."""
    with pytest.raises(ScriptTimedOut) as caught:
        load_flow_from_script(script("while True: pass\n"), timeout=0.5)
    assert "line 1, in <module>" in caught.value.__notes__[0]
    assert caught.value.__notes__[-1].startswith("hint: ")


def test_an_error_keeps_what_was_found_before_it(script):
    """Flows and specs stand beside the error."""
    path = script(FLOW + "DeploymentSpec(name='d', flow=answer)\nraise SystemError\n")
    with pytest.raises(ScriptError) as caught:
        deployment_specs_from_script(path)
    assert names(caught.value.outcome.flows) == ["answer"]
    assert names(caught.value.outcome.specs) == ["d"]


def test_an_error_survives_pickling_with_everything_in_it(script):
    """It crosses to other processes, as the errors of pools of processes do."""
    with pytest.raises(ScriptError) as caught:
        load_flow_from_script(script("1 / 0\n"))
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is ScriptError
    assert (str(error), error.__notes__) == (str(caught.value), caught.value.__notes__)
    assert error.outcome == caught.value.outcome


def test_a_host_that_cannot_confine_is_no_fault_of_the_script(script):
    """It says what is missing and what to do."""
    with pytest.raises(SandboxUnavailable) as caught:
        load_flow_from_script(script(FLOW), root="/")
    assert isinstance(caught.value, LoadError)
    assert not isinstance(caught.value, ScriptError)
    assert str(caught.value).startswith("cannot give")
    assert "--root" in caught.value.__notes__[-1]


@pytest.mark.parametrize("exits", ["sys.exit()", "sys.exit(3)", "exit()", "raise SystemExit('no')"])
def test_a_script_that_exits_does_not_end_its_caller(script, exits):
    """It is an error of that script."""
    with pytest.raises(ScriptError, match="SystemExit"):
        load_flow_from_script(script(f"import sys\n{exits}\n"))


# --- the caller's process ---


def test_a_flow_that_is_called_at_import_is_not_run(script, tmp_path):
    """The call gives None, and a notice names the line."""
    path = script(HEAD + "@flow\ndef f(): raise SystemError\nx = f()\nassert x is None\n")
    assert load_flow_from_script(path).name == "f"
    (notice,) = shared.loader_for("strict").load(path).notices
    assert (notice.kind, notice.line) == ("flow_called", 5)


def test_modules_beside_the_script_are_imported_by_name_and_relatively(script):
    """They are one module either way."""
    script("NAME = 'painted'\n", "paint.py")
    path = script(
        "import os\nimport paint\nfrom . import paint as same\nassert same is paint\n"
        "assert os.path.exists('paint.py')\n" + HEAD + "@flow(name=paint.NAME)\ndef f(): pass\n"
    )
    assert load_flow_from_script(path).name == "painted"


def test_the_callers_process_is_left_as_it_was(script, capfd):
    """Folder, path, modules, streams and handlers: nothing of the script reaches them."""
    script("", "only_the_script_knows.py")
    path = script(
        FLOW + "import only_the_script_knows, os, sys\nos.chdir('/')\nprint('heard')\nsys.path.append('x')\n"
    )
    load_flow_from_script(path)
    before = os.getcwd(), list(sys.path), set(sys.modules)
    load_flow_from_script(path)
    assert (os.getcwd(), list(sys.path), set(sys.modules)) == before
    assert capfd.readouterr() == ("", "")


def test_loads_in_many_threads_share_nothing(script):
    """Each gets its own script's flow, and the folder of none of them."""
    here = os.getcwd()
    for number in range(8):
        (script("", "x").parent / str(number)).mkdir()
        script(FLOW.replace("answer", f"f{number}") + "import time; time.sleep(0.05)\n", f"{number}/flows.py")
    folder = script("", "x").parent
    with ThreadPoolExecutor(8) as executor:
        paths = [folder / str(number % 8) / "flows.py" for number in range(32)]
        flows = list(executor.map(load_flow_from_script, paths))
    assert [flow.name for flow in flows] == [f"f{number % 8}" for number in range(32)]
    assert os.getcwd() == here


def test_a_root_lets_a_script_read_more_than_its_folder(script, tmp_path):
    """The option goes through to the load."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "name.txt").write_text("read")
    path = script(HEAD + "@flow(name=open('../name.txt').read())\ndef f(): pass\n", "flows/a.py")
    with pytest.raises(ScriptError):
        load_flow_from_script(path)
    assert load_flow_from_script(path, root=tmp_path).name == "read"


def test_a_profile_or_timeout_that_cannot_be_used_is_refused(script):
    """The caller's mistake, before anything runs."""
    with pytest.raises(ProfileError):
        load_flow_from_script(script(FLOW), profile="stritc")
    with pytest.raises(ProfileError):
        load_flow_from_script(script(FLOW), timeout=-1)


# --- the shared loaders ---


def test_one_warm_loader_serves_every_call_of_a_profile(script):
    """Also when the first calls come from many threads at once."""
    shared.LOADERS.clear()
    barrier = threading.Barrier(8)

    def first(_):
        barrier.wait()
        return shared.loader_for("strict")

    with ThreadPoolExecutor(8) as executor:
        held = set(executor.map(first, range(8)))
    assert len(held) == 1
    load_flow_from_script(script(FLOW))
    assert shared.loader_for("strict") in held
    assert shared.loader_for("network") not in held


@pytest.mark.slow
def test_a_profile_file_that_changed_is_used_as_it_is_now(script, tmp_path):
    """The caller's file is not remembered from the first load."""
    profile = tmp_path / "own.yaml"
    path = script(HEAD + "import os\n@flow(name=os.environ.get('OWN_NAME', 'none'))\ndef f(): pass\n")
    text = "description: own\nextends: strict\n"
    profile.write_text(text)
    assert load_flow_from_script(path, profile=str(profile)).name == "none"
    held = shared.loader_for(str(profile))
    assert shared.loader_for(str(profile)) is held
    profile.write_text(text + "wall: {hold: required, seconds: 0.5}\n")
    with pytest.raises(ScriptTimedOut):
        load_flow_from_script(script("while True: pass\n", "hangs.py"), profile=str(profile))
    assert shared.loader_for(str(profile)) is not held


def test_a_caller_without_a_main_guard_loads_and_leaves_nothing_behind(script):
    """No process of ours outlives it, and it prints nothing but its own words."""
    said = in_a_process(
        """
        import sys
        from pathlib import Path
        import loader
        print(loader.load_flow_from_script(sys.argv[1]).name)
        held = loader.api.loader_for("strict").supervisor.zygote.process.pid
        print(held)
        """,
        script(FLOW),
    ).split()
    assert said[0] == "answer"
    until = time.monotonic() + 2
    while Path(f"/proc/{said[1]}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{said[1]}").exists()


@pytest.mark.slow
def test_a_fork_of_the_caller_loads_with_workers_of_its_own(script):
    """Also one that used an event loop and was forked while a thread loaded; the caller's go on."""
    said = in_a_process(
        """
        import asyncio, os, sys, threading
        import loader
        path = sys.argv[1]
        asyncio.run(loader.load_flow_from_script_async(path))
        text = open(path).read() + "import time; time.sleep(1)"
        slow = threading.Thread(target=loader.load_flow_from_text, args=(text,))
        slow.start()
        for _ in range(5):
            if not (child := os.fork()):
                one = loader.load_flow_from_script(path)
                two = asyncio.run(loader.load_flow_from_script_async(path))
                os._exit(0 if one == two else 1)
            assert os.waitpid(child, 0)[1] == 0
        slow.join()
        print(loader.load_flow_from_script(path).name)
        """,
        script(FLOW),
    )
    assert said == "answer\n"


# --- event loops ---


@pytest.mark.parametrize(
    "name",
    [
        "load_flows_from_script",
        "load_flow_from_script",
        "deployment_specs_from_script",
        "deployment_specs_and_flows_from_script",
    ],
)
def test_each_function_of_a_script_has_a_twin_for_event_loops(script, name):
    """The same answer, the same options."""
    path = script(FLOW + "DeploymentSpec(name='d', flow=answer)\n")
    twin = getattr(loader, f"{name}_async")
    assert asyncio.run(twin(path, timeout=20, profile="strict", root=None)) == getattr(loader, name)(path)


def test_text_and_selection_have_twins_for_event_loops(script):
    """The same answers."""
    located = script(FLOW, "located.py")
    specs = [Spec("a", flow_name="x"), DeploymentSpec(name="b", flow_location=str(located))]

    async def work():
        flow = await loader.load_flow_from_text_async(FLOW)
        assert await loader.select_flow_async([flow]) is flow
        assert (await loader.select_deployment_async(specs, flow_name="answer")) is specs[1]
        with pytest.raises(ScriptError):
            await loader.load_flow_from_text_async("1 / 0")

    asyncio.run(work())
    assert select_deployment(specs, flow_name="answer") is specs[1]


TWINS = {
    "load_flows_from_script": loader.load_flows_from_script_async,
    "load_flow_from_script": loader.load_flow_from_script_async,
    "load_flow_from_text": lambda path: loader.load_flow_from_text_async(path.read_text()),
    "deployment_specs_from_script": loader.deployment_specs_from_script_async,
    "deployment_specs_and_flows_from_script": loader.deployment_specs_and_flows_from_script_async,
    "select_deployment": lambda path: loader.select_deployment_async(
        [DeploymentSpec(name="a", flow_location=str(path))], flow_name="answer"
    ),
}


@pytest.mark.sampled
@pytest.mark.parametrize("name", TWINS)
def test_an_event_loop_goes_on_while_a_script_loads(script, name):
    """Loading is elsewhere."""
    path = script(FLOW + "import time; time.sleep(0.3)\n")

    async def work():
        load = asyncio.ensure_future(TWINS[name](path))
        ticks = 0
        while not load.done():
            await asyncio.sleep(0.01)
            ticks += 1
        await load
        return ticks

    assert asyncio.run(work()) > 10


def test_nothing_warns(script):
    """A caller that turns warnings into errors can load."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_flow_from_script(script(FLOW + "import warnings\nwarnings.warn('mine')\n"))


def test_a_profile_that_leaves_the_host_open_warns_at_every_use(tmp_path):
    """Whoever gets metadata or an exception sees no notices, so this one is a warning."""
    script = tmp_path / "flows.py"
    script.write_text("from prefect import flow\n@flow\ndef f(): pass\n")
    for _ in range(2):
        with pytest.warns(UserWarning, match="limits time and memory only"):
            loader.load_flow_from_script(script, profile="development")


@pytest.mark.slow
def test_cancelled_loads_leave_no_descriptor(script):
    """Also where the event loop is closed before their workers are dead."""
    path = script("import time; time.sleep(20)\n")

    async def cancel(held):
        loads = [asyncio.ensure_future(held.load_async(path)) for _ in range(4)]
        await asyncio.sleep(0.3)
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    with loader.FlowLoader() as held:
        held.warm()
        counts = []
        for _ in range(3):
            asyncio.run(cancel(held))
            time.sleep(0.5)
            counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[0] == counts[1] == counts[2]


def test_a_closed_loader_says_so_to_event_loops_too(script):
    """And leaves nothing open."""
    held = loader.FlowLoader()
    held.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(LoaderClosed):
            asyncio.run(held.load_async(script(FLOW)))
    assert len(os.listdir("/proc/self/fd")) == before
