"""Whether a deployment can be made of a spec: the steps in their order. Pure but for what it asks its caller.

Source of order and messages: ``DeploymentSpec.validate`` of Prefect 2.0b5.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from loader.client.interface import BlockRecord
from loader.errors import SpecValidationError
from loader.escape import line
from loader.flow_runners import FlowRunnerBase
from loader.keeping import block_of
from loader.specs import DeploymentSpec, mistakes
from loader.storage import LocalStorageBlock, StorageBlock
from worker.protocol import Flow

NO_STORAGE = (
    "You have not configured default storage on the server or set a storage to use for this deployment"
)
LOCAL_STORAGE = "You have configured local storage"
THIS_MACHINE = "this deployment will only be usable from the current machine"
NOT_LENT = "The machine's own folders are not lent to you. Using the storage of specs that name none."
PROBLEMS = 20
"""What is told of all that a worker may say is wrong with one spec."""
BASE_RUNNER = (
    "The base `FlowRunner` type cannot be used. Provide a flow runner implementation or flow runner settings"
    " instead."
)


@dataclass(frozen=True)
class Surroundings:
    """What validating asks for.

    ``find_flow`` gives the flow at a location, by name if there is one; ``default_storage`` and
    ``read_block`` ask the client. Each may raise whatever its work raises. ``told`` is whether the caller may
    know what the default storage is.
    """

    find_flow: Callable[[DeploymentSpec], Flow]
    default_storage: Callable[[], BlockRecord | StorageBlock | None]
    read_block: Callable[[UUID], BlockRecord]
    told: bool = True


@dataclass(frozen=True)
class ValidSpec:
    """A spec of which a deployment can be made, with everything filled in.

    ``block_id`` is that of its storage where the client has it already; ``trusted`` says that the caller
    chose it, and not somebody else's spec.
    """

    spec: DeploymentSpec
    flow: Flow
    runner: FlowRunnerBase
    storage: StorageBlock
    block_id: UUID | None = None
    trusted: bool = False
    warnings: tuple[str, ...] = ()


def validated(spec: DeploymentSpec, given: Surroundings) -> ValidSpec:
    """The spec with everything filled in. Raises SpecValidationError, and what ``given`` raises."""
    if spec.flow is None and spec.flow_location is None:
        raise SpecValidationError("Either `flow_location` or `flow` must be provided.")
    flow = spec.flow or given.find_flow(spec)
    location = location_of(spec, flow)
    if spec.flow_name is not None and spec.flow_name != flow.name:
        raise SpecValidationError(
            f"`flow.name` and `flow_name` must match. Got {flow.name!r} and {spec.flow_name!r}."
        )
    name = spec.name or named_after(flow)
    runner = spec.flow_runner
    if not isinstance(runner, FlowRunnerBase):
        raise SpecValidationError(BASE_RUNNER)
    own = named_in(spec, given)
    told = given.told or own is not None
    if spec.prefect is not None:  # its worker pulls the project, and keeps to its work pool
        storage, block_id, trusted, warnings = LocalStorageBlock(), None, False, spec.prefect.warnings
    else:
        asked, block_id, trusted = storage_of(spec, own, given)
        storage, warnings = judged(runner.kind, asked, told=told)
        warnings += (NOT_LENT,) if own is not spec.flow_storage else ()
    if spec.problems:
        raise SpecValidationError("; ".join(map(line, spec.problems[:PROBLEMS])))
    filled = spec.with_values(
        name=name,
        flow=flow,
        flow_name=flow.name,
        flow_location=location,
        flow_storage=(block_id or storage) if told else None,
    )
    return ValidSpec(filled, flow, runner, storage, block_id, trusted, warnings)


def location_of(spec: DeploymentSpec, flow: Flow) -> str:
    """Where the flow's script is: absolute when it is local. Raises SpecValidationError."""
    given, file = spec.flow_location, flow.file
    if given is None:
        if file is None:
            raise SpecValidationError(
                f"cannot find out where the flow {flow.name!r} is: it has no file; give a `flow_location`"
            )
        return file
    location = given if "://" in given else os.path.abspath(given)
    if spec.flow is not None and file is not None and "://" not in given and location != file:
        raise SpecValidationError(
            f"The given flow location {location!r} does not match the path of the given flow: {file!r}."
        )
    return location


def named_after(flow: Flow) -> str:
    """A deployment's name where none is given: the flow's, which must be one. Raises SpecValidationError."""
    try:
        return DeploymentSpec(name=flow.name).name or ""
    except ValidationError as error:
        raise SpecValidationError("; ".join(message for _, message in mistakes(error))) from None


def named_in(spec: DeploymentSpec, given: Surroundings) -> StorageBlock | UUID | None:
    """The storage that a spec names; folders of this machine's user are not for callers who are not told."""
    asked = spec.flow_storage
    unlent = not given.told and isinstance(asked, StorageBlock) and asked.is_unplaced
    return None if unlent else asked


def storage_of(
    spec: DeploymentSpec, asked: StorageBlock | UUID | None, given: Surroundings
) -> tuple[StorageBlock | None, UUID | None, bool]:
    """The spec's storage or the default, its id where it is registered, and whether the caller trusts it."""
    if isinstance(asked, StorageBlock):
        return asked, None, spec.origin is None
    found = given.default_storage() if asked is None else given.read_block(asked)
    if isinstance(found, BlockRecord):
        return block_of(found), found.id, True
    return found, None, True


def judged(runner: str, storage: StorageBlock | None, *, told: bool) -> tuple[StorageBlock, tuple[str, ...]]:
    """Whether the runner can read from that storage, and what its author is to be ``told``.

    Raises SpecValidationError.
    """
    if runner == "subprocess":
        if not told:
            return storage or LocalStorageBlock(), ()
        if storage is None:
            return LocalStorageBlock(), (f"{NO_STORAGE}. Using local storage; {THIS_MACHINE}.",)
        return storage, ((f"{LOCAL_STORAGE}, {THIS_MACHINE}.",) if storage.is_local else ())
    needs = f"this deployment is using a {runner.capitalize()} flow runner which requires remote storage"
    if not told and (storage is None or storage.is_local):
        raise SpecValidationError(f"No storage is named or lent to you but {needs}.")
    if storage is None:
        raise SpecValidationError(f"{NO_STORAGE} but {needs}.")
    if storage.is_local:
        raise SpecValidationError(f"{LOCAL_STORAGE} but {needs}.")
    return storage, ()
