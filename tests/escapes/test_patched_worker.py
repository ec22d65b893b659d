"""A script can rewrite the code around it; what it gains is claims, never a fact and never the supervisor."""

import hashlib

import pytest


def patches_the_worker(kit):
    """Find the worker's own modules and make each of their functions lie."""
    import sys
    import types

    spaces, frame, patched = [], sys._getframe(1), []
    while frame is not None:
        spaces.append(frame.f_globals)
        frame = frame.f_back
    for space in spaces:
        for value in list(space.values()):
            if type(value) is types.ModuleType and vars(value) not in spaces:
                spaces.append(vars(value))
            if type(value) is types.FunctionType and value.__module__.startswith("worker"):
                patched.append(value)
    sys.stderr.write(f"patched {len(patched)}\n")
    for function in patched:
        function.__code__ = (lambda *arguments, **options: b"forged").__code__


def patches_builtins(kit):
    """Everything that the worker might call is ours."""
    import builtins
    import os
    import sys
    import types

    def lie(*arguments, **options):
        return 7

    kept = ("stderr", "stdout", "modules")
    for space in [vars(module) for module in (os, sys, types, builtins)]:
        space.update({name: lie for name in space if not name.startswith("__") and name not in kept})


def frees_the_modules(kit):
    """Pull the ground away."""
    import sys

    for space in [vars(module) for module in sys.modules.values()]:
        space.clear()


def traces(kit):
    """Watch every call that follows, and never return from one."""
    import sys
    import threading

    def hang(*arguments):
        while True:
            pass

    sys.setprofile(hang)
    threading.setprofile(hang)
    sys.settrace(hang)
    sys.addaudithook(hang)


@pytest.mark.parametrize(
    "attempt",
    [
        patches_the_worker,
        patches_builtins,
        frees_the_modules,
        pytest.param(traces, marks=pytest.mark.slow),
    ],
)
def test_a_patched_worker_changes_no_fact(escape, attempt):
    seen = escape(attempt, timeout=2)
    outcome, source = seen.outcome, (seen.folder / "script.py").read_bytes()
    assert seen.status in {"loaded", "script_failed", "crashed", "violated_protocol", "timed_out"}
    assert outcome["source"]["digest"] == f"sha256:{hashlib.sha256(source).hexdigest()}"
    assert outcome["sandbox"]["profile"] == "strict"
    assert {guarantee["level"] for guarantee in outcome["sandbox"]["guarantees"]} == {"full"}
    assert outcome["usage"]["wall_seconds"] < 5
    assert escape.engine().process.poll() is None


def finds_the_channel(kit):
    """Use the worker's own pipe of answers to reply in its stead."""
    import sys

    frame, found = sys._getframe(1), []
    while frame is not None:
        found += [value for value in frame.f_locals.values() if type(value).__name__ == "Replies"]
        frame = frame.f_back
    found[0].deliver(kit.loaded())


def test_the_workers_own_channel_gives_no_more_than_a_reply(escape):
    seen = escape(finds_the_channel)
    assert seen.status == "loaded"
    assert (seen.outcome["flows"], seen.outcome["sandbox"]["profile"]) == ([], "strict")


def test_the_worker_was_really_patched(escape):
    """Else the test above would show nothing."""
    text = escape(patches_the_worker, timeout=2).outcome["stderr"]["text"]
    assert int(text.split()[1]) > 50


def patches_itself(kit):
    """What a script does to its own copy of a library is its own affair."""
    import json
    import os

    os.getcwd = lambda: "elsewhere"
    json.loads = None
    return os.getcwd()


def test_patching_a_library_does_not_harm_the_load(escape, profile):
    seen = escape(patches_itself, profile=profile)
    assert seen.report == "elsewhere"
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["harmless"]
