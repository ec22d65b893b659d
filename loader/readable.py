"""What a profile lets all scripts read, found once: the broker shows this very thing, and follows no link."""

from __future__ import annotations

import os

from loader.process import HostFailure
from loader.sources.ways import way
from worker.protocol import OpenFolder, Policy


def readable(policy: Policy) -> tuple[OpenFolder, ...]:
    """Each path that ``policy`` names and that is there, and the one that it leads to.

    Where others may put something else, nobody's closed files are shown. Raises HostFailure for a path that
    leads by a link which others may change.
    """
    if not policy.asks("filesystem"):
        return ()
    found: dict[str, OpenFolder] = {}
    for path in policy.read:
        try:
            real, loose = way(path)
            status = os.lstat(real)
        except FileNotFoundError:
            continue
        except OSError as error:
            said = f": open {path}" if error.errno else f" by others: {error}"
            raise HostFailure(f"filesystem.read{said}", error.errno or 0, ("filesystem",)) from None
        for name in (os.path.normpath(path), real):
            found[name] = OpenFolder(
                name, os.fsencode(real), status.st_dev, status.st_ino, plain=loose is not None
            )
    return tuple(found.values())
