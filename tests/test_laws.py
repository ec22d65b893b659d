"""The laws of the house that code can be read for: who imports whom, and how big a file may be."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOADER = sorted((ROOT / "loader").rglob("*.py"))
WORKER = sorted((ROOT / "worker").rglob("*.py"))
LINES_CAP = 400

SPAWNS = {
    "os": {"fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "startfile", "system"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "loop": {"subprocess_exec", "subprocess_shell"},
}
SPAWNERS = {
    "concurrent.futures.ProcessPoolExecutor",
    "concurrent.futures.process",
    "multiprocess",
    "multiprocessing",
    "pexpect",
    "pty",
    "subprocess",
}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=name(path))


def imports(path: Path) -> set[str]:
    """Full names of every module that is imported, at any depth, with what is taken from it."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*parts, *filter(None, [node.module])))
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            constant = node.args and isinstance(node.args[0], ast.Constant)
            found.add(str(node.args[0].value) if constant else "<computed>")
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", LOADER, ids=name)
def test_loader_imports_only_the_protocol_from_worker(path):
    """The trusted side shares one module with the code that runs beside foreign code."""
    assert not {
        module
        for module in imports(path)
        if within(module, "worker") and not within(module, "worker.protocol")
    }


@pytest.mark.parametrize("path", WORKER, ids=name)
def test_worker_imports_only_the_standard_library_and_itself(path):
    """A worker runs in any environment, and nothing trusted can be reached from it."""
    allowed = {*sys.stdlib_module_names, "worker"} | (
        {"msgpack"} if name(path) == "worker/framing.py" else set()
    )
    if name(path) == "worker/preload.py":
        allowed.add("<computed>")  # what the profile says
    if name(path) == "worker/dialects/prefect/installed.py":
        allowed |= {"prefect", "<computed>"}  # the Prefect that the script's own interpreter has
    strangers = {module for module in imports(path) if module.split(".")[0] not in allowed}
    assert not strangers


@pytest.mark.parametrize("path", [path for path in LOADER if name(path) != "loader/process.py"], ids=name)
def test_only_one_file_of_the_loader_starts_processes(path):
    """Who spawns, kills and reaps is one file."""
    taken = {f"{owner}.{function}" for owner, functions in SPAWNS.items() for function in functions}
    for module in imports(path):
        assert module not in taken
        assert not any(within(module, spawner) for spawner in SPAWNERS)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value).split(".")[-1]
            starts = node.attr in SPAWNS.get(owner, ()) or (
                owner == "os" and node.attr.startswith(("exec", "spawn"))
            )
            assert not starts, f"{name(path)}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", [*LOADER, *WORKER], ids=name)
def test_no_file_is_too_long_to_be_read_at_once(path):
    """A file has one purpose; one that is longer has two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_CAP


@pytest.mark.parametrize("path", [*LOADER, *WORKER], ids=name)
def test_every_module_says_what_it_is_for(path):
    """A module begins with a docstring."""
    assert ast.get_docstring(parse(path))


@pytest.mark.parametrize("path", WORKER, ids=name)
def test_every_worker_module_says_what_it_runs_beside(path):
    """Whoever edits it must know who may have changed everything around it."""
    assert "foreign code" in " ".join((ast.get_docstring(parse(path)) or "").split())


@pytest.mark.parametrize("path", [path for path in LOADER if path.name == "__init__.py"], ids=name)
def test_packages_of_the_loader_only_name_what_is_public(path):
    """An `__init__` re-exports and holds nothing else."""
    docstring, *rest = parse(path).body
    assert isinstance(docstring, ast.Expr)
    for node in rest:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            rest += node.body
            rest.remove(node)
    for node in rest:
        listing = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
            "__all__"
        ]
        assert listing or isinstance(node, ast.Import | ast.ImportFrom), f"{name(path)}:{node.lineno}"


@pytest.mark.parametrize(
    "path", [path for path in (*LOADER, *WORKER) if path.name != "__init__.py"], ids=name
)
def test_every_module_is_in_a_package_that_ships(path):
    """A folder without an `__init__` would be missing from what is installed."""
    assert (path.parent / "__init__.py").exists()


def test_there_is_something_to_read():
    """A law over no files is no law."""
    assert LOADER
    assert WORKER
