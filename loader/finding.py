"""Where specs lead: the scripts at their locations, each read once and run once in a worker.

What somebody else's spec names must lie below the folder that the spec came from, or be of a scheme that
the caller lets such words lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loader import sources
from loader.access import Access
from loader.errors import SourceError
from loader.flow_loader import FlowLoader
from loader.models import Outcome
from loader.raising import checked
from loader.selection import select_flow
from loader.sources import Script
from loader.specs import DeploymentSpec
from worker.protocol import Flow


@dataclass
class Finder:
    """Reads and runs scripts for one call: ``root``, ``timeout`` and ``access`` are those of its loads.

    ``wake`` is a descriptor whose readability cancels them.
    """

    loader: FlowLoader
    access: Access
    timeout: float | None = None
    root: str | None = None
    scripts: dict[str, Script] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    wake: int | None = None

    def run(self, script: Script) -> Outcome:
        """What a script that was read holds; the answer is kept."""
        outcome = self.loader.run(script, timeout=self.timeout, wake=self.wake)
        self.keep(script, outcome)
        return outcome

    def keep(self, script: Script, outcome: Outcome) -> None:
        """Remember a script and what it holds under its location."""
        self.scripts[script.filename] = script
        self.outcomes[script.filename] = outcome

    def flow(self, spec: DeploymentSpec) -> Flow:
        """The flow at a spec's location, by name if it gives one.

        Raises SourceError, SelectionError and the exception of a load that failed.
        """
        location = spec.flow_location or ""
        if location not in self.outcomes:
            script = self.read(spec, location)
            self.outcomes[location] = self.outcomes.get(script.filename) or self.run(script)
        flows = checked(self.outcomes[location]).flows
        return select_flow(flows, spec.flow_name, f"in script {location!r}")

    def content(self, spec: DeploymentSpec) -> bytes:
        """The bytes at a spec's location: those that were run, if any were. Raises SourceError."""
        location = spec.flow_location or ""
        for script in self.scripts.values():
            found = file_of(script, location)
            if found is not None:
                return found
        return self.read(spec, location).content

    def read(self, spec: DeploymentSpec, location: str) -> Script:
        """The script at a location that a spec names. Raises SourceError."""
        if location not in self.scripts:
            root = permitted(location, self.access, self.root, spec.origin, author(spec))
            script = sources.read(location, root, self.access)
            self.scripts[location] = self.scripts[script.filename] = script
        return self.scripts[location]


def file_of(script: Script, location: str) -> bytes | None:
    """The bytes of the file at ``location``, if it is the script or one of its project."""
    if location in (script.filename, script.location):
        return script.content
    if script.project is None:
        return None
    named = (name for name in script.project.files if script.project.display(name) == location)
    return next((script.project.files[name] for name in named), None)


def permitted(location: str, access: Access, root: str | None, origin: str | None, who: str) -> str | None:
    """What the script at a location may read; its own folder is None.

    ``who`` names it, who may name what lies below ``origin``: nothing where that is empty, and everything
    where it is None, for then it is the caller. Raises SourceError for what it may not name.
    """
    if root is not None and sources.below(location, root):
        return root
    if origin is None:
        return None
    if origin and sources.below(location, origin):
        return origin
    scheme = urlsplit(location).scheme.lower() if "://" in location else "file"
    if scheme in access.linked:
        return None
    remedy = f"the scheme {scheme} (--allow-scheme)" if scheme != "file" else "a root that holds it (--root)"
    outside = f", and it lies outside {origin}" if origin else ""
    raise SourceError(f"cannot load {location}: {who} names it{outside}; if you trust that, allow {remedy}")


def author(spec: DeploymentSpec) -> str:
    """Who names a spec's location."""
    return f"{spec.file}:{spec.line}" if spec.file else "the deployment spec"
