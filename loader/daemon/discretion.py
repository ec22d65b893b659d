"""What peers are not told: where the registry is."""

from __future__ import annotations

from loader.answers import Plan, Verdict
from loader.models import Outcome

REGISTRY = "the daemon's registry"


def discreet(model: Outcome | Verdict | Plan) -> Outcome | Verdict | Plan:
    """An answer as a peer is told it."""
    if isinstance(model, Plan) and model.api is not None:
        return model.model_copy(update={"api": REGISTRY})
    return model
