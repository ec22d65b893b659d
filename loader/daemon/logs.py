"""What the daemon writes down: one event a line, as JSON or for people; foreign text stays text.

Whatever is bound by ``about`` (a request's id, who asked) is on every line that is written within it, also on
those about the request's worker.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.contextvars import bound_contextvars as about
from structlog.typing import FilteringBoundLogger

from loader import escape
from loader.daemon.config import Log
from loader.observing import Happened, Refused, WorkerEnded, WorkerTaken, ZygoteStarted

__all__ = ["Logs", "about", "observed", "request_id"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
TEXT, TRACEBACK = 2_000, 16_000
"""Characters kept of a value, and of an exception's traceback."""
REASON, SECONDS = 100, 1.0
"""Characters of what is wrong with a request, and after how long it is told of another one."""
GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
PLAIN = re.compile(r"[\w./:@%+,-]+")
BORROWED = ("aiohttp", "asyncio", "opentelemetry", "watchfiles")
"""Libraries whose own words go into the same log."""

Event = MutableMapping[str, Any]


def request_id(given: str | None = None) -> str:
    """The id by which a request is found again: the caller's own, if it is a short plain word."""
    return given if given is not None and GIVEN.fullmatch(given) else secrets.token_hex(8)


class Logs:
    """One stream of events. ``log`` is what writes them, from any thread."""

    def __init__(self, config: Log, stream: TextIO) -> None:
        self.config, self.stream = config, stream
        self.lock = threading.Lock()
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            self,
            processors=[
                self.wanted,
                structlog.contextvars.merge_contextvars,
                structlog.processors.format_exc_info,
                self.render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        )

    def wanted(self, _logger: Any, method: str, event: Event) -> Event:
        """Go on with what is important enough."""
        if LEVELS[method] < LEVELS[self.config.level]:
            raise structlog.DropEvent
        return {"time": stamp(), "level": method, "event": event.get("event"), **event}

    def render(self, _logger: Any, _method: str, event: Event) -> str:
        """The event as text; without line ends, unless it is for people and has a traceback."""
        return as_json(event) if self.config.format == "json" else for_people(event)

    def write(self, text: str) -> None:
        """Write one event. A log that cannot be written ends nothing."""
        with self.lock, contextlib.suppress(OSError, ValueError):
            self.stream.write(text + "\n")
            self.stream.flush()

    debug = info = warning = error = critical = write

    @contextlib.contextmanager
    def borrowing(self) -> Iterator[None]:
        """Take in what libraries say by ``logging``, for as long as the context lasts."""
        handler = Borrowed(self.log)
        for name in BORROWED:
            logging.getLogger(name).addHandler(handler)
        try:
            yield
        finally:
            for name in BORROWED:
                logging.getLogger(name).removeHandler(handler)


class Borrowed(logging.Handler):
    """Hands on what libraries say. Of requests that cannot be read it tells one every now and then."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self.log = log
        self.again, self.untold = 0.0, 0

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one event."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self.unreadable(error)
            return
        if isinstance(error, ConnectionError):  # who asked is gone, as its own line says
            return
        level = next(
            name for name, least in reversed(LEVELS.items()) if record.levelno >= least or least == 10
        )
        getattr(self.log, level)(record.getMessage(), logger=record.name, exc_info=record.exc_info)

    def unreadable(self, error: HttpProcessingError) -> None:
        """Tell what is wrong with a request, and how many others were not told of."""
        if time.monotonic() < self.again:
            self.untold += 1
            return
        reason = f"{type(error).__name__}: {error.message}".partition("\n")[0][:REASON]
        self.log.info("cannot read a request", reason=reason, untold=self.untold or None)
        self.again, self.untold = time.monotonic() + SECONDS, 0


def observed(log: FilteringBoundLogger, happened: Happened) -> None:
    """Write down what becomes of zygotes and workers."""
    match happened:
        case ZygoteStarted(pid=pid, seconds=seconds, again=True):
            log.warning("zygote started again", pid=pid, seconds=seconds)
        case ZygoteStarted(pid=pid, seconds=seconds):
            log.info("zygote started", pid=pid, seconds=seconds)
        case WorkerTaken(pid=pid, seconds=seconds):
            log.debug("worker taken", pid=pid, seconds=seconds)
        case WorkerEnded(pid=pid, running=seconds, exit=how):
            log.debug("worker ended", pid=pid, seconds=seconds, code=how.code, signal=how.signal)
        case Refused(step=step, guarantees=guarantees):
            log.warning("sandbox refused", step=step, guarantees=", ".join(guarantees) or None)


def stamp() -> str:
    """Now, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_json(event: Event) -> str:
    """One line of ASCII."""
    return json.dumps({key: bounded(key, value) for key, value in event.items() if value is not None})


def bounded(key: str, value: Any) -> Any:
    """A value that JSON can hold, with the beginning of a long text, or the end of a long traceback."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, bool | int):
        return value
    text = str(value)
    if key == "exception":
        return text[-TRACEBACK:]
    return text if len(text) <= TEXT else f"{text[:TEXT]}… ({len(text)} characters)"


def for_people(event: Event) -> str:
    """One line; the lines of a traceback come below it."""
    rest = dict(event)
    time, level, said = rest.pop("time"), rest.pop("level"), str(rest.pop("event"))
    said = quoted(said) if "=" in said else escape.line(said)
    traceback = rest.pop("exception", None)
    values = "".join(f" {key}={quoted(value)}" for key, value in rest.items() if value is not None)
    below = "".join(f"\n    {line}" for line in escape.block(traceback, tail=True)) if traceback else ""
    return f"{time} {level:<7} {said}{values}{below}"


def quoted(value: Any) -> str:
    """A value on one line, in quotes where it could be taken for more than one."""
    text = str(round(value, 6) if isinstance(value, float) else value)
    if PLAIN.fullmatch(text) and text.isprintable():
        return escape.line(text)
    return '"' + escape.line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
