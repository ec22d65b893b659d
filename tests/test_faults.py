"""The fault handler's dump: real ones are understood, and forged ones harm nobody."""

import json
import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader import faults
from worker.protocol import Frame

DUMP = """\
Thread 0x00007f00 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/flows/other.py", line 5 in helper

Current thread 0x00007f01 (most recent call first):
  File "/flows/flow.py", line 3 in inner
  File "/flows/flow.py", line 7 in <module>
  File "/opt/flow-loader/worker/script.py", line 90 in execute
  File "/opt/flow-loader/worker/main.py", line 130 in reply
  File "/opt/flow-loader/worker/__main__.py", line 40 in main
  File "<frozen runpy>", line 88 in _run_code
"""
SOURCES = {"/flows/flow.py": ["import time", "def inner():", "    time.sleep(99)", "", "", "", "inner()"]}


def test_the_main_threads_frames_come_outermost_first():
    """As in a traceback, with the source lines that are known and without ours."""
    assert faults.frames(DUMP, SOURCES) == (
        Frame("/flows/flow.py", 7, "<module>", "inner()"),
        Frame("/flows/flow.py", 3, "inner", "time.sleep(99)"),
    )


def test_frames_without_source_are_frames():
    """A module that only the worker has read is named by file and line."""
    assert faults.frames(DUMP, {})[0] == Frame("/flows/flow.py", 7, "<module>", None)
    assert faults.frames(DUMP, {"/flows/flow.py": ["one line"]})[0].source is None


@pytest.mark.parametrize("name", ["main", "script", "imports"])
def test_a_script_that_is_called_like_ours_keeps_its_frames(name):
    """What is known to be the script's is its own, wherever it lies."""
    file = f"/home/ann/worker/{name}.py"
    dump = DUMP.replace("/flows/flow.py", file)
    assert [frame.file for frame in faults.frames(dump, {file: []})] == [file, file]


def test_a_traceback_reads_like_pythons():
    """With source lines where they are known."""
    assert faults.traceback(faults.frames(DUMP, SOURCES)) == (
        "Traceback (most recent call last):\n"
        '  File "/flows/flow.py", line 7, in <module>\n'
        "    inner()\n"
        '  File "/flows/flow.py", line 3, in inner\n'
        "    time.sleep(99)\n"
    )
    assert faults.traceback(()) == ""


def test_the_fault_is_called_by_its_name():
    """What the handler says first; a dump that was asked for is no fault."""
    assert faults.fatal("Fatal Python error: Segmentation fault\n\n" + DUMP) == "Segmentation fault"
    assert faults.fatal(DUMP) is None
    assert faults.fatal("") is None


def test_the_latest_dump_counts():
    """Who is asked twice where it hangs has said it last."""
    later = DUMP.replace("line 3 in inner", "line 4 in later")
    assert faults.frames(DUMP + later, {})[-1].function == "later"


SCRIPT = """
import faulthandler, sys, threading, time
def ünter():
    faulthandler.dump_traceback(sys.stdout.fileno(), all_threads=True)
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
time.sleep(0.1)
ünter()
"""


def test_a_real_dump_is_understood(tmp_path):
    """As this Python writes it, with names that are not ASCII and with other threads."""
    path = tmp_path / "flöw.py"
    path.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, "-X", "utf8", path], capture_output=True, check=True)
    found = faults.frames(faults.text(done.stdout), {str(path): SCRIPT.splitlines()})
    assert [(frame.file, frame.function, frame.source) for frame in found] == [
        (str(path), "<module>", "ünter()"),
        (str(path), "ünter", "faulthandler.dump_traceback(sys.stdout.fileno(), all_threads=True)"),
    ]


def test_a_real_fault_is_understood():
    """A crash of this Python."""
    code = "import faulthandler; faulthandler.enable(); faulthandler._sigsegv()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    dump = faults.text(done.stderr)
    assert faults.fatal(dump) == "Segmentation fault"
    assert [frame.function for frame in faults.frames(dump, {})] == ["<module>"]


@pytest.mark.parametrize(
    ("dump", "text"),
    [
        (rb"\xe9 \u20ac \U0001f600", "é € 😀"),
        (rb"\ud83d\ude00", r"\ud83d\ude00"),
        (rb"\U00110000", r"\U00110000"),
        (rb"\Uffffffff", r"\Uffffffff"),
        (rb"\U0000dfff", r"\U0000dfff"),
        (rb"\xZZ \u12", r"\xZZ \u12"),
        (b"\xff\x80", "\ufffd\ufffd"),
    ],
)
def test_escapes_become_characters_where_there_are_such(dump, text):
    """A script can write escapes of characters that nobody can print; they stay as they are."""
    assert faults.text(dump) == text


def test_only_so_much_of_a_dump_is_read():
    """A script can write to that pipe without end."""
    assert len(faults.text(b"x" * (faults.CAP + 1))) == faults.CAP


HEAD = "Thread 0x1 (most recent call first):\n"


def test_only_so_many_frames_are_kept():
    """The innermost ones, which come first in a dump."""
    many = "".join(f'  File "/x.py", line {number} in f\n' for number in range(1, 3 * faults.FRAMES))
    for found in (faults.frames(HEAD + many, {}), faults.frames(DUMP + HEAD + many, SOURCES)):
        assert [frame.line for frame in found] == list(range(faults.FRAMES, 0, -1))


def test_lines_that_are_too_long_are_ignored():
    """Of frames and of threads: no file and no function has such a name."""
    start, end = '  File "/x.py", line 1 in ', "\n" + '  File "/y.py", line 2 in g\n'
    longest = "f" * (faults.LINE - len(start))
    assert [frame.function for frame in faults.frames(HEAD + start + longest + end, {})] == ["g", longest]
    assert [frame.function for frame in faults.frames(HEAD + start + longest + "f" + end, {})] == ["g"]
    long_head = HEAD.replace("0x1", "0x" + "1" * faults.LINE)
    found = faults.frames(HEAD + start + "f\n" + long_head + end.lstrip("\n"), {})
    assert [frame.function for frame in found] == ["g", "f"]


def test_source_is_cut():
    """A line of a script may be megabytes long, and each frame has one; what a fault is called, too."""
    lines = ["x" * faults.SOURCE, "y" * (faults.SOURCE + 1), "z" * 1_000_000]
    dump = HEAD + "".join(f'  File "/x.py", line {number} in f\n' for number in (3, 2, 1))
    found = faults.frames(dump, {"/x.py": lines})
    assert [frame.source for frame in found] == [letter * faults.SOURCE for letter in "xyz"]
    assert faults.fatal("Fatal Python error: " + "e" * 9999) == "e" * faults.SOURCE


@pytest.mark.parametrize(
    "dump",
    [
        "Thread 0x" + "a" * 65526,
        "Current thread 0x" + "a" * 65526,
        "Thread 0x" * 7281,
        "Thread 0x" + " (most recent call first):" * 2520,
        HEAD * 1771,
        HEAD + '  File "' + '", line ' * 8000,
        HEAD + '  File "", line ' + "?" * 65000,
        HEAD + ('  File "' + '", line ?' * 130 + "\n") * 55,
        HEAD + ('  File "", line ' + "?" * 1180 + "\n") * 54,
        HEAD + '  File "", line 1 in \n' * 2900,
        "Fatal Python error: " * 3276,
        "Fatal Python error:\n" * 3276,
        "\\U0000000" * 7281,
        "\n" * 65536,
    ],
    ids=range(14),
)
def test_a_dump_is_understood_in_no_time(dump):
    """Work is in proportion to the bytes, whatever they are: a script can write what is dear to match."""
    begun = time.process_time()
    text = faults.text(dump.encode())
    faults.frames(text, SOURCES)
    faults.fatal(text)
    assert time.process_time() - begun < 0.2


FORGED = st.lists(
    st.sampled_from(
        [
            b"Current thread 0x1 (most recent call first):\n",
            b'  File "/x.py", line ',
            b'  File "',
            b"9" * 5000,
            b"7",
            b"???",
            b" in f\n",
            b'", line ',
            b"\\ud800",
            b"\\Uffffffff",
            b"\\x0a",
            b"Fatal Python error: ",
            b"\xff",
            b"\n",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(FORGED | st.binary(max_size=200))
@example(b'Thread 0x1 (most recent call first):\n  File "/x.py", line ' + b"9" * 5000 + b" in f\n")
@example(b'Thread 0x1 (most recent call first):\n  File "/\\ud800", line 0 in \\U00110000\n')
def test_a_forged_dump_gives_frames_that_can_be_written_down(dump):
    """Whatever the bytes: no error, no lone surrogate, no number that nothing can hold."""
    text = faults.text(dump)
    found = faults.frames(text, {"/x.py": ["a"]})
    written = json.dumps([vars(frame) for frame in found], ensure_ascii=False).encode()
    assert json.loads(written) == [vars(frame) for frame in found]
    faults.traceback(found).encode()
    assert all(frame.line is None or frame.line < 1 << 31 for frame in found)
    (faults.fatal(text) or "").encode()
