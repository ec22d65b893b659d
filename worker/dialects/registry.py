"""Where flows, tasks and specs are noted while a script is loaded; this runs beside foreign code."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from worker.pristine import BUILTINS
from worker.record import Record

__builtins__ = BUILTINS

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
running_loop = asyncio._get_running_loop  # noqa: SLF001 - it says None where its public twin raises
folder_of = os.path.dirname
current_frame = sys._getframe  # noqa: SLF001 - the only way to know who called
frames_of_threads = sys._current_frames  # noqa: SLF001 - the same
main_thread = threading.main_thread


class Place(NamedTuple):
    """A line of a file."""

    file: Optional[str]
    line: Optional[int]


class Current:
    """The load that is going on, if any."""

    record: Optional[Record] = None
    passed: Tuple[str, ...] = (OURS,)
    """Beginnings of the files whose code only passes on what a script does."""


async def nothing() -> None:
    """What calling an async flow gives."""


class Later:
    """Something to await that gives None, and that nobody minds if it is not awaited."""

    def __await__(self) -> Iterator[None]:
        return iter(())


def later() -> Optional[Later]:
    """What gives None to who awaits it where an event loop runs; None elsewhere."""
    return None if running_loop() is None else Later()


async def given(value: Any) -> Any:
    """Something to await that gives ``value``."""
    return value


def caller() -> Place:
    """The innermost line that is not ours, nor a library's that only passes on what the script does.

    In a thread that has none it is the one at which the script itself is.
    """
    place = innermost(current_frame(1))
    return place if place.file is not None else innermost(frames_of_threads().get(main_thread().ident or 0))


def innermost(frame: Any) -> Place:
    """The first line of a frame, or of what called it, that is the script's or of what it imports."""
    own, _ = script()
    while frame is not None and frame.f_code.co_filename.startswith(Current.passed):
        if frame.f_code.co_filename == own:
            break
        frame = frame.f_back
    return Place(None, None) if frame is None else Place(frame.f_code.co_filename, frame.f_lineno)


def root() -> Optional[str]:
    """The folder that the script's files are named relative to: its own."""
    load = Current.record.load if Current.record is not None else None
    return folder_of(load.filename) if load is not None and load.root is not None else None


def script() -> Tuple[Optional[str], bytes]:
    """The script's file name and its bytes."""
    load = Current.record.load if Current.record is not None else None
    return (None, b"") if load is None else (load.filename, load.source)


def define_flow(flow: Any, facts: Callable[[Any], Dict[str, Any]]) -> None:
    """Note a flow."""
    if Current.record is not None:
        Current.record.flow(flow, facts)


def define_spec(
    spec: Any, facts: Callable[[Any], Dict[str, Any]], detail: Callable[[Any], Dict[str, Any]]
) -> None:
    """Note a deployment spec."""
    if Current.record is not None:
        Current.record.spec(spec, facts, detail)


def notice(kind: str, message: str, place: Optional[Place] = None) -> None:
    """Tell the author something about a place of the script."""
    if Current.record is not None:
        Current.record.notice(kind, message, *(place or Place(None, None)))


def not_run(what: str, name: str, isasync: bool) -> Any:
    """What calling a flow or a task gives while a script is loaded: nothing, and a notice of the line."""
    notice("flow_called", f"{what} {name!r} was called while the script was loaded and was not run", caller())
    return nothing() if isasync else None
