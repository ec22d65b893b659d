"""What the options of a command say of the loader, and of where locations may lead."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from loader.access import Access
from loader.cli import formats
from loader.cli.arguments import UsageError
from loader.flow_loader import FlowLoader
from loader.outcomes import profile_notices

if TYPE_CHECKING:
    from loader.daemon.client import DaemonClient

VARIABLE, TOKEN = "FLOW_LOADER_DAEMON", "FLOW_LOADER_DAEMON_TOKEN"
"""Environment variables: a daemon's socket or URL, and the token that the latter wants."""


def address(values: argparse.Namespace) -> str | None:
    """The daemon that is to do the work, if any is."""
    found = os.environ.get(VARIABLE) if values.daemon is None else values.daemon
    return found or None


def access(values: argparse.Namespace) -> Access:
    """What locations may lead to. Raises UsageError."""
    try:
        return Access(
            linked=frozenset(scheme.lower() for scheme in values.allow_scheme),
            hosts=frozenset(values.allow_host),
            storage=tuple(getattr(values, "allow_storage", ())),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def loader(values: argparse.Namespace) -> FlowLoader | DaemonClient:
    """The loader that the options ask for, after what must be said of its profile.

    Raises ProfileError, DaemonError.
    """
    how = {"profile": values.profile, "python": values.python, "dialect": values.dialect}
    made: FlowLoader | DaemonClient
    if address(values) is None:
        made = FlowLoader(**how)
    else:
        from loader.daemon.client import DaemonClient  # noqa: PLC0415 - for who asks one

        token = os.environ.get(TOKEN) or None
        made = DaemonClient(address(values), token=token, cache=not values.no_cache, **how)
    for notice in profile_notices(made.policy):
        formats.warn(f"warning: {notice.message}")
    return made
