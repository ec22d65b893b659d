"""The functions of the library: scripts in, metadata out, or the one exception for what went wrong.

Scripts are run in workers of loaders that the process shares, one for each profile; nothing of them is
run, imported or unpickled here. Each function has a twin that ends in ``_async`` and blocks no event loop.

A location is a path, a ``pathlib.Path`` or a URL. All functions that load may raise SourceError for a
location that cannot be read, ScriptError or a class derived from it for what a script does,
SandboxUnavailable for a host that cannot confine it, and ProfileError. A script that holds nothing is
empty to the functions that ask for all there is, and MissingFlowError to those that ask for one flow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypedDict, Unpack

from loader import lineage, selection, sources
from loader.access import DEFAULT, Access
from loader.claimed import specs_of
from loader.errors import FlowLoaderError, MissingFlowError, ScriptError, SelectionError, SourceError
from loader.escape import kept_lines
from loader.finding import author, permitted
from loader.models import Flow, Outcome
from loader.raising import checked, hint
from loader.selection import D, select_flow
from loader.shared import loader_for
from loader.sources import Origin
from loader.specs import DeploymentSpec, SpecBase

__all__ = [
    "Options",
    "Place",
    "TextOptions",
    "deployment_specs_and_flows_from_script",
    "deployment_specs_and_flows_from_script_async",
    "deployment_specs_from_script",
    "deployment_specs_from_script_async",
    "load_flow_from_script",
    "load_flow_from_script_async",
    "load_flow_from_text",
    "load_flow_from_text_async",
    "load_flows_from_script",
    "load_flows_from_script_async",
    "select_deployment",
    "select_deployment_async",
    "select_flow",
    "select_flow_async",
]

Location = str | os.PathLike[str]
Placed = dict[DeploymentSpec, "Place"]
NOT_FOUND_OUT = (ScriptError, SelectionError, SourceError)
"""Why the name of a flow may stay unknown though the host and the caller did their part."""


class TextOptions(TypedDict, total=False):
    """How a text is loaded.

    ``profile`` is a built-in profile's name or the path of a profile file, ``strict`` by default;
    ``timeout`` the wall time in seconds, the profile's by default.
    """

    profile: str
    timeout: float | None


class Options(TextOptions, total=False):
    """How a script is loaded.

    ``root`` is the folder that it may read, or that folder's URL, its own by default; ``access`` is what
    locations may lead to.
    """

    root: Location | None
    access: Access


class How(TypedDict, total=False):
    """How a FlowLoader loads."""

    timeout: float | None
    root: Location | None
    access: Access


class Place(TypedDict):
    """Where a spec was made: an absolute path and a line that counts from 1, None where nobody knows."""

    file: str | None
    line: int | None


# --- flows ---------------------------------------------------------------------------------------


def load_flows_from_script(path: Location, **options: Unpack[Options]) -> set[Flow]:
    """The flows that are globals of the script, imported ones included; empty when there are none."""
    return set(_load(path, **options).flows)


async def load_flows_from_script_async(path: Location, **options: Unpack[Options]) -> set[Flow]:
    """As ``load_flows_from_script``, without blocking the event loop."""
    return set((await _load_async(path, **options)).flows)


def load_flow_from_script(path: Location, flow_name: str | None = None, **options: Unpack[Options]) -> Flow:
    """The only flow of the script, or the one of that name.

    Raises MissingFlowError when it is not there; UnspecifiedFlowError for several flows and no name, or
    several of that name.
    """
    return _only_flow(_load(path, **options), flow_name)


async def load_flow_from_script_async(
    path: Location, flow_name: str | None = None, **options: Unpack[Options]
) -> Flow:
    """As ``load_flow_from_script``, without blocking the event loop."""
    return _only_flow(await _load_async(path, **options), flow_name)


def load_flow_from_text(
    text: str | bytes, flow_name: str | None = None, **options: Unpack[TextOptions]
) -> Flow:
    """The only flow of a script that has no file, or the one of that name.

    Errors name the lines of ``<text>``. Raises as ``load_flow_from_script``.
    """
    return _only_flow(_load_text(text, **options), flow_name)


async def load_flow_from_text_async(
    text: str | bytes, flow_name: str | None = None, **options: Unpack[TextOptions]
) -> Flow:
    """As ``load_flow_from_text``, without blocking the event loop."""
    return _only_flow(await _load_text_async(text, **options), flow_name)


async def select_flow_async(
    flows: Iterable[Flow], flow_name: str | None = None, from_message: str | None = None
) -> Flow:
    """As ``select_flow``, which waits for nothing."""
    return select_flow(flows, flow_name, from_message)


# --- deployment specs ----------------------------------------------------------------------------


def deployment_specs_from_script(path: Location, **options: Unpack[Options]) -> Placed:
    """The deployment specs that the script made, in order, each with file and line of its call.

    Those of modules that it imports count; empty when there are none.
    """
    return _placed(*_read(path, **options))


async def deployment_specs_from_script_async(path: Location, **options: Unpack[Options]) -> Placed:
    """As ``deployment_specs_from_script``, without blocking the event loop."""
    return _placed(*await _read_async(path, **options))


def deployment_specs_and_flows_from_script(
    path: Location, **options: Unpack[Options]
) -> tuple[Placed, set[Flow]]:
    """What ``deployment_specs_from_script`` and ``load_flows_from_script`` give, of one execution."""
    outcome, origin = _read(path, **options)
    return _placed(outcome, origin), set(outcome.flows)


async def deployment_specs_and_flows_from_script_async(
    path: Location, **options: Unpack[Options]
) -> tuple[Placed, set[Flow]]:
    """As ``deployment_specs_and_flows_from_script``, without blocking the event loop."""
    outcome, origin = await _read_async(path, **options)
    return _placed(outcome, origin), set(outcome.flows)


def select_deployment(
    deployments: Iterable[D],
    deployment_name: str | None = None,
    flow_name: str | None = None,
    from_message: str | None = None,
    **options: Unpack[Options],
) -> D:
    """The only deployment spec, or the one with the names that are given.

    A flow's name that a spec does not give, and on which the answer depends, is found out: the script at
    its ``flow_location`` is loaded in a worker, with ``options``, if the spec's author may name it. One that
    cannot be found out fits no name; the error's notes then say why. Raises MissingDeploymentError,
    UnspecifiedDeploymentError.
    """
    specs = tuple(deployments)
    unknown = selection.unknown_locations(specs, deployment_name, flow_name)
    answers = {location: _flow_name_at(location, specs, options) for location in unknown}
    return _only_deployment(specs, deployment_name, flow_name, from_message, answers)


async def select_deployment_async(
    deployments: Iterable[D],
    deployment_name: str | None = None,
    flow_name: str | None = None,
    from_message: str | None = None,
    **options: Unpack[Options],
) -> D:
    """As ``select_deployment``, without blocking the event loop."""
    specs = tuple(deployments)
    unknown = selection.unknown_locations(specs, deployment_name, flow_name)
    answers = {location: await _flow_name_at_async(location, specs, options) for location in unknown}
    return _only_deployment(specs, deployment_name, flow_name, from_message, answers)


# --- how an outcome is come by -------------------------------------------------------------------


def _load(path: Location, *, profile: str = "strict", **how: Unpack[How]) -> Outcome:
    return checked(loader_for(profile).load(path, **how))


async def _load_async(path: Location, *, profile: str = "strict", **how: Unpack[How]) -> Outcome:
    return checked(await loader_for(profile).load_async(path, **how))


def _read(
    path: Location,
    *,
    profile: str = "strict",
    root: Location | None = None,
    access: Access = DEFAULT,
    timeout: float | None = None,
) -> tuple[Outcome, Origin]:
    """What a script holds that is to be deployed, and where its words come from."""
    top = sources.pinned(root)
    script = replace(sources.read(path, top, access), details=True)
    return checked(loader_for(profile).run(script, timeout=timeout)), top or sources.home_of(script)


async def _read_async(
    path: Location,
    *,
    profile: str = "strict",
    root: Location | None = None,
    access: Access = DEFAULT,
    timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
) -> tuple[Outcome, Origin]:
    top = await asyncio.to_thread(sources.pinned, root)
    script = replace(await asyncio.to_thread(sources.read, path, top, access), details=True)
    outcome = checked(await loader_for(profile).run_async(script, timeout=timeout))
    return outcome, top or sources.home_of(script)


def _load_text(text: str | bytes, *, profile: str = "strict", timeout: float | None = None) -> Outcome:
    return checked(loader_for(profile).load_text(text, timeout=timeout))


async def _load_text_async(
    text: str | bytes,
    *,
    profile: str = "strict",
    timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
) -> Outcome:
    return checked(await loader_for(profile).load_text_async(text, timeout=timeout))


def _flow_name_at(location: str, specs: Iterable[D], options: Options) -> str | FlowLoaderError:
    try:
        return load_flow_from_script(location, **_linked(location, specs, options)).name
    except NOT_FOUND_OUT as error:
        return error


async def _flow_name_at_async(location: str, specs: Iterable[D], options: Options) -> str | FlowLoaderError:
    try:
        linked = await asyncio.to_thread(_linked, location, specs, options)
        return (await load_flow_from_script_async(location, **linked)).name
    except NOT_FOUND_OUT as error:
        return error


def _linked(location: str, specs: Iterable[D], options: Options) -> Options:
    """How the script is loaded that specs name, which may be somebody else's. Raises SourceError.

    Only a ``DeploymentSpec`` without an origin is the caller's own: other specs are claims.
    """
    root, access = sources.pinned(options.get("root")), options.get("access", DEFAULT)
    for spec in specs:
        origin = spec.origin if isinstance(spec, SpecBase) else lineage.home_of(spec)
        if spec.flow_location == location and origin is not None:
            below, narrowed = permitted(location, access, root, origin, author(spec))
            options = {**options, "root": below, "access": narrowed}
    return options


# --- what is read from it ------------------------------------------------------------------------


def _only_flow(outcome: Outcome, flow_name: str | None) -> Flow:
    try:
        return select_flow(outcome.flows, flow_name, f"in script {outcome.source.location!r}")
    except MissingFlowError as missing:
        if outcome.error is not None and outcome.error.hint:
            missing.add_note(kept_lines(hint(outcome.error)))
        raise


def _placed(outcome: Outcome, origin: Origin) -> Placed:
    return {spec: Place(file=spec.file, line=spec.line) for spec in specs_of(outcome, origin)}


def _only_deployment(
    specs: Iterable[D],
    deployment_name: str | None,
    flow_name: str | None,
    from_message: str | None,
    answers: Mapping[str, str | FlowLoaderError],
) -> D:
    names = {location: answer for location, answer in answers.items() if isinstance(answer, str)}
    try:
        return selection.select_deployment(specs, deployment_name, flow_name, from_message, flow_names=names)
    except SelectionError as error:
        for location, answer in answers.items():
            if location not in names:
                error.add_note(
                    kept_lines(f"cannot find out the flow of {sources.shown(location)!r}: {answer}")
                )
        raise
