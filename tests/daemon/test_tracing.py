"""Traces: spans reach a collector, as part of the caller's trace, each phase of a load among them."""

import asyncio
import http.client
import json
import socket
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from structlog.contextvars import get_contextvars

from loader import FlowLoader
from loader.daemon.config import Tracing
from loader.daemon.tracing import tracer
from loader.observing import Refused, TurnCame, WorkerEnded, WorkerTaken

ROOT = Path(__file__).parents[2]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1", "authorization": "secret"}


def test_a_load_is_seen_in_the_trace_of_who_asked(collector, tmp_path):
    """Its phases are below the request's span, also those that another thread went through."""
    url, spans = collector
    traced = tracer(Tracing(endpoint=url))

    script = tmp_path / "slow.py"
    script.write_text("import time; time.sleep(.05)\n")

    async def ask():
        async with FlowLoader(observer=traced.observe) as loader:
            with traced.request("POST /v1/load", HEADERS) as note:
                assert get_contextvars()["trace_id"] == TRACE
                traced.observe(TurnCame(seconds=0.0))
                outcome = await loader.load_async(script)
                note("status", outcome.status.value)

    began = time.time_ns()
    asyncio.run(ask())
    traced.close()
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    named = defaultdict(list)
    for span in spans:
        named[span.name].append(span)
    (request,) = named.pop("POST /v1/load")
    assert request.parent_span_id.hex() == SPAN
    assert request.attributes[0].value.string_value == "script_failed"
    assert named.keys() == {"queue", "fetch", "fork", "confine", "run"}
    for name, (span,) in named.items():
        assert span.parent_span_id == request.span_id
        assert began <= span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano, (
            name
        )
    (run,), (confine,) = named["run"], named["confine"]
    assert run.end_time_unix_nano - run.start_time_unix_nano >= 50_000_000
    assert abs(run.start_time_unix_nano - confine.end_time_unix_nano) < 5_000_000


@pytest.mark.parametrize("given", ["", "00-0-0-01", "x" * 5000, f"00-{'0' * 32}-{SPAN}-01", "\x1b\n"])
def test_a_malformed_parent_begins_a_trace_of_its_own(collector, given):
    """What a caller sends breaks nothing."""
    url, spans = collector
    traced = tracer(Tracing(endpoint=url))
    with traced.request("GET /", {"traceparent": given}):
        pass
    traced.close()
    (span,) = spans
    assert span.parent_span_id == b""
    assert span.trace_id.hex().strip("0")


def test_a_request_without_a_trace_has_its_own(collector):
    """And what a worker did without a request too; a refusal is no phase."""
    url, spans = collector
    traced = tracer(Tracing(endpoint=url))
    with traced.request("GET /", {}):
        pass
    traced.observe(WorkerTaken(pid=7, seconds=0.1))
    traced.observe(WorkerEnded(pid=7))
    traced.observe(Refused(step="x", guarantees=()))
    traced.close()
    assert {span.name for span in spans} == {"GET /", "fork"}
    assert len({span.trace_id for span in spans}) == 2


@pytest.mark.slow
def test_a_stranger_writes_into_no_trace(collector, started, place):
    """What a request without the token names is a trace of nobody's; the owner's and a peer's is taken."""
    url, spans = collector
    token = place / "token"
    token.write_text("a-token-that-nobody-guesses")
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = place / "daemon.yaml"
    listen = {"port": port, "token_file": str(token)}
    file.write_text(json.dumps({"peers": [{"uid": "token"}], "listen": listen, "tracing": {"endpoint": url}}))
    daemon = started("--config", file)

    def ask(path, given):
        headers = HEADERS | {"authorization": f"Bearer {given}"}
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status

    assert ask("/v1/version", "another") == 401
    assert ask("/", "another") == 200
    assert ask("/v1/openapi.json", token.read_text()) == 200
    assert daemon.get("/v1/sandbox", traceparent=HEADERS["traceparent"]).status == 200
    assert daemon.end() == 0
    named = defaultdict(set)
    for span in spans:
        named[span.trace_id.hex() == TRACE].add(span.name)
    assert named[True] == {"GET /v1/openapi.json", "GET /v1/sandbox"}
    assert named[False] >= {"GET /v1/version", "GET /"}


@pytest.mark.slow
def test_a_collector_that_is_not_there_holds_nobody_up():
    """Neither a request nor, for long, the end."""
    traced = tracer(Tracing(endpoint="http://127.0.0.1:9/v1/traces"))
    began = time.monotonic()
    with traced.request("GET /", {}):
        pass
    assert time.monotonic() - began < 5
    traced.close()
    assert time.monotonic() - began < 30


def test_without_an_endpoint_nothing_is_traced():
    """Nor imported: the extra is not needed."""
    untraced = tracer(Tracing(endpoint=None))
    with untraced.request("GET /", HEADERS) as note:
        note("status", "loaded")
    untraced.observe(WorkerEnded(pid=7))
    untraced.close()
    code = "import loader.daemon.tracing, sys; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_an_endpoint_without_the_extra_is_a_mistake():
    """The message says what to install."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from loader.daemon.tracing import tracer; from loader.daemon.config import Tracing\n"
        "tracer(Tracing(endpoint='http://127.0.0.1:9/'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "ConfigError: cannot send traces" in done.stderr
    assert "pip install 'flow-loader[tracing]'" in done.stderr
