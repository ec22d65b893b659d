"""What a script defined, as the messages that tell of it; it runs beside foreign code.

A dialect says what it knows as a mapping of a message's fields; here each value is made plain by the
kind of its field, so that whatever a script put there, the message can be sent.
"""

from __future__ import annotations

import dis
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from worker import protocol
from worker.plain import mro_of, plain, text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

LIST = 1_000
"""Tags kept of one flow or spec."""
find_line_starts = dis.findlinestarts
attributes = type.__dict__["__dict__"].__get__
abspath, isabs, relpath, separator = os.path.abspath, os.path.isabs, os.path.relpath, os.sep


def a_text(value: Any) -> Optional[str]:
    """A string, or None."""
    return None if value is None else text(value)


def a_number(value: Any) -> Optional[float]:
    """A finite number, or None."""
    copied = plain(value)
    return copied if type(copied) in (int, float) else None


def a_count(value: Any) -> Optional[int]:
    """An int, or None."""
    copied = plain(value)
    return copied if type(copied) is int else None


def a_truth(value: Any) -> Optional[bool]:
    """True, False or None."""
    return value if type(value) is bool else None


def a_map(value: Any) -> Optional[Dict[str, protocol.Json]]:
    """A dict, or None."""
    copied = plain(value)
    return copied if type(copied) is dict else None


def some_texts(value: Any) -> Tuple[str, ...]:
    """The strings of a list; of a set in sorted order."""
    copied = plain(value)
    return tuple(text(item) for item in copied[:LIST]) if type(copied) is list else ()


FLOW: Dict[str, Callable[[Any], Any]] = {
    "name": text,
    "function": a_text,
    "entrypoint": a_text,
    "version": a_text,
    "description": a_text,
    "parameters": a_map,
    "file": a_text,
    "line": a_count,
    "end_line": a_count,
    "is_async": a_truth,
    "retries": a_count,
    "timeout_seconds": a_number,
    "task_runner": a_text,
    "tags": some_texts,
    "is_generator": a_truth,
    "retry_delay_seconds": plain,
    "persist_result": a_truth,
    "hooks": a_map,
    "variable": a_text,
    "validate_parameters": a_truth,
}
SPEC: Dict[str, Callable[[Any], Any]] = {
    "name": a_text,
    "flow_name": a_text,
    "flow_location": a_text,
    "parameters": lambda value: a_map(value) or {},
    "schedule": a_map,
    "tags": some_texts,
    "flow_runner": a_map,
    "flow_storage": plain,
    "file": a_text,
    "line": a_count,
}


def flow(facts: Mapping[str, Any]) -> protocol.Flow:
    """The message for a flow; facts that the dialect does not give stay None."""
    return protocol.Flow(**{name: FLOW[name](value) for name, value in facts.items()})


def spec(facts: Mapping[str, Any]) -> protocol.Spec:
    """The message for a deployment spec."""
    return protocol.Spec(**{name: SPEC[name](value) for name, value in facts.items()})


def detail(facts: Mapping[str, Any]) -> protocol.Detail:
    """The message for what deploying a spec needs: its flow's facts, its storage, its problems."""
    given = facts["flow"]
    return protocol.Detail(
        None if given is None else flow(given), plain(facts["flow_storage"]), some_texts(facts["problems"])
    )


def instances(namespace: Dict[str, Any], kind: type) -> List[Any]:
    """The globals whose true type is ``kind`` or derives from it, in order of definition, each once."""
    found: Dict[int, Any] = {}
    for value in list(dict.values(namespace)):
        if kind in mro_of(type(value)):
            found.setdefault(id(value), value)
    return list(found.values())


def variables(namespace: Dict[str, Any]) -> Dict[int, str]:
    """By the identity of each value the first global that holds it."""
    found: Dict[int, str] = {}
    for name, value in list(dict.items(namespace)):
        found.setdefault(id(value), text(name))
    return found


def with_variable(
    flow: protocol.Flow, held: Any, namespace: Dict[str, Any], names: Dict[int, str]
) -> protocol.Flow:
    """The message for the flow ``held``, with the one of the ``names`` that an entrypoint has for it."""
    if flow.function is not None and reached(namespace, flow.function) is held:
        return flow
    return protocol.Flow(**{**vars(flow), "variable": names.get(id(held), "")})


def reached(namespace: Dict[str, Any], path: str) -> Any:
    """What a global holds, or with dots in its ``path`` an attribute of a class; None for neither."""
    first, *names = path.split(".")
    held: Any = dict.get(namespace, first)
    for name in names:
        held = dict(attributes(held)).get(name) if type in mro_of(type(held)) else None
        held = held.__func__ if type(held) in (staticmethod, classmethod) else held
    return held


def entrypoint(file: Optional[str], function: Optional[str], root: Optional[str]) -> Optional[str]:
    """``file.py:function``, the file relative to the script's root when it lies below it."""
    if file is None or function is None or not isabs(file):
        return None
    inside = root is not None and file.startswith(abspath(root).rstrip(separator) + separator)
    return f"{relpath(file, root) if inside else file}:{function}"


def last_line(code: Any) -> Optional[int]:
    """The last line that has code, of a function and those inside it."""
    lines: List[int] = []
    waiting = [code]
    while waiting:
        current = waiting.pop()
        lines.extend(lines_of(current))
        waiting.extend(constant for constant in current.co_consts if type(constant) is type(code))
    return max(lines, default=None)


def lines_of(code: Any) -> Iterable[int]:
    """The lines on which a code object's instructions end, or begin where the interpreter knows no more."""
    if hasattr(code, "co_positions"):
        return [end or 0 for _, end, _, _ in code.co_positions()]
    if hasattr(code, "co_lines"):
        return [line or 0 for _, _, line in code.co_lines()]
    return [line for _, line in find_line_starts(code)]
