"""Why a request has no answer, as RFC 9457 has it: what was wrong with the request, never with a script.

Each names the limit, the size that was met and the option to change, where there is one.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from loader.daemon.admission import Draining, QueueFull, Refused, TooLate
from loader.daemon.words import ERRORS, URN
from loader.errors import FlowLoaderError, LoaderClosed

KINDS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "unreadable": (400, "The request is not well-formed"),
        "no-token": (401, "The request bears no token, or another one"),
        "not-granted": (403, "The caller may not ask this"),
        "foreign-origin": (403, "The request comes from a page of another server"),
        "not-found": (404, "There is no such thing"),
        "wrong-method": (405, "It cannot be asked in this way"),
        "not-acceptable": (406, "No form of the answer is acceptable"),
        "too-slow": (408, "The request took too long to arrive"),
        "too-large": (413, "The request is too large"),
        "media-type": (415, "The request is of a type that is not read"),
        "expectation": (417, "The request expects what is not done here"),
        "wrong-host": (421, "The request was meant for another server"),
        "mistaken": (422, "The request has mistakes"),
        "source": (422, "The location cannot be read"),
        "profile": (422, "The profile or the interpreter cannot be used"),
        "caller-queue": (429, "Too many requests of this caller wait"),
        "internal": (500, "A mistake of flow-loader's own"),
        "client": (502, "The place of the deployments did not do its part"),
        "queue": (503, "Too many requests wait"),
        "overloaded": (503, "The daemon holds as much as it may"),
        "too-late": (503, "No turn came in time"),
        "not-ready": (503, "The daemon cannot load anything"),
        "draining": (503, "The daemon is ending"),
        "deadline": (504, "The answer was not there in time"),
    }
)
"""The status and title of each kind."""

SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EAGAIN)
"""What the host may lack for a while."""


class Problem(FlowLoaderError):
    """One problem of a kind. ``mistakes`` are ``{"field", "message"}``, one for each field that is wrong."""

    def __init__(  # noqa: PLR0913 - the members of the answer
        self,
        kind: str,
        detail: str,
        *,
        limit: float | None = None,
        size: float | None = None,
        option: str | None = None,
        retry_after: int | None = None,
        mistakes: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.more = {"limit": limit, "size": size, "option": option, "retry_after": retry_after}
        self.mistakes = tuple(mistakes)

    def data(self, request_id: str) -> dict[str, Any]:
        """The answer's body."""
        told: dict[str, Any] = {
            "type": URN + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": str(self),
            "instance": f"urn:flow-loader:request:{request_id}",
            **{name: value for name, value in self.more.items() if value is not None},
        }
        return {**told, "mistakes": list(self.mistakes)} if self.mistakes else told

    @property
    def headers(self) -> dict[str, str]:
        """When to come back, and what to bear."""
        after = self.more["retry_after"]
        headers = {} if after is None else {"Retry-After": str(after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.kind == "no-token" else {})


def of(error: Exception) -> Problem:
    """The problem that an exception is."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        return refused(error)
    if isinstance(error, LoaderClosed):
        return Problem("draining", str(error), retry_after=1)
    if isinstance(error, OSError) and error.errno in SCARCE:
        said = f"cannot go on: {error.strerror}; ask again in 1 second, or give the daemon more of it"
        return Problem("overloaded", said, retry_after=1)
    for name, kind in ERRORS.items():
        if isinstance(error, kind):
            return Problem(name, str(error))
    return Problem("internal", "cannot go on: flow-loader made a mistake; see the daemon's log and report it")


def refused(error: Refused) -> Problem:
    """The problem of who gets no turn now."""
    told: dict[str, Any] = {"option": error.option, "retry_after": error.retry_after}
    if isinstance(error, QueueFull):
        own = error.option == "limits.queue_per_caller"
        kind = "caller-queue" if own else "queue"
        return Problem(kind, str(error), limit=error.limit, size=error.waiting, **told)
    if isinstance(error, TooLate):
        return Problem("too-late", str(error), size=error.seconds, **told)
    assert isinstance(error, Draining)
    return Problem("draining", str(error), **told)
