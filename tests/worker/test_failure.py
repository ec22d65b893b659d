"""How a script's failure is told."""

import errno
import resource
import subprocess
import sys

import pytest

FLOW = "from prefect import flow\n@flow\ndef hello(): ...\n"


def test_exception_has_frames_text_and_source(run):
    """The frames are the script's own, outermost first; the text is Python's."""
    ran = run("def inner(x):\n    raise ValueError(f'no {x}')\n\ninner(3)\n", fails=True)
    file = str(run.folder / "flow.py")
    assert ran.error["type"] == "ValueError"
    assert ran.error["message"] == "no 3"
    assert ran.error["frames"] == [
        {"file": file, "line": 4, "function": "<module>", "source": "inner(3)"},
        {"file": file, "line": 2, "function": "inner", "source": "raise ValueError(f'no {x}')"},
    ]
    assert ran.error["traceback"].startswith("Traceback (most recent call last):\n  File ")
    assert ran.error["traceback"].endswith("ValueError: no 3\n")


def test_text_is_what_python_prints(run):
    """But for the frames that are ours, and for classes named by the script's module."""
    source = (
        "def f(depth):\n    return f(depth - 1) if depth else 1 / 0\n"
        "try:\n    f(2)\nexcept ZeroDivisionError as error:\n"
        "    try:\n        raise KeyError('k') from error\n"
        "    except KeyError:\n        [].nothing\n"
    )
    ran = run(source, fails=True)
    done = subprocess.run(
        [sys.executable, str(run.folder / "flow.py")], capture_output=True, text=True, check=False
    )
    assert ran.error["traceback"] == done.stderr
    assert ran.error["cause"]["type"] == "KeyError"
    assert ran.error["cause"]["cause"]["type"] == "ZeroDivisionError"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the interpreter has no exception groups")
def test_groups_and_notes_are_told_as_python_tells_them(run):
    """Members, nested groups, notes and the group's cause."""
    source = """
        def f():
            raise ValueError("inner")
        errors = []
        try:
            f()
        except ValueError as error:
            errors.append(error)
        try:
            raise ExceptionGroup("nested", [KeyError("k"), OSError("o")])
        except ExceptionGroup as error:
            errors.append(error)
        group = ExceptionGroup("outer", [*errors, TypeError("bare")])
        group.add_note("a note")
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise group from error
        """
    ran = run(source, fails=True)
    done = subprocess.run(
        [sys.executable, str(run.folder / "flow.py")], capture_output=True, text=True, check=False
    )
    assert ran.error["traceback"] == done.stderr


def test_syntax_error_has_line_and_caret(run):
    """The last frame is where the error is, in the script or in a module beside it."""
    ran = run("x = 1\ny = (1,\nz = 2 +\n", fails=True)
    assert (ran.error["type"], ran.error["stage"]) == ("SyntaxError", "compile")
    assert ran.error["frames"][-1]["line"] in (2, 3)
    assert "^" in ran.error["traceback"]
    assert "(flow.py" not in ran.error["message"]
    ran = run("import broken\n", {"broken.py": "x = 1\ndef f(:\n"}, fails=True)
    assert [frame["line"] for frame in ran.error["frames"]] == [1, 2]


def test_text_shows_its_source_lines(run):
    """A script that never was a file has frames with source all the same."""
    ran = run("x = 1\nraise ValueError('é')\n", text=True, fails=True)
    assert ran.error["frames"][0] == {
        "file": "<stdin>",
        "line": 2,
        "function": "<module>",
        "source": "raise ValueError('é')",
    }
    assert "    raise ValueError('é')\n" in ran.error["traceback"]


def test_changed_file_does_not_change_the_source_shown(run):
    """Source lines come from what was sent."""
    ran = run("open(__file__, 'w').write('changed')\nraise ValueError\n", fails=True)
    assert ran.error["frames"][0]["source"] == "raise ValueError"


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("import sys\nsys.exit(3)\n", "SystemExit", "__main__"),
        (
            "import no_such_thing.inner\n",
            "ModuleNotFoundError",
            f"{sys.executable} -m pip install no_such_thing",
        ),
        ("import prefect.cli\n", "ModuleNotFoundError", "Prefect 2.0b5"),
        ("from prefect import serve\n", "ImportError", "get_run_logger"),
        (
            "async def f(): asyncio.run(g())\nasync def g(): ...\nimport asyncio\nasyncio.run(f())\n",
            "RuntimeError",
            "await",
        ),
        (FLOW + "hello().result()\n", "AttributeError", "line 4"),
        ("input()\n", "EOFError", "standard input"),
        ("open('data.csv')\n", "FileNotFoundError", "working directory"),
        (b"x = '\xff'\n", "SyntaxError", "UTF-8"),
        (b"\n\n\nx = '\xff'\n", "SyntaxError", "UTF-8"),
    ],
)
def test_common_failures_have_a_hint(run, source, kind, words):
    """The author needs nobody else."""
    ran = run(source, fails=True)
    assert ran.error["type"] == kind
    assert words in ran.error["hint"]


def test_exit_says_what_was_called(run):
    """sys.exit is the script's failure, whatever its code."""
    ran = run("import sys\nsys.exit(0)\n", fails=True)
    assert ran.error["message"] == "the script called sys.exit(0)"


HOSTILE = """
class Meta(type):
    def __getattribute__(cls, name):
        raise SystemExit

class Evil(Exception, metaclass=Meta):
    __class__ = property(lambda self: 1 / 0)
    def __str__(self):
        raise KeyboardInterrupt
    __repr__ = __str__
    def __getattribute__(self, name):
        raise MemoryError
"""


@pytest.mark.sampled
@pytest.mark.parametrize(
    "source",
    [
        HOSTILE + "raise Evil\n",
        HOSTILE + "raise Evil from Evil()\n",
        "a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a\n",
        (
            "error = None\n"
            "for i in range(100_000):\n"
            "    new = ValueError(i)\n"
            "    new.__context__ = error\n"
            "    error = new\n"
            "raise error\n"
        ),
        "error = ValueError('x')\nerror.__notes__ = [object()] * 1000\nraise error\n",
        "error = ValueError('x')\nerror.__notes__ = 7\nraise error\n",
        "raise ValueError('x' * 10_000_000)\n",
        "raise ValueError('\\ud800 \\x1b[31m')\n",
        "class E(Exception):\n    def __str__(self): return 7\nraise E\n",
        (
            "type('x' * 1_000_000, (Exception,), {'__module__': 7})\n"
            "raise type('x' * 1_000_000, (Exception,), {})\n"
        ),
        (
            "class S(SyntaxError):\n"
            "    text = lineno = filename = msg = property(lambda self: 1 / 0)\n"
            "raise S('x', ('f', 1, 1, 't'))\n"
        ),
        "raise SyntaxError('x', ('flow.py', -5, 10 ** 30, 'a' * 1000000))\n",
        (
            "__loader__ = type('L', (), {'get_source': lambda *a: 1 / 0})()\n"
            "exec(compile('1/0', 'nofile', 'exec'), globals())\n"
        ),
        "def f(): f()\nf()\n",
        "raise BaseException('x')\n",
        (
            "import sys\n"
            "sys.setrecursionlimit(20_000)\n"
            "def f(n):\n"
            "    if n == 0: raise ValueError\n"
            "    f(n - 1)\n"
            "f(5_000)\n"
        ),
    ],
)
def test_hostile_exceptions_are_told_in_bounded_text(run, source):
    """Whatever was raised, the reply is complete, small, and can be sent."""
    ran = run(source, fails=True)
    assert ran.reply["status"] == "script_failed"
    assert len(ran.error["traceback"]) < 60_000
    assert len(ran.error["message"]) < 10_000
    assert len(ran.error["frames"]) <= 61
    assert all(len(frame["source"] or "") <= 300 for frame in ran.error["frames"])


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the interpreter has no exception groups")
def test_large_groups_are_bounded(run):
    """Members and levels that are left out are counted."""
    source = (
        "error = ValueError()\n"
        "for _ in range(200):\n"
        "    error = ExceptionGroup('x', [error] * 50)\n"
        "raise error\n"
    )
    ran = run(source, fails=True)
    assert len(ran.error["traceback"]) < 60_000


def test_exhausted_memory_is_told_with_its_frames(run):
    """What the script holds is let go so that its failure can be told."""
    source = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({300 << 20}, {resource.RLIM_INFINITY}))\n"
        "held = []\n"
        "def grow():\n"
        "    while True:\n"
        "        held.append(bytearray(1000))\n"  # smaller ones may leave no room to note a frame
        "grow()\n"
    )
    ran = run(source, fails=True)
    assert ran.reply["status"] == "out_of_memory"
    assert [frame["function"] for frame in ran.error["frames"]] == ["<module>", "grow"]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("code", "path", "denied"),
    [
        (errno.EACCES, "/etc/shadow", {"act": "filesystem", "target": "/etc/shadow"}),
        (errno.ENOENT, "/home/someone/data", {"act": "filesystem", "target": "/home/someone/data"}),
        (errno.ENOENT, "data.csv", None),
        (errno.EISDIR, "/etc", None),
    ],
)
def test_refused_path_is_told(run, code, path, denied):
    """A path outside the folder may be there and not be seen; one inside is just missing."""
    ran = run(f"raise OSError({code}, 'x', {path!r})\n", fails=True)
    assert ran.error["denied"] == denied


def test_refused_writing_into_the_folder_is_told(run):
    """The folder is read-only in a sandbox."""
    ran = run(f"raise OSError({errno.EROFS}, 'x', 'out.txt')\n", fails=True)
    assert ran.error["denied"] == {"act": "filesystem", "target": str(run.folder / "out.txt")}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("source", "act"),
    [
        ("import socket\nsocket.create_connection(('127.0.0.1', 9), 1)\n", "network"),
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')\n", "network"),
        ("import subprocess\nsubprocess.run(['/no/such/program'])\n", "processes"),
        ('raise RuntimeError("can\'t start new thread")\n', "processes"),
        ("import os\nos.setuid = None\nraise PermissionError(1, 'x')\n", "syscalls"),
    ],
)
def test_refused_act_is_told(run, source, act):
    """The exception, or what caused it, says what was tried."""
    assert run(source, fails=True, forbids=["network", "processes"]).error["denied"]["act"] == act
