"""The command ``flow-loader``: arguments and rendering, no logic of its own."""

from loader.cli.entry import main

__all__ = ["main"]
