"""What may be asked: the bodies of requests, strict and without anything that is not named."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from loader.answers import Recorded

LONG = 4096
"""Characters of a location, a path or a name."""
UNSHARED = {"priority", "wait"}
"""What may differ between identical requests."""
Name = Annotated[str, Field(min_length=1, max_length=LONG)]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=300)]], Field(max_length=100)]
Path = Annotated[str, Field(pattern="^/", max_length=LONG)]


class Asked(BaseModel):
    """What is loaded, and how: what ``load`` is asked, and the others, too.

    ``location`` is an absolute path or a URL. Instead of it there may be a script's ``text``, which is called
    ``name``. ``shown`` is what the outcome and its messages call the location. ``timeout`` is the script's
    wall time, ``wait`` how long the answer may take in all, its turn included; both in seconds. ``cache`` is
    whether a result that was kept will do.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    location: Name | None = None
    text: str | bytes | None = None
    name: Name = "<text>"
    shown: Name | None = None
    root: Name | None = None
    timeout: float | None = None
    profile: Name = "strict"
    python: Path | None = None
    dialect: Literal["auto", "orion", "prefect2", "prefect3"] | None = None
    allow_hosts: Names = []
    allow_schemes: Names = []
    priority: Literal["before_run", "interactive", "watching"] = "interactive"
    wait: Annotated[float, Field(gt=0, le=86_400)] | None = None
    cache: bool = True
    _digest: bytes = PrivateAttr(b"")

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Either a location or a text, which has no folder."""
        if (self.location is None) == (self.text is None):
            raise ValueError("give either a location or a text")
        if self.text is not None and self.root is not None:
            raise ValueError("a text has no root: it has no folder")
        return self

    @property
    def digest(self) -> bytes:
        """The same for identical requests, and for no others of the kind."""
        return self._digest

    def model_post_init(self, _: Any, /) -> None:
        """Make the digest: here, for large bodies are read in a thread, and what is asked is held long."""
        asked = self.model_dump(exclude=UNSHARED)
        packed = msgpack.packb(asked, default=large_number, unicode_errors="surrogatepass")
        self._digest = hashlib.sha256(packed).digest()


def large_number(number: int) -> Any:
    """A number that msgpack has no form for, in one that no body can hold."""
    return msgpack.ExtType(0, repr(number).encode())


class Planning(Asked):
    """What ``specs`` is asked.

    ``registry`` is the file of an embedded registry, ``api`` a Prefect server; by default the daemon's
    registry. ``storage`` is where the flows of specs are kept that name no storage, a path or a URL.
    ``folder`` is the device and the inode of the folder that the location must lie in.
    """

    folder: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    registry: Path | None = None
    api: Name | None = None
    storage: Name | None = None

    @model_validator(mode="after")
    def one_place(self) -> Self:
        """One place for deployments."""
        if self.registry is not None and self.api is not None:
            raise ValueError("give either a registry or an api")
        return self


class Deploying(Planning):
    """What ``deploy`` is asked. ``allow_storage`` are prefixes below which specs may choose storage."""

    text: None = None
    dry_run: bool = False
    work_pool: Name | None = None
    allow_storage: Names = []


class Checking(Planning):
    """What ``check`` is asked. ``location`` may be an entrypoint, ``file.py:function``."""

    flow: Name | None = None
    function: Name | None = None
    deployment: Name | None = None
    parameters: dict[str, Any] | None = None
    recorded: Recorded | None = None


def kind_of(asked: Asked) -> str:
    """What is asked, in a word."""
    words = {Checking: "check", Planning: "specs", Deploying: "deploy"}
    return words.get(type(asked), "load")
