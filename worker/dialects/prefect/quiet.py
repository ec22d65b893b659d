"""Puts out of force what an installed Prefect would do while a script is loaded; beside foreign code.

A flow or task that is called does not run, a deployment is not registered, a block not loaded, no server
or client started. Each leaves a notice of its line and gives None, or something to await that gives None.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, Callable, Dict, NamedTuple, Tuple

from worker.dialects import registry
from worker.dialects.prefect import elsewhere, facts, installed, specs
from worker.plain import qualname_of, text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

NOT_DONE = "not_done"
"""The kind of the notice of an act that is put out of force."""
SECOND = 2
"""The generation whose async tasks give something to await when they are submitted."""
running_loop = registry.running_loop
Doing = Callable[[Any, Any, Tuple[Any, ...], Dict[str, Any]], Any]


class Act(NamedTuple):
    """A class's methods, or a module's functions, and what a call of one does instead."""

    owner: str
    names: str
    doing: Doing


def note(what: str, nothing: str) -> None:
    """Leave a notice of the script's line."""
    registry.notice(
        NOT_DONE, f"{what} was called while the script was loaded and {nothing}", registry.caller()
    )


def not_run(what: str) -> Doing:
    """For what runs a flow or a task."""

    def doing(_: Any, original: Any, args: Tuple[Any, ...], __: Dict[str, Any]) -> Any:
        subject = args[0]
        name, isasync = text(getattr(subject, "name", "?")), bool(getattr(subject, "isasync", False))
        message = f"{what} {name!r} was called while the script was loaded and was not run"
        registry.notice("flow_called", message, registry.caller())
        if original.__name__ not in ("__call__", "_run"):
            awaited = isasync and installed.Installed.major == SECOND
            return registry.nothing() if awaited else answer(original)
        if facts.is_generator(subject):
            return no_items() if isasync else iter(())
        return registry.nothing() if isasync else None

    return doing


async def no_items() -> Any:
    """What an asynchronous generator flow gives."""
    nobody: Tuple[Any, ...] = ()
    for item in nobody:
        yield item


def nothing(said: str) -> Doing:
    """For what would do something out of the process: ``said`` follows the call's name in the notice."""

    def doing(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
        note(called(owner, original, args, values), said)
        return answer(original)

    return doing


def called(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> str:
    """A call as the script wrote it, as far as that helps to find it."""
    name = original.__name__
    rest = args
    if inspect.isclass(owner):
        first = args[0] if args else owner
        kind = first if inspect.isclass(first) else type(first)
        name = f"{qualname_of(kind)}.{name}"
        rest = args[1:]
    first_text = [item for item in (*rest, *values.values()) if type(item) is str][:1]
    return f"{name}({', '.join(repr(text(item, 80)) for item in first_text)})"


def answer(original: Any) -> Any:
    """None, or something to await that gives it, as the original would be used here."""
    if inspect.iscoroutinefunction(original):
        return registry.nothing()
    return registry.later() if hasattr(original, "aio") else None


def deployed(said: str) -> Doing:
    """For ``serve`` and ``deploy`` of a flow: the deployment is made, and not registered."""

    def doing(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
        note(f"{original.__name__}() of flow {text(args[0].name)!r}", said)
        specs.register(args[0], dict(inspect.signature(original).bind(*args, **values).arguments))
        return answer(original)

    return doing


def added(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For a runner that is given a flow."""
    note("Runner.add_flow()", "registered nothing")
    asked = dict(inspect.signature(original).bind(*args, **values).arguments)
    specs.register(asked["flow"], asked)
    return answer(original)


def fallback(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For a variable that is read: what the script gave as its default."""
    asked = inspect.signature(original).bind(*args, **values).arguments
    name, default = asked.get("name", "?"), asked.get("default")
    note(f"Variable.get({text(name, 80)!r})", "read nothing: it gave its default")
    awaited = inspect.iscoroutinefunction(original) or (
        hasattr(original, "aio") and running_loop() is not None
    )
    return registry.given(default) if awaited else default


def built(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For ``Deployment.build_from_flow``: the object is built, and nothing is read, uploaded or applied."""
    if values.get("apply"):
        note("Deployment.build_from_flow(apply=True)", "registered nothing")
    kept = {key: value for key, value in values.items() if key not in ("apply", "output")}
    kept.update(load_existing=False, skip_upload=True, ignore_file="/dev/null")
    made = at_once(original.aio(*args, **kept))
    flow = values.get("flow", args[1] if len(args) > 1 else None)
    specs.Made.flows[id(made)] = (made, flow)
    return registry.given(made) if running_loop() is not None else made


def straight(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For what only computes, and would start an event loop's thread to do so."""
    made = at_once(original.aio(*args, **values))
    return registry.given(made) if running_loop() is not None else made


def at_once(coroutine: Any) -> Any:
    """The result of a coroutine that never waits. Raises RuntimeError for one that does."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("cannot go on: this waits for something that is not there while a script is loaded")


def sourced(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For ``from_source``: what stands for the flow there."""
    asked = inspect.signature(original).bind(*args, **values).arguments
    flow = elsewhere.Elsewhere(asked.get("source"), asked.get("entrypoint"))
    note(f"Flow.from_source({flow.source!r})", "fetched nothing")
    waits = inspect.iscoroutinefunction(original) and not hasattr(original, "aio")
    return registry.given(flow) if waits or running_loop() is not None else flow


def looked_up(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For an entrypoint: a script that is running is not run once more to find its flow."""
    found = elsewhere.own_flow(dict(inspect.signature(original).bind(*args, **values).arguments))
    return original(*args, **values) if found is None else found


def client(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For whoever asks for a client of the API."""
    note(called(None, original, (), {}), "reaches no server")
    return Client(bool(values.get("sync_client", args[1] if len(args) > 1 else False)))


class Client:
    """Stands for a client of Prefect's API: each call leaves a notice and gives None."""

    def __init__(self, sync: bool) -> None:
        self.sync = sync

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*_: Any, **__: Any) -> Any:
            note(f"{name}() of an API client", "did nothing")
            return None if self.sync else registry.nothing()

        return call


def guarded(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For a concurrency limit that is entered: nothing is waited for."""
    note(called(None, original, args, values), "waited for nothing")
    return Client(sync=True)


def entered(_: Any, original: Any, args: Tuple[Any, ...], __: Dict[str, Any]) -> Any:
    """For a client that was made by hand and is entered."""
    note(qualname_of(type(args[0])), "reaches no server")
    sync = not inspect.iscoroutinefunction(original)
    return Client(sync) if sync else registry.given(Client(sync))


def refused(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For what nothing else caught: it fails at once."""
    raise RuntimeError(
        "cannot reach Prefect's API while a script is loaded: "
        f"{called(owner, original, args, values)} needs a server; move it into a flow"
    )


FLOW, TASK = not_run("flow"), not_run("task")
RUN_NOTHING, REGISTERED = nothing("started nothing"), nothing("registered nothing")
READ, WROTE = nothing("read nothing"), nothing("wrote nothing")
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
    Act("blocks.core:Block", "save asave delete adelete register_type_and_schema", WROTE),
    Act("blocks.core:Block", "aregister_type_and_schema", WROTE),
    Act("variables:Variable", "get aget", fallback),
    Act("variables:Variable", "set aset unset aunset", WROTE),
    Act("variables", "get", fallback),
    Act("artifacts", "create_link_artifact create_markdown_artifact create_table_artifact", WROTE),
    Act("artifacts", "acreate_link_artifact acreate_markdown_artifact acreate_table_artifact", WROTE),
    Act("artifacts", "create_progress_artifact update_progress_artifact create_image_artifact", WROTE),
    Act("artifacts", "acreate_progress_artifact aupdate_progress_artifact acreate_image_artifact", WROTE),
    Act("concurrency.sync", "concurrency", guarded),
    Act("concurrency.asyncio", "concurrency", guarded),
    Act("concurrency.sync", "rate_limit", RUN_NOTHING),
    Act("concurrency.asyncio", "rate_limit", RUN_NOTHING),
    Act("events.utilities", "emit_event", WROTE),
    Act("flow_engine", "run_flow run_flow_sync run_flow_async run_flow_in_subprocess", RUN_NOTHING),
    Act("transactions", "transaction atransaction", guarded),
    Act("automations:Automation", "create update delete enable disable", WROTE),
    Act("automations:Automation", "acreate aupdate adelete aenable adisable", WROTE),
    Act("automations:Automation", "read aread", READ),
    Act("flow_runs", "pause_flow_run suspend_flow_run resume_flow_run wait_for_flow_run", RUN_NOTHING),
    Act("flow_runs", "apause_flow_run asuspend_flow_run aresume_flow_run", RUN_NOTHING),
    Act("engine", "pause_flow_run suspend_flow_run resume_flow_run", RUN_NOTHING),
    Act("client.orchestration", "get_client", client),
    Act("client.orchestration:PrefectClient", "__aenter__", entered),
    Act("client.orchestration:SyncPrefectClient", "__enter__", entered),
    Act("client.base:PrefectHttpxAsyncClient", "send", refused),
    Act("client.base:PrefectHttpxSyncClient", "send", refused),
    # Generation 2 only: deployments as it had them first.
    Act("deployments.deployments:Deployment", "apply", REGISTERED),
    Act("deployments.deployments:Deployment", "load upload_to_storage", READ),
    Act("deployments.deployments:Deployment", "build_from_flow", built),
)
STRAIGHT = Act("flows:Flow", "to_deployment", straight)
"""What a second generation's ``to_deployment`` needs: it would start a thread to compute."""


def put_in_place() -> None:
    """Replace every act, wherever Prefect's modules hold it."""
    acts = ACTS if installed.Installed.major > 2 else (*ACTS, STRAIGHT)
    for act in acts:
        where, _, kind = act.owner.partition(":")
        owner = installed.thing(act.owner) if kind else installed.module(where)
        for name in act.names.split():
            if owner is not None and name in vars(owner):
                replace(owner, name, act.doing)
    hand_on()


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
