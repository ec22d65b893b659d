"""The exceptions that scripts of this dialect import and that it raises; they run beside foreign code."""

from __future__ import annotations


class PrefectException(Exception):
    """Base of all of them."""


class InvalidNameError(PrefectException, ValueError):
    """A name holds a character that it may not."""


class ValidationError(PrefectException, ValueError):
    """A schedule, a runner, a block or a spec cannot be made of what was given."""


class SpecValidationError(PrefectException, ValueError):
    """A deployment spec does not hold together."""


class MissingFlowError(PrefectException):
    """No such flow."""


class UnspecifiedFlowError(PrefectException):
    """Several flows and no name."""


class MissingDeploymentError(PrefectException):
    """No such deployment."""


class UnspecifiedDeploymentError(PrefectException):
    """Several deployments and no name."""


class ScriptError(PrefectException):
    """A script raised while it was loaded."""


class FlowScriptError(PrefectException):
    """A flow script raised while it was loaded."""


class ParameterTypeError(PrefectException):
    """A parameter does not fit its type."""


class ObjectNotFound(PrefectException):
    """The API has no such object."""


class ObjectAlreadyExists(PrefectException):
    """The API has such an object already."""


class UpstreamTaskError(PrefectException):
    """A task that another one waits for failed."""


class MissingContextError(PrefectException, RuntimeError):
    """Something is only there while a flow or a task runs."""


class ReservedArgumentError(PrefectException, TypeError):
    """A task function has a parameter of a reserved name."""
