"""A daemon as its manager sees it, and one real request in its log, its metrics and its traces."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
TRACE = "0af7651916cd43dd8448eb211c80319c"
pytestmark = pytest.mark.slow


@pytest.fixture
def manager(tmp_path):
    """What the service manager listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(60)
        yield end


@pytest.fixture
def daemon(tmp_path, manager, collector):
    """A daemon that is configured by a file and by variables."""
    file, log = tmp_path / "daemon.yaml", tmp_path / "log"
    file.write_text(f"state: {tmp_path}/state\ncache: {{folder: {tmp_path}/cache}}\nlog: {{level: debug}}\n")
    environ = os.environ | {
        "FLOW_LOADER_CONFIG": str(file),
        "FLOW_LOADER_SOCKET": str(tmp_path / "run/api.sock"),
        "FLOW_LOADER_LOG_FORMAT": "json",
        "FLOW_LOADER_TRACING_ENDPOINT": collector[0],
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
    }
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, "-m", "loader", "serve"],
            env=environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=opened,
        )
    try:
        yield process, file, log
    finally:
        process.terminate()
        process.wait(60)


def heard(manager):
    """What the manager hears next of the daemon's state."""
    while (said := manager.recv(4096).decode()).startswith(("STATUS=", "WATCHDOG=")):
        pass
    return said.split("\n")[0]


def test_a_daemon_is_operated(tmp_path, daemon, manager, collector):
    """One request is found again in the log, in the metrics and in its caller's trace."""
    process, file, log = daemon
    assert heard(manager) == "READY=1"
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(tmp_path / "run/api.sock")),
        base_url="http://flow-loader",
        timeout=60,
    ) as client:
        while client.get("/v1/health/ready").status_code != 200:
            time.sleep(0.05)
        answer = client.post(
            "/v1/load",
            json={"text": "import os; os.abort()\n", "name": "\x1b[2J\nforged"},
            headers={"X-Request-Id": "mine", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )
        assert (answer.status_code, answer.json()["status"]) == (200, "crashed")
        assert answer.headers["X-Request-Id"] == "mine"
        # What came of a request is counted when its answer is sent.
        while 'requests_total{code="200",route="/v1/load"}' not in (
            metrics := client.get("/v1/metrics").text
        ):
            time.sleep(0.05)
        file.write_text("limits: {queue: none}\n")
        process.send_signal(signal.SIGHUP)
        assert [heard(manager), heard(manager)] == ["RELOADING=1", "READY=1"]
        file.write_text("log: {level: warning}\n")
        process.send_signal(signal.SIGHUP)
        assert [heard(manager), heard(manager)] == ["RELOADING=1", "READY=1"]
        assert client.get("/v1/health/live").status_code == 200
    process.terminate()
    assert heard(manager) == "STOPPING=1"
    assert process.wait(60) == 0

    events = [json.loads(line) for line in log.read_text().splitlines()]
    mine = [event for event in events if event.get("trace_id") == TRACE]
    assert {event["request"] for event in mine} == {"mine"}
    assert [event["signal"] for event in mine if event["event"] == "worker ended"] == ["SIGABRT"]
    assert [event["status"] for event in mine if event["event"] == "answered"] == [200]
    assert any("key 'limits.queue': must be a whole number" in str(event) for event in events)
    assert not any("/v1/health/live" in str(event) for event in events)

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["flow_loader_loads_total", "crashed"] == 1
    assert samples["flow_loader_requests_total", *sorted(["200", "/v1/load"])] == 1
    assert samples["flow_loader_workers", "busy"] == 0
    assert samples["flow_loader_workers", "idle"] >= 1
    assert samples["flow_loader_phase_seconds_count", "queue"] == 1

    spans = {span.name: span for span in collector[1] if span.trace_id.hex() == TRACE}
    assert spans.keys() == {"POST /v1/load", "queue", "fork", "confine", "run"}
    request = spans.pop("POST /v1/load")
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert {span.parent_span_id for span in spans.values()} == {request.span_id}
