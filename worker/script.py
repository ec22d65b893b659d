"""Run a script's bytes as a fresh module and say what it defined; it runs beside foreign code.

The steps are the stages of an error: ``decode`` the bytes, ``compile`` the text, ``run`` the module,
``extract`` what it defined. Nothing here or below imports anything once the script has started.
"""

from __future__ import annotations

import builtins
import importlib.util
import linecache
import os
import sys
import threading
import time
import traceback
from dataclasses import replace as changed
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Dict, FrozenSet, Optional, Tuple, Union

from worker import dialects, extract, failure, hints, imports, protocol, reads, rehearsal, watch
from worker.dialects.base import Dialect
from worker.plain import mro_of, type_name
from worker.pristine import BUILTINS
from worker.record import Emit, Record

__builtins__ = BUILTINS

THREADS_GRACE = 0.1
"""Seconds for which threads that the script started may go on, so that what they define is found."""
FALLBACK: Dialect = dialects.DIALECTS[0]
"""What a script is said to be read with that fails before one is chosen."""
Reply = Union[protocol.Loaded, protocol.Failed]
decode_source, lines_cache, clear_frames = (
    importlib.util.decode_source,
    linecache.cache,
    traceback.clear_frames,
)
getcwd, chdir, isabs = os.getcwd, os.chdir, os.path.isabs
current_thread, all_threads, now = threading.current_thread, threading.enumerate, time.monotonic
get_limit, set_limit, untrace = sys.getrecursionlimit, sys.setrecursionlimit, sys.settrace
unprofile, interpreters_builtins = sys.setprofile, vars(builtins)


def execute(
    load: protocol.Load,
    emit: Emit,
    *,
    forbids: FrozenSet[str] = frozenset(),
    places: Optional[reads.Places] = None,
) -> Reply:
    """Run a script; returns what it defined or how it failed, and never raises for what it does.

    ``emit`` is given each flow, spec and notice at once, so that they outlive a crash. ``forbids`` names
    the guarantees (``network``, ``processes``) of which a forbidden act is noted though the script
    swallows its error, ``places`` are those of which it is told what the script read, if that is asked. The
    interpreter is left as the script left it: one process, one script.
    """
    reply = Run(load, emit, forbids, places).reply()
    return reply if places is None else changed(reply, sources=watch.has_read())


class Run:
    """One script, from its bytes to the reply."""

    def __init__(
        self, load: protocol.Load, emit: Emit, forbids: FrozenSet[str], places: Optional[reads.Places]
    ) -> None:
        self.load = load
        self.forbids, self.places = forbids, places
        self.stage = "decode"
        self.record = Record(load, emit)
        self.dialect, self.reason = FALLBACK, ""
        self.lines: Tuple[Any, ...] = ()
        self.namespace: Dict[str, Any] = {}
        self.limit = get_limit()

    def reply(self) -> Reply:
        """Every stage in turn."""
        try:
            text = decode(self.load)
            self.lines = (len(text), None, [line + "\n" for line in text.split("\n")], self.load.filename)
            lines_cache[self.load.filename] = self.lines
            self.stage = "compile"
            watch.begin(self.record, self.forbids)
            self.dialect, self.reason = dialects.choose(self.load.dialect, text)
            code = compile(text, self.load.filename, "exec", dont_inherit=True)
            self.stage = "run"
            self.run(code)
            self.stage = "extract"
            return self.loaded()
        except BaseException as error:  # whatever a script raises
            return self.failed(error)

    def run(self, code: CodeType) -> None:
        """Run the compiled script as a module of its own, with its surroundings as it expects them."""
        module = self.surround(code)
        if self.places is not None:
            watch.reading(reads.Reads(self.load.filename, self.places))
        try:
            if type(module) is str:
                self.namespace = vars(imports.bring(module))
            else:
                self.namespace = vars(module)
                exec(code, self.namespace)  # noqa: S102 - what a worker is for
        finally:
            untrace(None)
            unprofile(None)
            set_limit(self.limit)
            interpreters_builtins.update(BUILTINS)
        wait_for_threads()

    def surround(self, code: CodeType) -> Union[ModuleType, str]:
        """Working directory, arguments, path, modules; returns the script's own module.

        Of one inside of packages it returns the name, by which it is to be imported.
        """
        load = self.load
        root = getcwd() if load.root is None else load.root
        chdir(root)
        sys.argv[:] = [load.filename]
        folders = imports.folders_of(load.filename, root, load.paths)
        packaged = imports.is_packaged(load.filename, folders)
        name = imports.arrange(folders, load.module, self.dialect.modules, code if packaged else None)
        sys.modules["__main__"] = ModuleType("__main__")
        module: Union[ModuleType, str] = name if packaged else new_module(name, load.filename)
        if type(module) is ModuleType:
            sys.modules[name] = module
        sys.modules.update(self.dialect.begin(self.record))
        return module

    def loaded(self) -> Reply:
        """What the script defined; a failure when that is nothing."""
        found = self.dialect.found(self.namespace)
        names = extract.variables(self.namespace)
        read = [(flow, self.record.flow_of(flow, self.dialect.facts)) for flow in found]
        flows = tuple(
            extract.with_variable(told, flow, self.namespace, names)
            for flow, told in read
            if told is not None
        )
        specs, details = self.record.all_specs(details=self.load.details)
        notices, spoken = tuple(self.record.notices), self.spoken()
        if not found and not self.record.specs:
            error = hints.nothing_to_load(self.record, self.record.all_flows())
            return protocol.Failed("script_failed", error, (), (), notices, spoken)
        return protocol.Loaded(flows, specs, notices, spoken, details)

    def failed(self, raised: BaseException) -> protocol.Failed:
        """How the script failed, beside what it had defined until then."""
        if self.lines:
            lines_cache[self.load.filename] = self.lines
        status = "script_failed"
        if MemoryError in mro_of(type(raised)) and self.stage == "run":
            status = "out_of_memory"
            clear_frames(failure.traceback_of(raised))
        error = self.told(raised)
        if error is None:
            self.namespace.clear()  # it may hold all the memory there is
            name = type_name(type(raised))
            error = self.told(raised) or protocol.Error(self.stage, name, "it cannot be told in full")
        flows, (specs, _) = self.record.all_flows(), self.record.all_specs()
        return protocol.Failed(status, error, flows, specs, tuple(self.record.notices), self.spoken())

    def told(self, raised: BaseException) -> Optional[protocol.Error]:
        """The exception made plain, with hints; None when there is no memory for it."""
        try:
            return hints.explained(failure.error(raised, self.stage), raised, self.record, self.dialect)
        except BaseException:  # an exception may be more hostile than we know
            return None

    def spoken(self) -> protocol.Dialect:
        """The dialect that the script was read with."""
        return protocol.Dialect(self.dialect.name, self.dialect.version, self.reason or None)


def decode(load: protocol.Load) -> str:
    """The script's text, by its byte order mark or coding line; raises SyntaxError."""
    try:
        text = decode_source(load.source)
    except UnicodeDecodeError as error:
        line = load.source[: error.start].count(b"\n") + 1
        raise SyntaxError(f"(unicode error) {error}", (load.filename, line, None, None)) from None
    if "\0" in text:
        before = text[: text.index("\0")]
        line = before.count("\n") + 1
        place = (load.filename, line, len(before) - before.rfind("\n"), before.rpartition("\n")[2])
        raise SyntaxError("source code cannot contain null bytes", place)
    return text


def new_module(name: str, filename: str) -> ModuleType:
    """The module a script runs as: importable under its name, relative imports from its folder."""
    module = ModuleType(name)
    spec = imports.FolderSpec(name, None, origin=filename)
    if isabs(filename):
        module.__file__ = filename
        spec.loader = module.__loader__ = SourceFileLoader(name, filename)
        spec.has_location = True
    module.__spec__ = spec
    vars(module)["__builtins__"] = builtins  # or it would be given those that this module looks names up in
    module.__package__ = spec.parent
    return module


def wait_for_threads() -> None:
    """Give the threads that would outlive the script's last line a moment."""
    until = now() + THREADS_GRACE
    for thread in all_threads():
        if thread is not current_thread() and not thread.daemon:
            thread.join(max(0.0, until - now()))


def rehearse() -> None:
    """Load harmless scripts and forget them, so that the first real load finds everything warm."""
    rehearsal.rehearse(execute)


def season() -> None:
    """Load an ordinary script and forget it: the interpreter specialises what it runs again and again."""
    rehearsal.season(execute)


def rehearse_once() -> None:
    """Load an ordinary script, as a process does that loads no other."""
    rehearsal.once(execute)
