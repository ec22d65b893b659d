"""flow-loader: what a flow script holds, learnt in a worker that can do nothing but compute."""

from typing import TYPE_CHECKING

from loader.public import __dir__ as __dir__
from loader.public import __getattr__ as __getattr__

if TYPE_CHECKING:
    from loader.api import (
        deployment_specs_and_flows_from_script,
        deployment_specs_and_flows_from_script_async,
        deployment_specs_from_script,
        deployment_specs_from_script_async,
        load_flow_from_script,
        load_flow_from_script_async,
        load_flow_from_text,
        load_flow_from_text_async,
        load_flows_from_script,
        load_flows_from_script_async,
        select_deployment,
        select_deployment_async,
        select_flow,
        select_flow_async,
    )
    from loader.errors import (
        FlowLoaderError,
        LoaderClosed,
        LoadError,
        MissingDeploymentError,
        MissingFlowError,
        ProfileError,
        SandboxUnavailable,
        ScriptCrashed,
        ScriptError,
        ScriptOutOfMemory,
        ScriptOutputExceeded,
        ScriptTimedOut,
        ScriptViolatedProtocol,
        SelectionError,
        SourceError,
        UnspecifiedDeploymentError,
        UnspecifiedFlowError,
    )
    from loader.flow_loader import FlowLoader
    from loader.models import Error, Flow, Frame, Guarantee, Notice, Outcome, Spec, Status

__all__ = [
    "Error",
    "Flow",
    "FlowLoader",
    "FlowLoaderError",
    "Frame",
    "Guarantee",
    "LoadError",
    "LoaderClosed",
    "MissingDeploymentError",
    "MissingFlowError",
    "Notice",
    "Outcome",
    "ProfileError",
    "SandboxUnavailable",
    "ScriptCrashed",
    "ScriptError",
    "ScriptOutOfMemory",
    "ScriptOutputExceeded",
    "ScriptTimedOut",
    "ScriptViolatedProtocol",
    "SelectionError",
    "SourceError",
    "Spec",
    "Status",
    "UnspecifiedDeploymentError",
    "UnspecifiedFlowError",
    "deployment_specs_and_flows_from_script",
    "deployment_specs_and_flows_from_script_async",
    "deployment_specs_from_script",
    "deployment_specs_from_script_async",
    "load_flow_from_script",
    "load_flow_from_script_async",
    "load_flow_from_text",
    "load_flow_from_text_async",
    "load_flows_from_script",
    "load_flows_from_script_async",
    "select_deployment",
    "select_deployment_async",
    "select_flow",
    "select_flow_async",
]
