"""What an author can do about an error, in words that need no one else; it runs beside foreign code."""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from worker import denials, failure, protocol
from worker.dialects.base import Dialect
from worker.imports import FOLDER, STANDARD, top
from worker.plain import described, mro_of, text
from worker.pristine import BUILTINS
from worker.record import Record

__builtins__ = BUILTINS

GUARD = 'if __name__ == "__main__":'
OTHER = "if it was written for another Prefect, name an interpreter that has that one with --python"
SHOWN = 5
"""Flows named in one hint."""
PYTHON, VERSION = sys.executable, f"{sys.version_info[0]}.{sys.version_info[1]}"
isabs = os.path.isabs
exit_code_of = SystemExit.__dict__["code"].__get__
name_of = ImportError.__dict__["name"].__get__
path_of = OSError.__dict__["filename"].__get__


class Case(NamedTuple):
    """An exception, what it says, and the load in which it was raised."""

    raised: Any
    said: str
    record: Record
    dialect: Dialect


def explained(
    error: protocol.Error, raised: BaseException, record: Record, dialect: Dialect
) -> protocol.Error:
    """The error with what can be done about it, and which act the sandbox refused if it did."""
    hint: Optional[str] = None
    act: Optional[protocol.Denied] = None
    for link, _ in failure.links(raised):
        hint = hint or hint_for(link, record, dialect)
        act = act or denials.denied(link, record.load.root)
    values: Dict[str, Any] = {"hint": hint, "denied": act}
    if error.stage == "compile" and mro_of(type(raised))[0] in (MemoryError, RecursionError):
        values["message"] = f"{record.load.filename} is too complex to compile"
        values["hint"] = "split its longest expression, or read the data it holds from a file"
    elif MemoryError in mro_of(type(raised)) and not error.message:
        values["message"] = "the script used all the memory that it may have"
    elif SystemExit in mro_of(type(raised)):
        values["message"] = f"the script called sys.exit({described(exit_code_of(raised))})"
    return failure.changed(error, **values)


def hint_for(raised: BaseException, record: Record, dialect: Dialect) -> Optional[str]:
    """The first reason that knows this exception."""
    try:
        case = Case(raised, failure.message(raised), record, dialect)
        for kind in mro_of(type(raised)):
            reason = REASONS.get(kind)
            hint = reason(case) if reason is not None else None
            if hint is not None:
                return hint
    except Exception:  # attributes of a hostile exception
        return None
    return None


def missing_module(case: Case) -> Optional[str]:
    """A module that is not there."""
    name = text(name_of(case.raised))
    if name.startswith(FOLDER):
        return f"put {name[len(FOLDER) + 1 :]}.py beside the script"
    if top(name) in [top(module) for module in case.dialect.modules]:
        if case.dialect.lasting:
            return f"the script runs with the Prefect {case.dialect.version} of {PYTHON}: {OTHER}"
        api = f"scripts are read with the API of Prefect {case.dialect.version}, which has no module {name}"
        return f"{api}; {OTHER}"
    if top(name) in STANDARD:
        return f"{PYTHON} is Python {VERSION}, whose standard library has no {name}"
    package = top(name)
    return (
        f"{PYTHON} has no {package}: install it there with `{PYTHON} -m pip install {package}` (the package "
        f"may have another name than the module), or put {package}.py beside the script"
    )


def failing_import(case: Case) -> Optional[str]:
    """A name that a module does not have, or a relative import that leaves the folder."""
    if "beyond top-level package" in case.said:
        return (
            "relative imports end at the script's folder: put what is imported below it, or import it by its"
            " full name and name the project's folder with --root"
        )
    module = name_of(case.raised)
    package = module if type(module) is str else case.said.strip("`")
    if case.dialect.lasting and package.startswith(case.dialect.modules):
        return f"the script runs with the Prefect {case.dialect.version} of {PYTHON}: {OTHER}"
    if type(module) is str and module in case.dialect.modules:
        known = sorted(name for name in vars(sys.modules[module]) if not name.startswith("_"))
        api = f"scripts are read with the API of Prefect {case.dialect.version}"
        return f"{api}: {module} has {', '.join(known)}; {OTHER}"
    return None


def ended(_: Case) -> str:
    """A script that calls sys.exit()."""
    return f"the script ends itself while it is loaded: move that call below `{GUARD}`"


def running_loop(case: Case) -> Optional[str]:
    """An event loop inside an event loop."""
    if (
        "cannot be called from a running event loop" in case.said
        or "event loop is already running" in case.said
    ):
        return "an event loop runs already where this is called: await the coroutine there instead"
    return None


def of_none(case: Case) -> Optional[str]:
    """Something done with what an act that was not done gave: one of the failing line, or else any."""
    kinds = ("flow_called", "not_done")
    undone = [notice for notice in case.record.notices if notice.kind in kinds]
    if not undone or "NoneType" not in case.said:
        return None
    lines = {(frame.file, frame.line) for frame in failure.frames(case.raised)}
    undone = [notice for notice in undone if (notice.file, notice.line) in lines] or undone
    called, numbers = undone[0], sorted({notice.line for notice in undone if notice.line is not None})
    if len(numbers) != 1:
        told = ", ".join(map(str, numbers[:SHOWN])) + ", …" * (len(numbers) > SHOWN) or "of threads"
        return (
            f"what the lines {told} call is not done while a script is loaded and gave None: move what uses"
            f" it into a flow, or below `{GUARD}`"
        )
    if called.kind == "not_done":
        return (
            f"{called.message}; line {called.line} runs while the script is loaded, and what it gave is"
            f" None: move it into the flow, or below `{GUARD}`"
        )
    return (
        f"flows and tasks are not run while a script is loaded, so the call on line {called.line} gave None: "
        f"move it below `{GUARD}`"
    )


def missing_name(case: Case) -> Optional[str]:
    """A script from text that asks where it is."""
    if "'__file__'" in case.said and not isabs(case.record.load.filename):
        return "a script that comes as text has no file: load it by its path"
    return None


def end_of_input(_: Case) -> str:
    """A script that asks its user."""
    return f"standard input is empty while a script is loaded: move what reads it below `{GUARD}`"


def missing_file(case: Case) -> Optional[str]:
    """A relative path that is not there."""
    path = path_of(case.raised)
    if type(path) is not str or isabs(path) or case.record.load.root is None:
        return None
    return f"relative paths start in the working directory, {case.record.load.root}"


def undecodable(case: Case) -> Optional[str]:
    """Bytes that are not the text they should be."""
    if "encoding" in case.said or "codec" in case.said or "null bytes" in case.said:
        return "save the script as UTF-8, or name its encoding on its first line: # -*- coding: … -*-"
    return None


REASONS: Dict[type, Callable[[Case], Optional[str]]] = {
    ModuleNotFoundError: missing_module,
    ImportError: failing_import,
    SystemExit: ended,
    RuntimeError: running_loop,
    AttributeError: of_none,
    TypeError: of_none,
    NameError: missing_name,
    EOFError: end_of_input,
    FileNotFoundError: missing_file,
    SyntaxError: undecodable,
}
"""The kinds of exception for which something can be said."""


def nothing_to_load(record: Record, flows: Tuple[protocol.Flow, ...]) -> protocol.Error:
    """What is said of a script that defines nothing."""
    load = record.load
    message = f"cannot find a flow or a deployment spec in {load.filename}"
    if flows:
        names = ", ".join(f"{flow.name!r} (line {flow.line})" for flow in flows[:SHOWN])
        hint = (
            f"only flows that are globals of the script count: bind {names} to a name at its top level, not "
            f"inside a function or a container"
        )
    elif b"__main__" in load.source:
        hint = f"what stands below `{GUARD}` is not run: move the flows above it"
    else:
        hint = "decorate a function with @flow from prefect, or make a deployment spec"
    return protocol.Error(
        "extract", "NothingToLoad", message, traceback=f"NothingToLoad: {message}\n", hint=hint
    )
