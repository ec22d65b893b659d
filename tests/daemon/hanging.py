"""A file system with one script that answers until somebody opens the script, and then nothing any more.

Run as a program with the folder at which it is mounted; it ends when its input does.
"""

import ctypes
import os
import struct
import sys

SIZE, FOREVER = 4, 1 << 30
ROOT, SCRIPT = 1, 2
NOTHING, NOT_DONE = -2, -38
"""Negative error numbers: no such file, no such request."""
NO_FLUSH = 32
"""That nothing is asked when the script is closed: a process that waits for that cannot be ended."""
LOOKUP, FORGET, GETATTR, OPEN, INIT = 1, 2, 3, 14, 26


def attributes(node):
    """What `stat` says of a node."""
    mode, size = (0o40755, 0) if node == ROOT else (0o100644, SIZE)
    return struct.pack("<6Q10I", node, size, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(kind, node, body):
    """The answer to a request: an error number, or bytes."""
    if kind == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 65536, 0, 16, 12, 65536, 1, *[0] * 10)
    if kind == GETATTR:
        return struct.pack("<QII", FOREVER, 0, 0) + attributes(node)
    if kind == LOOKUP:
        known = body.rstrip(b"\0") == b"flow.py"
        return (
            struct.pack("<4Q2I", SCRIPT, 1, FOREVER, FOREVER, 0, 0) + attributes(SCRIPT) if known else NOTHING
        )
    return struct.pack("<QII", 0, NO_FLUSH, 0) if kind == OPEN else NOT_DONE


def serve(folder):
    """Mount it and answer."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hanging", folder.encode(), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "cannot mount")
    print("mounted", flush=True)
    while True:
        request = os.read(device, 1 << 17)
        _, kind, number, node = struct.unpack("<IIQQ", request[:24])
        if kind != FORGET:
            told = answer(kind, node, request[40:])
            error, data = (told, b"") if isinstance(told, int) else (0, told)
            os.write(device, struct.pack("<IiQ", 16 + len(data), error, number) + data)
        if kind == OPEN:
            break  # nor can one that waits for the answer to a request that was read here
    print("hangs", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1])
