"""What the options of a command let locations lead to."""

from __future__ import annotations

import argparse

from loader.access import Access
from loader.cli.arguments import UsageError


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
