"""What a script finds in its project: beside it, in the root that is named, in the root's ``src``."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from loader import Access, EmbeddedRegistry, FlowLoader, roots
from loader.access import DEFAULT, Reader
from loader.batches import judge, of_entry
from loader.deploying import Deployer
from loader.finding import Finder
from loader.manifests import parse
from loader.models import Error
from loader.sources import origin_of, read
from tests.prefect_server import environment

PROJECT = Path(__file__).parent / "samples" / "project"
SCRIPT = PROJECT / "pkg/flows/etl.py"
FLOW = "from prefect import flow\n@flow\ndef f(): ...\n"


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as made:
        yield made


@pytest.fixture
def project(tmp_path):
    """A callable that writes a project's files and gives its folder."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_root_is_on_the_path_behind_the_scripts_folder(loader, project):
    """Then the root's sources, where it has any: as Prefect has it, and an installed project."""
    folder = project({"flows/a.py": FLOW + "import sys, json; print(json.dumps(sys.path))"})
    path = json.loads(loader.load(folder / "flows/a.py", root=folder).stdout.text)
    assert path[:2] == [str(folder / "flows"), str(folder)]
    assert str(folder / "src") not in path
    project({"src/x.py": ""})
    path = json.loads(loader.load(folder / "flows/a.py", root=folder).stdout.text)
    assert path[:3] == [str(folder / "flows"), str(folder), str(folder / "src")]
    alone = json.loads(loader.load(folder / "flows/a.py").stdout.text)
    assert alone[0] == str(folder / "flows")
    assert str(folder) not in alone


def test_a_projects_packages_are_found_from_its_root(loader):
    """Packages in it, packages in its sources, and what lies beside the script; nothing of it without."""
    outcome = loader.load(SCRIPT, root=PROJECT)
    assert outcome.status == "loaded", outcome.error
    assert [flow.name for flow in outcome.flows] == ["main", "Small load"]
    assert loader.load(SCRIPT).error.type == "ModuleNotFoundError"


@pytest.mark.parametrize("mark", ["pyproject.toml", "prefect.yaml", ".git/config", None])
def test_a_module_of_the_project_above_is_told_with_the_root_to_name(loader, project, mark):
    """Nothing above the script's own folder is read by itself, and no folder is named that is none."""
    scripts = {f"flows/jobs/run_{name}.py": FLOW + f"import {name}" for name in ("lib", "deep")}
    marks = {mark: ""} if mark else {}
    folder = project({"lib/__init__.py": "", "src/deep.py": "", **scripts, **marks})
    for name in scripts:
        outcome = loader.load(folder / name)
        assert outcome.error.type == "ModuleNotFoundError"
        assert (f"--root {folder}" in outcome.error.hint) is (mark is not None)
        assert loader.load(folder / name, root=folder).status == "loaded"


def test_the_name_of_a_module_is_read_once(tmp_path):
    """A message of millions of letters is no name, and not one from each of its first letters on either."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "lib.py").touch()
    (tmp_path / ("a" * 100)).mkdir()
    path = tmp_path / "flows" / "a.py"
    path.parent.mkdir()
    path.touch()
    script = read(str(path))
    for name, known in (("lib", True), ("lib.inner.part", True), ("lib_other", False), ("a" * 200, False)):
        error = Error("run", "ModuleNotFoundError", f"No module named '{name}'")
        assert (roots.hinted(error, script) is not error) is known


@pytest.mark.parametrize("linked", ["lib", "lib.py", "src"])
def test_a_hint_says_nothing_of_what_lies_outside_the_project(tmp_path, linked):
    """A link that leads out holds none of its modules, whether or not something is there."""
    outside, folder = tmp_path / "outside", tmp_path / "project"
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "a.py").touch()
    (folder / "pyproject.toml").touch()
    (folder / linked).symlink_to(outside / linked)
    script = read(str(folder / "flows" / "a.py"))
    error = Error("run", "ModuleNotFoundError", "No module named 'lib'")
    assert roots.hinted(error, script) is error
    outside.mkdir()
    for name in ("lib.py", "src/lib.py", "lib/__init__.py"):
        (outside / name).parent.mkdir(exist_ok=True)
        (outside / name).touch()
    assert roots.hinted(error, script) is error


def test_a_module_that_is_a_link_inside_the_project_is_told(tmp_path):
    """Projects link their packages to where they keep them."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "a.py").touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "kept" / "lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("kept/lib")
    error = Error("run", "ModuleNotFoundError", "No module named 'lib'")
    assert f"--root {tmp_path}" in roots.hinted(error, read(str(tmp_path / "flows" / "a.py"))).hint


def test_a_module_that_is_nowhere_keeps_its_own_hint(loader, project):
    """It has to be installed."""
    folder = project({"pyproject.toml": "", "flows/a.py": FLOW + "import surely_nowhere"})
    assert "pip install surely_nowhere" in loader.load(folder / "flows/a.py").error.hint


def test_packages_of_the_root_import_relatively_inside_themselves(loader, project):
    """Up to the package's own top."""
    folder = project(
        {
            "shop/__init__.py": "",
            "shop/base.py": "VALUE = 7",
            "shop/flows/__init__.py": "",
            "shop/flows/steps.py": "from ..base import VALUE\nfrom . import names",
            "shop/flows/names.py": "NAME = 'x'",
            "run/a.py": FLOW + "from shop.flows.steps import VALUE, names\nprint(VALUE, names.NAME)",
        }
    )
    assert loader.load(folder / "run/a.py", root=folder).stdout.text == "7 x\n"


def test_a_module_of_the_root_named_like_a_dependency_leaves_the_dependency_alone(loader, project):
    """The project's own files get its module, everyone else the original."""
    code = FLOW + "import json, types, shared\nprint(types.OWN, json.loads('[1]'), shared.OWN)"
    folder = project(
        {"flows/a.py": code, "types.py": "OWN = 1", "shared.py": "import types\nOWN = types.OWN + 1"}
    )
    assert loader.load(folder / "flows/a.py", root=folder).stdout.text == "1 [1] 2\n"


def test_the_scripts_own_folder_goes_before_the_root(loader, project):
    """As the path has it."""
    folder = project({"flows/a.py": FLOW + "import x; print(x.V)", "flows/x.py": "V = 1", "x.py": "V = 2"})
    assert loader.load(folder / "flows/a.py", root=folder).stdout.text == "1\n"


def test_an_archive_is_a_project_too(loader, project):
    """Its own top is the root, its ``src`` counts."""
    folder = project(
        {
            "p/src/lib/__init__.py": "V = 1",
            "p/pkg/b.py": "V = 2",
            "p/flows/a.py": FLOW + "import lib, pkg.b; print(lib.V, pkg.b.V)",
        }
    )
    archive = folder / "p.tar"
    subprocess.run(["tar", "-cf", archive, "-C", folder / "p", "src", "pkg", "flows"], check=True)
    outcome = loader.load(f"tar://flows/a.py::file://{archive}", access=Access())
    assert outcome.stdout.text == "1 2\n", outcome.error


# --- modules inside of their packages ------------------------------------------------------------


@pytest.fixture
def specs(loader, project):
    """A callable: the verdicts on a ``prefect.yaml`` with some entrypoints in a project of files."""

    def judged(files, *entrypoints):
        items = [f"- {{name: d{place}, entrypoint: '{item}'}}\n" for place, item in enumerate(entrypoints)]
        folder = project({**files, "prefect.yaml": "deployments:\n" + "".join(items)})
        with EmbeddedRegistry(folder / ".registry" / "r.db") as registry:
            deployer = Deployer(registry, Finder(loader, DEFAULT))
            return judge(str(folder / "prefect.yaml"), deployer).verdicts

    return judged


PACKAGE = {
    "shop/__init__.py": "NAME = 'shop'",
    "shop/base.py": "VALUE = 7",
    "shop/jobs/__init__.py": "from .etl import f",
    "shop/jobs/etl.py": "from prefect import flow\nfrom .. import NAME\nfrom ..base import VALUE\n"
    "@flow\ndef f(a: int = VALUE, b: str = NAME, c: str = __name__): ...\n",
}


def test_a_module_is_run_inside_of_its_packages(specs):
    """Their ``__init__.py`` runs first, relative imports lead as far up as they may, and it runs once."""
    as_module, as_package, as_script = specs(PACKAGE, "shop.jobs.etl.f", "shop.jobs:f", "shop/jobs/etl.py:f")
    for verdict in (as_module, as_package):
        assert verdict.problems == ()
        properties = verdict.valid.flow.parameters["properties"]
        assert [item["default"] for item in properties.values()] == [7, "shop", "shop.jobs.etl"]
        assert verdict.valid.flow.file.endswith("shop/jobs/etl.py")
    assert "relative import" in as_script.problems[0], "a script is in no package, for Prefect neither"


def test_a_module_in_the_sources_is_run_inside_of_its_packages_too(specs):
    """As if the project were installed."""
    (verdict,) = specs({f"src/{name}": text for name, text in PACKAGE.items()}, "shop.jobs.etl:f")
    assert verdict.problems == ()


def test_a_module_whose_package_fails_is_told_with_the_packages_line(specs):
    """The frames are the project's own."""
    (verdict,) = specs({**PACKAGE, "shop/__init__.py": "\n1 / 0\n"}, "shop.jobs.etl:f")
    assert "ZeroDivisionError" in verdict.problems[0]
    assert verdict.problems[0].endswith("shop/__init__.py, line 2)")


def test_a_package_named_like_a_dependency_is_run_all_the_same(specs):
    """One of the standard library, which stays what it is for everyone else."""
    files = {name.replace("shop", "types"): text for name, text in PACKAGE.items()}
    (verdict,) = specs(files, "types.jobs.etl:f")
    assert verdict.problems == ()


def test_a_project_in_an_archive_is_run_as_one_too(loader, tmp_path):
    """In its top folder, modules inside of their packages."""
    archive = tmp_path / "p.tar"
    subprocess.run(["tar", "-cf", archive, "-C", PROJECT, *sorted(os.listdir(PROJECT))], check=True)
    with EmbeddedRegistry(tmp_path / "r" / "r.db") as registry:
        deployer = Deployer(registry, Finder(loader, DEFAULT))
        batch = judge(f"tar://prefect.yaml::file://{archive}", deployer)
    assert [verdict.problems for verdict in batch.verdicts] == [(), (), ()]
    assert batch.verdicts[0].listed.file == f"tar://prefect.yaml::{archive}"


# --- as Prefect has it ---------------------------------------------------------------------------

ASK = """
import json, os, sys
from prefect.flows import load_flow_from_entrypoint
found = {}
for entrypoint in sys.argv[1:]:
    try:
        flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        schema = flow.parameters.model_dump()
        found[entrypoint] = [flow.name, flow.description, schema["properties"]]
    except Exception as error:
        found[entrypoint] = type(error.__cause__ or error).__name__
print(json.dumps(found))
"""
ENTRYPOINTS = [
    "pkg/flows/etl.py:main",
    "pkg/flows/etl.py:small",
    "pkg.flows.nightly.nightly",
    "pkg/flows/nightly.py:nightly",
]


@pytest.mark.slow
def test_prefect_itself_loads_the_same(prefect_python, tmp_path):
    """Each entrypoint of the project, from its folder and with its sources installed."""
    installed = {"PYTHONPATH": str(PROJECT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [prefect_python, "-c", ASK, *ENTRYPOINTS]
    asked = subprocess.run(
        command, cwd=PROJECT, env=environment(tmp_path) | installed, capture_output=True, text=True
    )
    theirs = json.loads(asked.stdout.splitlines()[-1])
    text = "deployments:\n" + "".join(f"- {{name: a, entrypoint: '{item}'}}\n" for item in ENTRYPOINTS)
    ours = {}
    with FlowLoader(python=prefect_python) as loader, EmbeddedRegistry(tmp_path / "r" / "r.db") as registry:
        deployer = Deployer(registry, Finder(loader, DEFAULT))
        for item, entry in zip(ENTRYPOINTS, parse(text, str(PROJECT / "prefect.yaml")), strict=True):
            verdict = of_entry(entry, "prefect.yaml", origin_of(PROJECT), deployer)
            flow = verdict.valid.flow if verdict.valid else None
            said = verdict.problems[0] if verdict.problems else ""
            ours[item] = [flow.name, flow.description, flow.parameters["properties"]] if flow else said
    assert "ImportError" in ours.pop(ENTRYPOINTS[-1])
    assert theirs.pop(ENTRYPOINTS[-1]) == "ImportError"
    assert ours == theirs


def test_nothing_above_is_looked_for_on_behalf_of_others(project, monkeypatch):
    """They may put links on the way, and have whoever looks go anywhere."""
    folder = project({"pyproject.toml": "", "shared.py": "", "flows/a.py": "import shared"})
    origin = origin_of(folder / "flows")
    reader = Reader(os.geteuid(), os.getegid())
    script = read(str(folder / "flows" / "a.py"), replace(origin, reader=reader), Access(reader=reader))
    error = Error("run", "ModuleNotFoundError", "No module named 'shared'")
    assert roots.hinted(error, read(str(folder / "flows" / "a.py"))) is not error
    monkeypatch.setattr(roots, "above", lambda _: pytest.fail("it was looked for"))
    assert roots.hinted(error, script) is error
