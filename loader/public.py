"""Where the package's public names come from, fetched when they are first asked for.

The command must say its version and its mistakes without importing the engine, and importing any part of
a package imports the package.
"""

from __future__ import annotations

import importlib
import sys

HOMES = (
    "loader.errors",
    "loader.access",
    "loader.models",
    "loader.flow_loader",
    "loader.api",
    "loader.schedules",
    "loader.upcoming",
    "loader.flow_runners",
    "loader.storage",
    "loader.client.interface",
    "loader.client.embedded",
    "loader.client.prefect",
    "loader.deployments",
    "loader.answers",
    "loader.daemon.client",
)
"""Modules that hold public names, the cheapest first."""


def __getattr__(name: str) -> object:
    """A public name of ``loader``. Raises AttributeError for any other."""
    package = sys.modules["loader"]
    if name in package.__all__:
        for home in HOMES:
            module = importlib.import_module(home)
            if hasattr(module, name):
                value: object = getattr(module, name)
                setattr(package, name, value)
                return value
    raise AttributeError(f"cannot find {name!r} in the package 'loader'", name=name, obj=package)


def __dir__() -> list[str]:
    """The public names, fetched or not."""
    return sorted({*vars(sys.modules["loader"]), *sys.modules["loader"].__all__})
