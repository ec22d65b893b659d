"""A location becomes bytes, read once: what is digested is what is sent."""

from loader.sources.locations import Location
from loader.sources.origins import Origin, home_of, origin_of, pinned
from loader.sources.parsing import parse, redacted
from loader.sources.paths import local_path
from loader.sources.reading import fetch, read, within
from loader.sources.relations import basename_of, below, beside, display, folder_of, schemes_of, shown
from loader.sources.script import SIZE_CAP, Project, Root, Script, from_text, too_large

__all__ = [
    "SIZE_CAP",
    "Location",
    "Origin",
    "Project",
    "Root",
    "Script",
    "basename_of",
    "below",
    "beside",
    "display",
    "fetch",
    "folder_of",
    "from_text",
    "home_of",
    "local_path",
    "origin_of",
    "parse",
    "pinned",
    "read",
    "redacted",
    "schemes_of",
    "shown",
    "too_large",
    "within",
]
