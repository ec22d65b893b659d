"""Which act of a script the sandbox refused, as far as its exception tells; it runs beside foreign code.

The worker does not know its profile: it says what was tried, and the supervisor, which does, says why it
was refused and what would allow it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Optional, Tuple

from worker import failure, protocol, watch
from worker.plain import mro_of, text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

REFUSALS = {errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS}
ABSENT = {errno.ENOENT, errno.ENOTDIR}
UNREACHABLE = REFUSALS | {
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTUNREACH,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.ECONNREFUSED,
    errno.ENOENT,
}
LIBRARIES = {
    "socket.py": "network",
    "ssl.py": "network",
    "selector_events.py": "network",
    "base_events.py": "network",
    "subprocess.py": "processes",
    "popen_fork.py": "processes",
    "util.py": "processes",
}
"""Files of the standard library from which such an error comes, and what they try."""
STEPS = 3
"""Innermost frames that are looked at."""
NO_THREAD = "can't start new thread"
PREFIXES = tuple({os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)})
code_of = OSError.__dict__["errno"].__get__
path_of = OSError.__dict__["filename"].__get__
abspath, base_name, separator, decode_path = os.path.abspath, os.path.basename, os.sep, os.fsdecode


def denied(raised: BaseException, root: Optional[str]) -> Optional[protocol.Denied]:
    """The refused act behind an exception, if it looks like one."""
    bases = mro_of(type(raised))
    if RuntimeError in bases and text(raised) == NO_THREAD:
        return protocol.Denied("processes", "a thread")
    if OSError not in bases:
        return None
    code, path = code_of(raised), path_of(raised)
    files, line, place = innermost(raised)
    act = next((LIBRARIES[name] for name in files if name in LIBRARIES), None)
    seen = watch.Watch.last
    if seen is not None and place == (seen.code, seen.line):
        act = seen.guarantee
    if act == "network":
        told = seen.target if seen is not None and seen.guarantee == act else line
        return (
            protocol.Denied(act, told) if code in UNREACHABLE or "gaierror" in type(raised).__name__ else None
        )
    if act == "processes":
        tried = seen.target if seen is not None and seen.guarantee == act else line
        told = text(path) if path is not None else tried
        return protocol.Denied(act, told) if code in REFUSALS | ABSENT else None
    if type(path) in (str, bytes):
        return filesystem(code, abspath(decode_path(path)), root)
    return protocol.Denied("syscalls", line) if code in (errno.EPERM, errno.ENOSYS) else None


def filesystem(code: Any, path: str, root: Optional[str]) -> Optional[protocol.Denied]:
    """A path that was refused, or that may be there and is not seen."""
    ordinary = (root, *PREFIXES)
    seen = any(top is not None and (path == top or path.startswith(top + separator)) for top in ordinary)
    if code in REFUSALS or (code in ABSENT and not seen):
        return protocol.Denied("filesystem", text(path))
    return None


def innermost(raised: BaseException) -> Tuple[Tuple[str, ...], str, Any]:
    """The innermost frames' files, the innermost line of source, and that frame's code and line."""
    files: Tuple[str, ...] = ()
    place: Any = None
    current = failure.traceback_of(raised)
    while current is not None:
        code = current.tb_frame.f_code
        files = (base_name(code.co_filename), *files)[:STEPS]
        place = (code, current.tb_lineno)
        current = current.tb_next
    frames = failure.frames(raised)
    return files, (frames[-1].source or "") if frames else "", place
