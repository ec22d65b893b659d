"""``flow-loader serve``: the daemon, in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import Any

from loader.cli.arguments import UsageError
from loader.errors import ConfigError

EXTRA = "install it with pip install 'flow-loader[daemon]'"


def run(values: argparse.Namespace) -> int:
    """Serve until a signal ends it. Raises UsageError."""
    try:
        from loader.daemon import notify, serve  # noqa: PLC0415 - an extra
        from loader.daemon.config import Config  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise UsageError(f"cannot serve: the package {error.name} is missing", EXTRA) from None
    try:
        if values.print_unit is not None:
            sys.stdout.write(notify.unit(values.print_unit))
            return 0
        read = partial(Config.read, absolute(values.config), os.environ, flags(values))
        serve.run(read, os.environ)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    return 0


def absolute(path: str | None) -> str | None:
    """A path that means the same in any working directory."""
    return None if path is None else os.path.abspath(path)


def flags(values: argparse.Namespace) -> dict[str, Any]:
    """What flags say, by the keys of the configuration."""
    host, _, port = (values.listen or "").rpartition(":")
    return {
        "socket": absolute(values.socket),
        "listen.host": host.strip("[]") or None,
        "listen.port": port or None,
        "listen.token_file": absolute(values.token_file),
        "listen.certificate": absolute(values.certificate),
        "listen.key": absolute(values.key),
        "log.format": values.log_format,
        "log.level": values.log_level,
        **dict(pair.partition("=")[::2] for pair in values.set),
    }
