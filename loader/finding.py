"""Where specs lead: the scripts at their locations, each read once and run once in a worker.

What somebody else's spec names must lie below the folder that the spec came from, or be of schemes that
the caller lets such words lead to. What is kept is bounded: a script that had to be forgotten is read again
where it is needed, and must be the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from loader import lineage, sources
from loader.access import Access
from loader.errors import MissingFlowError, SourceError
from loader.escape import line
from loader.flow_loader import FlowLoader
from loader.models import Error, Frame, Outcome, Status
from loader.prefect_part import PrefectPart
from loader.raising import MESSAGE, checked
from loader.selection import Deployment, listed, select_flow
from loader.sources import Origin, Project, Script
from loader.specs import DeploymentSpec
from worker.protocol import Flow

KEPT = 64
"""Outcomes and scripts that are remembered: specs of one script mostly follow each other."""
FAILED = 5_000
"""Failures that are remembered, each only so far as it is told again: a script that hangs is run once."""
BATCH_SECONDS = 600.0
"""How long the scripts that one batch of specs leads to may take in all; what is left then is not loaded."""
Key = tuple[str, str]
"""A location, and how Prefect runs what is there."""


@dataclass
class Finder:
    """Reads and runs scripts for one call: ``root``, ``timeout`` and ``access`` are those of its loads.

    After ``seconds`` no more are run. ``wake`` is a descriptor whose readability cancels the loads. ``seen``
    is told of every script that a spec led to, and what became of it.
    """

    loader: FlowLoader
    access: Access
    timeout: float | None = None
    root: Origin | None = None
    main: Script | None = None
    scripts: dict[str, Script] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    failures: dict[Key, Outcome] = field(default_factory=dict)
    wake: int | None = None
    seconds: float = BATCH_SECONDS
    seen: Callable[[Script, Outcome], object] | None = None

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.seconds

    def run_main(self, script: Script) -> Outcome:
        """What the script that makes the specs holds. It is kept to the end."""
        self.main = script
        return self.run(script)

    def run(self, script: Script) -> Outcome:
        """The outcome of a script; what it reads is asked by those alone who are told of it."""
        script = replace(script, trace=self.seen is not None)
        return self.loader.run(script, timeout=self.timeout, wake=self.wake)

    def flow(self, spec: DeploymentSpec) -> Flow:
        """The flow at a spec's location, by name if it gives one.

        Raises SourceError, SelectionError and the exception of a load that failed.
        """
        location, part = spec.flow_location or "", spec.prefect
        same = sources.parse(location).text  # it may be written in many ways
        key = (same, "") if part is None else (same, f"in {spec.origin} as {part.module}")
        outcome = self.outcomes.get(key) or self.failures.get(key)
        if outcome is None:
            self.check_time(location)
            script = in_project(self.script(spec, location), part)
            outcome = self.run(script)
            if self.seen is not None:
                self.seen(script, outcome)
            if outcome.status is Status.LOADED:
                remember(self.outcomes, KEPT, key, outcome)
            else:
                remember(self.failures, FAILED, key, in_short(outcome))
        flows, where = checked(outcome).flows, f"in script {sources.display(location)!r}"
        return (
            select_flow(flows, spec.flow_name, where) if part is None else bound(flows, part.function, where)
        )

    def check_time(self, location: str) -> None:
        """Raise SourceError if the batch has had its time."""
        if time.monotonic() > self.until:
            raise SourceError(
                f"cannot judge {sources.redacted(location)}: the batch's time is over, for its scripts"
                f" took more than {self.seconds:g} seconds; mend what takes long, or split the batch"
            )

    def can_load(self) -> bool:
        """Whether anything can be loaded here: if not, it is no script's or folder's fault."""
        return self.loader.load_text("").status is not Status.SANDBOX_UNAVAILABLE

    def content(self, spec: DeploymentSpec) -> bytes:
        """The bytes at a spec's location: those that were run, if any were. Raises SourceError."""
        location = spec.flow_location or ""
        own = file_of(self.main, location) if self.main is not None else None
        return self.script(spec, location).content if own is None else own

    def script(self, spec: DeploymentSpec, location: str) -> Script:
        """The script at a location that a spec names. Raises SourceError."""
        same = sources.parse(location).text
        held = self.scripts.get(same)
        if held is not None:
            return held
        self.check_time(location)
        root, access = permitted(location, self.access, self.root, *namer(spec, location))
        access = replace(access, seconds=min(access.seconds, max(1.0, self.until - time.monotonic())))
        script = self.of_project(location) or sources.read(location, root, access)
        if self.digests.setdefault(same, script.digest) != script.digest:
            raise SourceError(
                f"cannot load {sources.redacted(location)}: it has changed since it was loaded; try again"
            )
        self.keep(same, script)
        return script

    def of_project(self, location: str) -> Script | None:
        """The script, if it is a file of a project that is held already: an archive is fetched once.

        Raises SourceError for one that an archive does not hold.
        """
        for held in (*self.scripts.values(), *([self.main] if self.main else [])):
            name = name_in(held.project, location) if held.project is not None else None
            if held.project is None:
                continue
            if name is None:
                check_missing(held.project, location)
            else:
                project = replace(held.project, entry=name)
                return replace(
                    held,
                    location=location,
                    filename=project.display(name),
                    module=PurePosixPath(name).stem,
                    content=project.files[name],
                    project=project,
                )
        return None

    def keep(self, location: str, script: Script) -> None:
        """Remember a script: of all that is kept, no more than a project may hold."""
        self.scripts[location] = script
        while len(self.scripts) > 1 and (len(self.scripts) > KEPT or self.is_full()):
            del self.scripts[next(iter(self.scripts))]

    def is_full(self) -> bool:
        """Whether the scripts that are kept and their projects, each once, hold more than a project may."""
        projects = {
            id(item.project.files): item.project.files for item in self.scripts.values() if item.project
        }
        alone = [item.content for item in self.scripts.values() if item.project is None]
        if sum(map(len, projects.values())) > self.access.project_files:
            return True
        files = (content for project in projects.values() for content in project.values())
        return sum(map(len, (*alone, *files))) > self.access.project_size


def remember(kept: dict[Key, Outcome], most: int, key: Key, outcome: Outcome) -> None:
    """Keep an outcome in the place of the oldest."""
    while len(kept) >= most:
        del kept[next(iter(kept))]
    kept[key] = outcome


def in_short(outcome: Outcome) -> Outcome:
    """Why a load failed, and where: as much as is told of a spec."""
    error = outcome.error or Error("run", outcome.status.value, "")
    frames = tuple(Frame(item.file[:MESSAGE], item.line, "") for item in error.frames[-1:])
    hint = error.hint and error.hint[:MESSAGE]
    short = Error(error.stage, error.type[:MESSAGE], error.message[:MESSAGE], frames, hint=hint)
    return Outcome(status=outcome.status, source=outcome.source, sandbox=outcome.sandbox, error=short)


def in_project(script: Script, part: PrefectPart | None) -> Script:
    """The script as Prefect runs one of a project: in the project's folder, and as a module if it is one."""
    if part is None:
        return script
    script = replace(script, run_as=part.module or "")
    return script if script.root is None else script.lying(script.folder or "", script.root)


def bound(flows: Iterable[Flow], function: str, where: str) -> Flow:
    """The flow that an entrypoint calls so. Raises SelectionError."""
    held = tuple(flows)
    found = [flow for flow in held if flow.bound == function]
    if not found:
        there = listed({flow.bound for flow in held if flow.bound is not None})
        raise MissingFlowError(f"cannot find the flow {function!r} {where}; its flows are {there or 'none'}")
    return select_flow(found, None, where)


def name_in(project: Project, location: str) -> str | None:
    """The name under which a project has the file at a location."""
    place = sources.parse(location)
    name = "/".join(place.parts[len(sources.parse(project.url).parts) :])
    # What is displayed has no query: another one may be another file.
    return name if name in project.files and project.display(name) in {location, place.text} else None


def check_missing(project: Project, location: str) -> None:
    """Raise SourceError for a file below an archive's project, which would hold it if it were there."""
    if sources.parse(project.url).archive is not None and sources.below(location, project.url):
        shown = sources.display(location)
        reason = next((why for name, why in project.left_out.items() if project.display(name) == shown), None)
        said = f"{reason}; name a regular file" if reason else f"there is no such file in {project.url}"
        raise SourceError(f"cannot load {shown}: {said}")


def file_of(script: Script, location: str) -> bytes | None:
    """The bytes of the file at ``location``, if it is the script or one of its project."""
    if location in (script.filename, script.location):
        return script.content
    name = name_in(script.project, location) if script.project is not None else None
    return None if name is None or script.project is None else script.project.files[name]


def permitted(
    location: str, access: Access, root: Origin | None, origin: Origin | None, who: str
) -> tuple[Origin | None, Access]:
    """What the script at a location may read, its own folder if None, and what reading it may lead to.

    ``who`` names it, who may name what lies below ``origin``: nothing where that is nowhere, and everything
    where it is None, for then it is the caller. Raises SourceError for what it may not name.
    """
    schemes = sources.schemes_of(location)
    if root is not None and root.holds(location):
        return root, access
    if origin is None:
        return None, access
    if origin.holds(location):
        return origin, access
    missing = schemes - access.linked
    if not missing:
        return None, replace(access, schemes=access.linked)  # a server may say no more than who names it
    remedy = "a root that holds it (--root)"
    if "file" not in missing:
        named = " and ".join(sorted(missing))
        remedy = f"the scheme {named} (--allow-scheme)"
    outside = f", and it lies outside {sources.display(origin.location)}" if origin.location else ""
    shown = sources.redacted(location)
    raise SourceError(f"cannot load {shown}: {who} names it{outside}; if you trust that, allow {remedy}")


def namer(spec: DeploymentSpec, location: str) -> tuple[Origin | None, str]:
    """What whoever names a spec's location may name below, and who that is: see ``permitted``."""
    if spec.origin is None and spec.flow is not None and location == spec.flow.file:
        return lineage.home_of(spec.flow), f"the flow {spec.flow.name!r}"
    return spec.origin, author(spec)


def author(spec: Deployment) -> str:
    """Who names a spec's location."""
    return f"{line(spec.file)}:{spec.line}" if spec.file else "the deployment spec"
