"""What the caller lets locations lead to: schemes, hosts, storage, sizes and times. Pure.

A location that the caller names may be of any scheme of ``schemes``. One that a manifest, a deployment spec
or a deployment's record names is somebody else's word: it may lead below the folder that it came from, and
further only where ``linked`` says so. Hosts of private networks are refused either way unless they are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

LOCAL_SCHEMES = frozenset({"file"})
ARCHIVE_SCHEMES = frozenset({"zip", "tar"})
REMOTE_SCHEMES = frozenset(
    {"memory", "http", "https", "s3", "gs", "gcs", "abfs", "abfss", "az", "github", "git"}
)
SCHEMES = LOCAL_SCHEMES | ARCHIVE_SCHEMES | REMOTE_SCHEMES
"""Every scheme that a location may have; a plain path is ``file``."""
NO_OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


class Blocks(StrEnum):
    """Which of the client's storage blocks count for specs.

    Unless it is ANY, specs can name neither one nor this user's own folders, and the caller is told nothing
    of any.
    """

    ANY = "any"
    DEFAULT = "default"
    NONE = "none"


@dataclass(frozen=True)
class Reader:
    """The user and the one group as whom files of this machine are looked at, for somebody else.

    ``loader.sources.acting`` has the kernel judge by them; to a worker they are its own. Who asks may have
    put links there, and nothing is looked at but what it named.
    """

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Access:
    """What locations may lead to.

    ``schemes`` are those of locations that the caller names, ``linked`` those of locations that files and
    records name. ``hosts`` are names, addresses or networks, with or without a port, that may be reached
    though they are private: ``127.0.0.1:8000``, ``intranet.example``, ``10.0.0.0/8``. ``storage`` are
    beginnings of the paths and URLs that storage blocks of specs may write to, as in ``s3://bucket/flows``,
    and ``blocks`` says which of those count that a client has. ``reader`` is as whom files of this machine
    are looked at, if not as this process.
    ``options`` are a driver's own, by scheme, such as ``{"s3": {"endpoint_url": …}}``; those of ``http`` and
    ``https`` are ``headers`` and the ``origin`` (``https://host:port``) that alone is sent them.

    ``size`` is the largest file in bytes; ``project_size`` and ``project_files`` bound a whole folder or
    archive; ``seconds`` is how long one location may take in all.
    """

    schemes: frozenset[str] = SCHEMES
    linked: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    storage: tuple[str, ...] = ()
    blocks: Blocks = Blocks.ANY
    reader: Reader | None = None
    options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: NO_OPTIONS, repr=False, hash=False
    )
    size: int = 8 << 20
    project_size: int = 64 << 20
    project_files: int = 2_000
    seconds: float = 30.0

    def __post_init__(self) -> None:
        unknown = sorted((self.schemes | self.linked) - SCHEMES)
        if unknown:
            known = ", ".join(sorted(SCHEMES))
            raise ValueError(f"cannot allow the scheme {unknown[0]!r}: there are {known}")


DEFAULT = Access()
