"""A watched manifest: its specs are judged as a scan does, and which files decided that is found out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial

from loader import batches, planning, sources
from loader.access import LOCAL_SCHEMES
from loader.answers import Plan
from loader.client.interface import Client
from loader.daemon.places import Place
from loader.daemon.traces import folder_of, guessed, imported, plausible
from loader.deploying import Deployer
from loader.errors import SandboxUnavailable, SourceError
from loader.finding import Finder
from loader.flow_loader import FlowLoader
from loader.models import Outcome
from loader.sources import Script
from loader.sources.paths import is_below


def judge(loader: FlowLoader, place: Place, manifest: Script, client: Client, wake: int) -> Plan:
    """The specs of a manifest with their verdicts; the outcome's sources are all files that it leads to.

    Raises SourceError, ClientError.
    """
    found: set[str] = set()
    finder = Finder(loader, place.access, root=sources.pinned(place.root), wake=wake)
    read = loader.policy.read
    finder.seen = lambda script, outcome: found.update(decided(manifest, script, outcome, read))
    try:
        batch = batches.of_manifest(manifest.location, Deployer(client, finder), manifest)
    except SandboxUnavailable as unavailable:
        return Plan(outcome=unavailable.outcome)
    plan = planning.of_batch(batch)
    # One that could not be read may come later.
    found.update(name for item in plan.specs for name in named(manifest, item.spec.flow_location))
    folders = folders_beside(place, manifest.location, read)
    known = sorted(name for name in found if folder_of(name, folders) is not None)
    outcome = plan.outcome.model_copy(update={"sources": tuple(known)})
    return plan.model_copy(update={"outcome": outcome})


def folders_beside(place: Place, location: str, read: Sequence[str]) -> tuple[str, ...]:
    """Where absolute names of what is watched may lead: what its profile lets it ``read``.

    The words of a manifest may lead to every file, if that is what the place allows.
    """
    anywhere = batches.is_manifest(location) and not LOCAL_SCHEMES.isdisjoint(place.access.linked)
    return (*read, "/") if anywhere else tuple(read)


def decided(manifest: Script, script: Script, outcome: Outcome, read: Sequence[str]) -> Iterator[str]:
    """The files on which a script's load depended, itself included, as the manifest's project names them."""
    told = list(outcome.sources or ()) if plausible(outcome.sources, read) else guessed(script)
    names = [*told, *imported(script)]
    if script.project is not None and manifest.project is not None:
        yield from (script.project.entry, *names)
    elif script.root is not None:
        within = partial(os.path.join, script.root.path)
        yield from (below(manifest, path) for path in (script.filename, *map(within, names)))


def named(manifest: Script, location: str | None) -> Iterator[str]:
    """The file that a spec names, if it is one of this machine."""
    try:
        if location is not None and sources.parse(location).scheme in LOCAL_SCHEMES:
            yield below(manifest, sources.local_path(location))
    except SourceError:
        return


def below(manifest: Script, path: str) -> str:
    """A path as the manifest's root has it; in full if it lies elsewhere."""
    path = os.path.normpath(path)
    if manifest.root is None or not is_below(path, manifest.root.path):
        return path
    return os.path.relpath(path, manifest.root.path)
