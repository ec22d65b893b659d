"""Where a broker's process starts; foreign code runs only in its grandchildren.

Contract. Started by a fresh exec as ``python -S …/worker MSGPACK SECONDS broker BROKER ZYGOTE SUPERVISOR``:
the folder that holds msgpack, how long the interpreter's environment may take to set itself up, descriptors
of the two channels, and a pidfd of the supervisor; nothing else is open but the standard streams. The
environment is what the supervisor chose. The first message on the broker's channel is ``Launch``. Exit code
0 means the supervisor or the zygote ended, or ``Refused`` was sent. As ``… SECONDS probe CHANNEL UID GID``
it sends ``Probed`` for each mechanism instead.

This package and msgpack are found by their place alone, so that no folder of ours is on the path of
what is imported later.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import site
import sys


def bring(name: str, folder: str) -> None:
    """Import package ``name`` from ``folder`` without searching the path."""
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {name} from {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def main() -> None:
    """Bring our packages by their place, then hand over to the role that was asked for."""
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != own]
    signal.alarm(int(sys.argv[2]))  # nobody else would end what hangs here once the supervisor is gone
    site.main()
    signal.alarm(0)
    bring("msgpack", sys.argv[1])
    bring("worker", own)
    from worker import broker, probe  # noqa: PLC0415 - only now can they be found

    roles = {"broker": broker.run, "probe": probe.run}
    roles[sys.argv[3]](*map(int, sys.argv[4:]))


if __name__ == "__main__":
    main()
