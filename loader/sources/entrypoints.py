"""A location with a flow behind a colon, as in ``flows/etl.py:load``, is taken apart."""

from __future__ import annotations

import os
import re

from loader.sources.origins import Origin

BEHIND = re.compile(r"(.*\.py):([^:/?#]+)", re.DOTALL)
"""A URL of a script, and a flow behind it."""


def split(location: str, root: Origin | None = None) -> tuple[str, str | None]:
    """The location of the script or manifest, and the function or the name of its flow if it has one.

    A path that is there as it stands has none, whatever colons it holds; otherwise the longest beginning
    that is there is the path. Of a URL only what follows ``.py:`` is a flow, and in a query nothing is.
    With a ``root`` nothing is looked for but below that.
    """
    if "://" in location:
        matched = BEHIND.fullmatch(location)
        return (matched[1], matched[2]) if matched and "?" not in matched[1] else (location, None)
    below = None if root is None else root.has_file
    if (below or os.path.lexists)(location):
        return location, None
    path, colon, flow = location.rpartition(":")
    while colon:
        if flow and (below or os.path.isfile)(path):
            return path, flow
        path, colon, before = path.rpartition(":")
        flow = f"{before}:{flow}"
    matched = BEHIND.fullmatch(location)
    return (matched[1], matched[2]) if matched else (location, None)
