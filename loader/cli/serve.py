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
    listen = None
    if values.listen is not None:
        host, _, port = values.listen.rpartition(":")
        if values.token_file is None:
            raise UsageError("cannot listen at TCP without a token", "name its file with --token-file")
        listen = {
            "host": host.strip("[]") or "127.0.0.1",
            "port": int(port) if port.isdecimal() else port,
            "token_file": absolute(values.token_file),
            "certificate": absolute(values.certificate),
            "key": absolute(values.key),
        }
    return {
        "socket": absolute(values.socket),
        "listen": listen,
        "log.format": values.log_format,
        "log.level": values.log_level,
        **dict(pair.partition("=")[::2] for pair in values.set),
    }
