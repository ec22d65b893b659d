"""The verdict: every status is reached by what the supervisor saw, and each says what to do."""

import signal

import pytest

from loader.models import Exit, Status
from loader.session import Session
from loader.verdict import exit_of, signal_name, verdict
from worker.protocol import Denied, Dialect, Error, Exited, Failed, Frame, Loaded, Ready, encode

NOW = 100.0
LOADED = Loaded((), (), (), Dialect("orion"))
DUMP = 'Current thread 0x1 (most recent call first):\n  File "/f.py", line 2 in <module>\n'
SOURCES = {"/f.py": ["import time", "time.sleep(99)"]}
HUNG = (Frame("/f.py", 2, "<module>", "time.sleep(99)"),)


def failed(status="script_failed", **error):
    values = {"stage": "run", "type": "E", "message": "m", **error}
    return Failed(status, Error(**values), (), (), (), Dialect("orion"))


def ended(policy, reply=None, exited=None, events=()):
    """A session that is over: what was said, what else happened, and how the process ended."""
    session = Session.begin(policy, NOW)
    session.received(encode(Ready(())), NOW)
    session.send_script(NOW)
    if "late" in events:
        session.expired(session.deadline)
    if "broken" in events:
        session.received(b"\xff" * 8, NOW)
    if reply is not None:
        session.received(encode(reply), NOW)
    session.gone(exited, NOW + 1)
    return session


def judged(policy, dump="", cpu_before=0.0, reply=None, **how):
    """The verdict on a session that ended by `code`, `by` a signal, `late` or `broken`."""
    exited = None
    if how.keys() & {"code", "by"}:
        exited = Exited(how.get("code"), how.get("by"), how.get("cpu", 0.0), 1 << 20)
    events = [name for name in ("late", "broken") if how.get(name)]
    return verdict(ended(policy, reply, exited, events), dump, SOURCES, cpu_before)


@pytest.mark.parametrize(
    ("status", "how"),
    [
        ("loaded", {"reply": LOADED, "code": 0}),
        ("script_failed", {"reply": failed(), "code": 0}),
        ("out_of_memory", {"reply": failed("out_of_memory"), "code": 0}),
        ("output_exceeded", {"reply": failed("output_exceeded"), "code": 0}),
        ("timed_out", {"late": True, "by": signal.SIGKILL}),
        ("timed_out", {"by": signal.SIGKILL, "cpu": 31.0}),
        ("crashed", {"by": signal.SIGSEGV}),
        ("crashed", {"code": 0}),
        ("crashed", {}),
        ("violated_protocol", {"broken": True, "by": signal.SIGKILL}),
    ],
)
def test_every_status_of_a_script_is_reached(policy, status, how):
    """One way of ending, one status; `sandbox_unavailable` is for scripts that were never sent."""
    assert judged(policy(), **how).status is Status(status)


def test_only_a_load_that_worked_has_no_error(policy):
    """Every other one says what went wrong."""
    assert judged(policy(), reply=LOADED).error is None
    for how in ({"reply": failed()}, {"late": True}, {"by": 9}, {"code": 1}, {"broken": True}):
        error = judged(policy(), **how).error
        assert error.message
        assert how.get("reply") or error.message.startswith("cannot ")


def test_what_the_supervisor_saw_comes_before_what_the_worker_said(policy):
    """A violation outweighs a time-out, and either outweighs any reply."""
    assert judged(policy(), late=True, broken=True).status is Status.VIOLATED_PROTOCOL
    assert judged(policy(), late=True, reply=LOADED).status is Status.TIMED_OUT
    assert judged(policy(), reply=LOADED, by=signal.SIGSEGV, cpu=99.0).status is Status.LOADED


def test_who_says_too_much_has_exceeded_its_output(policy):
    """Ended for the sum of what it said: the key that bounds it is named."""
    session = ended(policy(), exited=Exited(None, signal.SIGKILL, 0.0, 0))
    session.overfull = True
    told = verdict(session, "", SOURCES, 0.0)
    assert told.status is Status.OUTPUT_EXCEEDED
    assert str(policy().result) in told.error.message
    assert "result.size" in told.error.hint
    assert "strict" in told.error.hint


def test_a_time_out_says_where_it_hung(policy):
    """The frames, the limit, and the key and option that raise it."""
    error = judged(policy(wall=2.5), late=True, dump=DUMP).error
    assert error.message == "cannot finish loading within 2.5 seconds"
    assert error.frames == HUNG
    assert "time.sleep(99)" in error.traceback
    assert "--timeout SECONDS or wall.seconds in the profile (strict)" in error.hint


def test_a_time_out_without_frames_says_so(policy):
    """A thread that never came back to Python cannot be asked."""
    error = judged(policy(), late=True).error
    assert error.frames == ()
    assert error.hint.startswith("the script was not in Python code")


@pytest.mark.parametrize(
    ("by", "cpu", "before", "status"),
    [
        (signal.SIGKILL, 30.0, 0.0, "timed_out"),
        (signal.SIGXCPU, 30.0, 0.0, "timed_out"),
        (signal.SIGKILL, 29.6, 0.0, "timed_out"),
        (signal.SIGKILL, 29.0, 0.0, "crashed"),
        (signal.SIGKILL, 30.5, 2.0, "crashed"),
        (signal.SIGKILL, 32.0, 2.0, "timed_out"),
        (signal.SIGSEGV, 99.0, 0.0, "crashed"),
        (signal.SIGTERM, 99.0, 0.0, "crashed"),
    ],
)
def test_the_end_of_processor_time_is_told_from_a_plain_kill(policy, by, cpu, before, status):
    """The script's own time counts, and only with a signal that the kernel sends for it."""
    told = judged(policy(cpu=30), by=by, cpu=cpu, cpu_before=before, dump=DUMP)
    assert told.status is Status(status)
    if status == "timed_out":
        assert told.error.message == "cannot finish loading within 30 seconds of processor time"
        assert "cpu.seconds in the profile (strict)" in told.error.hint
        assert "--timeout" not in told.error.hint
        assert told.error.frames == HUNG


def test_processor_time_that_nobody_limits_never_ran_out(policy):
    """Without the guarantee a kill is a kill."""
    demands = {name: level for name, level in policy().demands.items() if name != "cpu"}
    assert judged(policy(demands=demands), by=signal.SIGKILL, cpu=999.0).status is Status.CRASHED


def test_a_crash_names_its_signal_and_its_place(policy):
    """What the handler called it, and the frames it wrote."""
    dump = "Fatal Python error: Segmentation fault\n\n" + DUMP
    error = judged(policy(), by=signal.SIGSEGV, dump=dump).error
    assert "SIGSEGV (Segmentation fault)" in error.message
    assert (error.type, error.frames) == ("ProcessCrashed", HUNG)
    assert "compiled code" in error.hint


def test_a_kill_is_someones_doing(policy):
    """SIGKILL leaves no trace: the hint says who may have sent it."""
    error = judged(policy(), by=signal.SIGKILL).error
    assert "SIGKILL" in error.message
    assert "no memory left" in error.hint


def test_an_early_end_names_its_code(policy):
    """A process that ended by itself without having loaded."""
    error = judged(policy(), code=7).error
    assert error.type == "ProcessEnded"
    assert "exit code 7" in error.message
    assert "os._exit" in error.hint


def test_a_violation_says_what_was_wrong(policy):
    """In the words of whoever refused it."""
    error = judged(policy(), broken=True).error
    assert (error.stage, error.type) == ("reply", "ProtocolViolation")
    assert "cannot read a frame of 4294967295 bytes" in error.message


def advice(policy, error):
    """The error of a `Failed`, as the verdict passes it on."""
    return judged(policy, reply=failed(**error)).error


DENIALS = [
    (
        "filesystem",
        "/etc/passwd",
        ("cannot open /etc/passwd: profile strict", "filesystem.read", "--root", "/data"),
    ),
    (
        "network",
        "a connection to 10.0.0.1",
        ("cannot use a connection", "profile strict", "network.outbound"),
    ),
    (
        "processes",
        "fork",
        ("fork: profile strict", "0 new processes and 64 threads", "processes.count"),
    ),
]


@pytest.mark.parametrize(("act", "target", "words"), DENIALS)
def test_a_denied_act_names_the_profile_and_its_key(policy, act, target, words):
    """Its author needs nobody to know what to write where."""
    hint = advice(policy(read=("/data",)), {"denied": Denied(act, target), "hint": "guess"}).hint
    for word in words:
        assert word in hint


def test_what_a_profile_allows_was_not_denied_by_it(policy):
    """Then something else was in the way, and the worker's own hint stays."""
    denied = {"denied": Denied("network", "connect"), "hint": "is the server up?"}
    assert advice(policy("network"), denied).hint == "is the server up?"
    assert advice(policy("development"), denied).hint == "is the server up?"


def test_where_one_may_write_is_said(policy):
    """A scratch space is a remedy, too, where there is one."""
    denied = {"denied": Denied("filesystem", "/x")}
    assert "writes only in its temporary folder (tempfile.gettempdir())" in advice(policy(), denied).hint
    assert "has no place to write" in advice(policy("no-namespaces"), denied).hint


def test_causes_are_advised_as_well(policy):
    """What was denied may be why something else failed."""
    cause = Error("run", "OSError", "no", denied=Denied("filesystem", "/etc/passwd"))
    told = advice(policy(), {"cause": Error("run", "X", "x", cause=cause), "hint": "own"})
    assert told.hint == "own"
    assert told.cause.hint is None
    assert "filesystem.read" in told.cause.cause.hint


def test_memory_that_ran_out_names_its_key(policy):
    """Where it is limited, and unless the worker knows better."""
    error = {"type": "MemoryError"}
    assert "512 MiB" in advice(policy(memory=512 << 20), error).hint
    assert "memory.size" in advice(policy(), error).hint
    assert advice(policy(), {**error, "hint": "own"}).hint == "own"
    demands = {name: level for name, level in policy().demands.items() if name != "memory"}
    assert advice(policy(demands=demands), error).hint is None


def test_nothing_else_of_a_workers_error_is_changed(policy):
    """Advice is added, and what the script's author must see stays."""
    error = failed(frames=HUNG, traceback="T", denied=Denied("network", "x"), hint="h").error
    told = judged(policy(), reply=failed(**vars(error))).error
    assert {**vars(told), "hint": None} == {**vars(error), "hint": None}


@pytest.mark.parametrize(
    ("number", "name"), [(11, "SIGSEGV"), (9, "SIGKILL"), (31, "SIGSYS"), (40, "SIG40"), (0, "SIG0")]
)
def test_signals_have_names(number, name):
    """Real-time ones have numbers."""
    assert signal_name(number) == name


def test_an_exit_is_a_code_or_a_signal_or_unknown():
    """What its parent saw, and nothing where nobody saw it."""
    assert exit_of(Exited(3, None, 0.0, 0)) == Exit(code=3, signal=None)
    assert exit_of(Exited(None, 11, 0.0, 0)) == Exit(code=None, signal="SIGSEGV")
    assert exit_of(None) == Exit(code=None, signal=None)
