"""Where the options of a command have deployments created, and the scripts of their flows kept."""

from __future__ import annotations

import argparse
import os

from pydantic import ValidationError

from loader.cli import load, options
from loader.cli.arguments import UsageError
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import Client
from loader.flow_loader import PlanOptions
from loader.sources import redacted
from loader.storage import KINDS, StorageBlock

REGISTRY = "FLOW_LOADER_REGISTRY"
KEY = "PREFECT_API_KEY"
"""Environment variable: the key of the Prefect server that ``--api`` names."""


def client(values: argparse.Namespace) -> Client:
    """Where deployments are. Raises ClientError."""
    if values.api is None:
        return EmbeddedRegistry(values.registry, access=options.access(values))
    from loader.client.prefect import PrefectServer  # noqa: PLC0415 - others need not wait for it

    return PrefectServer(values.api, api_key=os.environ.get(KEY) or None)


def chosen(values: argparse.Namespace) -> bool:
    """Whether the caller names a place; otherwise a daemon takes its own, which may be granted to others."""
    named = values.registry is not None or values.api is not None or os.environ.get(REGISTRY)
    return bool(named) or options.address(values) is None


def how(values: argparse.Namespace, client: Client) -> PlanOptions:
    """How specs are judged. Raises UsageError, SourceError."""
    return {
        "text": load.text_of(values),
        "client": client if chosen(values) else None,
        "storage": storage(values),
        "timeout": values.timeout,
        "root": values.root,
        "access": options.access(values),
    }


def storage(values: argparse.Namespace) -> StorageBlock | None:
    """Where the flows of specs that name no storage are kept. Raises UsageError."""
    if values.storage is None:
        return None
    place = values.storage if "://" in values.storage else os.path.abspath(values.storage)
    try:
        return KINDS["File Storage"].model_validate({"base_path": place})
    except ValidationError as error:
        said = error.errors(include_input=False)[0]["msg"]
        raise UsageError(f"cannot use the storage {redacted(place)}: {said}") from None
