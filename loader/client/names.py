"""Names and ids as callers give them: checked before they are used, and short in messages. Pure."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from loader.errors import ClientError

NAME_CAP: Final = 100
"""Characters of a name that a message repeats."""


def quoted(name: object, cap: int = NAME_CAP) -> str:
    """A name as Python writes it, cut; of what is no text the type alone."""
    if not isinstance(name, str):
        return f"<{type(name).__name__}>"
    return repr(name if len(name) <= cap else name[:cap] + "…")


def shown_id(identity: object) -> str:
    """An id as a message shows it; what is none is cut like a name."""
    return str(identity) if isinstance(identity, UUID) else quoted(str(identity))


def check_texts(what: str, **texts: object) -> None:
    """Raise ClientError, naming the argument, for what is no text."""
    for field, value in texts.items():
        if not isinstance(value, str):
            raise ClientError(
                f"cannot {what}: its {field} is of type {type(value).__name__}, not text; give text"
            )


def check_type(what: str, value: object, wanted: type) -> None:
    """Raise ClientError for what is not of type ``wanted``."""
    if not isinstance(value, wanted):
        raise ClientError(
            f"cannot {what} from what is of type {type(value).__name__}: give a {wanted.__name__}"
        )


def checked_id(what: str, identity: object) -> UUID:
    """``identity`` if it is an id, as text too. Raises ClientError."""
    if isinstance(identity, UUID):
        return identity
    try:
        return UUID(identity if isinstance(identity, str) else "")
    except ValueError:
        pass
    raise ClientError(f"cannot {what} with id {quoted(identity)}: it is not a UUID; check where it is from")
