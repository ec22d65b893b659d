"""What the options of a command say of the loader, and of where locations may lead."""

from __future__ import annotations

import argparse

from loader.access import Access
from loader.cli import formats
from loader.cli.arguments import UsageError
from loader.flow_loader import FlowLoader
from loader.outcomes import profile_notices


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


def loader(values: argparse.Namespace) -> FlowLoader:
    """The loader that the options ask for, after what must be said of its profile. Raises ProfileError."""
    made = FlowLoader(values.profile, python=values.python, dialect=values.dialect)
    for notice in profile_notices(made.policy):
        formats.warn(f"warning: {notice.message}")
    return made
