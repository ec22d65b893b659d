"""Metrics: what happened is counted, readable to Prometheus, with labels that nobody can flood."""

import asyncio
import os
import signal

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from loader import FlowLoader
from loader.daemon.admission import Admission, Priority
from loader.daemon.metrics import Metrics
from loader.models import Status
from loader.observing import Refused, ScriptRead, TurnCame, WorkerEnded, WorkerTaken
from loader.version import version
from worker.protocol import GUARANTEES

ROUTES = ("/v1/load", "/v1/sources/{id}")


@pytest.fixture
def metrics():
    return Metrics(ROUTES)


def samples(metrics):
    """Every sample as Prometheus reads it: its value by name and labels."""
    text, content_type = metrics.text()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in plain_text(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def test_what_has_not_happened_yet_is_zero(metrics):
    """An alarm on what is missing would never ring."""
    found = samples(metrics)
    assert found["flow_loader_zygote_restarts_total",] == 0
    for status in Status:
        assert found["flow_loader_loads_total", status.value] == 0
    for phase in ("fetch", "queue", "fork", "confine", "run"):
        assert found["flow_loader_phase_seconds_count", phase] == 0
    for guarantee in (*GUARANTEES, "other"):
        assert found["flow_loader_sandbox_refusals_total", guarantee] == 0
    for result in ("hit", "miss", "bypass"):
        assert found["flow_loader_cache_total", result] == 0
    for state in ("idle", "busy"):
        assert found["flow_loader_workers", state] == 0


def test_the_build_is_told(metrics):
    """Which version runs, and this process's memory and descriptors."""
    found = samples(metrics)
    (build,) = (key for key in found if key[0] == "flow_loader_build_info")
    assert version() in build
    assert found["process_open_fds",] > 0
    assert found["process_resident_memory_bytes",] > 0


def test_what_is_told_is_counted(metrics):
    """Loads by status, results that were kept, answers by route and code."""
    metrics.loaded(Status.TIMED_OUT)
    metrics.looked_up("hit")
    metrics.answered("/v1/load", 200, 0.003)
    metrics.answered("/v1/sources/{id}", 404, 0.1)
    metrics.observe(TurnCame(seconds=0.5))
    metrics.observe(ScriptRead(seconds=0.25))
    found = samples(metrics)
    assert found["flow_loader_loads_total", "timed_out"] == 1
    assert found["flow_loader_cache_total", "hit"] == 1
    assert found["flow_loader_requests_total", "/v1/load", "200"] == 1
    assert found["flow_loader_requests_total", "/v1/sources/{id}", "404"] == 1
    assert found["flow_loader_request_seconds_sum", "/v1/load"] == pytest.approx(0.003)
    assert found["flow_loader_phase_seconds_sum", "queue"] == 0.5
    assert found["flow_loader_phase_seconds_sum", "fetch"] == 0.25


def test_no_caller_makes_labels(metrics):
    """Neither by paths nor by codes, nor a host by its guarantees."""
    before = len(samples(metrics))
    for number in range(100):
        metrics.answered(f"/v1/{number}", 404, 0.1)
        metrics.answered(None, 404 + 1000 * number, 0.1)
        metrics.observe(Refused(step="x", guarantees=(f"g{number}",)))
    found = samples(metrics)
    assert found["flow_loader_requests_total", "404", "other"] == 101
    assert found["flow_loader_requests_total", "other", "other"] == 99
    assert found["flow_loader_sandbox_refusals_total", "other"] == 100
    assert len(found) < before + 10


def test_refusals_are_counted_by_what_was_missing(metrics):
    """Each guarantee; a load that could not be carried through for no guarantee is counted as well."""
    metrics.observe(Refused(step="user namespace", guarantees=("filesystem", "network")))
    metrics.observe(Refused(step="zygote: ended", guarantees=()))
    found = samples(metrics)
    for guarantee in ("filesystem", "network", "other"):
        assert found["flow_loader_sandbox_refusals_total", guarantee] == 1


def test_busy_workers_are_those_that_were_taken_and_have_not_ended(metrics):
    """Also those whose script was never sent."""
    metrics.observe(WorkerTaken(pid=1, seconds=0.5))
    metrics.observe(WorkerTaken(pid=2, seconds=0.5))
    assert samples(metrics)["flow_loader_workers", "busy"] == 2
    metrics.observe(WorkerEnded(pid=1))
    metrics.observe(WorkerEnded(pid=2, confining=0.1, running=0.2))
    found = samples(metrics)
    assert found["flow_loader_workers", "busy"] == 0
    assert found["flow_loader_phase_seconds_sum", "fork"] == 1.0
    assert found["flow_loader_phase_seconds_count", "confine"] == 1
    assert found["flow_loader_phase_seconds_count", "run"] == 1


def test_the_queue_is_looked_at_when_somebody_asks(metrics):
    """Who waits, by priority, who is inside, and how many workers are ready."""

    async def test():
        door = Admission(concurrent=1, waiting=9, patience=60)
        metrics.watch(door, lambda: 3)

        async def stay(priority):
            async with door.turn("a", priority):
                await asyncio.sleep(60)

        tasks = [asyncio.create_task(stay(priority)) for priority in Priority for _ in range(2)]
        await asyncio.sleep(0)
        found = samples(metrics)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found, samples(metrics)

    found, after = asyncio.run(test())
    assert found["flow_loader_queue_inside",] == 1
    assert found["flow_loader_workers", "idle"] == 3
    assert [found["flow_loader_queue_waiting", priority.value] for priority in Priority] == [1, 2, 2]
    assert after["flow_loader_queue_inside",] == 0
    assert [after["flow_loader_queue_waiting", priority.value] for priority in Priority] == [0, 0, 0]


def test_who_accepts_open_metrics_gets_them(metrics):
    """Prometheus asks for them first."""
    text, content_type = metrics.text("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in open_metrics(text.decode())}
    assert {"flow_loader_loads", "flow_loader_phase_seconds", "flow_loader_workers"} <= names


@pytest.mark.parametrize("version", ["abc", "1.x", "", "..", "9" * 5000])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_a_version_that_is_none_gets_plain_text(metrics, kind, version):
    """Or the latest; whoever asks is answered."""
    text, _ = metrics.text(f"{kind};version={version}")
    assert b"flow_loader_loads" in text


def test_two_daemons_in_one_process_count_apart(metrics):
    """A registry of its own: the process's is whoever's uses this package."""
    import prometheus_client

    other = Metrics(ROUTES)
    other.loaded(Status.LOADED)
    assert samples(metrics)["flow_loader_loads_total", "loaded"] == 0
    assert b"flow_loader" not in prometheus_client.generate_latest()


def test_what_an_engine_does_is_counted(metrics, tmp_path):
    """Real loads: phases, workers, and a zygote that was lost and replaced."""
    script = tmp_path / "slow.py"
    script.write_text("import time; time.sleep(0.02)\n")
    with FlowLoader(observer=metrics.observe) as loader:
        for _ in range(2):
            loader.load(script)
        found = samples(metrics)
        assert found["flow_loader_zygote_starts_total",] == 1
        assert found["flow_loader_zygote_restarts_total",] == 0
        assert found["flow_loader_workers", "busy"] == 0
        for phase in ("fetch", "fork", "confine", "run"):
            assert found["flow_loader_phase_seconds_count", phase] == 2
        assert 0.04 <= found["flow_loader_phase_seconds_sum", "run"] < 60
        os.kill(loader.supervisor.zygote.process.pid, signal.SIGKILL)
        for _ in range(10):  # a worker that waited may still serve one load
            loader.load_text("x = 1\n")
    found = samples(metrics)
    assert found["flow_loader_zygote_starts_total",] == 2
    assert found["flow_loader_zygote_restarts_total",] == 1
    assert found["flow_loader_workers", "busy"] == 0


def test_a_host_that_cannot_confine_is_counted(metrics, monkeypatch):
    """With the guarantee that is missing."""
    monkeypatch.setattr("loader.attest.objections", lambda *_: ["it is not confined"])
    with FlowLoader(observer=metrics.observe) as loader:
        assert loader.load_text("x = 1\n").status is Status.SANDBOX_UNAVAILABLE
    found = samples(metrics)
    assert found["flow_loader_sandbox_refusals_total", "other"] == 1
    assert found["flow_loader_phase_seconds_count", "run"] == 0


def test_a_cancelled_load_leaves_no_busy_worker(metrics):
    """Its worker is counted as ended when it is."""

    async def test():
        async with FlowLoader(observer=metrics.observe) as loader:
            task = asyncio.create_task(loader.load_text_async("while True: pass\n"))
            while not samples(metrics)["flow_loader_workers", "busy"]:  # noqa: ASYNC110 - a thread counts
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(test(), 60))
    assert samples(metrics)["flow_loader_workers", "busy"] == 0
