"""The package's public names: fetched when they are asked for, the same as where they come from."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import loader
from loader.public import HOMES

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", loader.__all__)
def test_public_name_is_the_one_of_its_home(name):
    """Each listed name exists, once."""
    modules = map(importlib.import_module, HOMES)
    homes = [module for module in modules if hasattr(module, name)]
    assert getattr(loader, name) is getattr(homes[0], name)
    assert name in dir(loader)


def test_other_names_are_refused():
    """A misspelt name is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="FlowLaoder"):
        _ = loader.FlowLaoder


def test_importing_the_package_is_cheap():
    """The engine is imported by whoever uses it."""
    code = "import sys, loader; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_everything_can_be_imported_at_once():
    """`from loader import *` gives the listed names."""
    code = "from loader import *; FlowLoader, Outcome, SourceError"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
