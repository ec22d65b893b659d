"""Deployment specs on the trusted side: what one may hold. Pure; ``loader.validation`` says what fits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Self, cast
from uuid import UUID

from pydantic import BeforeValidator, InstanceOf, PlainValidator, PrivateAttr, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError, PydanticSerializationError, to_jsonable_python

from loader import flow_runners, schedules, storage
from loader.declared import Shared, declared, refused
from loader.prefect_part import PrefectPart
from loader.sources import Origin
from worker.protocol import SPEC, Flow, brief

if TYPE_CHECKING:
    from loader.client.interface import Client

KeyPath = tuple[str | int, ...]
"""Keys and list indices from a spec's own keys."""
MOST, CUT = 20, 500
"""Mistakes of one kind that are told, and characters of each."""
NESTED = "nested"
"""The type of an error that stands for several of a part, which ``mistakes`` takes apart."""


def part(kind: type[Shared], values: Any, info: ValidationInfo, under: KeyPath = ()) -> Any:
    """One part of a spec as a model; its mistakes keep the keys under which they are."""
    if not isinstance(values, Mapping):
        raise refused(PLAINER["dict_type"])
    known = {name: value for name, value in values.items() if name in kind.model_fields}
    made: Any = None
    found: list[tuple[KeyPath, str]] = []
    try:
        made = kind.model_validate(known, context=info.context)
    except ValidationError as error:
        told = mistakes(error)
        for path, message in told:
            steps = (step if isinstance(step, int) else encodable(step) for step in path)
            found.append(((*under, *steps), encodable(message)))
    strange = (name for name in values if name not in kind.model_fields)
    found += [((*under, encodable(name)), PLAINER["extra_forbidden"]) for name in islice(strange, MOST)]
    if found:
        said = "; ".join(f"{dotted(path)}: {message}" if path else message for path, message in found)
        raise PydanticCustomError(NESTED, "{said}", {"said": said, "found": found})
    return made


def encodable(name: Any) -> str:
    """A text as a message can hold it: cut, and what is no UTF-8 text written as its number."""
    return str(name)[:CUT].encode(errors="backslashreplace").decode()


def a_schedule(value: Any, info: ValidationInfo) -> Any:
    """A schedule, or a mapping of one's fields."""
    if isinstance(value, schedules.Schedule):
        return value
    named = ", ".join(schedules.KINDS)
    told = [name for name in schedules.KINDS if isinstance(value, Mapping) and name in value]
    if not told:
        raise refused("a schedule is due: a mapping with one of {named}", named=named)
    if len(told) > 1:
        raise refused("a schedule has one of {named}, and not several", named=named)
    return part(schedules.KINDS[told[0]], value, info)


def a_runner(value: Any, info: ValidationInfo) -> Any:
    """A flow runner, the name of one, or its settings. Settings without a type stay what they are."""
    if isinstance(value, flow_runners.FlowRunnerBase):
        return value
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, flow_runners.FlowRunnerSettings):
        if not isinstance(value, Mapping):
            raise refused("a flow runner is due: its type, or a mapping of type and config")
        value = part(flow_runners.FlowRunnerSettings, value, info)
    held: dict[str, Any] = dict(value)
    if held["type"] is None:
        return value
    kind = flow_runners.KINDS.get(held["type"])
    if kind is None:
        raise unknown_kind("flow runner", held["type"], flow_runners.KINDS)
    return part(kind, held["config"] or {}, info, ("config",))


def a_storage(value: Any, info: ValidationInfo) -> Any:
    """A storage block, a mapping of its type and config, or the UUID of one that the client knows."""
    if isinstance(value, (storage.StorageBlock, UUID)):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            raise refused("a storage block is due: its UUID, or a mapping of type and config") from None
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise refused("a storage block is due: its UUID, or a mapping of type and config")
    for name in value:
        if name not in {"type", "config"}:
            raise refused("a storage block has a type and a config, and no {name}", name=repr(name)[:100])
    kind = storage.KINDS.get(value["type"])
    if kind is None:
        raise unknown_kind("storage block", value["type"], storage.KINDS)
    return part(kind, value.get("config") or {}, info, ("config",))


def unknown_kind(what: str, name: str, known: Mapping[str, Any]) -> PydanticCustomError:
    """What is said of a runner or a block that does not exist."""
    close = get_close_matches(name[:100], known, 1)
    guess = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, known))}"
    return refused("there is no {what} {name}; {guess}", what=what, name=repr(name[:100]), guess=guess)


def json_compatible(value: Any) -> Any:
    """Parameters as JSON-compatible data: pydantic models, dates and the like are written out."""
    if not isinstance(value, Mapping):
        return value
    found = {}
    for name, item in value.items():
        try:
            found[name] = to_jsonable_python(item, inf_nan_mode="strings")
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            reason = str(error)[:200]
            message = "the parameter {name} has no JSON form: {reason}"
            raise refused(message, name=repr(name)[:100], reason=reason) from None
    return found


def a_location(value: Any) -> Any:
    """A path object as text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


TYPES = {
    "flow": InstanceOf[Flow],
    "location": Annotated[str, BeforeValidator(a_location)],
    "flow_storage": Annotated[Any, PlainValidator(a_storage)],
    "schedule": Annotated[Any, PlainValidator(a_schedule)],
    "flow_runner": Annotated[Any, PlainValidator(a_runner)],
    "mapping": Annotated[dict[str, Any], BeforeValidator(json_compatible)],
}


PLAINER = {
    "extra_forbidden": "there is no such field",
    "missing": "it must be given",
    "string_type": "text is due",
    "tuple_type": "a list of texts is due",
    "dict_type": "a mapping is due",
    "bool_parsing": "true or false is due",
    "bool_type": "true or false is due",
}
"""What is said instead of pydantic's own words, by its type of error."""


class SpecBase(Shared):
    """What every deployment spec can do."""

    _place: tuple[str | None, int | None] = PrivateAttr((None, None))
    _problems: tuple[str, ...] = PrivateAttr(())
    _origin: Origin | None = PrivateAttr(None)
    _prefect: PrefectPart | None = PrivateAttr(None)

    if TYPE_CHECKING:
        name: str | None = None
        flow: Flow | None = None
        flow_name: str | None = None
        flow_location: str | None = None
        flow_storage: storage.StorageBlock | UUID | None = None
        parameters: dict[str, Any] | None = None
        schedule: schedules.Schedule | None = None
        tags: tuple[str, ...] | None = None
        flow_runner: flow_runners.FlowRunnerBase | Shared = flow_runners.UniversalFlowRunner()

    @property
    def file(self) -> str | None:
        """Where it was made: an absolute path or URL; None where nobody knows."""
        return self._place[0]

    @property
    def line(self) -> int | None:
        """The line of its call, or of its first key; counts from 1."""
        return self._place[1]

    @property
    def problems(self) -> tuple[str, ...]:
        """What its script says of it that cannot be used."""
        return self._problems

    @property
    def origin(self) -> Origin | None:
        """The folder below which somebody else's words may lead; None for the caller's own."""
        return self._origin

    @property
    def prefect(self) -> PrefectPart | None:
        """What else a ``prefect.yaml`` says of it; None for a spec from anywhere else."""
        return self._prefect

    def of_prefect(self, part: PrefectPart | None) -> Self:
        """The same spec with what else a ``prefect.yaml`` says of it."""
        copy = self.model_copy()
        copy._prefect = part  # noqa: SLF001 - its own
        return copy

    def at(
        self,
        file: str | None,
        line: int | None,
        *,
        origin: Origin | None = None,
        problems: tuple[str, ...] = (),
    ) -> Self:
        """The same spec, made at that place by whoever wrote what is in ``origin``."""
        copy = self.model_copy()
        copy._place, copy._origin, copy._problems = (file, line), origin, problems  # noqa: SLF001 - its own
        return copy

    def with_values(self, **values: Any) -> Self:
        """The same spec with other values, which are checked."""
        given = {name: getattr(self, name) for name in type(self).model_fields} | values
        made = type(self)(**given).of_prefect(self.prefect)
        return made.at(self.file, self.line, origin=self.origin, problems=self.problems)

    def validate(self, client: Client | None = None, **options: Any) -> Self:  # type: ignore[override]
        """The same spec with everything filled in, if a deployment can be made of it.

        Its flow is found in a worker. ``client`` is asked for storage; by default the embedded registry.
        What may surprise its author is a warning. ``options`` are those of ``load_flow_from_script``.
        Raises SpecValidationError, ClientError and whatever loading a script raises.
        """
        from loader import deploying  # noqa: PLC0415 - it needs this module

        found: Any = deploying.validate(self, client, **options)
        return cast("Self", found)

    async def validate_async(self, client: Client | None = None, **options: Any) -> Self:
        """As ``validate``, without blocking the event loop."""
        from loader import deploying  # noqa: PLC0415 - it needs this module

        found: Any = await deploying.in_thread(deploying.validate, self, client, **options)
        return cast("Self", found)

    def create_deployment(self, client: Client | None = None, **options: Any) -> UUID:
        """Validate, and create the deployment or update the one of that name; returns its id.

        After a failure nothing of it is left. Raises as ``validate``, and StorageError.
        """
        from loader import deploying  # noqa: PLC0415 - it needs this module

        return deploying.create(self, client, **options)

    async def create_deployment_async(self, client: Client | None = None, **options: Any) -> UUID:
        """As ``create_deployment``, without blocking the event loop. What has begun is not cancelled."""
        from loader import deploying  # noqa: PLC0415 - it needs this module

        return await deploying.in_thread(deploying.create, self, client, **options)

    def __hash__(self) -> int:
        return hash((self._place, self.name, self.flow_name, self.flow_location, self.tags))

    def __repr__(self) -> str:
        return brief("DeploymentSpec", self.name or self.flow_name, self.file, self.line)

    __str__ = __repr__


if TYPE_CHECKING:
    DeploymentSpec = SpecBase
else:
    DeploymentSpec = declared("DeploymentSpec", SpecBase, SPEC, "What a deployment is to be.", TYPES)


def mistakes(error: ValidationError) -> list[tuple[KeyPath, str]]:
    """What is wrong with a spec: for each mistake the keys that lead to it, and a message."""
    found: list[tuple[KeyPath, str]] = []
    for item in error.errors(include_url=False, include_input=False)[:MOST]:
        place = tuple(item["loc"])
        if item["type"] == NESTED:
            found += [((*place, *path), message) for path, message in item["ctx"]["found"]]
        else:
            found.append((place, PLAINER.get(item["type"], item["msg"])))
    return [(path, message if len(message) <= CUT else message[:CUT] + "…") for path, message in found]


def dotted(path: KeyPath) -> str:
    """A path as people write it: ``schedule.interval``."""
    return ".".join(str(step)[:100] for step in path)
