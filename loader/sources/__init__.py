"""A location becomes bytes, read once: what is digested is what is sent."""

from loader.sources.locations import Location
from loader.sources.parsing import parse
from loader.sources.paths import local_path
from loader.sources.reading import fetch, read
from loader.sources.relations import below, beside, display, folder_of
from loader.sources.script import SIZE_CAP, Project, Root, Script, from_text, too_large

__all__ = [
    "SIZE_CAP",
    "Location",
    "Project",
    "Root",
    "Script",
    "below",
    "beside",
    "display",
    "fetch",
    "folder_of",
    "from_text",
    "local_path",
    "parse",
    "read",
    "too_large",
]
