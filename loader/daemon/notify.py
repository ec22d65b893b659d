"""Talk with the service manager: what systemd hands over, and what it is told.

Sources: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping, MutableMapping
from importlib import resources

from loader.daemon.sockets import is_for_others, take_no_descriptors
from loader.errors import ConfigError
from loader.escape import line

FIRST = 3
"""The number of the first descriptor that is handed over."""
MOST = 64
UNITS = ("flow-loader.service", "flow-loader.socket")


class Manager:
    """The service manager, if there is one; without it nothing is said to anybody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.address = environ.get("NOTIFY_SOCKET", "")
        self.interval = watchdog_seconds(environ)

    def ready(self) -> None:
        """Requests are served from now on; also after a reload."""
        self.say("READY=1")

    def reloading(self) -> None:
        """The configuration is read again; ``ready`` follows."""
        self.say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self.say("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people."""
        self.say(f"STATUS={line(text)}")

    async def watchdog(self) -> None:
        """Say that the event loop turns, twice in each interval, for as long as this runs."""
        while self.interval is not None:
            self.say("WATCHDOG=1")
            await asyncio.sleep(self.interval / 2)

    def say(self, message: str) -> None:
        """Send one message. A manager that does not listen ends nothing."""
        if not self.address.startswith(("/", "@")):
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
        ):
            end.setblocking(False)
            end.sendto(message.encode(), address)


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Within how many seconds the manager wants to hear of this process again, if it does."""
    try:
        if int(environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None
        return int(environ["WATCHDOG_USEC"]) / 1e6 or None
    except (KeyError, ValueError):
        return None


def handed_over(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that the manager opened for this process.

    The variables that say so are removed: they are not meant for anybody that this process starts. Raises
    ConfigError for what cannot be listened to.
    """
    said = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if said["LISTEN_PID"] != str(os.getpid()):
        return []
    count = int(said["LISTEN_FDS"]) if said["LISTEN_FDS"].isdecimal() else 0
    if count > MOST:
        raise ConfigError(f"cannot use {count} sockets: {MOST} are the most; see LISTEN_FDS")
    return [listening(number) for number in range(FIRST, FIRST + count)]


def listening(number: int) -> socket.socket:
    """One descriptor as the socket that it is, which no child inherits. Raises ConfigError."""
    try:
        os.set_inheritable(number, False)
        end = socket.socket(fileno=number)
        if end.type == socket.SOCK_STREAM and end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            end.setblocking(False)
            if end.family == socket.AF_UNIX:
                name = end.getsockname()
                take_no_descriptors(end, f"descriptor {number}", others=is_for_others(name))
            return end
        end.detach()
        why = "it is no stream socket that listens"
    except OSError as error:
        why = error.strerror or str(error)
    raise ConfigError(
        f"cannot use descriptor {number}, which the service manager handed over: {why};"
        " the socket unit needs ListenStream= and no Accept="
    )


def unit(name: str) -> str:
    """One of our units, for the interpreter that runs this. Raises ConfigError for another name."""
    if name not in UNITS:
        raise ConfigError(f"cannot show the unit {line(name)!r}: there are {' and '.join(UNITS)}")
    text = resources.files("loader.daemon").joinpath(name).read_text(encoding="utf-8")
    return text.replace("@COMMAND@", f"{quoted(sys.executable)} -m loader")


def quoted(word: str) -> str:
    """A word for a command line of a unit."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
