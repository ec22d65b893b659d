"""The warm loaders that the API's functions share: one for each profile, for as long as the process lives."""

from __future__ import annotations

import os

from loader.flow_loader import FlowLoader
from loader.profiles import builtin_names

BUILT_IN = frozenset(builtin_names())
"""Profiles that do not change while we run; a file of the caller's may, and is read again each time."""
LOADERS: dict[str, FlowLoader] = {}


def loader_for(profile: str) -> FlowLoader:
    """The process's loader for a built-in profile's name or the path of a profile file.

    It is made when it is first asked for, and one of a file that says something else by now is replaced;
    its processes end with its last load, or with this process. Raises ProfileError.
    """
    held = LOADERS.get(profile)
    if held is not None and profile in BUILT_IN:
        return held
    fresh = FlowLoader(profile)
    if held is None:
        # One step: of two threads that come first, both get the same loader. No process is started yet.
        return LOADERS.setdefault(profile, fresh)
    if held.policy != fresh.policy:
        LOADERS[profile] = held = fresh
    return held


# A fork has none of the threads that serve event loops, and locks that a thread held stay held in it.
os.register_at_fork(after_in_child=LOADERS.clear)
