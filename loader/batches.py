"""All the specs of a script or a manifest, each with its own verdict: one bad spec hides no other."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, replace

from loader import manifests, sources
from loader.access import Access
from loader.claimed import specs_of, told
from loader.deploying import Deployer
from loader.entries import Entry
from loader.errors import (
    ClientError,
    LoadError,
    ObjectNotFound,
    SandboxUnavailable,
    SelectionError,
    SourceError,
    SpecValidationError,
    StorageError,
)
from loader.models import Error, Frame, Outcome, Sandbox, Source, Status
from loader.raising import message
from loader.sources import Origin, Script
from loader.sources.script import Identity, Listed
from loader.specs import DeploymentSpec
from loader.validation import ValidSpec
from worker.protocol import Spec

MANIFESTS = (".yaml", ".yml")
AT_FAULT = (SpecValidationError, SourceError, SelectionError, StorageError, ObjectNotFound, LoadError)
"""What is wrong with one spec and says nothing of the next."""


@dataclass(frozen=True)
class Verdict:
    """One spec: as it is listed, and either what a deployment can be made of or why none can."""

    listed: Spec
    valid: ValidSpec | None = None
    problems: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may surprise the author of a valid spec."""
        return self.valid.warnings if self.valid else ()


@dataclass(frozen=True)
class Batch:
    """What was read, and a verdict for each of its specs, in order."""

    outcome: Outcome
    verdicts: tuple[Verdict, ...]


def is_manifest(location: str) -> bool:
    """Whether a location is that of a YAML file."""
    return posixpath.splitext(location.partition("?")[0].partition("::")[0])[1].lower() in MANIFESTS


def judge(location: str, deployer: Deployer, folder: Identity | None = None) -> Batch:
    """The verdicts on a script or a manifest, which if there is a ``folder`` must lie in it.

    Raises SourceError, ClientError, SandboxUnavailable.
    """
    finder = deployer.finder
    if not is_manifest(location):
        return of_script(sources.read(location, finder.root, finder.access, folder), deployer)
    if folder is None:
        return of_manifest(location, deployer)
    return of_manifest(location, deployer, found(location, finder.root, finder.access, folder))


def found(location: str, root: Origin | None, access: Access, folder: Listed | Identity | None) -> Script:
    """What was found in a folder. A manifest may lie outside the root: that is for what it names.

    Raises SourceError, also if the folder is another one now.
    """
    if root is not None and is_manifest(location) and not root.holds(location):
        root = None
    return sources.read(location, root, access, folder)


def of_script(script: Script, deployer: Deployer) -> Batch:
    """The verdicts on the specs that a script makes. Those of one that failed are all invalid."""
    finder = deployer.finder
    outcome = finder.run_main(replace(script, details=True))
    specs = specs_of(outcome, finder.root or sources.home_of(script))
    if outcome.status is Status.LOADED:
        return Batch(outcome, tuple(verdict(spec, deployer) for spec in specs))
    why = failed(outcome)
    return Batch(outcome, tuple(Verdict(told(spec), problems=(why, *spec.problems)) for spec in specs))


def failed(outcome: Outcome) -> str:
    """Why nothing is made of the specs of a script that failed."""
    kind = outcome.error.type if outcome.error else outcome.status.value
    return f"its script did not load to its end: {kind}"


def of_manifest(location: str, deployer: Deployer, held: Script | None = None) -> Batch:
    """The verdicts on the specs of a manifest; ``held`` is it if it was read already, with its project."""
    finder = deployer.finder
    shown = sources.display(location)
    if held is not None:
        origin = finder.root or sources.home_of(held)
        content = held.content
        finder.main = sources.within(held, origin)
    else:
        origin = finder.root or sources.origin_of(sources.folder_of(location))
        content = sources.fetch(location, finder.access, origin)
    entries = manifests.parse(content, location, origin)
    outcome = Outcome(
        status=Status.LOADED,
        source=Source(
            location=sources.shown(location),
            digest="sha256:" + hashlib.sha256(content).hexdigest(),
            size=len(content),
        ),
        sandbox=Sandbox(profile=finder.loader.policy.profile),
    )
    if any(not problem.path for entry in entries for problem in entry.problems):
        error = unreadable(shown, entries)
        outcome = outcome.model_copy(update={"status": Status.SCRIPT_FAILED, "error": error})
    return Batch(outcome, tuple(of_entry(entry, shown, origin, deployer) for entry in entries))


def of_entry(entry: Entry, file: str, origin: Origin, deployer: Deployer) -> Verdict:
    """The verdict on one entry of a manifest."""
    if entry.spec is not None:
        return verdict(entry.spec.at(file, entry.line, origin=origin), deployer)
    listed = Spec(
        name=entry.name,
        flow_location=entry.written and sources.shown(entry.written),
        file=file,
        line=entry.line,
    )
    return Verdict(listed, problems=tuple(map(str, entry.problems)))


def unreadable(file: str, entries: Iterable[Entry]) -> Error:
    """The error for a manifest that is no YAML, or not of specs."""
    problems = [problem for entry in entries for problem in entry.problems if not problem.path]
    frames = tuple(Frame(file, problem.position.line, "<manifest>") for problem in problems[:1])
    return Error("compile", "ManifestError", manifests.explain(file, entries), frames)


def verdict(spec: DeploymentSpec, deployer: Deployer) -> Verdict:
    """The verdict on one spec. Raises ClientError, SandboxUnavailable."""
    try:
        valid = deployer.valid(spec)
    except AT_FAULT as error:
        if isinstance(error, SandboxUnavailable) and not deployer.finder.can_load():
            raise
        said = in_words(error)
        return Verdict(told(spec), problems=(said, *(item for item in spec.problems if item not in said)))
    except ClientError:
        raise
    except Exception as error:  # one spec must not hide the others
        return Verdict(told(spec), problems=(unexpected(error),))
    return Verdict(told(valid.spec), valid)


def unexpected(error: Exception) -> str:
    """What is said of a spec that a mistake of ours came in the way of."""
    return f"cannot go on with it: {type(error).__name__}: {error}; please report this"


def in_words(error: Exception) -> str:
    """Why nothing can be made of a spec; of a script that failed also where."""
    if not isinstance(error, LoadError) or error.error is None:
        return str(error)
    if isinstance(error, SandboxUnavailable):
        return f"{message(error.outcome, error.error)}; {error.error.hint}"
    frames = error.error.frames
    place = f" ({frames[-1].file}, line {frames[-1].line})" if frames else ""
    return message(error.outcome, error.error) + place
