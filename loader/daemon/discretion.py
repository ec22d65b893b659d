"""What peers are not told: what lies above their folders, and where the registry is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loader.answers import Plan, Verdict
from loader.models import Outcome

REGISTRY = "the daemon's registry"


def discreet(model: Outcome | Verdict | Plan) -> Outcome | Verdict | Plan:
    """An answer as a peer is told it."""
    if isinstance(model, Outcome):
        return unhinted(model)
    told: dict[str, Any] = {"outcome": unhinted(model.outcome)}
    if isinstance(model, Plan) and model.api is not None:
        told["api"] = REGISTRY
    return model.model_copy(update=told)


def unhinted(outcome: Outcome) -> Outcome:
    """The outcome for one who may not know what lies above the folder of the script."""
    error = outcome.error
    if error is None or error.type != "ModuleNotFoundError":
        return outcome
    return outcome.model_copy(update={"error": replace(error, hint=None)})
