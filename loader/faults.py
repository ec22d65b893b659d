"""The fault handler's dump becomes frames: where a script hung or crashed. A claim, like all else.

The format is CPython's: a line for each thread, then its frames, the innermost first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

from worker.protocol import Frame

CAP = 64 * 1024
"""Bytes of a dump that are read."""
FRAMES, LINE, SOURCE = 100, 1200, 300
"""Frames that are kept, as the handler itself keeps; characters of a line of a dump, and of one of source."""
THREADS = ("Thread 0x", "Current thread 0x")
FIRST = "(most recent call first):"
FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>[0-9]{1,9}|\?+) in (?P<function>.*)$')
FATAL = re.compile(r"^(?:Fatal Python error|Windows fatal exception): (?P<what>.*)$", re.MULTILINE)
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
OURS = re.compile(r"/worker/(?:main|script|zygote|broker|imports|__main__)\.py$|/worker/dialects/|^<frozen ")


def text(dump: bytes) -> str:
    """A dump as text; the handler writes ASCII and escapes the rest."""
    return ESCAPE.sub(unescaped, dump[:CAP].decode("ascii", "replace"))


def unescaped(escape: re.Match[str]) -> str:
    """The character that an escape stands for, or the escape itself where there is none to be written."""
    number = int(escape[1] or escape[2] or escape[3], base=16)
    return escape[0] if 0xD800 <= number < 0xE000 or number > sys.maxunicode else chr(number)


def frames(dump: str, sources: Mapping[str, Sequence[str]]) -> tuple[Frame, ...]:
    """The main thread's frames, outermost first, without ours.

    ``sources`` are the lines of the files that are known to be the script's, whatever their names.
    """
    found: list[Frame] = []
    for line in main_thread([line for line in dump.splitlines() if len(line) <= LINE])[:FRAMES]:
        match = FRAME.match(line)
        if match is None or (match["file"] not in sources and OURS.search(match["file"])):
            continue
        number = int(match["line"]) if match["line"].isdigit() else None
        lines = sources.get(match["file"], ())
        source = lines[number - 1][:SOURCE].strip() if number and 0 < number <= len(lines) else None
        found.append(Frame(match["file"], number, match["function"], source))
    return tuple(reversed(found))


def main_thread(lines: list[str]) -> list[str]:
    """The lines of the thread that ran the script: the last one listed, for it was the first to start."""
    blocks: list[list[str]] = []
    for line in lines:
        if line.startswith(THREADS) and line.endswith(FIRST):
            blocks.append([])
        elif blocks and FRAME.match(line):
            blocks[-1].append(line)
    return blocks[-1] if blocks else []


def fatal(dump: str) -> str | None:
    """What the handler called the fault, as in ``Segmentation fault``."""
    match = FATAL.search(dump)
    return match["what"][:SOURCE] if match else None


def traceback(found: Sequence[Frame]) -> str:
    """Python's usual text for frames."""
    if not found:
        return ""
    lines = ["Traceback (most recent call last):"]
    for frame in found:
        lines.append(f'  File "{frame.file}", line {frame.line}, in {frame.function}')
        if frame.source:
            lines.append(f"    {frame.source}")
    return "\n".join(lines) + "\n"
