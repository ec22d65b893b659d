"""The laws of the house that code can be read for: who imports whom, and how big a file may be."""

import ast
import sys
from functools import cache
from pathlib import Path

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


@cache
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


def test_loader_imports_only_the_protocol_from_worker():
    """The trusted side shares one module with the code that runs beside foreign code."""
    assert not {
        (name(path), module)
        for path in LOADER
        for module in imports(path)
        if within(module, "worker") and not within(module, "worker.protocol")
    }


def test_worker_imports_only_the_standard_library_and_itself():
    """A worker runs in any environment, and nothing trusted can be reached from it."""
    more = {
        "worker/framing.py": {"msgpack"},
        "worker/preload.py": {"<computed>"},  # what the profile says
        # The Prefect that the script's own interpreter has.
        "worker/dialects/prefect/installed.py": {"prefect", "<computed>"},
    }
    allowed = {*sys.stdlib_module_names, "worker"}
    assert not {
        (name(path), module)
        for path in WORKER
        for module in imports(path)
        if module.split(".")[0] not in allowed | more.get(name(path), set())
    }


def starts_a_process(node: ast.AST) -> bool:
    """Whether it is a function of the standard library that starts one."""
    if not isinstance(node, ast.Attribute):
        return False
    owner = ast.unparse(node.value).split(".")[-1]
    return node.attr in SPAWNS.get(owner, ()) or (owner == "os" and node.attr.startswith(("exec", "spawn")))


def test_only_one_file_of_the_loader_starts_processes():
    """Who spawns, kills and reaps is one file."""
    taken = {f"{owner}.{function}" for owner, functions in SPAWNS.items() for function in functions}
    others = [path for path in LOADER if name(path) != "loader/process.py"]
    assert not {
        (name(path), module)
        for path in others
        for module in imports(path)
        if module in taken or any(within(module, spawner) for spawner in SPAWNERS)
    }
    assert not {
        f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in others
        for node in ast.walk(parse(path))
        if starts_a_process(node)
    }


def test_no_file_is_too_long_to_be_read_at_once():
    """A file has one purpose; one that is longer has two."""
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in (*LOADER, *WORKER)}
    assert not {file: count for file, count in lines.items() if count > LINES_CAP}


def test_every_module_says_what_it_is_for():
    """A module begins with a docstring."""
    assert not {name(path) for path in (*LOADER, *WORKER) if not ast.get_docstring(parse(path))}


def test_every_worker_module_says_what_it_runs_beside():
    """Whoever edits it must know who may have changed everything around it."""
    said = {name(path): " ".join((ast.get_docstring(parse(path)) or "").split()) for path in WORKER}
    assert not {file for file, docstring in said.items() if "foreign code" not in docstring}


def more_than_names(path: Path) -> set[str]:
    """What a module has besides a docstring, imports and a list of its names."""
    docstring, *rest = parse(path).body
    assert isinstance(docstring, ast.Expr), name(path)
    typed = [node for node in rest if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    rest = [*(node for node in rest if node not in typed), *(node for part in typed for node in part.body)]
    return {
        f"{name(path)}:{node.lineno}"
        for node in rest
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (
            isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        )
    }


def test_packages_of_the_loader_only_name_what_is_public():
    """An `__init__` re-exports and holds nothing else."""
    assert not set().union(*(more_than_names(path) for path in LOADER if path.name == "__init__.py"))


def test_every_module_is_in_a_package_that_ships():
    """A folder without an `__init__` would be missing from what is installed."""
    assert not {name(path) for path in (*LOADER, *WORKER) if not (path.parent / "__init__.py").exists()}


def test_there_is_something_to_read():
    """A law over no files is no law."""
    assert LOADER
    assert WORKER
