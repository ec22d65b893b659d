"""What a client asks a daemon: the bodies of its requests, and what the answers mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

import msgpack
from pydantic import ValidationError

from loader import escape, gate, sources, strict_json
from loader.access import DEFAULT, LOCAL_SCHEMES, Access
from loader.answers import Plan, Recorded
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import Client, DeploymentRecord
from loader.client.prefect import PrefectServer
from loader.daemon.reaching import Answer, Unclear
from loader.daemon.words import ERRORS, URN
from loader.errors import ClientError, DaemonError, FlowLoaderError, SourceError
from loader.sources.local import check_name
from loader.storage import KINDS, StorageBlock

FILE_STORAGE = KINDS["File Storage"]
DETAIL = 2000
"""Characters of a daemon's words that an error says."""
MANY = 2 * gate.PARTS
"""Values of an answer, in which a flow may be told twice: a wrong one takes a kilobyte to be told of."""
A = TypeVar("A")


def body(
    location: str | os.PathLike[str],
    *,
    text: str | bytes | None = None,
    behind: str | None = None,
    root: str | os.PathLike[str] | None = None,
    access: Access = DEFAULT,
    **more: Any,
) -> dict[str, Any]:
    """One request. Raises SourceError, ClientError.

    ``behind`` is a flow that the location has behind a colon. What is None is not said.
    """
    given = os.fspath(location)
    if replace(access, linked=DEFAULT.linked, hosts=DEFAULT.hosts, storage=DEFAULT.storage) != DEFAULT:
        raise SourceError(
            "cannot ask the daemon with such an Access: only linked, hosts and storage can be handed to it;"
            " load without the daemon"
        )
    asked: dict[str, Any] = {
        "allow_hosts": sorted(access.hosts),
        "allow_schemes": sorted(access.linked),
        **more,
    }
    if text is not None:
        asked |= {"text": sources.from_text(text, given).content, "name": given}
    else:
        own = given.removesuffix(f":{behind}") if behind else given
        asked |= {"location": absolute(own) + (f":{behind}" if behind else ""), "shown": given}
        asked["root"] = None if root is None else absolute(os.fspath(root))
    return {name: value for name, value in asked.items() if value is not None}


def absolute(location: str) -> str:
    """A location that means the same wherever it is asked. Raises SourceError."""
    check_name(location)
    place = sources.parse(location)
    if place.scheme in LOCAL_SCHEMES:
        return place.path
    return place.text if place.archive is not None or place.scheme == "git" else location


def place(client: Client | None, storage: StorageBlock | None) -> dict[str, Any]:
    """Where deployments are, and their flows kept, as a daemon can be told of it. Raises ClientError."""
    told: dict[str, Any] = {}
    if isinstance(client, EmbeddedRegistry):
        told["registry"] = client.address
    elif isinstance(client, PrefectServer) and not client.has_key:
        told["api"] = client.address
    elif client is not None:
        raise ClientError(
            f"cannot hand {client.address} to the daemon: it takes embedded registries, and Prefect servers"
            " without a key (its own PREFECT_API_KEY counts); ask without the daemon"
        )
    if storage is not None:
        if type(storage) is not FILE_STORAGE:
            raise ClientError(
                "cannot hand this storage to the daemon: it takes the paths and URLs of file storage; ask"
                " without the daemon"
            )
        told["storage"] = storage.plain()["base_path"]
    return told


def recorded(record: Recorded | DeploymentRecord | None) -> dict[str, Any] | None:
    """What a registry holds of a deployment."""
    told = Recorded.of(record) if isinstance(record, DeploymentRecord) else record
    return None if told is None else told.model_dump(mode="json")


def packed(asked: Mapping[str, Any]) -> bytes:
    """A request's body. Raises ClientError for parameters that are no plain data."""
    try:
        return bytes(msgpack.packb(asked))
    except (TypeError, ValueError, OverflowError) as error:
        raise ClientError(f"cannot hand the request to the daemon: {error}; give plain data") from None


def read(answer: Answer, what: str, form: Callable[[bytearray], A]) -> A:
    """What an answer to a request of this kind says. Raises the error that it stands for, and Unclear."""
    if len(answer.content) > MANY and strict_json.values(answer.content, MANY) > MANY:
        raise Unclear(f"it holds more than {MANY} values")
    if answer.status != HTTPStatus.OK:
        raise refusal(answer, what)
    try:
        return form(answer.content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unclear(escape.line(f"{where}: {first['msg']}")) from None
    except (ValueError, RecursionError) as error:
        raise Unclear(escape.line(str(error))) from None


def refusal(answer: Answer, what: str) -> FlowLoaderError:
    """The error that an answer stands for which is none. Raises Unclear."""
    try:
        problem = members(answer.content)
        kind, detail = str(problem["type"]).removeprefix(URN), escape.line(str(problem["detail"]), DETAIL)
    except (ValueError, KeyError, RecursionError):
        raise Unclear(f"its status is {answer.status}") from None
    error = ERRORS.get(kind)
    if error is ClientError and what == "load":
        raise Unclear("it tells of a place of deployments, and a load has none")
    return DaemonError(detail, {**problem, "status": answer.status}) if error is None else error(detail)


def plan(content: bytearray) -> Plan:
    """The plan that an answer's body is. Raises ValueError, RecursionError."""
    return Plan.of(members(content))


def members(content: bytearray) -> dict[str, Any]:
    """The object that an answer's body is. Raises ValueError, RecursionError."""
    told = strict_json.read(content.decode())
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - as for what is no JSON
    return told
