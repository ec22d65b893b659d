"""Spans of requests and of what the engine does for them, where the extra `tracing` is installed and wanted.

The ``traceparent`` (W3C Trace Context) of whoever may ask for loads is taken up, so that a load is seen as
part of what needed it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from structlog.contextvars import bound_contextvars

from loader.daemon.config import Tracing
from loader.errors import ConfigError
from loader.observing import Happened, ScriptRead, TurnCame, WorkerEnded, WorkerTaken
from loader.version import version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Note = Callable[[str, str | int | float | bool], None]
"""Adds an attribute to a span."""
EXPORT_SECONDS = 5.0
NANO = 1_000_000_000


class Tracer:
    """Spans that go to ``provider``, or nowhere."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("loader.daemon") if provider else None

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""
        return self.tracer is not None

    @contextlib.contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Note]:
        """One request, as part of the trace that its headers name; log lines within have the trace's id."""
        if self.tracer is None:
            yield lambda *_: None
            return
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra is needed by who wants traces
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - the same

        carried = {key: headers[key] for key in ("traceparent", "tracestate") if key in headers}
        around = tracecontext.TraceContextTextMapPropagator().extract(carried)
        with self.tracer.start_as_current_span(name, around, SpanKind.SERVER) as span:
            trace = format(span.get_span_context().trace_id, "032x")
            with bound_contextvars(trace_id=trace):
                yield span.set_attribute

    def observe(self, happened: Happened) -> None:
        """A span for each phase that a load went through, as part of the request that it serves."""
        now = time.time_ns()
        match happened:
            case TurnCame(seconds=seconds):
                self.past("queue", now, seconds)
            case ScriptRead(seconds=seconds):
                self.past("fetch", now, seconds)
            case WorkerTaken(pid=pid, seconds=seconds):
                self.past("fork", now, seconds, pid)
            case WorkerEnded(pid=pid, confining=float(confining), running=float(running)):
                self.past("run", now, running, pid)
                self.past("confine", now - int(running * NANO), confining, pid)

    def past(self, name: str, end: int, seconds: float, pid: int | None = None) -> None:
        """A span that is over."""
        if self.tracer is not None:
            span = self.tracer.start_span(name, start_time=end - int(seconds * NANO))
            if pid is not None:
                span.set_attribute("process.pid", pid)
            span.end(end)

    def close(self) -> None:
        """Send what was not sent yet, in a few seconds or not at all. It waits."""
        if self.provider is not None:
            self.provider.shutdown()


def tracer(config: Tracing) -> Tracer:
    """What traces as configured. Raises ConfigError if what that needs is not installed."""
    if config.endpoint is None:
        return Tracer(None)
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415 - it is an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the same
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same
    except ImportError:
        raise ConfigError(
            "cannot send traces, as 'tracing.endpoint' asks: OpenTelemetry is not installed; run"
            " pip install 'flow-loader[tracing]', or leave the key out"
        ) from None
    named = Resource.create({"service.name": "flow-loader", "service.version": version()})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    exporter = trace_exporter.OTLPSpanExporter(endpoint=config.endpoint, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracer(provider)
