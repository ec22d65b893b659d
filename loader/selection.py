"""Which flow or deployment is meant: pure, over metadata.

The names come from scripts and are shown as Python writes strings, so that none can act on a terminal.
Things that are equal in every fact are one.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeVar

from loader.errors import (
    MissingDeploymentError,
    MissingFlowError,
    UnspecifiedDeploymentError,
    UnspecifiedFlowError,
)
from worker.protocol import Flow

LONGEST = 200
"""Characters of a name that a message shows."""
MOST = 50
"""Names, or things of one name, that are told: a script may have thousands, and as many specs that ask."""
NOTHING_FOUND_OUT: Mapping[str, str] = MappingProxyType({})


class Deployment(Hashable, Protocol):
    """What is looked at of a deployment spec: a claim of a worker, or a spec that was made of it."""

    @property
    def name(self) -> str | None:
        """The deployment's name."""

    @property
    def flow_name(self) -> str | None:
        """Its flow's name."""

    @property
    def flow_location(self) -> str | None:
        """Where its flow's script is."""

    @property
    def file(self) -> str | None:
        """Where it was made."""

    @property
    def line(self) -> int | None:
        """The line of that file."""


D = TypeVar("D", bound=Deployment)
H = TypeVar("H", bound=Hashable)


def select_flow(flows: Iterable[Flow], flow_name: str | None = None, from_message: str | None = None) -> Flow:
    """The only flow, or the one that is named.

    ``from_message`` says in errors where the flows are from, as in ``in script 'a.py'``.
    Raises MissingFlowError, or UnspecifiedFlowError where several are left, with file and line of each
    when a name cannot tell them apart.
    """
    given, source = tuple(flows), behind(from_message)
    if not given:
        raise MissingFlowError(f"No flows found{source}.")
    left = distinct(flow for flow in given if flow_name in (None, flow.name))
    if not left:
        names = listed({flow.name for flow in given})
        raise MissingFlowError(f"Flow {flow_name!r} not found{source}. Found the following flows: {names}")
    if len({flow.name for flow in left}) > 1:
        raise UnspecifiedFlowError(
            f"Found {number(left)} flows{source}: {listed(flow.name for flow in left)}."
            " Specify a flow name to select a flow.",
            left,
        )
    if len(left) > 1:
        shown = candidates((label(flow.name), flow.file, flow.line) for flow in left)
        raise UnspecifiedFlowError(
            f"cannot select one of {number(left)} flows named {label(left[0].name)}{source}: {shown}."
            " Rename all but one.",
            left,
        )
    return left[0]


def select_deployment(
    deployments: Iterable[D],
    deployment_name: str | None = None,
    flow_name: str | None = None,
    from_message: str | None = None,
    *,
    flow_names: Mapping[str, str] = NOTHING_FOUND_OUT,
) -> D:
    """The only deployment spec, or the one with the names that are given; the very object, not a copy.

    ``flow_names`` maps flow locations to the name of the flow there, for specs that give a location and
    no name; ``unknown_locations`` says which of them matter. A spec without a name has its flow's.
    Raises MissingDeploymentError, or UnspecifiedDeploymentError where several are left, with file and line
    of each when those names cannot tell them apart.
    """
    found, source = tuple(deployments), behind(from_message)
    if not found:
        raise MissingDeploymentError(f"No deployments found{source}.")

    def flow_of(spec: D) -> str | None:
        return flow_name_of(spec, flow_names)

    def name_of(spec: D) -> str | None:
        return flow_of(spec) if spec.name is None else spec.name

    named = [spec for spec in found if deployment_name in (None, name_of(spec))]
    if not named:
        raise MissingDeploymentError(
            f"Deployment {deployment_name!r} not found{source}."
            f" Found the following deployments: {listed(set(map(name_of, found)))}"
        )
    left = distinct(spec for spec in named if flow_name in (None, flow_of(spec)))
    if not left:
        flows = listed(set(map(flow_of, named)))
        if deployment_name is None:
            raise MissingDeploymentError(
                f"Deployment for flow {flow_name!r} not found{source}."
                f" Found deployments for the following flows: {flows}"
            )
        raise MissingDeploymentError(
            f"Deployment {deployment_name!r} for flow {flow_name!r} not found."
            f" Found deployment {deployment_name!r} but it is for flow {flows}."
        )
    if len(left) > 1:
        wanted = (deployment_name, flow_name)
        raise several([(spec, name_of(spec), flow_of(spec)) for spec in left], wanted, source)
    return left[0]


def several(
    left: Sequence[tuple[Deployment, str | None, str | None]],
    wanted: tuple[str | None, str | None],
    source: str,
) -> UnspecifiedDeploymentError:
    """The error for specs, each with its name and its flow's, that the ``wanted`` names leave."""
    specs = [spec for spec, _, _ in left]
    names = {name for _, name, _ in left}
    flows_differ = len({flow for _, _, flow in left}) > 1
    if wanted == (None, None) and (len(names) > 1 or flows_differ):
        return UnspecifiedDeploymentError(
            f"Found {number(left)} deployments{source}: {listed(name for _, name, _ in left)}."
            " Specify a deployment or flow name to select a deployment.",
            specs,
        )
    what, remedy = f"named {label(next(iter(names)))}", "Rename all but one."
    if len(names) > 1:
        what, remedy = f"for flow {label(wanted[1])}", "Specify a deployment name to select a deployment."
    elif flows_differ:
        remedy = "Specify a flow name to select a deployment."
    shown = candidates((label(name), spec.file, spec.line) for spec, name, _ in left)
    return UnspecifiedDeploymentError(
        f"cannot select one of {number(left)} deployments {what}{source}: {shown}. {remedy}", specs
    )


def unknown_locations(
    deployments: Iterable[Deployment], deployment_name: str | None = None, flow_name: str | None = None
) -> list[str]:
    """The locations whose flow's name must be known to select by these names, each once, in order."""
    given = tuple(deployments)
    if deployment_name is flow_name is None and len(distinct(given)) == 1:
        return []
    return list(
        dict.fromkeys(
            spec.flow_location
            for spec in given
            if spec.flow_name is None and spec.flow_location is not None
            if spec.name is None or (flow_name is not None and deployment_name in (None, spec.name))
        )
    )


def flow_name_of(spec: Deployment, flow_names: Mapping[str, str]) -> str | None:
    """The name of a spec's flow, as it says or as it was found out; None when nobody knows."""
    if spec.flow_name is not None or spec.flow_location is None:
        return spec.flow_name
    return flow_names.get(spec.flow_location)


def behind(from_message: str | None) -> str:
    """Where things are from, as it stands in the middle of a sentence."""
    return f" {from_message}" if from_message else ""


def distinct(items: Iterable[H]) -> list[H]:
    """Each once, in order; one more than are told of, and no others.

    Those that differ only in what has no hash are all compared: that of thousands would take minutes.
    """
    found: dict[H, None] = {}
    for item in items:
        found[item] = None
        if len(found) > MOST:
            break
    return list(found)


def number(left: Sequence[object]) -> str:
    """How many there are, as far as it is known."""
    return f"more than {MOST}" if len(left) > MOST else str(len(left))


def listed(names: Iterable[str | None]) -> str:
    """Names in order, each quoted; what has no name comes last. Of many the first."""
    first = heapq.nsmallest(MOST + 1, names, key=lambda name: (name is None, name or ""))
    return " ".join(map(label, first[:MOST])) + " …" * (len(first) > MOST)


def label(name: str | None) -> str:
    """A name as it is shown."""
    return "(unknown)" if name is None else repr(name if len(name) <= LONGEST else name[:LONGEST] + "…")


def candidates(places: Iterable[tuple[str, str | None, int | None]]) -> str:
    """What may be meant: each name with its file and line, in the order of the files."""
    ordered = sorted(places, key=lambda place: (place[1] or "", place[2] or 0, place[0]))
    told = [f"{name} ({file!r}, line {line})" for name, file, line in ordered[:MOST]]
    return ", ".join(told) + ", …" * (len(ordered) > MOST)
