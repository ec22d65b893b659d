"""One end of a socket pair: whole frames, and descriptors beside them.

Runs beside foreign code in a worker. A frame that descriptors travel with is followed by one byte
that counts them and carries them.
"""

from __future__ import annotations

import array
import os
import socket
import threading
from typing import Any, Dict, List, Sequence, Tuple

from . import protocol
from .pristine import BUILTINS

__builtins__ = BUILTINS


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """Blocking; frames are read to the byte, so that nothing of what follows one is swallowed."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.packets = self.socket.type == socket.SOCK_SEQPACKET

    def fileno(self) -> int:
        """The socket's descriptor, for poll."""
        return self.socket.fileno()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send one message. Raises OSError, and ValueError or TypeError for what is not plain."""
        self.socket.sendall(protocol.encode(message))
        if descriptors:
            self.pass_descriptors(descriptors)

    def close(self) -> None:
        """Let go of this end."""
        self.socket.close()

    def pass_descriptors(self, descriptors: Sequence[int]) -> None:
        """Hand over ``descriptors`` after the frame that announced them. Raises OSError."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self.socket.sendmsg([bytes([len(descriptors)])], [rights])

    def receive(self) -> Tuple[str, Dict[str, Any]]:
        """The next message's tag and fields. Raises Closed, Violation and OSError."""
        if self.packets:
            packet = self.socket.recv(protocol.CONTROL_CAP + protocol.HEADER.size)
            if not packet:
                raise Closed
            return protocol.decode(packet[protocol.HEADER.size :])
        (length,) = protocol.HEADER.unpack(self.exactly(protocol.HEADER.size))
        return protocol.decode(self.exactly(length))

    def exactly(self, size: int) -> bytes:
        """So many bytes of the stream, however they come. Raises Closed and OSError."""
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(min(size - len(data), 1 << 20))
            if not piece:
                raise Closed
            data += piece
        return bytes(data)

    def receive_descriptors(self) -> List[int]:
        """The descriptors that follow a frame which announces them. Raises Closed and OSError."""
        held = array.array("i")
        space = socket.CMSG_SPACE(16 * held.itemsize)
        data, ancillary, _, _ = self.socket.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise Closed
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                held.frombytes(content[: len(content) - len(content) % held.itemsize])
        return list(held)


class Replies:
    """The pipe on which a worker answers: whole frames, from any thread.

    It is no socket, over which a script could hand its supervisor descriptors that are costly to close.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.write = os.write
        self.sending = threading.Lock()

    def deliver(self, frame: bytes) -> None:
        """Write one frame whole. Raises OSError."""
        with self.sending:
            rest = memoryview(frame)
            while rest:
                rest = rest[self.write(self.descriptor, rest) :]
