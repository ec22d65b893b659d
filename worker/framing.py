"""Frames of the protocol: a four-byte big-endian length and that many bytes of msgpack.

Runs beside foreign code, and in the supervisor. No I/O: bytes go in, bodies come out, and what a header
announces is judged before it is kept.
"""

from __future__ import annotations

import struct
from typing import Any, Iterator

import msgpack

from .pristine import BUILTINS

__builtins__ = BUILTINS

HEADER = struct.Struct(">I")
CONTROL_CAP = 1 << 20
"""Largest frame, in bytes, on a channel whose other end runs trusted code only."""


class Violation(Exception):
    """The peer sent what no honest peer sends."""


def plain(value: Any) -> Any:
    """A message or a part of one as what msgpack packs: dataclasses become maps, nothing is copied deeply."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if type(value) in (tuple, list):
        return [plain(item) for item in value]
    return value


def encode(message: Any) -> bytes:
    """One frame. Raises ValueError, TypeError or OverflowError for what is not plain."""
    body = msgpack.packb([type(message).__name__, plain(message)], use_bin_type=True)
    return HEADER.pack(len(body)) + bytes(body)


def unpack(body: bytes) -> Any:
    """What a frame's body holds, whatever the bytes. Raises Violation."""
    try:
        return msgpack.unpackb(
            body, raw=False, strict_map_key=True, use_list=True, max_ext_len=0, max_bin_len=len(body)
        )
    except RecursionError as error:
        raise Violation("cannot read a frame: it nests too deeply") from error
    except Exception as error:  # msgpack raises five unrelated classes on bad input
        raise Violation(f"cannot read a frame: {type(error).__name__}") from error


class Reader:
    """Bytes in, frame bodies out; no I/O. Memory is bounded by ``cap`` and one fed piece.

    ``cap`` is the largest body in bytes; a header that announces more is a Violation before a byte
    of it is kept.
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take ``data``; yield each body that is now complete. Raises Violation."""
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self.buffer)
            if length > self.cap:
                raise Violation(f"cannot read a frame of {length} bytes: the cap is {self.cap}")
            end = HEADER.size + length
            if len(self.buffer) < end:
                return
            body = bytes(self.buffer[HEADER.size : end])
            del self.buffer[:end]
            yield body

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self.buffer)
