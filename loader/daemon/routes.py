"""What can be asked by which path: each route with its handler, and the frame around all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from loader import doctor, planning, waking
from loader.daemon import bodies, logs, openapi, page, problems
from loader.daemon.connections import count_as
from loader.daemon.events import Event, Stream
from loader.daemon.library import TARGETLESS, UNMET
from loader.daemon.making import Making
from loader.daemon.peers import Caller, Looking, caller_of, permitted
from loader.daemon.problems import Problem
from loader.daemon.requests import Asked, Checking, Deploying, Planning
from loader.daemon.service import Service
from loader.daemon.shares import Shares
from loader.daemon.state import Watched
from loader.daemon.watching import listed
from loader.version import version

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CALLER = web.RequestKey("caller", Caller)
NUMBER = web.RequestKey("number", str)
FORM = web.RequestKey("form", str)
ASKED: Mapping[str, type[Asked]] = {
    "/v1/load": Asked,
    "/v1/check": Checking,
    "/v1/specs": Planning,
    "/v1/deploy": Deploying,
}
"""What is read at each path that is posted to."""
BEAT = 15.0
"""Seconds after which a stream of events says that it is still there."""
INNER = {"fingerprint", "names"}
"""What only the watching itself wants to know of a script."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def application(service: Service) -> web.Application:
    """The server's routes."""
    handlers = Handlers(service)
    app = web.Application(middlewares=[Frame(service).around])
    app.add_routes([web.post(path, handlers.ask) for path in ASKED])
    app.add_routes(
        [
            web.get("/v1/sources", handlers.sources),
            web.get("/v1/sources/{id}", handlers.source),
            web.get("/v1/events", handlers.events),
            web.get("/v1/health/live", handlers.live),
            web.get("/v1/health/ready", handlers.ready),
            web.get("/v1/metrics", handlers.metrics),
            web.get("/v1/sandbox", handlers.sandbox),
            web.get("/v1/version", handlers.version),
            web.get("/v1/openapi.json", handlers.openapi),
            *page.routes(),
        ]
    )
    return app


class Frame:
    """What is around every request: its id, who asks, in which form, and what becomes of mistakes."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @web.middleware
    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer to one request."""
        number, started = logs.request_id(request.headers.get("X-Request-Id")), time.monotonic()
        request[FORM], request[NUMBER] = bodies.JSON, number
        route = route_of(request)
        with (
            logs.about(request=number),
            self.service.tracer.request(f"{request.method} {route or 'other'}", self.trace(request)) as note,
        ):
            note("flow_loader.request", number)
            try:
                response = await self.answered(request, handler, number)
            except (asyncio.CancelledError, ConnectionResetError):
                self.told(request, "gone", started)
                raise
            self.told(request, response.status, started)
            note("http.response.status_code", response.status)
            return response

    async def answered(self, request: web.Request, handler: Handler, number: str) -> web.StreamResponse:
        """The answer, or why there is no other, handed over. Raises ConnectionResetError."""
        try:
            response = await self.handled(request, handler)
            if not response.prepared:
                assert isinstance(response, web.Response)
                response.headers.update({**HEADERS, "X-Request-Id": number, **response.headers})
                await self.send(request, response)
        except ConnectionResetError:
            raise
        except Exception as error:
            response = await self.refused(request, error, number)
        return response

    def caller(self, request: web.Request) -> Caller:
        """Who asks. Raises Problem."""
        service, public = self.service, request.path in page.HELD
        return caller_of(request, service.config, service.token, service.grants, public=public)

    def trace(self, request: web.Request) -> Mapping[str, str]:
        """The headers that may name a trace: none of a stranger's, who could write into anybody's."""
        if self.service.tracer.on:
            with contextlib.suppress(Problem, ConnectionResetError):
                caller = self.caller(request)
                if caller.owner or caller.peer is not None:
                    return request.headers
        return {}

    async def handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What the handler answers. Raises whatever comes in its way."""
        request[CALLER] = caller = self.caller(request)
        count_as(request, caller)
        if TARGETLESS in request:
            raise Problem("unreadable", "cannot read the request: its target is no URL")
        if UNMET in request:
            raise Problem(
                "expectation",
                "cannot do what the request expects: Expect may be 100-continue; ask without it",
            )
        if request.path not in page.HELD and request.path not in openapi.TEXTS:
            request[FORM] = bodies.wanted(request)
        with logs.about(caller=caller.name):
            try:
                return await handler(request)
            except web.HTTPException as error:
                raise of_http(error, request) from None

    async def refused(self, request: web.Request, error: Exception, number: str) -> web.StreamResponse:
        """The answer that says why there is no other."""
        problem = problems.of(error)
        if problem.kind == "internal":
            self.service.log.error("mistake", exc_info=error)
        kind = request[FORM]
        body = bodies.encoded(problem.data(number))
        response = web.Response(
            status=problem.status,
            body=bodies.formed(body, kind),
            headers={
                **HEADERS,
                **problem.headers,
                "X-Request-Id": number,
                "Content-Type": bodies.PROBLEM if kind == bodies.JSON else kind,
            },
        )
        if isinstance(error.__cause__, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.__cause__.allowed_methods))
        if request.content_length or not request.content.at_eof():
            response.force_close()  # what is left of the request is not read
        async with bodies.in_time(request, self.service.config.limits.request_seconds):
            await response.prepare(request)
            await response.write_eof()
        return response

    async def send(self, request: web.Request, response: web.Response) -> None:
        """Hand over an answer."""
        limits, budget = self.service.config.limits, self.service.budget
        await bodies.send(request, response, limits, budget, request[CALLER])

    def told(self, request: web.Request, status: int | str, started: float) -> None:
        """Count the answer and write it down."""
        seconds = time.monotonic() - started
        route = route_of(request)
        self.service.metrics.answered(route, status if isinstance(status, int) else 499, seconds)
        self.service.log.info(
            "answered" if isinstance(status, int) else "caller gone",
            method=request.method,
            route=route or "other",
            status=status,
            seconds=seconds,
            **({"caller": request[CALLER].name} if CALLER in request else {}),
        )


def route_of(request: web.Request) -> str | None:
    """The template of the request's path, if it is one of ours."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None


def of_http(error: web.HTTPException, request: web.Request) -> Problem:
    """The problem that the server library's own exception is."""
    if isinstance(error, web.HTTPNotFound):
        return Problem(
            "not-found", f"cannot find {request.path[:200]!r}: see /v1/openapi.json for what there is"
        )
    if isinstance(error, web.HTTPMethodNotAllowed):
        known = ", ".join(sorted(error.allowed_methods))
        problem = Problem("wrong-method", f"cannot {request.method} {request.path[:200]!r}: it takes {known}")
        problem.__cause__ = error
        return problem
    return Problem("unreadable", f"cannot read the request: {error.reason}")


def whole(found: Watched) -> dict[str, Any]:
    """One source as JSON; its specs also say when they would run next."""
    told, clock = found.model_dump(mode="json", exclude=INNER), planning.Clock()
    for name, outcome in (("outcome", found.outcome), ("good", found.good)):
        if outcome is not None:
            told[name]["specs"] = planning.with_runs(outcome, clock)
    if verdicts := told.pop("verdicts"):
        for spec, verdict in zip(told["outcome"]["specs"], verdicts, strict=True):
            spec.update(verdict if verdict["valid"] else {**verdict, "next_runs": []})
    return told


async def told(events: Stream, last: str | None) -> AsyncGenerator[Event | None, None]:
    """Every event, and None every now and then, so that whoever is gone is found out."""
    async with contextlib.aclosing(events.listen(last)) as found:
        waiting = asyncio.ensure_future(anext(found))
        try:
            while True:
                done, _ = await asyncio.wait([waiting], timeout=BEAT)
                if not done:
                    yield None
                    continue
                yield waiting.result()
                waiting = asyncio.ensure_future(anext(found))
        except StopAsyncIteration:
            return
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])


def line_of(event: Event | None) -> bytes:
    """One event as it is sent."""
    if event is None:
        return b": nothing new\n\n"
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()


class Handlers:
    """The handlers. Each answers one request."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.making, self.looking = Making(service), Looking()
        self.examining, self.examiner = asyncio.Lock(), ThreadPoolExecutor(1, "flow-loader-examiner")
        self.readers = Shares("readers of events", "limits.event_readers")
        self.examined: doctor.Report | None = None

    async def ask(self, request: web.Request) -> web.Response:
        """Load, check, judge or deploy."""
        service, caller = self.service, request[CALLER]
        caller.must()
        model = ASKED[request.path]
        async with (
            bodies.read(request, model, service.config.limits, service.budget, caller) as asked,
            permitted(caller, asked, self.looking) as permit,
        ):
            answer = await service.engine.answer(caller, asked, permit)
        service.told(caller, asked, permit, answer)
        if request[FORM] == bodies.JSON or len(answer.body) < bodies.LARGE:
            return self.formed(request, answer.body)
        return await self.making.made(caller, lambda: self.formed(request, answer.body), done=True)

    async def sources(self, request: web.Request) -> web.Response:
        """The sources that are watched, so many at a time."""
        request[CALLER].must_watch()
        watch, after = self.service.watch, request.query.get("after", "")

        def make() -> dict[str, Any]:
            if watch is None:
                return {"sources": [], "next": None, "places": {}, "twice": []}
            twice = [item.model_dump(mode="json") for item in watch.last_twice]
            return {**listed(watch.sources(), after), "places": watch.problems(), "twice": twice}

        return await self.large(request, make)

    async def source(self, request: web.Request) -> web.Response:
        """One source that is watched, with its scripts."""
        request[CALLER].must_watch()
        watch, number = self.service.watch, request.match_info["id"]

        def make() -> dict[str, Any]:
            found = watch.get(number) if watch is not None else None
            if found is None:
                raise Problem(
                    "not-found", "cannot find the source: none of that id is watched; see /v1/sources"
                )
            return whole(found)

        return await self.large(request, make)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """What happens, as it happens. A reader that is too slow is told so and left."""
        service, caller = self.service, request[CALLER]
        caller.must()
        limits = service.config.limits
        with self.readers.holding(caller, limits.event_readers):
            return await self.stream(request)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Events until they end, or the reader is gone."""
        service, caller, limits = self.service, request[CALLER], self.service.config.limits
        headers = {"Content-Type": "text/event-stream", **HEADERS, "X-Request-Id": request[NUMBER]}
        response = web.StreamResponse(headers=headers)
        last = request.headers.get("Last-Event-ID") or None
        async with contextlib.aclosing(told(service.events.of(caller.audience), last)) as events:
            config = service.config
            async with bodies.in_time(request, limits.request_seconds):
                await response.prepare(request)
            async for event in events:
                if config is not service.config and not caller.owner:
                    break  # what it is granted may be another by now: it has to come back
                async with bodies.in_time(request, limits.request_seconds):
                    await response.write(line_of(event))
        async with bodies.in_time(request, limits.request_seconds):
            await response.write_eof()
        return response

    async def live(self, request: web.Request) -> web.Response:
        """Whether the daemon answers: it does."""
        return self.plain(request, {"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether it can load. Raises Problem."""
        if self.service.trouble is not None:
            raise self.service.trouble
        return self.plain(request, {"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """What is counted."""
        request[CALLER].must_watch()
        metrics, accept = self.service.metrics, request.headers.get("Accept", "")
        text, content_type = await self.making.made(request[CALLER], lambda: metrics.text(accept))
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def sandbox(self, request: web.Request) -> web.Response:
        """What this host can enforce; found out once, or anew if the owner asks ``fresh``."""
        caller = request[CALLER]
        caller.must()
        fresh = caller.owner and request.query.get("fresh") == "1"
        if fresh or self.examined is None:
            async with self.examining:
                if fresh or self.examined is None:
                    # What it finds is kept, also when who asked is gone: nobody begins it anew.
                    await waking.to_its_end(self.examiner, self.examine)
        report = self.examined
        assert report is not None
        return await self.large(request, lambda: report)

    def examine(self) -> None:
        """Find out what this host can enforce."""
        self.examined = doctor.examine()

    async def version(self, request: web.Request) -> web.Response:
        """What runs here."""
        request[CALLER].must()
        told = {"version": version(), "api": "v1", "python": platform.python_version()}
        return self.plain(request, {**told, "kernel": os.uname().release})

    async def openapi(self, request: web.Request) -> web.Response:
        """What can be asked, for programs."""
        request[CALLER].must()
        return await self.large(request, lambda: openapi.document(version()))

    async def large(
        self, request: web.Request, make: Callable[[], BaseModel | Mapping[str, Any]]
    ) -> web.Response:
        """An answer of data that may be large: made in a thread, in its turn."""
        return await self.making.made(request[CALLER], lambda: self.formed(request, bodies.encoded(make())))

    def plain(self, request: web.Request, data: Mapping[str, Any]) -> web.Response:
        """An answer of little data."""
        return self.formed(request, bodies.encoded(data))

    def formed(self, request: web.Request, body: bytes) -> web.Response:
        """An answer of JSON in the form that is wanted."""
        kind = request[FORM]
        return web.Response(body=bodies.formed(body, kind), content_type=kind)
