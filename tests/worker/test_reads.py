"""What a script read while it was loaded counts as its sources."""

import py_compile

import pytest

from worker.reads import FILES

DEFINES = "from prefect import flow\n\n@flow\ndef first(): ...\n"


@pytest.fixture
def sources(run):
    """A callable: the sources of a script."""
    return lambda source, files=None, **how: run(source + DEFINES, files, trace=True, **how).reply["sources"]


def test_a_script_that_reads_nothing_has_no_sources(sources):
    """The interpreter's own files are none, nor is the script itself."""
    assert sources("import json, csv, wave\nopen(__file__).close()\n") == []


def test_modules_packages_and_data_are_sources(sources):
    """By their path in the root, in order, however they were named."""
    script = "import os, pathlib, helper, pkg\nopen(os.path.abspath('data/a.txt')).close()\n"
    script += "pathlib.Path('b.txt').read_text()\n"
    files = {"helper.py": "from pkg import inner", "pkg/__init__.py": "", "pkg/inner.py": ""}
    found = sources(script, {**files, "data/a.txt": "", "b.txt": ""})
    assert found == ["b.txt", "data/a.txt", "helper.py", "pkg/__init__.py", "pkg/inner.py"]


def test_what_is_looked_for_in_vain_is_a_source(sources):
    """Were it there, the script might do something else."""
    assert sources("try: open('settings.yaml')\nexcept OSError: pass\n") == ["settings.yaml"]


def test_a_listed_folder_is_a_source(sources):
    """By any way of listing it; the search for a module lists a folder as well, and does not count."""
    files = {"data/a.txt": "", "more/b.txt": "", "helper.py": ""}
    script = "import os, glob, helper\nos.listdir('data')\nglob.glob('more/*')\nlist(os.scandir())\n"
    assert sources(script, files) == [".", "data", "helper.py", "more"]


def test_compiled_code_counts_as_its_source(run, sources):
    """Running a flow leaves compiled code behind, which is no change; unless it is used unchecked."""
    run.write({"helper.py": "X = 1"})
    helper = run.folder / "helper.py"
    py_compile.compile(str(helper))
    assert sources("import helper\n") == ["helper.py"]
    compiled = py_compile.compile(
        str(helper), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    name = str(run.folder.joinpath(compiled).relative_to(run.folder))
    assert sources("import helper\n") == [name, "helper.py"]


@pytest.mark.parametrize("script", ["import helper\n1 / 0\n", "import helper\nraise SystemExit\n"])
def test_a_script_that_failed_has_sources(run, script):
    """One of them may be to blame."""
    assert run(script, {"helper.py": ""}, fails=True, trace=True).reply["sources"] == ["helper.py"]


def test_a_script_that_cannot_be_compiled_has_none(run):
    """It read nothing."""
    assert run("x = (", fails=True, trace=True).reply["sources"] == []


@pytest.mark.sampled
@pytest.mark.parametrize(
    "script",
    [
        f"for n in range({FILES + 1}):\n  try: open(f'{{n}}.txt')\n  except OSError: pass\n",
        "try: open('a' * 2000)\nexcept OSError: pass\n",
        "try: open('a\\nb')\nexcept OSError: pass\n",
        "try: open(b'\\xff')\nexcept OSError: pass\n",
        "import os\nos.listdir(os.open('.', os.O_RDONLY))\n",
    ],
    ids=["many", "long", "control", "bytes", "descriptor"],
)
def test_sources_are_told_whole_or_not_at_all(sources, script):
    """A list with something missing would be believed."""
    assert sources(script) is None


def test_a_script_cannot_break_its_report(sources):
    """Patched functions and odd arguments end nothing."""
    script = "import os, sys\nos.path.abspath = os.getcwd = os.fsdecode = None\nimport helper\n"
    script += "sys.audit('open')\nsys.audit('open', object())\nopen(0, closefd=False)\n"
    assert sources(script, {"helper.py": ""}) is None


def test_nothing_is_told_to_those_who_do_not_ask(run):
    """Seeing every file that is opened has its price."""
    assert run("import helper\n" + DEFINES, {"helper.py": ""}).reply["sources"] is None
