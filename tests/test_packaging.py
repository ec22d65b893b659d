"""What is shipped works where it is installed: in a fresh environment, away from the source."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("loader", "worker", "sandbox_profiles")
USE = """
import loader, sandbox_profiles, worker
from loader.profiles import builtin_names, load_profile
print(*(load_profile(name).profile for name in builtin_names()))
print(loader.__file__)
"""

pytestmark = pytest.mark.slow


def run(*command, cwd):
    """Run a command that must succeed; its standard output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path):
    """The source as a clone has it: nothing built, nothing cached."""
    target = tmp_path / "clone"
    target.mkdir()
    listed = [*TREES, "pyproject.toml", "README.md", "LICENSE", ".gitignore"]
    run("tar", "--exclude=__pycache__", "-cf", tmp_path / "clone.tar", "-C", ROOT, *listed, cwd=ROOT)
    run("tar", "-xf", tmp_path / "clone.tar", "-C", target, cwd=tmp_path)
    return target


@pytest.fixture
def python(tmp_path):
    """The interpreter of a fresh environment."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    return tmp_path / "venv" / "bin" / "python"


def test_a_wheel_holds_every_source_and_data_file(clone, tmp_path):
    """What is in the tree and not in the wheel would be missed only after a release."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, clone, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for tree in TREES for path in (clone / tree).rglob("*") if path.is_file())
    assert held == {str(path.relative_to(clone)) for path in files}


@pytest.mark.parametrize("how", [(), ("--editable",)], ids=["copied", "editable"])
def test_an_installation_finds_its_profiles(clone, python, tmp_path, how):
    """`pip install .` and `pip install -e .` both give packages, profiles and the command."""
    run(python, "-m", "pip", "install", "--quiet", *how, clone, cwd=tmp_path)
    names, where = run(python, "-c", USE, cwd=tmp_path).splitlines()
    assert names.split() == ["development", "network", "no-namespaces", "strict"]
    assert Path(where).is_relative_to(clone if how else python.parents[1])
    assert (python.parent / "flow-loader").exists()
