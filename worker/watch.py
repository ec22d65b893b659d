"""Warnings, reads and forbidden acts of a script, noted as they happen; this runs beside foreign code.

An act that the sandbox refuses may be swallowed by the script or a library. An audit hook sees it all
the same. The hook cannot be removed, so it asks ``Watch`` whom to tell, and does next to nothing else.
"""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any, Callable, Dict, FrozenSet, NamedTuple, Optional, Tuple

from worker.failure import is_ours
from worker.plain import described, text, type_name
from worker.pristine import BUILTINS
from worker.reads import PATH_AT, Reads
from worker.record import Record

__builtins__ = BUILTINS

TARGET = 200
"""Characters kept of what an act was aimed at."""
LOCAL = (1,)
"""AF_UNIX: event loops make such sockets for themselves."""
ADDRESS_IS_SECOND = ("socket.connect", "socket.bind", "socket.sendto")
ACTS = {"network": "using", "processes": "starting"}
NAMED = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
"""Events whose own name says best what was tried."""
STEPS = 1000
"""Frames looked through for the script's own line: imports are deep."""
current_frame = sys._getframe  # noqa: SLF001 - the only way to know who acted
frames_of_threads = sys._current_frames  # noqa: SLF001 - the same, of other threads
main_thread = threading.main_thread


class Act(NamedTuple):
    """Something a profile may forbid: which guarantee forbids it, and on what it was tried."""

    guarantee: str
    target: str
    code: Any
    line: Optional[int]


NETWORK_EVENTS = (
    *("socket.__new__", "socket.connect", "socket.bind", "socket.sendto"),
    *("socket.getaddrinfo", "socket.gethostbyname"),
)
PROCESS_EVENTS = (
    *("subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn"),
    *("os.spawn", "pty.spawn"),
)


def network_address(event: str, arguments: Tuple[Any, ...]) -> Optional[str]:
    """What a socket was to reach; None for one that stays in the process."""
    if event == "socket.__new__":
        return None if int(arguments[1]) in LOCAL else "a socket"
    return described(arguments[event in ADDRESS_IS_SECOND])


def program(event: str, arguments: Tuple[Any, ...]) -> Optional[str]:
    """What was to be run."""
    return described(arguments[0]) if arguments else event


EVENTS: Dict[str, Tuple[str, Callable[[str, Tuple[Any, ...]], Optional[str]]]] = {
    **dict.fromkeys(
        NETWORK_EVENTS,
        ("network", network_address),
    ),
    **dict.fromkeys(
        PROCESS_EVENTS,
        ("processes", program),
    ),
}
"""The audit events that are looked at: the guarantee each is about, and how its target is found."""


class Watch:
    """Who is told. One load at a time."""

    record: Optional[Record] = None
    forbids: FrozenSet[str] = frozenset()
    last: Optional[Act] = None
    reads: Optional[Reads] = None
    hooked = False


def begin(record: Record, forbids: FrozenSet[str]) -> None:
    """Note warnings, and the acts that belong to one of ``forbids``."""
    warnings.showwarning = show_warning
    Watch.record, Watch.forbids, Watch.last, Watch.reads = record, forbids, None, None
    if not Watch.hooked:
        Watch.hooked = True
        sys.addaudithook(hook)


def end() -> None:
    """Note nothing any more."""
    Watch.record, Watch.forbids, Watch.last, Watch.reads = None, frozenset(), None, None


def reading(reads: Reads) -> None:
    """Note what is read from here on."""
    Watch.reads = reads


def has_read() -> Optional[Tuple[str, ...]]:
    """What was read, if that is known; nothing is noted any more."""
    reads, Watch.reads = Watch.reads, None
    try:
        return () if reads is None else reads.told()
    except BaseException:  # there may be no memory for it
        return None


def hook(event: str, arguments: Tuple[Any, ...]) -> None:
    """The audit hook."""
    if event in PATH_AT and Watch.reads is not None:
        try:
            Watch.reads.see(event, arguments)
        except Exception:
            Watch.reads.complete = False
    elif event in EVENTS and Watch.forbids:
        see(event, arguments)


def see(event: str, arguments: Tuple[Any, ...]) -> None:
    """Note an act that the profile forbids."""
    guarantee, find_target = EVENTS[event]
    if guarantee not in Watch.forbids or Watch.record is None:
        return
    try:
        target = find_target(event, arguments)
        if target is None:
            return
        acting = current_frame(2)
        Watch.last = Act(guarantee, text(target, TARGET), acting.f_code, acting.f_lineno)
        frame = (
            script_frame(acting) or script_frame(frames_of_threads().get(main_thread().ident or 0)) or acting
        )
        act = event.rpartition(".")[2] if event in NAMED else ACTS[guarantee]
        words = f"the profile allows no {guarantee}: {act} {text(target, TARGET)} was tried"
        Watch.record.notice("denied", words, frame.f_code.co_filename, frame.f_lineno)
    except Exception:
        return


def script_frame(frame: Any) -> Any:
    """The innermost frame of the script itself, if it led here."""
    filename = Watch.record.load.filename if Watch.record is not None else None
    for _ in range(STEPS):
        if frame is None or frame.f_code.co_filename == filename:
            return frame
        frame = frame.f_back
    return None


def show_warning(  # noqa: PLR0913, PLR0917 - the signature of warnings.showwarning
    message: Any,
    category: type,
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001
    line: Any = None,  # noqa: ARG001
) -> None:
    """Note a warning in place of printing it."""
    if Watch.record is None:
        return
    name = text(filename)
    place = (None, None) if is_ours(name) else (name, lineno)
    Watch.record.notice("warning", f"{type_name(category)}: {text(message)}", *place)
