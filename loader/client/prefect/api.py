"""A Prefect server's REST API: one request, and either what it gave or the exception that says why not."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import SecretStr

from loader.client.prefect.address import Address
from loader.client.prefect.http import NOT_JSON, Answer, Connection
from loader.client.prefect.refusals import refusal
from loader.client.prefect.words import struck, without
from loader.errors import ClientError, ObjectNotFound

MAJOR: Final = 3
VERSION: Final = re.compile(r"(\d{1,4})\.[0-9A-Za-z.+-]{1,60}")
GAVE_UP: Final = (408, 425, 499)
"""Something on the way gave up: what it stands before may have done what was asked."""
T = TypeVar("T")


class Api:
    """The API at ``address``. ``what`` says in every error what was to be done."""

    def __init__(self, address: Address, key: SecretStr | None, timeout: float) -> None:
        self.address = address
        self._key = key
        self._connection = Connection(address, key, timeout)
        self._checking, self._checked = threading.Lock(), address.is_cloud

    def __repr__(self) -> str:
        return f"<Api {self.address}>"

    def ask(
        self, what: str, method: str, path: str, body: Any = None, *, unless: Callable[[], None] | None = None
    ) -> Answer:
        """What the server gave; ``unless`` is called when it is sure that it did nothing.

        Raises ClientError, or ObjectNotFound or ObjectAlreadyExists where that is what a refusal says.
        """
        self._check(what)
        answer = self._connection.ask(what, method, path, body)
        if 200 <= answer.status < 300 and answer.data is not NOT_JSON:
            return answer
        refused = 300 <= answer.status < 500 and answer.status not in GAVE_UP
        if unless is not None and refused and not answer.maybe_done:
            unless()
        raise refusal(what, answer, self.address, self._key)

    def ask_for(self, make: Callable[[Any], T], what: str, method: str, path: str, body: Any = None) -> T:
        """What ``make`` makes of what the server gave."""
        return self._judged(make, what, self.ask(what, method, path, body).data)

    def first(self, what: str, path: str, wanted: dict[str, Any]) -> dict[str, Any] | None:
        """The first of the things that a filter finds."""
        found = self.ask_for(list_of_dicts, what, "POST", path, {**wanted, "limit": 1})
        return found[0] if found else None

    def delete(self, what: str, path: str) -> None:
        """Delete what is there, if it is."""
        try:
            self.ask(what, "DELETE", path)
        except ObjectNotFound:
            return

    def made(self, make: Callable[[Any], T], what: str, data: Any) -> T:
        """What ``make`` makes of ``data`` without the key in it. Raises ClientError when it cannot."""
        return self._judged(lambda raw: make(struck(raw, self._secret())), what, data)

    def _judged(self, make: Callable[[Any], T], what: str, data: Any) -> T:
        try:
            return make(data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            pass  # the cause would repeat foreign data
        raise ClientError(
            f"cannot {what} on {self.address}: its answer is not what a Prefect {MAJOR} server gives;"
            " check that the URL is a Prefect server's"
        )

    def matching(self, what: str, data: Any, **asked: str | UUID) -> dict[str, Any]:
        """``data`` if its fields are those that were ``asked`` for. Raises ClientError otherwise."""
        if self._judged(lambda raw: all(same(raw[key], value) for key, value in asked.items()), what, data):
            return dict(data)
        raise ClientError(
            f"cannot {what} on {self.address}: it does not answer what it was asked;"
            " check that the URL is a Prefect server's"
        )

    def clean(self, said: str) -> str:
        """What the server ``said``, for a message: without the key, should it repeat that."""
        return without(said, self._secret())

    def _secret(self) -> str:
        return "" if self._key is None else self._key.get_secret_value()

    def close(self) -> None:
        """Let go of connections."""
        self._connection.close()

    def _check(self, what: str) -> None:
        """Find out once whether this is a Prefect server of a version that is known."""
        with self._checking:
            if self._checked:
                return
            answer = self._connection.ask(what, "GET", "/admin/version")
            found = VERSION.fullmatch(answer.data) if isinstance(answer.data, str) else None
            if answer.status != 200 or found is None:
                raise refusal(what, answer, self.address, self._key, is_first=True)
            if int(found[1]) != MAJOR:
                raise ClientError(
                    f"cannot {what} on {self.address}: it is a Prefect server of version"
                    f" {self.clean(found[0])},"
                    f" and only version {MAJOR} is known; name a server of that version"
                )
            self._checked = True


def same(found: Any, asked: str | UUID) -> bool:
    """Whether a field is what was asked for. Raises what ``UUID`` raises for what is none."""
    return bool((UUID(found) if isinstance(asked, UUID) else found) == asked)


def list_of_dicts(data: Any) -> list[dict[str, Any]]:
    """``data`` if it is that. Raises TypeError otherwise."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise TypeError(type(data))
    return data
