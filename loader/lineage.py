"""Which folder flows and specs were found in: what a worker says of them leads no further than there."""

from __future__ import annotations

from typing import TypeVar

from loader.models import Flow, Outcome, Spec
from loader.sources import Origin

HOME = "_home"
NOWHERE = Origin()
C = TypeVar("C", Flow, Spec)


def of(outcome: Outcome, home: Origin) -> Outcome:
    """The outcome itself, whose flows and specs remember the folder that its script was read from."""
    for flow in (*outcome.flows, *(detail.flow for detail in outcome.details)):
        if flow is not None:
            found_in(flow, home)
    for spec in outcome.specs:
        found_in(spec, home)
    return outcome


def found_in(claim: C, home: Origin) -> C:
    """The claim itself, which remembers that folder.

    That is no fact of it: it compares, hashes, dumps and shows itself as before.
    """
    object.__setattr__(claim, HOME, home)
    return claim


def home_of(claim: object) -> Origin:
    """The folder below which a claim's locations may lead: nowhere for one that no load here has found."""
    home: Origin = getattr(claim, HOME, NOWHERE)
    return home
