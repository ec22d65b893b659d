"""A Prefect 3 server, or a workspace of Prefect Cloud, as the place where deployments are created.

It keeps no flows, only where their scripts are: ``path``, ``entrypoint`` and ``pull_steps``. A request's
``flow_runner`` has no place there; ``work_pool`` and ``job_variables`` say where a flow runs. What a server's
users set there and no request speaks of, such as whether a deployment is paused, stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Self
from uuid import UUID

from pydantic import SecretStr

from loader.client.interface import (
    Created,
    DeploymentRecord,
    DeploymentRequest,
    FlowRecord,
    Transaction,
)
from loader.client.names import check_texts, check_type, checked_id, quoted
from loader.client.prefect import bodies
from loader.client.prefect.address import address, checked_key
from loader.client.prefect.api import Api
from loader.client.prefect.blocks import NoBlocks
from loader.client.prefect.undo import Journal
from loader.client.prefect.words import shown
from loader.errors import ClientError, ObjectNotFound

FORBIDDEN: Final = "/%&><"
"""What names of flows and deployments may not hold."""
TIMEOUT_CAP: Final = 3600.0


class PrefectServer(NoBlocks):
    """A ``Client`` of the Prefect server whose API is at ``url``, such as ``http://127.0.0.1:4200/api``.

    ``api_key`` goes to that server alone and is in no repr, message or traceback; over plain HTTP it is sent
    to this machine only, unless ``unencrypted_key``. ``timeout`` is how many seconds one request may take
    with its whole answer; one that the server is too busy for is tried up to five times more. With
    ``trust_env`` the proxies of the environment are used, except for this machine. Redirects are errors.

    For many threads, each with transactions of its own; a forked process makes its own. Raises ClientError
    for a URL or key that cannot be used. The first request finds out whether there is a Prefect 3 server.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | str | None = None,
        timeout: float = 10.0,
        trust_env: bool = True,
        unencrypted_key: bool = False,
    ) -> None:
        if not isinstance(timeout, int | float) or not 0 < timeout <= TIMEOUT_CAP:
            raise ClientError(f"cannot wait {timeout!r} seconds for a Prefect server: use up to 3600")
        where = address(url, trust_env=trust_env)
        self._api = Api(where, checked_key(api_key, where, unencrypted=unencrypted_key), float(timeout))
        self._journal = Journal()
        self._flow_names: dict[UUID, str] = {}

    def __repr__(self) -> str:
        return f"<PrefectServer {self.address}>"

    @property
    def address(self) -> str:
        """The API's URL."""
        return str(self._api.address)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """What is created inside is taken back when an exception leaves the block.

        A server has no transactions: others may see what was made before it is taken back, and what cannot be
        taken back is said in a note of the exception. A flow is kept if it has got other deployments.
        """
        return self._journal.transaction()

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()

    def __enter__(self) -> Self:
        """The client itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- flows -----------------------------------------------------------------------------------

    def create_flow(self, name: str) -> Created:
        """Register a flow, or find the one of that name."""
        what = f"create flow {quoted(name)}"
        checked_name(what, name)
        found, new = self._find_flow(what, name), False
        if found is None:
            with self.transaction():
                step = self._journal.note(
                    f"flow {quoted(name)}", lambda made: self._take_back_flow(name, made)
                )
                answer = self._api.ask(what, "POST", "/flows/", {"name": name}, unless=step.forget)
                new = answer.status == 201 or answer.maybe_done
                found = self._flow(what, answer.data, name=name)
                step.made = found.id
                if not new:
                    step.forget()  # somebody else was faster
        return Created(id=found.id, new=new)

    def read_flow(self, flow_id: UUID) -> FlowRecord:
        """The flow of that id."""
        flow_id = checked_id("read flow", flow_id)
        what = f"read flow {flow_id}"
        return self._flow(what, self._api.ask(what, "GET", f"/flows/{flow_id}").data, id=flow_id)

    def _flow(self, what: str, data: Any, **asked: str | UUID) -> FlowRecord:
        """The flow that a server was asked for."""
        found = self._api.made(bodies.flow, what, self._api.matching(what, data, **asked))
        self._flow_names[found.id] = found.name
        return found

    def _find_flow(self, what: str, name: str) -> FlowRecord | None:
        found = self._api.first(what, "/flows/filter", {"flows": named(name)})
        return None if found is None else self._flow(what, found, name=name)

    def _take_back_flow(self, name: str, made: UUID | None) -> None:
        """Delete the flow that was made if it is there and has no deployments.

        Where its id was never learned it is that of this name, which was not there before.
        """
        what = f"delete flow {quoted(name)}"
        found = self._find_flow(what, name)
        if found is None or made not in {None, found.id}:
            return
        of_flow = {"flows": identified(found.id)}
        if self._api.ask(what, "POST", "/deployments/count", of_flow).data == 0:
            self._api.delete(what, f"/flows/{found.id}")
            self._flow_names.pop(found.id, None)

    # --- deployments -----------------------------------------------------------------------------

    def create_deployment(self, deployment: DeploymentRequest) -> Created:
        """Register a deployment, or make the one of the same flow and name just what is requested.

        Parameters must fit ``parameter_schema`` if there is one. Raises ObjectNotFound for a flow or work
        pool that is not there, and ClientError for ``flow_data``, which a server cannot keep.
        """
        check_type("create a deployment", deployment, DeploymentRequest)
        flow_id, name = deployment.flow_id, deployment.name
        of_flow = self._api.clean(self._flow_name(flow_id))
        what = f"create deployment {quoted(name)} of flow {quoted(of_flow)}"
        checked_name(what, name)
        if deployment.flow_data is not None:
            raise ClientError(
                f"cannot {what}: a Prefect server keeps no scripts; give path and entrypoint, or pull steps"
            )
        body = created(what, deployment)
        before = self._find_deployment(what, flow_id, name)
        with self.transaction():
            made = self._upsert(what, body, before)
        return Created(id=made, new=before is None)

    def read_deployment(self, deployment_id: UUID) -> DeploymentRecord:
        """The deployment of that id."""
        deployment_id = checked_id("read deployment", deployment_id)
        what = f"read deployment {deployment_id}"
        answer = self._api.ask(what, "GET", f"/deployments/{deployment_id}")
        raw = self._api.matching(what, answer.data, id=deployment_id)
        flow_name = self._flow_name(self._api.made(lambda item: UUID(item["flow_id"]), what, raw))
        return self._api.made(lambda item: bodies.deployment(item, flow_name), what, raw)

    def read_deployment_by_name(self, flow_name: str, name: str) -> DeploymentRecord:
        """The deployment of that flow and name."""
        what = f"read deployment {quoted(name)} of flow {quoted(flow_name)}"
        check_texts(what, name=name, flow=flow_name)
        flow = self._find_flow(what, flow_name)
        raw = None if flow is None else self._find_deployment(what, flow.id, name)
        if raw is None:
            raise ObjectNotFound(f"cannot {what} on {self.address}: there is none; check both names")
        return self._api.made(lambda item: bodies.deployment(item, flow_name), what, raw)

    def _flow_name(self, flow_id: UUID) -> str:
        return self._flow_names.get(flow_id) or self.read_flow(flow_id).name

    def _find_deployment(self, what: str, flow_id: UUID, name: str) -> dict[str, Any] | None:
        """What the server says of a deployment."""
        wanted = {"flows": identified(flow_id), "deployments": named(name)}
        raw = self._api.first(what, "/deployments/filter", wanted)
        return None if raw is None else self._api.matching(what, raw, name=name, flow_id=flow_id)

    def _upsert(self, what: str, body: dict[str, Any], before: Mapping[str, Any] | None) -> UUID:
        """Create a deployment, or update what was there ``before``; its id."""
        flow_id, name = UUID(body["flow_id"]), body["name"]
        step = self._journal.note(
            f"deployment {quoted(name)}", lambda made: self._take_back_deployment(flow_id, name, before, made)
        )
        step.made = self._make(what, body, unless=step.forget)
        return step.made

    def _make(self, what: str, body: Mapping[str, Any], *, unless: Callable[[], None] | None = None) -> UUID:
        """Make a deployment what ``body`` says; its id."""
        answer = self._api.ask(what, "POST", "/deployments/", body, unless=unless)
        asked = {"name": body["name"], "flow_id": UUID(body["flow_id"])}
        raw = self._api.matching(what, answer.data, **asked)
        made = self._api.made(identity, what, raw)
        if "work_pool_name" not in body and "work_queue_name" not in body and raw.get("work_queue_name"):
            # Creating a deployment again does not take it out of its work pool.
            self._api.ask(what, "PATCH", f"/deployments/{made}", {"work_pool_name": None})
        return made

    def _take_back_deployment(
        self, flow_id: UUID, name: str, before: Mapping[str, Any] | None, made: UUID | None
    ) -> None:
        """Make a deployment again what it was, or delete the one that was made if it was not there."""
        what = f"restore deployment {quoted(name)}"
        if before is not None:
            self._make(what, bodies.restoration(before))
            return
        now = self._find_deployment(what, flow_id, name)
        found = None if now is None else self._api.made(identity, what, now)
        if found is not None and made in {None, found}:
            self._api.delete(what, f"/deployments/{found}")


def identity(raw: Mapping[str, Any]) -> UUID:
    """The id of what a server gave. Raises KeyError, or what ``UUID`` raises for what is none."""
    return UUID(raw["id"])


def named(name: str) -> dict[str, Any]:
    """A filter by name: in a body, where nothing on the way can take a name for a part of a path."""
    return {"name": {"any_": [name]}}


def identified(found: UUID) -> dict[str, Any]:
    """A filter by id."""
    return {"id": {"any_": [str(found)]}}


def checked_name(what: str, name: str) -> None:
    """Raises ClientError for a name that no flow or deployment may have."""
    check_texts(what, name=name)
    if not name or any(character in name for character in FORBIDDEN):
        raise ClientError(f"cannot {what}: a name must not be empty or hold any of {' '.join(FORBIDDEN)}")


def created(what: str, deployment: DeploymentRequest) -> dict[str, Any]:
    """The body that creates ``deployment``. Raises ClientError for a schedule that is none."""
    try:
        return bodies.creation(deployment)
    except (TypeError, ValueError) as error:
        raise ClientError(f"cannot {what}: {shown(str(error))}; correct its schedule") from None
