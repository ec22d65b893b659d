"""Bodies of requests and answers: JSON or msgpack by content type, bounded in size, depth, time, memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgpack
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from loader import strict_json, waking
from loader.daemon.config import Limits
from loader.daemon.peers import Caller
from loader.daemon.problems import Problem
from loader.daemon.shares import Shares

JSON, MSGPACK, PROBLEM = "application/json", "application/msgpack", "application/problem+json"
ALSO_MSGPACK = ("application/x-msgpack", "application/vnd.msgpack")
DEPTH = 100
"""Levels of a body; parameters of flows that people write have a tenth of it."""
LARGE = 1 << 16
"""Bytes from which on reading or forming a body would keep everybody else waiting."""
READERS = 4
"""Large bodies that are read at a time of others, and of the owner's."""
MISTAKES = 20
"""Mistakes of a body that are told."""
VALUE, FREE = 100, 1_000
"""Bytes that a value counts which was read, and values of a body that count nothing."""
PIECE = 1 << 18
"""Bytes of an answer that are handed over at a time."""
M = TypeVar("M", bound=BaseModel)


class Budget:
    """Bytes of bodies that are held at once, of all requests and answers together.

    ``readers`` read large ones: others' first, then the owner's.
    """

    def __init__(self, limits: Limits) -> None:
        self.limit = limits.bodies
        self.readers = [ThreadPoolExecutor(READERS, "flow-loader-bodies") for _ in range(2)]
        self.shares = Shares("bytes of bodies", "limits.bodies")

    def holding(self, caller: Caller, size: int) -> contextlib.AbstractContextManager[None]:
        """Hold so many more as long as the context. Raises Problem."""
        return self.shares.holding(caller, self.limit, size)


class Held:
    """What one request of ``caller`` holds, ``most`` at most: its bytes, and what its values become."""

    def __init__(self, budget: Budget, caller: Caller, most: int) -> None:
        self.budget, self.caller, self.most = budget, caller, most
        self.lock = threading.Lock()
        self.size, self.weight, self.gone = 0, -FREE * VALUE, False

    def take(self, size: int) -> None:
        """Hold so many bytes more. Raises Problem, also when the request is gone."""
        with self.lock:
            if self.gone:
                raise Problem("unreadable", "cannot read the body: its sender is gone")
            self.budget.shares.take(self.caller, self.budget.limit, size)
            self.size += size

    def count(self, values: int) -> None:
        """Hold so many values more. Raises Problem."""
        before = max(0, self.weight)
        self.weight += values * VALUE
        if self.weight > self.most:
            raise too_many(self.most)
        if self.weight > before:
            self.take(self.weight - before)

    def close(self) -> None:
        """Hold nothing any more."""
        with self.lock:
            self.gone = True
            self.budget.shares.give(self.caller, self.size)


def too_many(most: int) -> Problem:
    """The problem of a body with more values than may be."""
    return Problem(
        "too-large",
        f"cannot take a body of more than {most // VALUE + FREE} values: of {VALUE} bytes each they exceed"
        f" limits.body, which is {most}; send fewer, or raise it",
        limit=most,
        option="limits.body",
    )


@contextlib.asynccontextmanager
async def read(
    request: web.Request, model: type[M], limits: Limits, budget: Budget, caller: Caller
) -> AsyncIterator[M]:
    """The request's body as a model, which is held as long as the context. Raises Problem."""
    kind = content_type(request)
    with contextlib.closing(Held(budget, caller, limits.body)) as held:
        try:
            async with asyncio.timeout(limits.request_seconds):
                body = await received(request, limits.body, held)
        except TimeoutError:
            raise Problem(
                "too-slow",
                f"cannot wait for the request's body: it took more than {limits.request_seconds:g} seconds;"
                " send it faster, or raise limits.request_seconds",
                limit=limits.request_seconds,
                option="limits.request_seconds",
            ) from None
        if len(body) < LARGE:
            yield parsed(body, kind, model, held)
        else:
            readers = budget.readers[caller.owner]
            yield await waking.to_its_end(readers, parsed, body, kind, model, held)


def content_type(request: web.Request) -> str:
    """The type of the request's body. Raises Problem."""
    kind = request.content_type.lower()
    if "Content-Encoding" in request.headers:
        raise Problem("media-type", "cannot read an encoded body: send it without Content-Encoding")
    if kind in (MSGPACK, *ALSO_MSGPACK):
        return MSGPACK
    if kind != JSON:
        raise Problem("media-type", f"cannot read a body of type {kind}: send {JSON} or {MSGPACK}")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise Problem("media-type", "cannot read the body's character set: JSON is UTF-8")
    return kind


async def received(request: web.Request, most: int, held: Held) -> bytes:
    """The body, of at most so many bytes. Raises Problem."""
    check_size(request.content_length or 0, most)
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            check_size(len(body) + len(piece), most)
            held.take(len(piece))
            body += piece
    except web.RequestPayloadError:
        raise Problem("unreadable", "cannot read the body: it ends before its end") from None
    return bytes(body)


def check_size(size: int, most: int) -> None:
    """Raise Problem for a body that is too large."""
    if size > most:
        raise Problem(
            "too-large",
            f"cannot take a body of {size} bytes: limits.body is {most}; send less, or raise it",
            limit=most,
            size=size,
            option="limits.body",
        )


def parsed(body: bytes, kind: str, model: type[M], held: Held) -> M:
    """The body as a model. Raises Problem."""
    try:
        if kind == JSON:
            held.count(strict_json.values(body, most=held.most // VALUE + FREE))
        data = strict_json.read(body.decode()) if kind == JSON else unpacked(body, held)
        check_depth(data)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise Problem("unreadable", f"cannot read the body: {reason(error)}") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[:MISTAKES]
        mistakes = [{"field": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in found]
        first = mistakes[0]
        where = f" ({first['field']})" if first["field"] else ""
        raise Problem(
            "mistaken", f"cannot use the request: {first['message']}{where}", mistakes=mistakes
        ) from None


def reason(error: Exception) -> str:
    """What is wrong with a body, in a few words."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200] or type(error).__name__


def unpacked(body: bytes, held: Held) -> Any:
    """What a msgpack body holds. Raises Problem, ValueError and what msgpack raises."""

    def counted(items: list[Any]) -> list[Any]:
        held.count(1 + len(items))
        return items

    def paired(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held.count(2 + len(pairs))
        return strict_json.once(pairs)

    most = held.most // VALUE + FREE
    try:
        return msgpack.unpackb(
            body,
            strict_map_key=True,
            list_hook=counted,
            object_pairs_hook=paired,
            ext_hook=no_extension,
            max_array_len=most,
            max_map_len=most,
        )
    except ValueError as error:
        if "exceeds max_" in str(error):
            raise too_many(held.most) from None
        raise


def no_extension(code: int, _: bytes) -> Any:
    """A value that JSON does not have. Raises ValueError."""
    raise ValueError(f"it holds an extension type ({code})")


def check_depth(data: Any) -> None:
    """Raise ValueError for what is nested too deeply."""
    level = [data]
    for _ in range(DEPTH):
        level = [item for value in level for item in inside(value)]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEPTH} levels deep")


def inside(value: Any) -> Iterator[Any]:
    """What a list or an object holds that may itself hold something."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in held if isinstance(item, (dict, list)))


def wanted(request: web.Request) -> str:
    """The form of the answer. Raises Problem."""
    accept = request.headers.get("Accept", "").lower()
    offers: dict[str, float] = {}
    for entry in accept.split(",")[:50]:
        kind, *parameters = (part.strip() for part in entry.split(";"))
        offers[kind] = weight(parameters)
    asked = {
        JSON: offers.get(JSON),
        MSGPACK: max((offers.get(name) for name in (MSGPACK, *ALSO_MSGPACK)), key=or_none),
    }
    general = offers.get("application/*", offers.get("*/*", 0.0 if accept else 1.0))
    best = max(asked, key=lambda kind: general if asked[kind] is None else asked[kind] or 0.0)
    if (general if asked[best] is None else asked[best] or 0.0) <= 0:
        raise Problem(
            "not-acceptable", f"cannot answer in any form of Accept: there are {JSON} and {MSGPACK}"
        )
    return best


def or_none(value: float | None) -> float:
    """A weight, or less than any."""
    return -1.0 if value is None else value


def weight(parameters: list[str]) -> float:
    """The weight of one entry of Accept."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def encoded(data: BaseModel | Mapping[str, Any]) -> bytes:
    """JSON of an answer, in ASCII where text is no UTF-8."""
    if isinstance(data, BaseModel):
        with contextlib.suppress(PydanticSerializationError):
            return data.model_dump_json().encode()
        data = data.model_dump(mode="json")
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def formed(body: bytes, kind: str) -> bytes:
    """An answer's JSON in the form that is wanted; in msgpack, text that UTF-8 cannot carry is escaped."""
    if kind == JSON:
        return body
    return bytes(msgpack.packb(json.loads(body), unicode_errors="backslashreplace"))


@contextlib.asynccontextmanager
async def in_time(request: web.Request, seconds: float) -> AsyncIterator[None]:
    """A time limit on handing over an answer: a reader that is slower is cut off."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the answer was not taken in time") from None


async def send(
    request: web.Request, response: web.Response, limits: Limits, budget: Budget, caller: Caller
) -> None:
    """Hand over a whole answer. Raises Problem before anything is sent, ConnectionResetError."""
    body = bytes(response.body) if isinstance(response.body, (bytes, bytearray)) else b""
    with budget.holding(caller, len(body)):
        async with in_time(request, limits.request_seconds):
            await response.prepare(request)
            await response.write_eof()
