"""Data documents: how each kind is made and what it holds; nothing is opened, and nothing is unpickled.

What a document says is foreign: it is bounded in size and depth, and anything malformed is a ClientError.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import UUID

from loader.client.interface import DataDocument, Json
from loader.errors import ClientError

SIZE_CAP = 16 << 20
"""Longest blob, in characters: a script of the largest size fits, in base64 too."""
DEPTH_CAP = 64
"""How deeply the lists and objects of JSON data may nest."""
SHOWN_CAP = 40
"""How much of a number or key of the caller's a message repeats, in characters."""

ReadBlockData = Callable[[UUID, str], bytes]
"""From a storage block's id and a key: the bytes that lie there."""


def text(data: str) -> DataDocument:
    """A document of text. Raises ClientError for one that is too long."""
    return _document("text", data)


def json_data(data: Json) -> DataDocument:
    """A document of plain data. Raises ClientError for what JSON cannot say, or what is too large."""
    return _document("json", write_json(data))


def cloudpickle(pickle: bytes) -> DataDocument:
    """A document of a pickle's bytes. Raises ClientError for one that is too long."""
    return _document("cloudpickle", base64.b64encode(pickle).decode())


def blockstorage(key: str, block_id: UUID) -> DataDocument:
    """A document that says its data lies under ``key`` in the storage block of that id."""
    return _document("blockstorage", write_json({"data": key, "block_id": str(block_id)}))


def resolve(document: DataDocument, read_block_data: ReadBlockData) -> bytes | Json:
    """What ``document`` holds: data, str, a pickle's bytes unopened, or what ``read_block_data`` gives.

    Raises ClientError for a malformed document, and whatever ``read_block_data`` raises.
    """
    match document.encoding:
        case "json":
            return read_json(document.blob)
        case "text":
            return _bounded("text", document.blob)
        case "cloudpickle":
            return parse_cloudpickle(document)
        case "blockstorage":
            key, block_id = parse_blockstorage(document)
            return read_block_data(block_id, key)


def parse_cloudpickle(document: DataDocument) -> bytes:
    """The bytes of the pickle in a document. Raises ClientError."""
    blob = "".join(_of("cloudpickle", document).split())  # base64 may come in lines
    try:
        return base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise _malformed("cloudpickle", "it is not base64")


def parse_blockstorage(document: DataDocument) -> tuple[str, UUID]:
    """The key and the id of the storage block where a document's data lies. Raises ClientError."""
    match read_json(_of("blockstorage", document), "blockstorage"):
        case {"data": str(key), "block_id": str(block_id), **rest} if key and not rest:
            try:
                return key, UUID(block_id)
            except ValueError:
                pass
    raise _malformed("blockstorage", 'it is not an object {"data": key, "block_id": UUID}')


def read_json(blob: str, encoding: str = "json") -> Json:
    """The data of JSON text, with no key twice, no NaN and no infinity. Raises ClientError."""
    try:
        data = json.loads(
            _bounded(encoding, blob),
            parse_constant=_refuse,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
        return plain(data)
    except ClientError:
        raise
    except RecursionError:
        problem = f"it nests more than {DEPTH_CAP} deep"
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, TypeError) as error:
        problem = str(error)
    raise _malformed(encoding, problem)


def write_json(data: Json) -> str:
    """``data`` as JSON text. Raises ClientError for what JSON cannot say, or what is too large."""
    try:
        return _bounded("json", json.dumps(plain(data), allow_nan=False, separators=(",", ":")))
    except ClientError:
        raise
    except (ValueError, TypeError) as error:
        problem = str(error)
    raise ClientError(f"cannot write data as JSON: {problem}; use text, numbers, lists and dicts of them")


def plain(data: Any, depth: int = 0) -> Json:
    """``data`` with every mapping a dict and every sequence a list. Raises TypeError or ValueError.

    Messages name types, never values: those may be secret.
    """
    if data is None or isinstance(data, bool | int | str):
        return data
    if isinstance(data, float):
        if math.isfinite(data):
            return data
        raise ValueError("a number in it is not finite")
    if depth >= DEPTH_CAP:
        raise ValueError(f"it nests more than {DEPTH_CAP} deep")
    if isinstance(data, list | tuple):
        return [plain(item, depth + 1) for item in data]
    if isinstance(data, Mapping):
        strange = next((key for key in data if not isinstance(key, str)), None)
        if strange is not None or None in data:
            raise TypeError(f"a key in it is of type {type(strange).__name__}, not text")
        return {key: plain(item, depth + 1) for key, item in data.items()}
    raise TypeError(f"a value in it is of type {type(data).__name__}")


def _document(encoding: str, blob: str) -> DataDocument:
    return DataDocument(encoding=cast(Any, encoding), blob=_bounded(encoding, blob))


def _of(encoding: str, document: DataDocument) -> str:
    if document.encoding != encoding:
        raise _malformed(encoding, f"it is of encoding {document.encoding}")
    return _bounded(encoding, document.blob)


def _bounded(encoding: str, blob: str) -> str:
    if len(blob) > SIZE_CAP:
        raise ClientError(
            f"cannot use a data document of encoding {encoding}: it has more than {SIZE_CAP} characters;"
            f" keep large data in a storage block"
        )
    return blob


def _malformed(encoding: str, problem: str) -> ClientError:
    return ClientError(
        f"cannot read a data document of encoding {encoding}: {problem}; create what it belongs to again"
    )


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    found = float(number)
    if math.isfinite(found):
        return found
    raise ValueError(f"the number {number[:SHOWN_CAP]} is out of range")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object in it has a key twice")
    return found
