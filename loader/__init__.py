"""flow-loader: what a flow script holds, learnt in a worker that can do nothing but compute."""

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
