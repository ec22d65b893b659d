"""What the server library does of itself, done otherwise where it has no place to say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web, web_response, web_urldispatcher

from loader.daemon.connections import SERVER

GO_ON: Callable[[web.Request], Awaitable[web.StreamResponse | None]] = vars(web_urldispatcher)[
    "_default_expect_handler"
]
UNMET = web.RequestKey("unmet", bool)
"""Whether a request expects what there is not."""
TARGETLESS = web.RequestKey("targetless", bool)
"""Whether a request's target is no URL."""


def prepare() -> None:
    """Have the library call itself by our name where it answers what is no HTTP, and leave Expect to us."""
    vars(web_response)["SERVER_SOFTWARE"] = SERVER
    # Also for paths that are not there.
    vars(web_urldispatcher)["_default_expect_handler"] = expect


def attend(runner: web.AppRunner) -> None:
    """Have a request answered of whose target the library can make no URL: it would leave that to nobody."""
    server = runner.server
    assert server is not None
    make = server.request_factory

    def made(message: Any, *more: Any) -> web.BaseRequest:
        try:
            return make(message, *more)
        except ValueError:
            request = make(message._replace(url=type(message.url)("/")), *more)
            request[TARGETLESS] = True
            return request

    server.request_factory = made


async def expect(request: web.Request) -> None:
    """Have the body sent to us by whoever waits for that; what else is expected is left to the frame."""
    try:
        await GO_ON(request)
    except web.HTTPExpectationFailed:
        request[UNMET] = True
