"""What the daemon is told: one commented YAML file, the environment above it, flags above both.

``daemon.yaml`` beside this file explains every key and holds its default.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from loader.access import SCHEMES
from loader.daemon import layers
from loader.profile_schema import GIB, KIB, MIB, choice, flag, number, size, text
from loader.profiles import builtin_names
from loader.yaml_places import KeyPath
from worker.protocol import AUTO, DIALECTS

DAY = 86_400.0
TOKEN = "token"  # noqa: S105 - it is the word for whoever bears the token
LARGE_UID = (1 << 32) - 2
WORKERS = 65534
"""The user that workers of root become."""


def path(value: Any) -> str:
    """Read an absolute path."""
    if type(value) is not str or not os.path.isabs(value) or "\0" in value or "\n" in value:
        raise ValueError("must be an absolute path")
    return os.path.normpath(value)


def location(value: Any) -> str:
    """Read an absolute path or a URL."""
    if type(value) is str and "://" in value and "\n" not in value:
        return value
    try:
        return path(value)
    except ValueError:
        raise ValueError("must be an absolute path or a URL") from None


def profile(value: Any) -> str:
    """Read a built-in profile's name or the path of a profile file."""
    if value in builtin_names():
        return str(value)
    try:
        return path(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(builtin_names())}, or the path of a profile") from None


def uid(value: Any) -> int | str:
    """Read the number of a user, or the word for whoever bears the token."""
    if value == TOKEN:
        return TOKEN
    try:
        return int(number(0, LARGE_UID)(value))
    except ValueError as error:
        raise ValueError(f"{error}, or '{TOKEN}'") from None


def url(value: Any) -> str:
    """Read the URL of a web server."""
    place = urlsplit(text(value))  # raises ValueError
    if place.scheme not in ("http", "https") or not place.hostname:
        raise ValueError("must be a URL that begins with http:// or https://")
    return str(value)


Path = Annotated[str, BeforeValidator(path)]
Location = Annotated[str, BeforeValidator(location)]
Profile = Annotated[str, BeforeValidator(profile)]
Flag = Annotated[bool, BeforeValidator(flag)]
Text = Annotated[str, BeforeValidator(text)]
Number = Annotated[int, BeforeValidator(number(1, 1_000_000))]
Seconds = Annotated[float, BeforeValidator(number(0.1, DAY, "seconds", whole=False))]
Dialect = Annotated[str, BeforeValidator(choice(AUTO, *DIALECTS))]
Scheme = Annotated[str, BeforeValidator(choice(*sorted(SCHEMES)))]


class Section(BaseModel):
    """Frozen, and nothing that is not named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(Section):
    """Where the daemon listens beside its socket, for whoever bears the token."""

    host: Text = "127.0.0.1"
    port: Annotated[int, BeforeValidator(number(0, 65_535))]
    token_file: Path
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def whole(self) -> Self:
        """A certificate has its key, and no token crosses a network in the clear."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("must have both 'certificate' and 'key', or neither")
        if self.certificate is None and not is_loopback(self.host):
            raise ValueError("must have 'certificate' and 'key': others could read the token on its way")
        return self


class Peer(Section):
    """What one user, or whoever bears the token, may ask."""

    uid: Annotated[int | Literal["token"], BeforeValidator(uid)]
    folders: tuple[Path, ...] = ()
    profiles: tuple[Profile, ...] = ("strict",)
    pythons: tuple[Path, ...] = ()
    deploy: Flag = False
    watch: Flag = False


class Limits(Section):
    """What bounds the daemon's memory, its descriptors and its work."""

    connections: Number
    body: Annotated[int, BeforeValidator(size(KIB, GIB))]
    bodies: Annotated[int, BeforeValidator(size(MIB, 64 * GIB))]
    request_seconds: Seconds
    loads: Annotated[int, BeforeValidator(number(1, 1_000))]
    queue: Annotated[int, BeforeValidator(number(0, 1_000_000))]
    queue_per_caller: Annotated[int, BeforeValidator(number(0, 1_000_000))]
    wait_seconds: Seconds
    engines: Annotated[int, BeforeValidator(number(1, 1_000))]
    engine_idle_seconds: Seconds
    events: Number
    event_readers: Number
    event_backlog: Number
    watched_files: Number


class Watched(Section):
    """A folder or prefix that is watched, and how its scripts are loaded."""

    location: Location
    profile: Profile = "strict"
    python: Path | None = None
    dialect: Dialect = AUTO
    root: Location | None = None
    every: Seconds = 30.0
    allow_host: tuple[Text, ...] = ()
    allow_scheme: tuple[Scheme, ...] = ()


class Cache(Section):
    """Where results are kept, and how much of them."""

    enabled: Flag
    folder: Path
    size: Annotated[int, BeforeValidator(size(0, 1024 * GIB))]


class Log(Section):
    """How much is written to standard error, and in which form."""

    format: Annotated[Literal["json", "console"], BeforeValidator(choice("json", "console"))]
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(choice("debug", "info", "warning", "error")),
    ]


class Tracing(Section):
    """Where traces are sent."""

    endpoint: Annotated[str, BeforeValidator(url)] | None


class Config(Section):
    """Everything that the daemon is told, with every value filled in."""

    socket: Path
    socket_access: Annotated[Literal["owner", "everyone"], BeforeValidator(choice("owner", "everyone"))]
    listen: Listen | None
    peers: tuple[Peer, ...] = Field(max_length=1_000)
    limits: Limits
    sources: tuple[Watched, ...] = Field(max_length=1_000)
    cache: Cache
    state: Path
    registry: Path | None
    log: Log
    drain_seconds: Annotated[float, BeforeValidator(number(0, DAY, "seconds", whole=False))]
    tracing: Tracing

    @classmethod
    def read(cls, file: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Self:
        """The configuration of a file, or the one that FLOW_LOADER_CONFIG names, or the defaults.

        ``flags`` are values by their dotted keys, such as ``limits.queue``; None is one that was not given,
        and text is read as in the environment. Raises ConfigError with every mistake: its line or variable,
        and its key.
        """
        return layers.read(cls, file or environ.get(layers.FILE), environ, flags, computed(environ))

    @model_validator(mode="after")
    def coherent(self) -> Self:
        """What one key needs of another."""
        users = [peer.uid for peer in self.peers]
        for index, user in enumerate(users):
            if user in users[:index]:
                raise layers.mistake(("peers", index, "uid"), f"there is an entry for {user!r} already")
        if WORKERS in users and os.geteuid() == 0:
            raise layers.mistake(
                ("peers", users.index(WORKERS), "uid"),
                "must not be the user that workers of root become: a script could ask as that peer; let who"
                " asks be another user, or the daemon",
            )
        if TOKEN in users and self.listen is None:
            raise layers.mistake(("peers", users.index(TOKEN), "uid"), "needs 'listen', which has the token")
        if self.limits.bodies < self.limits.body:
            raise layers.mistake(("limits", "bodies"), "must not be less than 'limits.body'")
        return self


def is_loopback(host: str) -> bool:
    """Whether what is sent to ``host`` stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def computed(environ: Mapping[str, str]) -> dict[KeyPath, Any]:
    """The values that depend on who runs the daemon and where, for keys that are null."""
    return {
        ("socket",): default_socket(environ),
        ("limits", "loads"): max(2, os.cpu_count() or 1),
        ("cache", "folder"): own_folder(environ, "CACHE_DIRECTORY", "XDG_CACHE_HOME", "~/.cache"),
        ("state",): own_folder(environ, "STATE_DIRECTORY", "XDG_STATE_HOME", "~/.local/state"),
    }


def default_socket(environ: Mapping[str, str]) -> str:
    """The socket of this user's daemon, where none is named."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if service := service_folder(environ, "RUNTIME_DIRECTORY"):
        folder = service
    elif os.path.isabs(runtime):
        folder = os.path.join(runtime, "flow-loader")
    else:
        folder = "/run/flow-loader" if os.geteuid() == 0 else f"/tmp/flow-loader-{os.geteuid()}"  # noqa: S108
    return os.path.join(folder, "api.sock")


def service_folder(environ: Mapping[str, str], variable: str) -> str | None:
    """The first of the folders that systemd made for a service."""
    folder = environ.get(variable, "").split(":")[0]
    return folder if os.path.isabs(folder) else None


def own_folder(environ: Mapping[str, str], service: str, user: str, otherwise: str) -> str:
    """The daemon's own folder: the one that systemd made for it, or else one below the user's."""
    if made := service_folder(environ, service):
        return made
    base = environ.get(user, "")
    # The XDG base directory specification has relative ones ignored.
    base = base if os.path.isabs(base) else os.path.expanduser(otherwise)
    return os.path.join(base, "flow-loader")
