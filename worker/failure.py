"""An exception as the error its author reads; it runs beside foreign code and survives hostile objects.

Chains, notes, causes and tracebacks are read from the slots of the interpreter's own classes, never
through an exception's class, and everything is bounded: links, frames, characters. The text is Python's
own, without the frames of this package.
"""

from __future__ import annotations

import builtins
import contextlib
import linecache
import os
import traceback
from collections import deque
from types import FrameType, TracebackType
from typing import Any, Deque, Iterator, List, Optional, Set, Tuple

from worker import protocol
from worker.plain import masked, mro_of, text, type_name, well_formed
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

LINKS = 8
"""Exceptions kept of one chain of causes."""
HEAD, TAIL = 20, 40
"""Frames kept of one traceback: the outermost and the innermost."""
GROUP, GROUP_DEPTH = 15, 5
"""Members kept of an exception group, and levels of groups in groups."""
NOTES = 20
"""Notes kept of one exception."""
MESSAGE, SOURCE, TRACEBACK = 8_000, 300, 40_000
"""Characters kept of a message, of a source line and of the whole traceback."""

CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"
OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
MACHINERY = "<frozen importlib"

CAUSE, CONTEXT, SUPPRESS = (
    BaseException.__dict__[name] for name in ("__cause__", "__context__", "__suppress_context__")
)
cause_of, context_of, is_suppressed = CAUSE.__get__, CONTEXT.__get__, SUPPRESS.__get__
traceback_of = BaseException.__dict__["__traceback__"].__get__
attributes_of = BaseException.__dict__["__dict__"].__get__
group_type: Optional[type] = getattr(builtins, "BaseExceptionGroup", None)
format_tb, format_exception_only = traceback.format_tb, traceback.format_exception_only
get_line = linecache.getline
Step = Tuple[FrameType, int, int]


def error(raised: BaseException, stage: str) -> protocol.Error:
    """``raised`` and its chain made plain."""
    chain = list(links(raised))
    told: Optional[protocol.Error] = None
    parts: List[str] = []
    for link, joint in reversed(chain):
        part = whole_text(link)
        parts += [joint, part] if parts else [part]
        told = protocol.Error(
            stage=stage,
            type=type_name(type(link)),
            message=message(link),
            frames=frames(link),
            traceback=part,
            cause=told,
        )
    assert told is not None
    return with_traceback(told, "".join(parts))


def with_traceback(told: protocol.Error, said: str) -> protocol.Error:
    """The error with another traceback text, cut in its middle when it is too long."""
    if len(said) > TRACEBACK:
        said = said[: TRACEBACK // 4] + "\n  […]\n" + said[-TRACEBACK * 3 // 4 :]
    return changed(told, traceback=masked(said))


def changed(told: protocol.Error, **values: Any) -> protocol.Error:
    """A copy with other values."""
    return protocol.Error(**{**vars(told), **values})


def links(raised: BaseException) -> Iterator[Tuple[BaseException, str]]:
    """The exception, what caused it, and so on, each with the words that follow its cause's text."""
    seen: Set[int] = set()
    current: Optional[BaseException] = raised
    while current is not None and id(current) not in seen and len(seen) < LINKS:
        seen.add(id(current))
        cause = cause_of(current)
        if cause is not None:
            yield current, CAUSED
        else:
            yield current, DURING
            cause = None if is_suppressed(current) else context_of(current)
        current = cause


def steps(raised: BaseException) -> Tuple[List[Step], int, List[Step]]:
    """The frames that are not ours: the outermost, how many are left out, the innermost."""
    head: List[Step] = []
    tail: Deque[Step] = deque(maxlen=TAIL)
    past = 0
    current = traceback_of(raised)
    while current is not None:
        if not is_ours(current.tb_frame.f_code.co_filename):
            step = (current.tb_frame, current.tb_lasti, current.tb_lineno)
            if len(head) < HEAD:
                head.append(step)
            else:
                past += 1
                tail.append(step)
        current = current.tb_next
    return head, past - len(tail), list(tail)


def is_ours(file: str) -> bool:
    """Whether code of that file is ours or the import system's: its frames are not the author's concern."""
    return file.startswith((OURS, MACHINERY))


def frames(raised: BaseException) -> Tuple[protocol.Frame, ...]:
    """The exception's frames, outermost first; a syntax error's own place comes last."""
    head, _, tail = steps(raised)
    told = [
        protocol.Frame(
            file=text(frame.f_code.co_filename, SOURCE),
            line=line,
            function=text(frame.f_code.co_name, SOURCE),
            source=source_line(frame.f_code.co_filename, line),
        )
        for frame, _, line in head + tail
    ]
    if SyntaxError in mro_of(type(raised)):
        told += syntax_frame(raised)
    return tuple(told)


def syntax_frame(raised: Any) -> List[protocol.Frame]:
    """Where a syntax error is."""
    slots = SyntaxError.__dict__
    file, line, source = (slots[name].__get__(raised) for name in ("filename", "lineno", "text"))
    if type(file) is not str or type(line) is not int:
        return []
    shown = text(source, SOURCE).strip() if type(source) is str else source_line(file, line)
    return [protocol.Frame(text(file, SOURCE), line, "<module>", shown)]


def source_line(file: str, line: int) -> Optional[str]:
    """A line of source, without its indentation."""
    try:
        return text(get_line(file, line), SOURCE).strip() or None
    except BaseException:  # a script's __loader__ may be asked, and the line cache may be patched
        return None


def message(raised: BaseException) -> str:
    """What the exception says of itself; a syntax error without its place, which is told apart."""
    if SyntaxError in mro_of(type(raised)):
        said = SyntaxError.__dict__["msg"].__get__(raised)
        if type(said) is str:
            return text(masked(said), MESSAGE)
    return masked(text(raised, MESSAGE))


def whole_text(raised: BaseException) -> str:
    """One exception as Python prints it, without its chain; groups with their members."""
    if group_type is not None and group_type in mro_of(type(raised)):
        return "".join(f"{line}\n" for line in group_lines(raised, 0))
    return stack_text(raised) + last_lines(raised)


def stack_text(raised: BaseException, header: str = "Traceback (most recent call last):\n") -> str:
    """The traceback's lines; empty when no frame is left."""
    head, omitted, tail = steps(raised)
    if not head:
        return ""
    gap = f"  [… {omitted} more frames …]\n" if omitted else ""
    return header + format_steps(head) + gap + format_steps(tail)


def format_steps(some: List[Step]) -> str:
    """Frames as Python prints them, with its marks below the line where it has them."""
    rebuilt: Optional[TracebackType] = None
    for frame, instruction, line in reversed(some):
        rebuilt = TracebackType(rebuilt, frame, instruction, line)
    try:
        return well_formed("".join(format_tb(rebuilt)))
    except BaseException:  # a patched traceback module, a lying __loader__
        return "".join(
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'
            for frame, _, line in some
        )


def last_lines(raised: BaseException) -> str:
    """What follows the frames: the type and the message, and the notes."""
    kind = type(raised)
    grouped = group_type is not None and group_type in mro_of(kind)
    if not grouped and (type_name(kind) in vars(builtins) or SyntaxError in mro_of(kind)):
        with (
            contextlib.suppress(BaseException),
            alone(raised),
        ):  # a patched traceback module, hostile attributes
            return text("".join(format_exception_only(kind, raised)), MESSAGE)
    said = text(raised, MESSAGE)
    lines = [f"{type_name(kind)}: {said}" if said else type_name(kind), *notes(raised)]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def alone(raised: BaseException) -> Iterator[None]:
    """The exception without what it is chained to: ``traceback`` would follow a chain of any length."""
    held = cause_of(raised), context_of(raised), is_suppressed(raised)
    CAUSE.__set__(raised, None)
    CONTEXT.__set__(raised, None)
    try:
        yield
    finally:
        for slot, value in zip((CAUSE, CONTEXT, SUPPRESS), held):
            slot.__set__(raised, value)


def notes(raised: BaseException) -> List[str]:
    """What ``add_note`` left on an exception."""
    held = attributes_of(raised)
    found: Any = dict.get(held, "__notes__") if type(held) is dict else None
    return [text(note, MESSAGE) for note in found[:NOTES]] if type(found) in (list, tuple) else []


def group_lines(raised: Any, depth: int) -> List[str]:
    """An exception group as Python draws it."""
    assert group_type is not None
    members = group_type.__dict__["exceptions"].__get__(raised)
    header = "Exception Group Traceback (most recent call last):\n"
    own = (stack_text(raised, header) + last_lines(raised)).splitlines()
    lines = [("  | " if depth else "  + ") + own[0], *("  | " + line for line in own[1:])]
    if depth >= GROUP_DEPTH:
        return [*lines, f"  | [… {len(members)} more …]"]
    for number, member in enumerate(members[:GROUP], 1):
        lines.append(f"  {'+-+' if number == 1 else '  +'}---------------- {number} ----------------")
        grouped = group_type in mro_of(type(member))
        below = group_lines(member, depth + 1) if grouped else whole_text(member).splitlines()
        lines += [("  " if grouped else "    | ") + line for line in below]
    if len(members) > GROUP:
        lines.append(f"    | [… {len(members) - GROUP} more exceptions …]")
    return [*lines, "    +------------------------------------"]
