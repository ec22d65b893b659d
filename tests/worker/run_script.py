"""Runs one script with `worker.script.execute` in a fresh interpreter: the request comes on standard input.

The reply goes to the file that the request names, so that standard output stays the script's.
"""

import json
import os
import sys


def main() -> None:
    request = json.load(sys.stdin)
    sys.path[:0] = request["path"]
    from worker import framing, protocol, script

    for _ in range(request["rehearsals"]):
        script.rehearse()
    found = []
    load = protocol.Load(
        request["filename"],
        request["source"].encode("latin-1"),
        request["module"],
        request["root"],
        "orion",
        request["details"],
    )
    write, leave, dump = os.write, os._exit, json.dumps
    descriptor = os.open(request["reply"], os.O_WRONLY | os.O_CREAT)
    places = ((request["root"], ""),) if request["trace"] else None
    reply = script.execute(load, found.append, forbids=frozenset(request["forbids"]), places=places)
    protocol.encode(reply)
    told = {
        "reply": {"tag": type(reply).__name__, **framing.plain(reply)},
        "found": [framing.plain(item) for item in found],
    }
    write(descriptor, dump(told).encode())
    sys.stdout.flush()
    leave(0)


main()
