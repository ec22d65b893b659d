"""What the daemon counts, for Prometheus: a registry of its own, with labels of few values only."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

from loader.daemon.admission import Admission, Priority
from loader.models import Status
from loader.observing import Happened, Refused, ScriptRead, TurnCame, WorkerEnded, WorkerTaken, ZygoteStarted
from loader.version import version
from worker.protocol import GUARANTEES

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PHASES = ("fetch", "queue", "fork", "confine", "run")
RESULTS = ("hit", "miss", "bypass")
OTHER = "other"
CODES = range(100, 600)


class Metrics:
    """Counts what happens. ``routes`` are the templates of paths that are told apart."""

    def __init__(self, routes: Iterable[str]) -> None:
        self.routes = frozenset(routes)
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge(
            "flow_loader_build_info", "What runs; always 1.", ["version", "python"], registry=registry
        )
        build.labels(version(), platform.python_version()).set(1)
        self.loads = Counter(
            "flow_loader_loads", "Loads that ended, by status.", ["status"], registry=registry
        )
        self.phases = Histogram(
            "flow_loader_phase_seconds",
            "What loads took their time for.",
            ["phase"],
            buckets=SECONDS,
            registry=registry,
        )
        self.waiting = Gauge(
            "flow_loader_queue_waiting", "Requests that wait for a turn.", ["priority"], registry=registry
        )
        self.inside = Gauge("flow_loader_queue_inside", "Requests whose turn it is.", registry=registry)
        self.workers = Gauge(
            "flow_loader_workers", "Workers that wait, or have a script.", ["state"], registry=registry
        )
        self.zygotes = Counter("flow_loader_zygote_starts", "Zygotes that were started.", registry=registry)
        self.restarts = Counter(
            "flow_loader_zygote_restarts", "Those in place of one that was lost.", registry=registry
        )
        self.refusals = Counter(
            "flow_loader_sandbox_refusals",
            "Loads that this host could not confine or carry through, by the guarantee that was missing.",
            ["guarantee"],
            registry=registry,
        )
        self.kept = Counter(
            "flow_loader_cache", "Results looked for among those kept.", ["result"], registry=registry
        )
        self.requests = Counter(
            "flow_loader_requests", "Requests answered.", ["route", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "flow_loader_request_seconds",
            "Time from a request to its answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.begin_at_zero()

    def begin_at_zero(self) -> None:
        """What has not happened yet is 0, and not missing."""
        families: tuple[tuple[MetricWrapperBase, Iterable[str]], ...] = (
            (self.loads, Status),
            (self.phases, PHASES),
            (self.waiting, Priority),
            (self.workers, ("idle", "busy")),
            (self.refusals, (*GUARANTEES, OTHER)),
            (self.kept, RESULTS),
        )
        for family, values in families:
            for value in values:
                family.labels(value)

    def watch(self, admission: Admission, idle: Callable[[], float]) -> None:
        """Look at the queue, and at how many workers wait, whenever somebody asks."""
        for priority in Priority:
            self.waiting.labels(priority).set_function(partial(admission.waiting, priority))
        self.inside.set_function(lambda: admission.inside)
        self.workers.labels("idle").set_function(idle)

    def loaded(self, status: Status) -> None:
        """Count a load that ended."""
        self.loads.labels(status).inc()

    def looked_up(self, result: str) -> None:
        """Count a look at the results that are kept: ``hit``, ``miss``, or ``bypass`` for who asks."""
        self.kept.labels(result).inc()

    def answered(self, route: str | None, code: int, seconds: float) -> None:
        """Count an answer; a route that is none of ours has no label of its own."""
        known = route if route in self.routes else OTHER
        self.requests.labels(known, str(code) if code in CODES else OTHER).inc()
        self.request_seconds.labels(known).observe(seconds)

    def observe(self, happened: Happened) -> None:
        """Count what becomes of zygotes and workers, and how long loads take for what."""
        match happened:
            case ZygoteStarted(again=again):
                self.zygotes.inc()
                self.restarts.inc(again)
            case TurnCame(seconds=seconds):
                self.phases.labels("queue").observe(seconds)
            case ScriptRead(seconds=seconds):
                self.phases.labels("fetch").observe(seconds)
            case WorkerTaken(seconds=seconds):
                self.workers.labels("busy").inc()
                self.phases.labels("fork").observe(seconds)
            case WorkerEnded(confining=confining, running=running):
                self.workers.labels("busy").dec()
                for phase, took in (("confine", confining), ("run", running)):
                    if took is not None:
                        self.phases.labels(phase).observe(took)
            case Refused(guarantees=guarantees):
                for guarantee in guarantees or (OTHER,):
                    self.refusals.labels(guarantee if guarantee in GUARANTEES else OTHER).inc()

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything, and its content type: OpenMetrics for who accepts that."""
        for asked in (accept, ""):
            with contextlib.suppress(TypeError, ValueError):  # it asks for a version that is none
                encoder, content_type = choose_encoder(asked)
                return encoder(self.registry), content_type
        raise AssertionError("plain text is always known")
