"""The library's functions on manifests and on deployments that exist: metadata out, nothing run here."""

from __future__ import annotations

import asyncio
import base64
import os
import posixpath
import re
from typing import Any, TypedDict, Unpack
from uuid import UUID

from loader import deploying, manifests, sources
from loader.access import DEFAULT, Access
from loader.api import Location, Place
from loader.client.interface import Client, DeploymentRecord
from loader.errors import ManifestError
from loader.finding import permitted
from loader.models import Outcome
from loader.raising import checked
from loader.selection import select_flow
from loader.shared import loader_for
from loader.specs import DeploymentSpec
from worker.protocol import Flow

PROFILE = "strict"
"""What a deployment's flow is loaded under: whoever wrote the record is nobody that we know."""
PICKLE = "import base64, pickle\nflow = pickle.loads(base64.b64decode({!r}))\n"
"""The script that opens a pickle, in a worker like every other script."""
PICKLED = b"\x80"
"""How every pickle since protocol 2 begins, and no script."""
SCRIPT = re.compile(r"(/|[A-Za-z][A-Za-z0-9+.-]*://)[^\n]*\.py")
"""A text that says where a script is. Other texts are scripts."""
ENTRYPOINT = re.compile(r"([^:\n]+\.py):[^:\n]+")


class RecordOptions(TypedDict, total=False):
    """How the flow of a deployment is loaded."""

    timeout: float | None
    root: Location | None
    access: Access


def deployment_specs_from_yaml(
    path: Location, *, root: Location | None = None, access: Access = DEFAULT
) -> dict[DeploymentSpec, Place]:
    """The deployment specs of a manifest, in order, each with its file and the line of its first key.

    Several documents and lists of specs are read. Relative locations are relative to the manifest's folder;
    what they name must lie in it, or in ``root``. Raises SourceError, and ManifestError that lists every
    mistake and holds the specs that have none.
    """
    location = os.fspath(path)
    origin = sources.origin_of(sources.folder_of(location) if root is None else root)
    entries = manifests.parse(sources.fetch(location, access, origin), location, origin)
    shown = sources.display(location)
    found: dict[DeploymentSpec, Place] = {}
    for entry in entries:
        if entry.spec is not None:
            spec = entry.spec.at(shown, entry.spec.line, origin=origin)
            found[spec] = Place(file=spec.file, line=spec.line)
    if any(entry.problems for entry in entries):
        raise ManifestError(manifests.explain(shown, entries), found)
    return found


async def deployment_specs_from_yaml_async(
    path: Location, *, root: Location | None = None, access: Access = DEFAULT
) -> dict[DeploymentSpec, Place]:
    """As ``deployment_specs_from_yaml``, without blocking the event loop."""
    return await asyncio.to_thread(deployment_specs_from_yaml, path, root=root, access=access)


def load_flow_from_deployment(
    deployment: DeploymentRecord | UUID,
    client: Client | None = None,
    *,
    timeout: float | None = None,
    root: Location | None = None,
    access: Access = DEFAULT,
) -> Flow:
    """The flow of a deployment, which a worker finds in its data: a script's text or location, or a pickle.

    A location must lie below ``root``, for a record may name no other file; of a scheme that ``access``
    links it may be anywhere. ``client`` is where the data is read, by default the embedded registry.
    Raises TypeError when the data is none of these, ClientError, SourceError, SelectionError, and the
    exception of a load that failed.
    """
    top = sources.pinned(root)
    with deploying.at(client, access) as where:
        record = where.read_deployment(deployment) if isinstance(deployment, UUID) else deployment
        data = script_of(record, top) if record.flow_data is None else where.resolve_datadoc(record.flow_data)
    who = f"deployment {record.name!r}"
    if isinstance(data, bytes) and data.startswith(PICKLED):
        outcome = text_loaded(PICKLE.format(base64.b64encode(data).decode()), "<pickle>", timeout)
        if not outcome.flows:
            raise TypeError(f"cannot load the flow of {who}: its pickle holds no flow")
    elif isinstance(data, str) and (record.flow_data is None or SCRIPT.fullmatch(data.strip())):
        below, access = permitted(data.strip(), access, top, sources.Origin(), who)
        loader = loader_for(PROFILE)
        outcome = checked(loader.load(data.strip(), timeout=timeout, root=below, access=access))
    elif isinstance(data, (str, bytes)):
        outcome = text_loaded(data, f"<{who}>", timeout)
    else:
        kind = type(data).__name__
        raise TypeError(
            f"cannot load the flow of {who}: its data is a {kind}, and neither a location, a script's text"
            " nor a pickle"
        )
    return select_flow(outcome.flows, record.flow_name, f"in {who}")


async def load_flow_from_deployment_async(
    deployment: DeploymentRecord | UUID, client: Client | None = None, **options: Unpack[RecordOptions]
) -> Flow:
    """As ``load_flow_from_deployment``, without blocking the event loop."""
    return await deploying.in_thread(load_flow_from_deployment, deployment, client, **options)


def text_loaded(text: str | bytes, name: str, timeout: float | None) -> Outcome:
    """What a script that has no file holds. Raises the exception of a load that failed."""
    return checked(loader_for(PROFILE).load_text(text, name=name, timeout=timeout))


def script_of(record: DeploymentRecord, root: Location | None) -> Any:
    """Where a deployment without data of its own says that its script is; None when it does not.

    A relative path is relative to ``root``.
    """
    matched = ENTRYPOINT.fullmatch(record.entrypoint or "")
    if matched is None:
        return None
    location = posixpath.join(record.path or "", matched[1])
    return location if "://" in location else os.path.join(root or "", location)
