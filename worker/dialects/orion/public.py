"""The names under which scripts import this dialect; it runs beside foreign code.

Scripts get modules that hold these names and no others, made afresh for each load: what a script puts
into one changes nothing of ours.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Dict, Tuple

from worker.dialects.orion import (
    context,
    deployments,
    exceptions,
    flow_runners,
    flows,
    loggers,
    parameters,
    schedules,
    states,
    storage,
    task_runners,
    tasks,
)
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

VERSION = "2.0b5"
Exports = Tuple[Tuple[ModuleType, str], ...]
RUNNERS = "FlowRunner UniversalFlowRunner SubprocessFlowRunner DockerFlowRunner KubernetesFlowRunner"
BLOCKS = (
    "StorageBlock FileStorageBlock S3StorageBlock TempStorageBlock LocalStorageBlock GoogleCloudStorageBlock "
    "AzureBlobStorageBlock KVServerStorageBlock"
)
EXCEPTIONS = (
    "PrefectException InvalidNameError ValidationError SpecValidationError MissingFlowError "
    "UnspecifiedFlowError MissingDeploymentError UnspecifiedDeploymentError ScriptError FlowScriptError "
    "ParameterTypeError ObjectNotFound ObjectAlreadyExists UpstreamTaskError MissingContextError "
    "ReservedArgumentError"
)
EXPORTS: Dict[str, Exports] = {
    "prefect.exceptions": ((exceptions, EXCEPTIONS),),
    "prefect.orion": (),
    "prefect.orion.schemas": (),
    "prefect.orion.schemas.core": ((flow_runners, "FlowRunnerSettings"),),
    "prefect.orion.schemas.schedules": ((schedules, "IntervalSchedule CronSchedule RRuleSchedule"),),
    "prefect.orion.schemas.states": (
        (states, "State StateType Scheduled Pending Running Completed Failed Cancelled"),
    ),
    "prefect.logging": ((loggers, "get_logger get_run_logger"),),
    "prefect.context": ((context, "RunContext FlowRunContext TaskRunContext tags"),),
    "prefect.task_runners": (
        (
            task_runners,
            "BaseTaskRunner SequentialTaskRunner ConcurrentTaskRunner DaskTaskRunner RayTaskRunner",
        ),
    ),
    "prefect.flows": ((flows, "Flow flow"),),
    "prefect.utilities": (),
    "prefect.utilities.callables": ((parameters, "ParameterSchema"),),
    "prefect.tasks": ((tasks, "Task task task_input_hash"),),
    "prefect.flow_runners": ((flow_runners, f"{RUNNERS} FlowRunnerSettings"),),
    "prefect.blocks": (),
    "prefect.blocks.storage": ((storage, BLOCKS),),
    "prefect.deployments": ((deployments, "DeploymentSpec"),),
    "prefect": (
        (flows, "Flow flow"),
        (tasks, "Task task"),
        (loggers, "get_run_logger"),
        (context, "tags"),
        (states, "State"),
    ),
}
"""Each public module and where its names come from. A name that two of them have belongs to the first."""


def contents(exports: Exports) -> Dict[str, Any]:
    """A public module's names and what they stand for."""
    return {name: getattr(source, name) for source, names in exports for name in names.split()}


CONTENTS = {public: contents(exports) for public, exports in EXPORTS.items()}
PACKAGES = {name.rpartition(".")[0] for name in EXPORTS}


def belong() -> None:
    """Let each class and function say that it is of the first public module that has it."""
    settled = set()
    for public, held in CONTENTS.items():
        for thing in held.values():
            if id(thing) not in settled:
                settled.add(id(thing))
                thing.__module__ = public


def modules() -> Dict[str, ModuleType]:
    """The public modules, each a new one."""
    made: Dict[str, ModuleType] = {}
    for public, held in CONTENTS.items():
        module = made[public] = ModuleType(public)
        spec = module.__spec__ = ModuleSpec(public, None, is_package=public in PACKAGES)
        module.__package__ = spec.parent
        if public in PACKAGES:
            module.__path__ = []
        vars(module).update(held)
    for public, module in made.items():
        parent, _, name = public.rpartition(".")
        if parent:
            setattr(made[parent], name, module)
    vars(made["prefect"])["__version__"] = VERSION
    return made


belong()
