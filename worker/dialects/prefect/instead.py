"""What is done instead of what an installed Prefect would do while a script is loaded; beside foreign code.

Each leaves a notice of the script's line and gives None, or something to await that gives None, or what
stands for the thing that was asked for.
"""

from __future__ import annotations

import inspect
import uuid
from functools import partial
from typing import Any, Callable, Dict, NoReturn, Tuple

from worker.dialects import registry
from worker.dialects.prefect import elsewhere, facts, installed, specs
from worker.plain import qualname_of, text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

NOT_DONE = "not_done"
"""The kind of the notice of an act that is put out of force."""
SECOND = 2
"""The generation whose async tasks give something to await when they are submitted."""
SAVED = uuid.UUID(int=0)
"""What a block bears that is told to save itself."""
running_loop = registry.running_loop
Doing = Callable[[Any, Any, Tuple[Any, ...], Dict[str, Any]], Any]


def note(what: str, nothing: str) -> None:
    """Leave a notice of the script's line."""
    registry.notice(
        NOT_DONE, f"{what} was called while the script was loaded and {nothing}", registry.caller()
    )


def not_run(what: str, at: int = 0) -> Doing:
    """For what runs a flow or a task, which is the argument ``at`` this place or of this name."""

    def doing(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
        subject = args[at] if len(args) > at else values.get(what)
        name, isasync = text(getattr(subject, "name", "?")), bool(getattr(subject, "isasync", False))
        message = f"{what} {name!r} was called while the script was loaded and was not run"
        registry.notice("flow_called", message, registry.caller())
        if not original.__name__.startswith(("__call__", "_run", "run_")):
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


def stored(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For ``from_storage``: the deployment of what stands for the flow there."""
    asked = dict(inspect.signature(original).bind(*args, **values).arguments)
    flow = elsewhere.Elsewhere(asked.pop("storage"), asked.pop("entrypoint"))
    note(f"RunnerDeployment.from_storage({flow.source!r})", "fetched nothing")
    asked.pop("cls")
    made = flow.to_deployment(**{"flow_name": flow.name, **asked})
    waits = inspect.iscoroutinefunction(original) and not hasattr(original, "aio")
    return registry.given(made) if waits or running_loop() is not None else made


def saved(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For a block that is saved: it is one that may be referred to, as a flow's storage must be."""
    WROTE(owner, original, args, values)
    args[0]._block_document_id = args[0]._block_document_id or SAVED  # noqa: SLF001 - where Prefect looks
    return answer(original)


def looked_up(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For an entrypoint: a script that is running is not run once more to find its flow."""
    found = elsewhere.own_flow(dict(inspect.signature(original).bind(*args, **values).arguments))
    return original(*args, **values) if found is None else found


def client(_: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For whoever asks for a client of the API."""
    note(called(None, original, (), {}), "reaches no server")
    return Client(values.get("sync_client", args[1] if len(args) > 1 else False) is True)


def opened(_: Any, original: Any, args: Tuple[Any, ...], __: Dict[str, Any]) -> Any:
    """For what would start processes when it is entered; its own acts are out of force."""
    if "exit" in original.__name__:
        return None
    note(qualname_of(type(args[0])), "started nothing")
    return args[0]


def unheard(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
    """For what waits for items of a run: there are none."""
    note(called(owner, original, args, values), "waited for nothing")
    return Client(sync=running_loop() is None)


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

    def __iter__(self) -> Any:
        return iter(())

    def __aiter__(self) -> Any:
        return no_items()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*_: Any, **__: Any) -> Any:
            note(f"{name}() of an API client", "did nothing")
            return None if self.sync else registry.nothing()

        return call


def standing(said: str) -> Doing:
    """For what gives something to enter or to talk to, other than a client of the API."""

    def doing(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> Any:
        note(called(owner, original, args, values), said)
        return Client(sync=True)

    return doing


def entered(_: Any, original: Any, args: Tuple[Any, ...], __: Dict[str, Any]) -> Any:
    """For a client or worker that was made by hand and is entered, and then left."""
    if "exit" in original.__name__:
        return answer(original)
    note(qualname_of(type(args[0])), "reaches no server")
    sync = not inspect.iscoroutinefunction(original)
    return Client(sync) if sync else registry.given(Client(sync))


def refused(owner: Any, original: Any, args: Tuple[Any, ...], values: Dict[str, Any]) -> NoReturn:
    """For what nothing else caught: it fails at once."""
    what = called(owner, original, args, values)
    note(what, "reached no server")
    raise RuntimeError(
        f"cannot reach Prefect's API while a script is loaded: {what} needs a server; move it into a flow"
    )


class Unconnected:
    """Stands for a connection that is yet to be made, and is refused then."""

    def __init__(self, *call: Any) -> None:
        self.refuse = partial(refused, *call)

    def __await__(self) -> NoReturn:
        self.refuse()

    async def __aenter__(self) -> NoReturn:
        self.refuse()

    async def __aexit__(self, *_: object) -> None:
        return None


FLOW, TASK, SUBMITTED = not_run("flow"), not_run("task"), not_run("task", 1)
RUN_NOTHING, REGISTERED = nothing("started nothing"), nothing("registered nothing")
READ, WROTE, SENT = nothing("read nothing"), nothing("wrote nothing"), nothing("sent nothing")
FETCHED = nothing("fetched nothing")
GUARDED, UNREACHED = standing("waited for nothing"), standing("reaches no server")
