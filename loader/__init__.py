"""flow-loader: what a flow script holds, learnt in a worker that can do nothing but compute."""

from typing import TYPE_CHECKING

from loader.public import __dir__ as __dir__
from loader.public import __getattr__ as __getattr__

if TYPE_CHECKING:
    from loader.access import (
        Access,
    )
    from loader.answers import Kind, Plan, Planned, Reason, Recorded, Scanned, Summary, Verdict
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
    from loader.client.embedded import (
        EmbeddedRegistry,
    )
    from loader.client.interface import (
        Client,
        Created,
        DataDocument,
        DeploymentRecord,
    )
    from loader.client.prefect import (
        PrefectServer,
    )
    from loader.daemon.client import DaemonClient
    from loader.deployments import (
        deployment_specs_from_yaml,
        deployment_specs_from_yaml_async,
        load_flow_from_deployment,
        load_flow_from_deployment_async,
    )
    from loader.errors import (
        ClientError,
        ConfigError,
        DaemonError,
        FlowLoaderError,
        LoaderClosed,
        LoadError,
        ManifestError,
        MissingDeploymentError,
        MissingFlowError,
        ObjectAlreadyExists,
        ObjectNotFound,
        ProfileError,
        RunRefused,
        SandboxUnavailable,
        ScriptCrashed,
        ScriptError,
        ScriptOutOfMemory,
        ScriptOutputExceeded,
        ScriptTimedOut,
        ScriptViolatedProtocol,
        SelectionError,
        SourceError,
        SpecValidationError,
        StorageError,
        UnspecifiedDeploymentError,
        UnspecifiedFlowError,
    )
    from loader.flow_loader import FlowLoader
    from loader.flow_runners import (
        DockerFlowRunner,
        FlowRunnerSettings,
        KubernetesFlowRunner,
        SubprocessFlowRunner,
        UniversalFlowRunner,
    )
    from loader.models import Error, Flow, Frame, Guarantee, Notice, Outcome, Spec, Status
    from loader.schedules import (
        CronSchedule,
        IntervalSchedule,
        RRuleSchedule,
    )
    from loader.specs import (
        DeploymentSpec,
    )
    from loader.storage import (
        AzureBlobStorageBlock,
        FileStorageBlock,
        GoogleCloudStorageBlock,
        KVServerStorageBlock,
        LocalStorageBlock,
        S3StorageBlock,
        StorageBlock,
        TempStorageBlock,
    )
    from loader.upcoming import (
        next_runs,
    )

__all__ = [
    "Access",
    "AzureBlobStorageBlock",
    "Client",
    "ClientError",
    "ConfigError",
    "Created",
    "CronSchedule",
    "DaemonClient",
    "DaemonError",
    "DataDocument",
    "DeploymentRecord",
    "DeploymentSpec",
    "DockerFlowRunner",
    "EmbeddedRegistry",
    "Error",
    "FileStorageBlock",
    "Flow",
    "FlowLoader",
    "FlowLoaderError",
    "FlowRunnerSettings",
    "Frame",
    "GoogleCloudStorageBlock",
    "Guarantee",
    "IntervalSchedule",
    "KVServerStorageBlock",
    "Kind",
    "KubernetesFlowRunner",
    "LoadError",
    "LoaderClosed",
    "LocalStorageBlock",
    "ManifestError",
    "MissingDeploymentError",
    "MissingFlowError",
    "Notice",
    "ObjectAlreadyExists",
    "ObjectNotFound",
    "Outcome",
    "Plan",
    "Planned",
    "PrefectServer",
    "ProfileError",
    "RRuleSchedule",
    "Reason",
    "Recorded",
    "RunRefused",
    "S3StorageBlock",
    "SandboxUnavailable",
    "Scanned",
    "ScriptCrashed",
    "ScriptError",
    "ScriptOutOfMemory",
    "ScriptOutputExceeded",
    "ScriptTimedOut",
    "ScriptViolatedProtocol",
    "SelectionError",
    "SourceError",
    "Spec",
    "SpecValidationError",
    "Status",
    "StorageBlock",
    "StorageError",
    "SubprocessFlowRunner",
    "Summary",
    "TempStorageBlock",
    "UniversalFlowRunner",
    "UnspecifiedDeploymentError",
    "UnspecifiedFlowError",
    "Verdict",
    "deployment_specs_and_flows_from_script",
    "deployment_specs_and_flows_from_script_async",
    "deployment_specs_from_script",
    "deployment_specs_from_script_async",
    "deployment_specs_from_yaml",
    "deployment_specs_from_yaml_async",
    "load_flow_from_deployment",
    "load_flow_from_deployment_async",
    "load_flow_from_script",
    "load_flow_from_script_async",
    "load_flow_from_text",
    "load_flow_from_text_async",
    "load_flows_from_script",
    "load_flows_from_script_async",
    "next_runs",
    "select_deployment",
    "select_deployment_async",
    "select_flow",
    "select_flow_async",
]
