"""Outcomes as large as a reply may be, made to be slow to show: each is told shortly and at once."""

import json
import re
import time

import msgpack
import pytest

from loader import escape
from loader.cli import arguments, formats
from loader.cli.load import rendered
from loader.cli.places import Places
from loader.cli.terminal import Style
from loader.models import Error, Flow, Frame, Notice, Outcome, Output, Sandbox, Source, Spec, Status

pytestmark = pytest.mark.slow

SIZE = 4 << 20
"""Bytes of the largest reply that a built-in profile takes."""
SECONDS = 5
LONG = "x" * SIZE
WORDS = "x " * (SIZE // 2)
MANY = SIZE // 12
FLOWS = SIZE // 64
"""More flows, or specs, than fit: each names all of its fields."""
PATH = "/a" * (SIZE // 2)
SCRIPT = "/folder/script.py"
PROPERTIES = {f"p{number}": {} for number in range(MANY)}
NESTED = [0] * (SIZE // 2)
for _ in range(90):
    NESTED = [NESTED]
CHAIN = None
for _ in range(90):
    CHAIN = Error("run", "E", "x" * (SIZE // 90), cause=CHAIN)


def schema(item):
    """A flow whose one parameter is described by ``item``."""
    return {"flows": (Flow("f", parameters={"properties": {"x": item}}),)}


def failed(**values):
    """An error of that kind."""
    return {
        "status": Status.SCRIPT_FAILED,
        "error": Error(**{"stage": "run", "type": "E", "message": ""} | values),
    }


def frames(file, number):
    """An error with that many frames."""
    return failed(frames=(Frame(file, 1, "f"),) * number)


HOSTILE = {
    "many flows": {"flows": (Flow("f"),) * FLOWS},
    "many specs": {"specs": (Spec("s"),) * FLOWS},
    "many notices": {"notices": (Notice("warning", "m"),) * MANY},
    "many of all": {
        "flows": tuple(
            Flow(
                "f",
                parameters={"properties": {f"\x1b{i} " * 30: {"default": "\x1b" * 90} for i in range(50)}},
            )
            for _ in range(200)
        )
    },
    "many parameters": {"flows": (Flow("f", parameters={"properties": PROPERTIES}),)},
    "much that is required": {
        "flows": (
            Flow("f", parameters={"properties": PROPERTIES, "required": [f"q{i}" for i in range(MANY)]}),
        )
    },
    "required is no text": {
        "flows": (Flow("f", parameters={"properties": PROPERTIES, "required": [[]] * MANY}),)
    },
    "many settings": {
        "specs": (Spec("s", flow_runner={"type": "docker", "config": dict.fromkeys(PROPERTIES, 1)}),)
    },
    "many values": {"specs": (Spec("s", parameters=PROPERTIES),)},
    "many tags": {"flows": (Flow("f", tags=("t",) * MANY),), "specs": (Spec("s", tags=("t",) * MANY),)},
    "long names": {"flows": (Flow(LONG, file=LONG),), "specs": (Spec(LONG, LONG, LONG, file=LONG),)},
    "long words": {"flows": (Flow("f", description=WORDS),), "notices": (Notice("warning", WORDS, PATH),)},
    "long blanks": {"flows": (Flow("f", description=" " * SIZE + "x"),), **failed(message="\n" * SIZE + "x")},
    "long tags": {"flows": (Flow("f", tags=(LONG,) * 3),)},
    "a long key": {"specs": (Spec("s", parameters={LONG: LONG}),), **schema({"$ref": "/" * SIZE})},
    "a long default": schema({"default": LONG}),
    "a wide default": schema({"default": [0] * SIZE}),
    "a deep default": schema({"default": NESTED}),
    "wide types": schema({"anyOf": [{"type": [LONG] * 6}] * 6}),
    "many types": schema({"anyOf": ["t"] * SIZE}),
    "long types": schema({"type": LONG, "enum": [LONG] * 6}),
    "a long schedule": {"specs": (Spec("s", schedule={"cron": LONG, "timezone": LONG}),)},
    "a wide schedule": {"specs": (Spec("s", schedule={"interval": NESTED}),)},
    "a long file": frames(PATH, 1),
    "many long files": frames("/a" * 2000, SIZE // 4000),
    "many frames": frames("/f", MANY),
    "a long error": failed(type=LONG, message=LONG, hint=WORDS, traceback=f"{LONG}: {LONG}"),
    "a long traceback": failed(traceback="  F\n" * (SIZE // 4)),
    "nearly frames": failed(traceback='  File "' + '", line 1' * (SIZE // 9)),
    "frames of digits": failed(traceback=('  File "", line ' + "1" * 10_000 + "x\n") * 400),
    "frames of long files": failed(traceback=f'  File "{"/a" * 4000}", line 1, in x\n' * 500),
    "tabs": failed(traceback="\t" * SIZE),
    "escapes": failed(message="\U000e0001" * SIZE, traceback="\U000e0001" * SIZE),
    "many causes": {"status": Status.SCRIPT_FAILED, "error": CHAIN},
    "much output": {
        "stdout": Output(text="\r\n" * SIZE, bytes=SIZE),
        "stderr": Output(text=LONG, bytes=SIZE),
    },
}


def outcome(**claims):
    """An outcome with what a worker claimed."""
    values = {"status": Status.LOADED, "source": Source(location=SCRIPT, digest="", size=0)}
    return Outcome(**{**values, "sandbox": Sandbox(profile="strict"), **claims})


@pytest.mark.parametrize("claims", HOSTILE.values(), ids=HOSTILE)
def test_text_is_short_and_comes_at_once(claims):
    """Whatever is large in a reply, a reader gets some screens of it."""
    said = outcome(**claims)
    began = time.process_time()
    shown = rendered(said, SCRIPT, Style())
    assert time.process_time() - began < SECONDS
    assert len(shown) < SIZE
    assert shown.count("\n") < (60_000 if claims is HOSTILE["many of all"] else 2000)
    assert len(shown.rstrip("\n").rpartition("\n")[2]) < 200


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("claims", HOSTILE.values(), ids=HOSTILE)
def test_data_is_whole_and_comes_at_once(capfdbinary, claims, form):
    """The other formats leave out nothing, and take no longer for it."""
    said = outcome(**claims)
    began = time.process_time()
    assert formats.write(form, said.model_dump(mode="json"), "", 0) == 0
    assert time.process_time() - began < SECONDS
    written = capfdbinary.readouterr().out
    answer = json.loads(written) if form == "json" else msgpack.unpackb(written)
    assert [len(answer[key]) for key in ("flows", "specs")] == [len(said.flows), len(said.specs)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("many flows", f"… and {FLOWS - 100:,} more flows; --format json shows all"),
        ("many specs", f"… and {FLOWS - 100:,} more deployment specs; --format json shows all"),
        ("many notices", f"… and {MANY - 50:,} more notices; --format json shows all"),
        ("many parameters", f"                … and {MANY - 50:,} more; --format json shows all"),
        ("many values", f"                … and {MANY - 50:,} more; --format json shows all"),
    ],
)
def test_what_is_left_out_is_counted(name, line):
    """Nothing is left out silently."""
    assert line in rendered(outcome(**HOSTILE[name]), SCRIPT, Style()).split("\n")


@pytest.mark.parametrize("name", ["many tags", "many settings"])
def test_what_is_left_out_of_a_row_is_counted(name):
    """The same within a row."""
    shown = " ".join(rendered(outcome(**HOSTILE[name]), SCRIPT, Style()).split())
    assert re.search(r" … and 349,[0-9]{3} more\b", shown)


def test_as_many_as_are_shown_are_not_counted():
    """Where nothing is left out, nothing is said of it."""
    few = {f"p{number}": {} for number in range(50)}
    flows = (Flow("f", parameters={"properties": few}, tags=("t",) * 20),) * 100
    shown = rendered(outcome(flows=flows), SCRIPT, Style())
    assert shown.count("flow f") == 100
    assert "more" not in shown


def test_files_below_the_scripts_folder_are_its_own():
    """A neighbour is the author's, a folder whose name begins alike is not."""
    places = Places("/", SCRIPT)
    assert all(map(places.is_own, [SCRIPT, "/folder/other.py", "/folder/deep/other.py"]))
    assert not any(map(places.is_own, ["/folder", "/folders/other.py", "folder/other.py", "/other.py", ""]))
    assert Places("/", "/script.py").is_own("/other.py")
    assert not Places("/", "<stdin>").is_own("/other.py")
    assert Places("/", "<stdin>").is_own("<stdin>")


def test_a_long_word_is_no_misspelt_command():
    """It is not compared with any."""
    began = time.process_time()
    assert arguments.did_you_mean("load" * (SIZE // 4), arguments.COMMANDS) is None
    assert time.process_time() - began < 1
    assert arguments.did_you_mean("laod", arguments.COMMANDS) == "did you mean load?"


SCRIPTS = {
    b"loaded: 10000 flows, 0": """
        flows = [flow(parameters=None, line=number) for number in range(10000)]
        say("Loaded", flows=flows, specs=[], notices=[], details=[])
    """,
    b"script_failed: 0 flows, 0": """
        frame = {"file": "/a" * 2000000, "line": 1, "function": "f", "source": None}
        error = {"stage": "run", "type": "E", "message": "m", "frames": [frame], "traceback": "",
                 "cause": None, "hint": None, "denied": None}
        say("Failed", status="script_failed", error=error, flows=[], specs=[], notices=[])
    """,
    b"loaded: 1 flow, 0": """
        schema = {"properties": {f"p{i}": 0 for i in range(100000)}, "required": ["q"] * 300000}
        flows = [flow(parameters=schema)]
        say("Loaded", flows=flows, specs=[], notices=[], details=[])
    """,
}
SAY = """
import os, stat, struct
import msgpack

def is_pipe(number):
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False

def flow(**given):
    absent = (
        "function entrypoint version description file line end_line is_async retries timeout_seconds"
        " task_runner is_generator retry_delay_seconds persist_result hooks variable"
        " validate_parameters"
    )
    return {"name": "f", "tags": [], **dict.fromkeys(absent.split()), **given}

def say(tag, **fields):
    fields["dialect"] = {"name": "orion", "version": None, "reason": None}
    fields.setdefault("sources", None)
    body = msgpack.packb([tag, fields])
    view = memoryview(struct.pack(">I", len(body)) + body)
    channel = next(filter(is_pipe, range(200, 256)))
    while view:
        view = view[os.write(channel, view):]
    os._exit(0)

if True:
"""


@pytest.mark.parametrize("form", ["text", "json", "msgpack"])
@pytest.mark.parametrize(("last", "body"), SCRIPTS.items())
def test_a_forged_reply_is_told_at_once(command, tmp_path, last, body, form):
    """The real command, asked for each format: it ends soon after the script."""
    script = tmp_path / "script.py"
    script.write_text(SAY + body)
    began = time.monotonic()
    done = command("load", script, "--format", form, text=False)
    assert time.monotonic() - began < 4 * SECONDS
    assert done.stderr == b""
    if form == "text":
        assert done.stdout.count(b"\n") < 300
        assert len(done.stdout) < 30 * escape.LINE + 100 * 80
        assert done.stdout.splitlines()[-1].startswith(last)
    else:
        answer = json.loads(done.stdout) if form == "json" else msgpack.unpackb(done.stdout)
        assert last.startswith(f"{answer['status']}: {len(answer['flows'])} flow".encode())
