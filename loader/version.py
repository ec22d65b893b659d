"""Which release this is."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "flow-loader"


def version() -> str:
    """The installed distribution's version."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "(a copy that is not installed)"
