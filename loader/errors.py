"""Every exception that callers may see.

``LoadError`` is what came of running a script: the script's fault, or the host's. ``SelectionError`` is
the caller's: a script held other things than what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.api import Place
    from loader.models import Error, Flow, Outcome  # importing the errors must stay cheap
    from loader.selection import Deployment
    from loader.specs import DeploymentSpec


class FlowLoaderError(Exception):
    """Whatever flow-loader cannot do. The message begins with "cannot" and ends with the remedy."""


class ProfileError(FlowLoaderError, ValueError):
    """A sandbox profile, or an interpreter, that cannot be used.

    The message lists every mistake of a profile with its line and key.
    """


class DaemonError(FlowLoaderError):
    """The daemon cannot be reached, or refuses; ``problem`` is what it said, as RFC 9457 has it."""

    def __init__(self, message: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = dict(problem or {})


class ConfigError(FlowLoaderError, ValueError):
    """A configuration of the daemon with mistakes; the message lists every one with its place and key."""


class SourceError(FlowLoaderError, OSError):
    """A location that cannot be read: it is not there, not a file, too large, or of no known scheme."""


class ManifestError(FlowLoaderError, ValueError):
    """A deployment manifest with mistakes; the message lists every one with file and line.

    ``specs`` are those of its specs that have none: a dict of each spec's file and line.
    """

    def __init__(self, message: str, specs: Mapping[DeploymentSpec, Place] | None = None) -> None:
        super().__init__(message)
        self.specs = dict(specs or {})


class SpecValidationError(FlowLoaderError, ValueError):
    """A deployment spec from which no deployment can be made."""


class StorageError(FlowLoaderError, OSError):
    """A storage block that cannot be read or written, or that the caller does not allow."""


class ClientError(FlowLoaderError):
    """The place where deployments are created did not do its part: it cannot be reached, or it refused."""


class ObjectNotFound(ClientError, LookupError):
    """There is no flow, storage block or deployment of that id or name."""


class ObjectAlreadyExists(ClientError, ValueError):
    """The name is taken."""


class LoaderClosed(FlowLoaderError, RuntimeError):
    """The FlowLoader was closed before or while this load ran."""


class LoadError(FlowLoaderError):
    """A load that did not come to its end. Its notes are the script's own traceback and what to do.

    ``outcome`` is all that is known of it: the error, what was written, and the flows and specs that were
    found before it failed.
    """

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message, outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def error(self) -> Error | None:
        """What went wrong, as plain data: type, message, frames, traceback, cause and hint."""
        return self.outcome.error

    @property
    def path(self) -> str:
        """The location that was loaded, as it was given; ``<text>`` for a text."""
        return self.outcome.source.location


class ScriptError(LoadError):
    """The script raised, could not be compiled, or ended itself with ``sys.exit()``.

    The other ways in which a script can be at fault derive from this class.
    """


class ScriptTimedOut(ScriptError):
    """The script took more wall or processor time than it may; the frames say where it hung."""


class ScriptOutOfMemory(ScriptError):
    """The script used all the memory that it may have."""


class ScriptOutputExceeded(ScriptError):
    """The script's flows and specs are larger than a reply may be."""


class ScriptCrashed(ScriptError):
    """The script's process was ended by a signal, or ended itself without a reply."""


class ScriptViolatedProtocol(ScriptError):
    """The script's process sent what no honest worker sends."""


class SandboxUnavailable(LoadError, RuntimeError):
    """A required guarantee cannot be had on this host; the script was not sent to any worker.

    ``error.hint`` says what the person who runs the host can do.
    """


class SelectionError(FlowLoaderError, LookupError):
    """No such flow or deployment, or several and none named.

    ``candidates`` are those between which a name must choose.
    """

    def __init__(self, message: str, candidates: Iterable[Flow] | Iterable[Deployment] = ()) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class MissingFlowError(SelectionError):
    """No flow was found, or none of that name."""


class UnspecifiedFlowError(SelectionError):
    """Several flows were found, and the name does not say which."""


class MissingDeploymentError(SelectionError):
    """No deployment was found, or none of that name or for that flow."""


class UnspecifiedDeploymentError(SelectionError):
    """Several deployments were found, and the names do not say which."""


class RunRefused(FlowLoaderError):
    """A run that may not go ahead. The message has every reason, the notes the script's own traceback."""
