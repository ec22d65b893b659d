"""Which folder a flow was found in: what a worker says of its file leads no further when it is read again."""

from __future__ import annotations

from loader.models import Flow, Outcome
from loader.sources import Origin

HOME = "_home"
NOWHERE = Origin()


def of(outcome: Outcome, home: Origin) -> Outcome:
    """The outcome itself, whose flows remember the folder that the supervisor read their script from.

    That is no fact of theirs: they compare, hash, dump and show themselves as before.
    """
    for flow in (*outcome.flows, *(detail.flow for detail in outcome.details)):
        if flow is not None:
            object.__setattr__(flow, HOME, home)
    return outcome


def home_of(flow: Flow) -> Origin:
    """The folder below which a flow's ``file`` may lead: nowhere for one that no load here has found."""
    home: Origin = getattr(flow, HOME, NOWHERE)
    return home
