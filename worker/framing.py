"""Frames of the protocol: a four-byte big-endian length and that many bytes; runs beside foreign code.

No I/O: bytes go in, bodies come out, and what a header announces is judged before it is kept.
"""

from __future__ import annotations

import struct
from typing import Iterator

HEADER = struct.Struct(">I")
CONTROL_CAP = 1 << 20
"""Largest frame, in bytes, on a channel whose other end runs trusted code only."""


class Violation(Exception):
    """The peer sent what no honest peer sends."""


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
