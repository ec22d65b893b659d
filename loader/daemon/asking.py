"""What a client asks a daemon: the bodies of its requests, and what its refusals mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import msgpack

from loader import sources
from loader.access import DEFAULT, LOCAL_SCHEMES, Access
from loader.answers import Recorded
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import Client, DeploymentRecord
from loader.client.prefect import PrefectServer
from loader.daemon.words import ERRORS, URN
from loader.errors import ClientError, DaemonError, SourceError
from loader.storage import KINDS, StorageBlock

FILE_STORAGE = KINDS["File Storage"]


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


def refused(status: int, content: bytes) -> NoReturn:
    """Raise the error that an answer stands for which is none."""
    try:
        told = json.loads(content)
        kind, detail = str(told["type"]).removeprefix(URN), str(told["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        told, kind, detail = {}, "", f"cannot understand the daemon's answer: its status is {status}"
    error = ERRORS.get(kind)
    if error is not None:
        raise error(detail)
    raise DaemonError(detail, told)
