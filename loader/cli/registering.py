"""Where the options of a command have deployments created, and the scripts of their flows kept."""

from __future__ import annotations

import argparse
import os

from pydantic import ValidationError

from loader.cli import options
from loader.cli.arguments import UsageError
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import Client
from loader.client.prefect import PrefectServer
from loader.sources import redacted
from loader.storage import KINDS, StorageBlock

KEY = "PREFECT_API_KEY"
"""Environment variable: the key of the Prefect server that ``--api`` names."""


def client(values: argparse.Namespace) -> Client:
    """Where deployments are. Raises ClientError."""
    if values.api is None:
        return EmbeddedRegistry(values.registry, access=options.access(values))
    return PrefectServer(values.api, api_key=os.environ.get(KEY) or None)


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
