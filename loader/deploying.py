"""From a spec to a deployment: validate, keep the script where it belongs, register everything or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

from loader import packing, packing_prefect
from loader.access import DEFAULT, Access, Blocks
from loader.client import documents
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import BlockRecord, Client, Created, DeploymentRecord
from loader.errors import ClientError, ObjectNotFound, SpecValidationError, StorageError
from loader.finding import Finder
from loader.prefect_part import PrefectPart
from loader.shared import loader_for
from loader.sources import folder_of, pinned
from loader.storage import StorageBlock
from loader.stores import store_of
from loader.stores.store import Kept
from loader.validation import Surroundings, ValidSpec, validated

if TYPE_CHECKING:
    from loader.specs import DeploymentSpec

P = ParamSpec("P")
T = TypeVar("T")
NUMBERS = 8
"""Names of storage blocks for one deployment that end in a number; later ones end in a random id."""
UNTOLD = (
    "cannot use the registry, or the storage that it lends: only its owner is told why; have the owner ask"
    " the same"
)


def validate(spec: DeploymentSpec, client: Client | None = None, **options: Any) -> DeploymentSpec:
    """The spec with everything filled in; what may surprise its author is a warning.

    Raises SpecValidationError, ClientError, SourceError, SelectionError, LoadError.
    """
    with at(client) as where:
        valid = deployer(where, **options).valid(spec)
    tell(valid)
    return valid.spec


def create(spec: DeploymentSpec, client: Client | None = None, **options: Any) -> UUID:
    """Create the deployment, or update the one of that name; returns its id.

    Raises as ``validate``, and StorageError.
    """
    with at(client) as where:
        work = deployer(where, **options)
        valid = work.valid(spec)
        tell(valid)
        return work.create(valid).id


async def in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What ``function`` returns, without blocking the event loop."""
    return await asyncio.to_thread(partial(function, *arguments, **options))


def tell(valid: ValidSpec) -> None:
    """Warn of what may surprise the spec's author."""
    for message in valid.warnings:
        warnings.warn(message, stacklevel=4)


@contextlib.contextmanager
def at(client: Client | None, access: Access = DEFAULT) -> Iterator[Client]:
    """The client, or the embedded registry for as long as it is needed."""
    if client is not None:
        yield client
        return
    with EmbeddedRegistry(access=access) as opened:
        yield opened


def is_wanted(record: BlockRecord, valid: ValidSpec) -> bool:
    """Whether a block is of the very storage that a spec is to have."""
    return (record.type, dict(record.config)) == (valid.storage.block_name, valid.storage.plain())


def project_of(valid: ValidSpec) -> str:
    """The folder of the project that a spec is of: that of its file."""
    return folder_of(valid.spec.file or "")


def deployer(
    client: Client,
    *,
    profile: str = "strict",
    access: Access = DEFAULT,
    root: str | os.PathLike[str] | None = None,
    **how: Any,
) -> Deployer:
    """What one call needs, with the process's loader for that profile. Raises SourceError."""
    return Deployer(client, Finder(loader_for(profile), access, root=pinned(root), **how))


@dataclass
class Deployer:
    """Validates specs and creates deployments of them at one client.

    ``storage`` is for specs that name none, before the client's own default.
    """

    client: Client
    finder: Finder
    work_pool: str | None = None
    storage: StorageBlock | None = None

    def valid(self, spec: DeploymentSpec) -> ValidSpec:
        """The spec with everything filled in. Raises as ``validate``."""
        given = Surroundings(self.finder.flow, self.default_storage, self.read_block, told=self.told)
        with self.discreet():
            return validated(spec, given)

    @property
    def told(self) -> bool:
        """Whether the caller may know what the client has."""
        return self.finder.access.blocks is Blocks.ANY

    def default_storage(self) -> BlockRecord | StorageBlock | None:
        """The storage of specs that name none."""
        if self.storage is not None or self.finder.access.blocks is Blocks.NONE:
            return self.storage
        return self.client.get_default_storage_block()

    def read_block(self, block_id: UUID) -> BlockRecord:
        """The storage block that a spec names. Raises SpecValidationError, ClientError."""
        if self.told:
            return self.client.read_block(block_id)
        raise SpecValidationError(
            f"cannot use the storage block with id {block_id}: registered storage is not yours to name; give"
            " the storage itself as `flow_storage`, or none"
        )

    @contextlib.contextmanager
    def discreet(self, valid: ValidSpec | None = None) -> Iterator[None]:
        """What goes wrong inside with what is not the caller's to know is told without its name."""
        try:
            yield
        except (ClientError, StorageError) as error:
            own = valid is not None and not valid.trusted and not valid.storage.is_unplaced
            if self.told or (own and isinstance(error, StorageError)):
                raise
            raise StorageError(UNTOLD) from None

    def existing(self, valid: ValidSpec) -> DeploymentRecord | None:
        """The deployment of that flow and name, if there is one already. Raises ClientError."""
        try:
            return self.client.read_deployment_by_name(valid.flow.name, valid.spec.name or "")
        except ObjectNotFound:
            return None

    def rehearse(self, valid: ValidSpec) -> UUID | None:
        """Check what can be checked before creating; returns the id of the deployment that is there already.

        Raises SpecValidationError, StorageError, ClientError.
        """
        if self.client.keeps_flows or not valid.storage.is_local:
            store_of(valid.storage, self.finder.access, trusted=valid.trusted)
        if not self.client.keeps_flows:
            self.check_for_server(valid)
        if not self.client.keeps_flows and valid.storage.is_local and valid.spec.prefect is None:
            packing.steps_to(folder_of(valid.spec.flow_location or ""), valid)
        before = self.existing(valid)
        return before.id if before else None

    def create(self, valid: ValidSpec) -> Created:
        """Create the deployment or update it. After a failure nothing is left of it.

        Raises SourceError, StorageError, ClientError.
        """
        if valid.spec.prefect is not None:
            return self.of_project(valid, valid.spec.prefect)
        content = self.finder.content(valid.spec)
        if self.client.keeps_flows:
            return self.kept(valid, content)
        return self.pointed_to(valid, content)

    def check_for_server(self, valid: ValidSpec) -> None:
        """Raise SpecValidationError for what a Prefect server would not take as it is written."""
        packing.check_for_server(valid)
        if valid.spec.prefect is not None:
            packing_prefect.check(valid, valid.spec.prefect, project_of(valid))

    def of_project(self, valid: ValidSpec, part: PrefectPart) -> Created:
        """A deployment of a project is registered as it is: its workers pull the project."""
        if not self.client.keeps_flows:
            self.check_for_server(valid)
        with self.client.transaction():
            flow = self.client.create_flow(valid.flow.name)
            request = packing_prefect.request(valid, part, flow.id, project_of(valid), self.work_pool)
            return self.client.create_deployment(request)

    def kept(self, valid: ValidSpec, content: bytes) -> Created:
        """The script goes to storage, and the client keeps where it is."""
        store = store_of(valid.storage, self.finder.access, trusted=valid.trusted)
        before = self.existing(valid)
        with store.kept(content) as kept, self.client.transaction() as kept.by:
            flow = self.client.create_flow(valid.flow.name)
            block = valid.block_id or self.same_block(valid, before) or self.named_block(valid)
            data = documents.blockstorage(kept.key, block)
            made = self.client.create_deployment(packing.request(valid, flow.id, flow_data=data))
        if made.left is not None and kept.by.done:
            key, before_in = documents.parse_blockstorage(made.left)
            if before_in == block:
                store.give_up(key)
        return made

    def same_block(self, valid: ValidSpec, before: DeploymentRecord | None) -> UUID | None:
        """The block that the deployment had before, if it is the one that is wanted now."""
        if before is None or before.flow_data is None or before.flow_data.encoding != "blockstorage":
            return None
        _, block_id = documents.parse_blockstorage(before.flow_data)
        try:
            record = self.client.read_block(block_id)
        except ObjectNotFound:
            return None
        return block_id if is_wanted(record, valid) else None

    def named_block(self, valid: ValidSpec) -> UUID:
        """The spec's storage block: one that is registered for its like, or a new one under a free name."""
        stem = f"{valid.flow.name}-{valid.spec.name}-{valid.flow.version}"
        name = f"{stem}-{uuid4()}"
        for number in range(NUMBERS):
            try:
                record = self.client.read_block_by_name(f"{stem}-{number}")
            except ObjectNotFound:
                name = f"{stem}-{number}"
                break
            if is_wanted(record, valid):
                return record.id
        return self.client.create_block(name, valid.storage.block_name, valid.storage.plain())

    def pointed_to(self, valid: ValidSpec, content: bytes) -> Created:
        """The client is told how a worker gets the script: from where it is, or from where it is put."""
        if valid.storage.is_local:
            return self.registered(valid, folder_of(valid.spec.flow_location or ""), Kept(""))
        store = store_of(valid.storage, self.finder.access, trusted=valid.trusted)
        name = packing.kept_as(valid, content)
        folder = folder_of(store.location(name))
        packing.steps_to(folder, valid)  # before anything is written
        with store.placed(name, content) as kept:
            return self.registered(valid, folder, kept)

    def registered(self, valid: ValidSpec, folder: str, kept: Kept) -> Created:
        """The flow and the deployment whose script a worker finds in ``folder``, where it may be ``kept``."""
        self.check_for_server(valid)
        steps = packing.steps_to(folder, valid)
        with self.client.transaction() as kept.by:
            flow = self.client.create_flow(valid.flow.name)
            request = packing.request(
                valid, flow.id, folder=folder, pull_steps=steps, work_pool=self.work_pool
            )
            return self.client.create_deployment(request)
