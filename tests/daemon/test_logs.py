"""Logs: one event a line whatever a script is called, and the request's id on each, the worker's included."""

import asyncio
import io
import json
import logging
import re
import threading
from functools import partial

import hypothesis
import pytest
from aiohttp.http_exceptions import BadHttpMessage
from hypothesis import strategies

from loader import FlowLoader
from loader.daemon.config import Log
from loader.daemon.logs import Logs, about, observed, request_id
from loader.escape import is_shown
from loader.observing import Refused, ZygoteStarted

HOSTILE = 'flow\x1b[2J\n2026-01-01T00:00:00.000Z info loaded status=loaded\r\u202e\u2028\x85" x="y'


def logs(form="json", level="debug", stream=None):
    return Logs(Log(format=form, level=level), stream or io.StringIO())


def lines(written):
    return written.stream.getvalue().splitlines()


def events(written):
    return [json.loads(line) for line in lines(written)]


def test_json_is_one_object_a_line():
    """With its time, its level, what happened, and the values that there are."""
    written = logs()
    written.log.info("loaded", location="/srv/flow.py", seconds=0.12345678, missing=None, pid=7, ok=True)
    (event,) = events(written)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {
        "level": "info",
        "event": "loaded",
        "location": "/srv/flow.py",
        "seconds": 0.123457,
        "pid": 7,
        "ok": True,
    }
    assert list(events(written)[0])[:3] == ["time", "level", "event"]


def test_a_console_has_a_line_for_people():
    """Values are told apart by quotes where they need them."""
    written = logs("console")
    written.log.warning("sandbox refused", step="user namespaces", pid=7, path="/a/b.py", none=None)
    (line,) = lines(written)
    assert re.fullmatch(r'\S+Z warning sandbox refused step="user namespaces" pid=7 path=/a/b\.py', line)


@pytest.mark.parametrize("form", ["json", "console"])
def test_foreign_text_stays_on_its_line(form):
    """No line of it looks like ours, and no terminal acts on it."""
    written = logs(form)
    written.log.info(HOSTILE, name=HOSTILE, other="b")
    text = written.stream.getvalue()
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    if form == "console":
        assert ' name="flow\\x1b[2J' in text
        assert text.endswith(' x=\\"y" other=b\n')
    else:
        assert text.isascii()
        assert json.loads(text)["name"] == HOSTILE


@hypothesis.given(
    text=strategies.text(strategies.characters()), form=strategies.sampled_from(["json", "console"])
)
def test_any_text_is_written_on_one_line_that_a_terminal_only_shows(text, form):
    """Lone surrogates, ends of lines of all scripts, and whatever else there is."""
    written = logs(form)
    written.log.info(text, a=text, b=1)
    (line,) = written.stream.getvalue().split("\n")[:-1]
    assert all(map(is_shown, line))
    line.encode()
    assert written.stream.getvalue().splitlines() == [line]


@hypothesis.given(text=strategies.text('a"\\ =\n'))
def test_a_quoted_value_ends_where_its_quotes_do(text):
    """No value can add another one."""
    written = logs("console")
    written.log.info("x", a=text, b=1)
    (line,) = lines(written)
    assert re.fullmatch(r'\S+ info    x a=("(?:[^"\\]|\\.)*"|[^\s"=]+) b=1', line)


@pytest.mark.parametrize("form", ["json", "console"])
def test_long_text_is_cut(form):
    """A script decides how long its names are, and not how long our log is."""
    written = logs(form)
    written.log.info("x", name="n" * 1_000_000)
    assert len(written.stream.getvalue()) < 3000
    assert "(1000000 characters)" in written.stream.getvalue().replace("\\u2026", "…")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_mistake_of_ours_comes_with_its_traceback(form):
    """Below the line, each line escaped; in JSON within it."""
    written = logs(form)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        written.log.exception("cannot answer", route="/v1/load")
    if form == "json":
        (event,) = events(written)
        assert event["level"] == "error"
        assert event["exception"].startswith("Traceback (most recent call last)")
    else:
        first, *below = lines(written)
        assert first.endswith(" error   cannot answer route=/v1/load")
        assert all(line.startswith("    ") and line.isprintable() for line in below)
        assert any("ValueError: flow\\x1b" in line for line in below)


def test_what_is_not_important_enough_is_left_out():
    """The level can be changed while we run."""
    written = logs(level="warning")
    written.log.info("a")
    written.log.warning("b")
    written.config = Log(format="json", level="debug")
    written.log.debug("c")
    assert [event["event"] for event in events(written)] == ["b", "c"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-DEF_1.2", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a b", False), ("a\n", False)],
)
def test_a_callers_own_id_is_kept_if_it_is_a_plain_word(given, kept):
    """Anything else gets one of ours."""
    assert (request_id(given) == given) is kept
    assert re.fullmatch("[0-9a-f]{16}", request_id())
    assert request_id() != request_id()


def test_the_requests_id_reaches_its_workers_lines():
    """Two loads at once, in threads of the loader's: each line about a worker has the id of its request."""
    written = logs()

    async def ask(loader, name):
        with about(request_id=name, uid=1000):
            await loader.load_text_async("import time; time.sleep(0.05)\n")

    async def both():
        async with FlowLoader(observer=partial(observed, written.log)) as loader:
            await asyncio.gather(ask(loader, "one"), ask(loader, "two"))

    asyncio.run(both())
    by_pid = {}
    for event in events(written):
        if event["event"].startswith("worker "):
            by_pid.setdefault(event["pid"], []).append((event["event"], event["request_id"], event["uid"]))
    assert sorted(by_pid.values()) == [
        [("worker taken", name, 1000), ("worker ended", name, 1000)] for name in ("one", "two")
    ]


def test_how_a_worker_ended_is_told():
    """A signal by its name, an exit by its code, and how long the script ran."""
    written = logs()
    with FlowLoader(observer=partial(observed, written.log)) as loader:
        loader.load_text("import os; os._exit(7)")
        loader.load_text("import os; os.abort()")
    first, second = (event for event in events(written) if event["event"] == "worker ended")
    assert (first["code"], "signal" in first, first["seconds"] > 0) == (7, False, True)
    assert second["signal"] == "SIGABRT"


def test_what_needs_somebodys_attention_is_a_warning():
    """A zygote that was lost, and a host that cannot confine."""
    written = logs(level="warning")
    observed(written.log, ZygoteStarted(pid=1, seconds=0.1, again=False))
    observed(written.log, ZygoteStarted(pid=2, seconds=0.1, again=True))
    observed(written.log, Refused(step="user namespace", guarantees=("filesystem", "network")))
    first, second = events(written)
    assert (first["event"], first["pid"]) == ("zygote started again", 2)
    assert (second["step"], second["guarantees"]) == ("user namespace", "filesystem, network")


def test_a_log_that_cannot_be_written_ends_nothing():
    """A full disk, or a reader that left."""

    class Broken(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    logs(stream=Broken()).log.info("x")
    closed = io.StringIO()
    closed.close()
    logs(stream=closed).log.info("x")


def test_lines_of_many_threads_do_not_mix():
    """Each is whole."""
    written = logs()
    threads = [
        threading.Thread(target=lambda: [written.log.info("x", n="y" * 500) for _ in range(100)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {event["n"] for event in events(written)} == {"y" * 500}
    assert len(lines(written)) == 800


def test_libraries_speak_in_the_same_log():
    """For as long as it is asked for; their text is foreign."""
    written = logs("json", level="info")
    with written.borrowing():
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("aiohttp.server").exception("Error handling %s", HOSTILE)
        logging.getLogger("asyncio").debug("x")
        with about(request_id="r"):
            logging.getLogger("aiohttp.web").warning("w")
    first, second = events(written)
    assert (first["level"], first["logger"]) == ("error", "aiohttp.server")
    assert first["event"] == f"Error handling {HOSTILE}"
    assert first["exception"].endswith("KeyError: 'x'")
    assert (second["event"], second["request_id"]) == ("w", "r")
    before = list(lines(written))
    logger = logging.getLogger("aiohttp.web")
    logger.addHandler(quiet := logging.NullHandler())
    logger.error("later")
    logger.removeHandler(quiet)
    assert lines(written) == before


def test_requests_that_cannot_be_read_are_told_of_now_and_then(monkeypatch):
    """A short line, and how many there were besides: whoever sends them decides on neither."""
    written, now = logs("json", level="info"), 100.0
    monkeypatch.setattr("loader.daemon.logs.time.monotonic", lambda: now)
    with written.borrowing():
        for later in (0, 0.5, 0.1, 1, 0):
            now += later
            try:
                raise BadHttpMessage(HOSTILE * 1000)
            except BadHttpMessage:
                logging.getLogger("aiohttp.server").exception("Error handling request from %s", HOSTILE)
    first, second = events(written)
    assert (first["level"], first["event"]) == ("info", "cannot read a request")
    assert first["reason"].startswith("BadHttpMessage: flow")
    assert (first.get("untold"), second["untold"]) == (None, 2)
    assert len(written.stream.getvalue()) < 1000


def test_nothing_is_configured_for_the_whole_process():
    """Whoever uses the package has logs of his own."""
    before = dict(logging.getLogger("aiohttp").__dict__)
    logs().log.info("x")
    assert logging.getLogger("aiohttp").__dict__ == before
    import structlog

    assert not structlog.is_configured()
