"""An answer that is no success becomes the one exception that says why. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from loader.client.prefect.address import Address
from loader.client.prefect.http import BUSY, NOT_JSON, PATIENCE, Answer
from loader.client.prefect.words import detail, shown, without
from loader.errors import ClientError, ObjectAlreadyExists, ObjectNotFound

WRONG_BODY: Final = (400, 422)


def refusal(
    what: str, answer: Answer, where: Address, key: SecretStr | None, *, is_first: bool = False
) -> ClientError:
    """Why ``what`` cannot be done, in the server's words where it has any, and what to do.

    ``is_first`` says that it is not known yet whether this is a Prefect server.
    """
    secret = "" if key is None else key.get_secret_value()
    said = detail(answer.data, secret)
    status = answer.status
    on, because = f"cannot {what} on {where}", f": {said}" if said else ""
    if status in {401, 403}:
        return ClientError(f"{on}: {unauthorized(status, has_key=key is not None)}{because and f' ({said})'}")
    if 300 <= status < 400:
        return ClientError(f"{on}: it redirects to {target(answer.location, secret)}; use the API's own URL")
    if status in BUSY:
        return ClientError(f"{on}: it is too busy ({status}){because}; {later(answer.wait)}")
    if status >= 500:
        return ClientError(f"{on}: it failed ({status}){because}; see the server's log, or try again")
    if is_first or answer.data is NOT_JSON:
        return ClientError(f"{on}: there is no Prefect server at this URL ({status}); {where.guess}")
    if status == 404:
        return ObjectNotFound(f"{on}{because or ': it is not there'}; check names and ids")
    if status == 409:
        return ObjectAlreadyExists(f"{on}: it conflicts with what is there{because}; check names and ids")
    if status in WRONG_BODY and said:
        return ClientError(f"cannot {what}: {said}")
    return ClientError(f"{on}: it answered {status}{because}; check that its version is known to flow-loader")


def unauthorized(status: int, *, has_key: bool) -> str:
    """What is wrong with the key."""
    if not has_key:
        return "it wants an API key; give one as api_key, or in PREFECT_API_KEY for the command"
    if status == 401:
        return (
            "it does not accept the API key that was given; make a new one or check that it is this server's"
        )
    return "the API key that was given is not allowed to do this; use the key of an account that may"


def later(wait: float) -> str:
    """When to try again."""
    return f"try again in {wait:.0f} seconds, as it asks" if wait > PATIENCE else "try again later"


def target(location: str, secret: str) -> str:
    """Where a redirect leads, without what it may carry."""
    try:
        parts = urlsplit(location)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    return shown(without(f"{parts.scheme}://{host}{parts.path}" if host else parts.path, secret), 200)
