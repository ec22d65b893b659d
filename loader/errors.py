"""Every exception that callers may see."""

from __future__ import annotations


class FlowLoaderError(Exception):
    """Whatever flow-loader cannot do. The message begins with "cannot" and ends with the remedy."""


class ProfileError(FlowLoaderError, ValueError):
    """A sandbox profile that cannot be used; the message lists every mistake with its line and key."""


class SourceError(FlowLoaderError, OSError):
    """A location that cannot be read: it is not there, not a file, too large, or of no known scheme."""


class SandboxUnavailable(FlowLoaderError, RuntimeError):
    """A required guarantee cannot be had on this host; nothing was sent to any worker.

    ``step`` is what failed, ``cause`` and ``remedy`` are sentences for the person who runs the host.
    """

    def __init__(
        self, message: str, *, guarantees: tuple[str, ...], step: str, cause: str, remedy: str
    ) -> None:
        super().__init__(message)
        self.guarantees = guarantees
        self.step = step
        self.cause = cause
        self.remedy = remedy


class LoaderClosed(FlowLoaderError, RuntimeError):
    """The FlowLoader was closed before or while this load ran."""
