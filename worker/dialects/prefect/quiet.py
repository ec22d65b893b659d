"""Puts out of force what an installed Prefect would do while a script is loaded; beside foreign code.

A flow or task that is called does not run, a deployment is not registered, a block not loaded, no server
or client started.
"""

from __future__ import annotations

import inspect
import sys
from functools import wraps
from importlib.machinery import PathFinder
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from worker.dialects.prefect import installed
from worker.dialects.prefect.instead import (
    FETCHED,
    FLOW,
    GUARDED,
    READ,
    REGISTERED,
    RUN_NOTHING,
    SENT,
    SUBMITTED,
    TASK,
    UNREACHED,
    WROTE,
    Doing,
    Unconnected,
    added,
    built,
    client,
    deployed,
    entered,
    fallback,
    looked_up,
    opened,
    refused,
    saved,
    sourced,
    stored,
    straight,
    unheard,
)
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

find_spec = PathFinder.find_spec


class Act(NamedTuple):
    """A class's methods, or a module's functions, and what a call of one does instead.

    ``*`` in place of a class are all that the module defines.
    """

    owner: str
    names: str
    doing: Doing


READS_DEFAULT = "_read_server_default_result_storage_block_id _aread_server_default_result_storage_block_id"
ACTS = (
    Act(
        "flows:Flow",
        "__call__ _run visualize avisualize generate_mermaid_graph agenerate_mermaid_graph",
        FLOW,
    ),
    Act("flows:InfrastructureBoundFlow", "__call__ submit retry submit_to_work_pool", FLOW),
    Act("tasks:Task", "__call__ _run submit map delay apply_async", TASK),
    Act("tasks:Task", "serve", RUN_NOTHING),
    Act("flows:Flow", "serve", deployed("served nothing")),
    Act("flows:Flow", "deploy adeploy", deployed("registered nothing")),
    Act("flows:Flow", "from_source afrom_source", sourced),
    Act("flows", "load_flow_from_entrypoint", looked_up),
    Act("flows", "serve aserve", RUN_NOTHING),
    Act("deployments.runner", "deploy adeploy", REGISTERED),
    Act("deployments.runner:RunnerDeployment", "apply aapply", REGISTERED),
    Act("deployments.runner:RunnerDeployment", "from_storage afrom_storage", stored),
    Act("deployments.flow_runs", "run_deployment arun_deployment", RUN_NOTHING),
    Act("deployments.deployments", "run_deployment", RUN_NOTHING),
    Act(
        "runner.runner:Runner",
        "start astart execute_flow_run execute_bundle execute_in_background",
        RUN_NOTHING,
    ),
    Act("runner.runner:Runner", "add_deployment aadd_deployment", REGISTERED),
    Act("runner.runner:Runner", "add_flow aadd_flow", added),
    Act("blocks.core:Block", "load aload load_from_ref aload_from_ref", READ),
    Act("blocks.core:Block", "save asave", saved),
    Act("blocks.core:Block", "delete adelete register_type_and_schema aregister_type_and_schema", WROTE),
    Act("blocks.webhook:Webhook", "call", SENT),
    Act("blocks.notifications:*", "notify anotify", SENT),
    Act("blocks.redis:RedisStorageContainer", "read_path aread_path", READ),
    Act("blocks.redis:RedisStorageContainer", "write_path awrite_path", WROTE),
    Act("filesystems:*", "read_path aread_path get_directory aget_directory", READ),
    Act("filesystems:*", "write_path awrite_path put_directory aput_directory", WROTE),
    Act("runner.storage:*", "pull_code", FETCHED),
    Act("deployments.steps.pull", "git_clone agit_clone git_clone_project", FETCHED),
    Act("deployments.steps.pull", "pull_from_remote_storage pull_with_block", FETCHED),
    Act("results", READS_DEFAULT, READ),
    Act("results:ResultStore", "read aread exists aexists", READ),
    Act("results:ResultStore", "write awrite persist_result_record apersist_result_record", WROTE),
    Act("variables:Variable", "get aget", fallback),
    Act("variables:Variable", "set aset unset aunset", WROTE),
    Act("variables", "get", fallback),
    Act("artifacts", "create_link_artifact create_markdown_artifact create_table_artifact", WROTE),
    Act("artifacts", "acreate_link_artifact acreate_markdown_artifact acreate_table_artifact", WROTE),
    Act("artifacts", "create_progress_artifact update_progress_artifact create_image_artifact", WROTE),
    Act("artifacts", "acreate_progress_artifact aupdate_progress_artifact acreate_image_artifact", WROTE),
    Act("concurrency.sync", "concurrency", GUARDED),
    Act("concurrency.asyncio", "concurrency", GUARDED),
    Act("concurrency.v1.sync", "concurrency", GUARDED),
    Act("concurrency.v1.asyncio", "concurrency", GUARDED),
    Act("concurrency.sync", "rate_limit", RUN_NOTHING),
    Act("concurrency.asyncio", "rate_limit", RUN_NOTHING),
    Act("events.utilities", "emit_event", WROTE),
    Act("events.worker:EventsWorker", "instance", UNREACHED),
    Act("flow_engine", "run_flow run_flow_sync run_flow_async", FLOW),
    Act("flow_engine", "run_flow_in_subprocess", RUN_NOTHING),
    Act("task_engine", "run_task run_task_sync run_task_async", TASK),
    Act("task_engine", "run_generator_task_sync run_generator_task_async", TASK),
    Act("task_runners:TaskRunner", "map", SUBMITTED),
    Act("task_runners:ThreadPoolTaskRunner", "submit map", SUBMITTED),
    Act("task_runners:ProcessPoolTaskRunner", "submit map", SUBMITTED),
    Act("task_runners:PrefectTaskRunner", "submit map", SUBMITTED),
    Act("task_runners:ProcessPoolTaskRunner", "__enter__ __exit__", opened),
    Act("task_runs:TaskRunWaiter", "start wait_for_task_run", RUN_NOTHING),
    Act("input.run_input", "receive_input", unheard),
    Act("input.run_input:*", "receive", unheard),
    Act("input.run_input:*", "load aload", READ),
    Act("input.actions", "read_flow_run_input aread_flow_run_input", READ),
    Act("runner.server", "start_webserver", RUN_NOTHING),
    Act("task_worker", "serve aserve", RUN_NOTHING),
    Act("task_worker:TaskWorker", "start astart", RUN_NOTHING),
    Act("task_worker:TaskWorker", "__aenter__ __aexit__", entered),
    Act("workers.base:BaseWorker", "start run setup", RUN_NOTHING),
    Act("workers.base:BaseWorker", "__aenter__ __aexit__", entered),
    Act("transactions", "transaction atransaction", GUARDED),
    Act("automations:Automation", "create update delete enable disable", WROTE),
    Act("automations:Automation", "acreate aupdate adelete aenable adisable", WROTE),
    Act("automations:Automation", "read aread", READ),
    Act("flow_runs", "pause_flow_run suspend_flow_run resume_flow_run wait_for_flow_run", RUN_NOTHING),
    Act("flow_runs", "apause_flow_run asuspend_flow_run aresume_flow_run", RUN_NOTHING),
    Act("engine", "pause_flow_run suspend_flow_run resume_flow_run", RUN_NOTHING),
    Act("client.orchestration", "get_client", client),
    Act("client.orchestration:PrefectClient", "__aenter__ __aexit__", entered),
    Act("client.orchestration:SyncPrefectClient", "__enter__ __exit__", entered),
    Act("events.clients", "get_events_client get_events_subscriber", client),
    Act("events.clients:PrefectEventsClient", "__aenter__ __aexit__", entered),
    Act("events.clients:PrefectEventSubscriber", "__aenter__ __aexit__", entered),
    Act("logging.clients", "get_logs_subscriber", client),
    Act("logging.clients:PrefectLogsSubscriber", "__aenter__ __aexit__", entered),
    Act("_internal.version_checking", "check_server_version", READ),
    # Below all of these: what speaks to a server.
    Act("_internal.websockets", "websocket_connect", Unconnected),
    Act("client.base:PrefectHttpxAsyncClient", "send", refused),
    Act("client.base:PrefectHttpxSyncClient", "send", refused),
    # Generation 2 only: deployments as it had them first.
    Act("deployments.deployments:Deployment", "apply", REGISTERED),
    Act("deployments.deployments:Deployment", "load upload_to_storage", READ),
    Act("deployments.deployments:Deployment", "build_from_flow", built),
    Act("events.clients", "connect", Unconnected),
    Act("client.subscriptions:Subscription", "_ensure_connected", refused),
    Act("task_server", "serve", RUN_NOTHING),
    Act("task_server:TaskServer", "start", RUN_NOTHING),
    Act("task_server:TaskServer", "__aenter__ __aexit__", entered),
)
STRAIGHT = Act("flows:Flow", "to_deployment", straight)
"""What a second generation's ``to_deployment`` needs: it would start a thread to compute."""


def put_in_place() -> None:
    """Replace every act, wherever Prefect's modules hold it; those of modules to come when they come."""
    acts = ACTS if installed.Installed.major > 2 else (*ACTS, STRAIGHT)
    put_out(acts)
    hand_on()
    sys.meta_path.insert(0, Coming(acts))


def put_out(acts: Iterable[Act]) -> None:
    """Replace some acts of modules that are loaded."""
    for act in acts:
        for owner in owners(act.owner):
            for name in act.names.split():
                if name in vars(owner):
                    replace(owner, name, act.doing)


def owners(path: str) -> List[Any]:
    """The module or the classes that an act names, as far as this release has them."""
    where, _, kind = path.partition(":")
    module = installed.module(where)
    if module is None or not kind:
        return [] if module is None else [module]
    if kind != "*":
        return [vars(module)[kind]] if kind in vars(module) else []
    held = list(vars(module).values())
    return [one for one in held if inspect.isclass(one) and one.__module__ == module.__name__]


class Coming:
    """Finds what acts among the modules of Prefect that a script is the first to import."""

    def __init__(self, acts: Tuple[Act, ...]) -> None:
        self.acts: Dict[str, List[Act]] = {}
        for act in acts:
            name = f"{installed.PACKAGE}.{act.owner.partition(':')[0]}"
            self.acts.setdefault(name, []).append(act)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As the interpreter finds it; its acts are put out of force once it has run."""
        spec = find_spec(name, path, target) if name in self.acts else None
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            run(module)
            put_out(self.acts[name])

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def hand_on() -> None:
    """Give the decorator, which took ``from_source`` from the class before, the one that is there now."""
    decorator, flow = installed.thing("flows:flow"), installed.thing("flows:Flow")
    kind = type(decorator)
    if "from_source" in vars(kind):
        kind.from_source = staticmethod(flow.from_source)
    elif hasattr(decorator, "from_source"):
        decorator.from_source = flow.from_source


def replace(owner: Any, name: str, doing: Doing) -> None:
    """Put ``doing`` in the place of a method, or of a function under every name that leads to it."""
    held = vars(owner)[name]
    original = getattr(held, "__func__", held)

    @wraps(original)
    def instead(*args: Any, **values: Any) -> Any:
        return doing(owner, original, args, values)

    if inspect.isclass(owner):
        setattr(
            owner, name, type(held)(instead) if isinstance(held, (classmethod, staticmethod)) else instead
        )
        return
    for module in installed.modules().values():
        for key, value in list(vars(module).items()):
            if value is held:
                setattr(module, key, instead)
