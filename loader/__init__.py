"""flow-loader: what a flow script holds, learnt in a worker that can do nothing but compute."""

from typing import TYPE_CHECKING

from loader.public import __dir__ as __dir__
from loader.public import __getattr__ as __getattr__

if TYPE_CHECKING:
    from loader.errors import FlowLoaderError, LoaderClosed, ProfileError, SandboxUnavailable, SourceError
    from loader.flow_loader import FlowLoader
    from loader.models import Error, Flow, Frame, Guarantee, Notice, Outcome, Spec, Status

__all__ = [
    "Error",
    "Flow",
    "FlowLoader",
    "FlowLoaderError",
    "Frame",
    "Guarantee",
    "LoaderClosed",
    "Notice",
    "Outcome",
    "ProfileError",
    "SandboxUnavailable",
    "SourceError",
    "Spec",
    "Status",
]
