"""What a function says of itself: file, lines, version, kind; it runs beside foreign code."""

from __future__ import annotations

import hashlib
import inspect
import os
from typing import Any, Dict, Optional

from worker import extract
from worker.dialects import registry
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

WRAPPERS = 50
"""Decorators looked through."""
LARGEST = 16 << 20
"""Bytes of a file beyond which its version is not computed."""
md5 = hashlib.md5
abspath, isabs = os.path.abspath, os.path.isabs
clean, is_coroutine, is_async_generator = (
    inspect.cleandoc,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)


def innermost(fn: Any) -> Any:
    """The function that decorators wrap."""
    for _ in range(WRAPPERS):
        wrapped = getattr(fn, "__wrapped__", None)
        if not callable(wrapped):
            break
        fn = wrapped
    return getattr(fn, "__func__", fn)


def isasync(fn: Any) -> bool:
    """Whether calling it gives something to await or to iterate over asynchronously."""
    found = innermost(fn)
    return is_coroutine(fn) or is_async_generator(fn) or is_coroutine(found) or is_async_generator(found)


def docstring(fn: Any) -> Optional[str]:
    """The function's own docstring, its indentation removed."""
    doc = getattr(fn, "__doc__", None)
    return clean(doc) if isinstance(doc, str) else None


def file_of(fn: Any) -> Optional[str]:
    """The file that defines it."""
    code = getattr(innermost(fn), "__code__", None)
    return None if code is None else str(code.co_filename)


def version(fn: Any) -> Optional[str]:
    """The md5 of the file that defines it: for the script itself of the bytes that were sent."""
    file = file_of(fn)
    name, source = registry.script()
    if file is None or file == name:
        return None if file is None else md5(source, usedforsecurity=False).hexdigest()
    try:
        with open(file, "rb") as stream:
            held = stream.read(LARGEST + 1)
    except (OSError, ValueError):
        return None
    return md5(held, usedforsecurity=False).hexdigest() if len(held) <= LARGEST else None


def place(fn: Any) -> Dict[str, Any]:
    """File, lines and entrypoint, by the field names of a flow's message.

    The first line is that of its first decorator.
    """
    found = innermost(fn)
    code = getattr(found, "__code__", None)
    function = getattr(found, "__qualname__", None) or getattr(found, "__name__", None)
    if code is None:
        return {"function": function}
    file = code.co_filename
    return {
        "function": function,
        "entrypoint": extract.entrypoint(file, function, registry.root()),
        "file": file,
        "line": code.co_firstlineno,
        "end_line": extract.last_line(code),
    }
