"""Who asks, and what they may: the user at the other end of the socket, or whoever bears the token.

This user and root may ask whatever they could do themselves. Others may ask what ``peers`` grants: texts, and
what lies below their folders, found there by the descriptor that is held until it was loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from aiohttp import web

from loader import sources, waking
from loader.access import ARCHIVE_SCHEMES, LOCAL_SCHEMES, Access, Blocks
from loader.daemon.config import TOKEN, Config, Peer
from loader.daemon.grants import EVERYBODY, Grants, Held, Lent, User, granted_at
from loader.daemon.problems import Problem
from loader.daemon.requests import Asked, Deploying
from loader.daemon.trust import groups_of, uid_of
from loader.errors import SourceError
from loader.profiles import load_profile
from loader.sources import Origin
from loader.sources.paths import is_below

OWN_FOLDER = frozenset({"file"})
THREADS = 32
"""Folders that are looked for at a time, of all callers together."""


@dataclass(frozen=True)
class Caller:
    """Who asks. ``owner`` is whether it may ask everything; without that ``peer`` says what, None nothing.

    ``grants`` are the folders of its peer entry, and ``user`` is who looks for what lies there.
    """

    name: str
    owner: bool = False
    peer: Peer | None = None
    grants: tuple[Held, ...] = ()
    user: User = EVERYBODY

    def must(self) -> None:
        """Raise Problem for a caller that may ask nothing."""
        if self.owner or self.peer is not None:
            return
        raise Problem(
            "not-granted",
            f"cannot answer {self.name}: it may ask for the daemon's health only; grant it more with an entry"
            " of peers",
            option="peers",
        )

    @property
    def watches(self) -> bool:
        """Whether it may see what is watched, what is counted, and what others ask."""
        return self.owner or (self.peer is not None and self.peer.watch)

    @property
    def audience(self) -> str | None:
        """Whose events it is told: its own, or None for everybody's."""
        return None if self.watches else self.name

    def must_watch(self) -> None:
        """Raise Problem for a caller that may not see what is watched."""
        self.must()
        if not self.watches:
            refuse(self, "see what is watched", "peers.watch")


def check_still(caller: Caller, config: Config) -> None:
    """Raise Problem if the configuration was read again since it was judged what the caller may."""
    if caller.owner or any(peer is caller.peer for peer in config.peers):
        return
    raise Problem(
        "not-granted",
        f"cannot go on for {caller.name}: what it is granted was read again while it waited; ask again",
        option="peers",
    )


@dataclass(frozen=True)
class Permit:
    """What a request comes to for its caller: where the script is, and what it may read and reach.

    ``whole`` is whether the answer may tell of what lies above that.
    """

    location: str
    root: Origin | None
    access: Access
    whole: bool = True


def caller_of(
    request: web.Request, config: Config, token: str | None, grants: Grants, *, public: bool = False
) -> Caller:
    """Who asks. Raises Problem for a request over TCP from elsewhere, or without the token.

    What is ``public`` holds no data, and takes no token: who asks for it is nobody yet.
    """
    transport = request.transport
    end = transport.get_extra_info("socket") if transport is not None else None
    if end is None:
        raise ConnectionResetError("the caller is gone")
    caller = caller_at(end, config, grants)
    if end.family == socket.AF_UNIX:
        return caller
    check_host(request, config)
    if public:
        return caller
    check_token(request, token)
    granted = next((peer for peer in config.peers if peer.uid == TOKEN), None)
    return Caller(TOKEN, peer=granted, grants=grants.get(TOKEN, ()))


def caller_at(end: socket.socket, config: Config, grants: Grants) -> Caller:
    """Who is at the other end of a connection, whatever is asked there: over TCP that is nobody yet."""
    if end.family != socket.AF_UNIX:
        return Caller("nobody")
    uid = uid_of(end)
    granted = next((peer for peer in config.peers if peer.uid == uid), None)
    owner = uid in (0, os.geteuid())
    if owner or granted is None:
        return Caller(f"uid {uid}", owner, granted)
    return Caller(f"uid {uid}", owner, granted, grants.get(uid, ()), User(uid, groups_of(end)))


def check_token(request: web.Request, token: str | None) -> None:
    """Raise Problem unless the request bears the token."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # A header may hold any bytes, and not all of them are text.
    same = hmac.compare_digest(
        *(word.encode(errors="surrogateescape") for word in (given.strip(), token or ""))
    )
    if token is None or scheme.lower() != "bearer" or not same:
        raise Problem(
            "no-token",
            "cannot answer: the request bears no token, or another one; send Authorization: Bearer TOKEN with"
            " the word in the file that listen.token_file names",
            option="listen.token_file",
        )


def check_host(request: web.Request, config: Config) -> None:
    """Raise Problem for a request that a page of another server may have made: its name, or its origin."""
    name = name_of(request.host)
    listen = config.listen
    known = {"localhost", listen.host.lower() if listen is not None else "localhost"}
    if name not in known and not is_address(name):
        raise Problem(
            "wrong-host",
            f"cannot answer for the host {name[:100]!r}: this is {', '.join(sorted(known))}; ask by that"
            " name or by address",
            option="listen.host",
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        raise Problem("foreign-origin", f"cannot answer a page of {origin[:100]!r}: it is not of this daemon")


def name_of(host: str) -> str:
    """The name in a Host header, without its port; none for what is no such header."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if "@" not in host else ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a host is named by its address: no name that leads here can be made up by others."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Looking:
    """Looks for the folders that are asked for, in threads. One event loop.

    One at a time for each caller, in whose own hands it may be how long that takes.
    """

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="flow-loader-folders")
        self.locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def granted_at(self, path: str, caller: Caller) -> Lent | None:
        """The folder at a path, if that is granted to the caller; nothing is looked at without a grant."""
        if not caller.grants:
            return None
        lock = self.locks.setdefault(caller.name, asyncio.Lock())
        async with lock:
            return await waking.to_its_end(self.executor, granted_at, path, caller.grants, caller.user)


@contextlib.asynccontextmanager
async def permitted(caller: Caller, asked: Asked, looking: Looking) -> AsyncIterator[Permit]:
    """What the caller gets of what it asks, for as long as the context. Raises Problem, SourceError."""
    caller.must()
    if caller.owner:
        yield Permit(given(asked), given_root(asked.root), access_of(asked))
        return
    assert caller.peer is not None
    check_words(caller, caller.peer, asked)
    if asked.timeout is not None:
        await waking.to_its_end(looking.executor, check_timeout, caller, asked.profile, asked.timeout)
    access = Access(schemes=OWN_FOLDER, blocks=Blocks.DEFAULT if caller.peer.deploy else Blocks.NONE)
    if asked.location is None:
        yield Permit(asked.name, None, access, whole=False)
        return
    async with inside(caller, asked.location, asked.root, looking) as (place, origin):
        yield Permit(place, origin, replace(access, reader=origin.reader), whole=False)


def given(asked: Asked) -> str:
    """The location of a request, which means the same wherever it is asked. Raises SourceError."""
    if asked.location is None:
        return asked.name
    check_absolute(asked.location)
    return asked.location


def given_root(root: str | None) -> Origin | None:
    """The root of a request, as it is now. Raises SourceError."""
    if root is not None:
        check_absolute(root)
    return sources.pinned(root)


def check_absolute(location: str) -> None:
    """Raise SourceError for a path that depends on a working directory: the daemon's is not the caller's."""
    place = sources.parse(location)
    while place.archive is not None:
        place, location = place.archive, location.partition("::")[2]
    if place.scheme in LOCAL_SCHEMES and not location.startswith(("/", "file:")):
        raise SourceError(
            f"cannot load {place.shown}: a daemon has no working directory of yours; give an absolute path"
        )


def access_of(asked: Asked) -> Access:
    """What a request's locations may lead to. Raises Problem."""
    try:
        return Access(
            linked=frozenset(scheme.lower() for scheme in asked.allow_schemes),
            hosts=frozenset(asked.allow_hosts),
            storage=tuple(asked.allow_storage) if isinstance(asked, Deploying) else (),
        )
    except ValueError as error:
        raise Problem("mistaken", str(error)) from None


def check_words(caller: Caller, peer: Peer, asked: Asked) -> None:
    """Raise Problem for what only this user and root may ask."""
    if asked.profile not in peer.profiles:
        refuse(caller, f"use the profile {asked.profile!r}", "peers.profiles")
    if asked.python is not None and os.path.normpath(asked.python) not in peer.pythons:
        refuse(caller, f"use the interpreter {asked.python!r}", "peers.pythons")
    if isinstance(asked, Deploying) and not peer.deploy:
        refuse(caller, "deploy", "peers.deploy")
    for name in ("allow_hosts", "allow_schemes", "allow_storage", "registry", "api", "storage", "work_pool"):
        if getattr(asked, name, None):
            refuse(caller, f"set {name}", None)


def check_timeout(caller: Caller, profile: str, timeout: float) -> None:
    """Raise Problem for a time that is longer than a profile allows; it reads the profile's file."""
    if timeout > (wall := load_profile(profile).wall):
        raise Problem(
            "not-granted",
            f"cannot let {caller.name} set a timeout of {timeout:g} seconds: the profile"
            f" {profile!r} allows {wall:g}; ask for no more, or grant it a profile with a longer wall",
            limit=wall,
            size=timeout,
            option="timeout",
        )


def refuse(caller: Caller, what: str, option: str | None) -> NoReturn:
    """Raise the Problem of what a caller may not do."""
    remedy = f"; grant it with {option}" if option else ": only this user and root may"
    raise Problem("not-granted", f"cannot let {caller.name} {what}{remedy}", option=option)


@contextlib.asynccontextmanager
async def inside(
    caller: Caller, location: str, root: str | None, looking: Looking
) -> AsyncIterator[tuple[str, Origin]]:
    """Where a script below the caller's folders is, and its root. Raises Problem, SourceError.

    The folder that the script may read is gone to from the granted one: no link leads out of that, and as
    long as it is held none can be put in its place. Until then nothing is looked at, and so nothing told of
    what is not the caller's.
    """
    if (
        sources.schemes_of(location) & (ARCHIVE_SCHEMES | {"git"})
        or not sources.schemes_of(location) <= OWN_FOLDER
    ):
        refuse(caller, "load what is not below its folders", "peers.folders")
    check_absolute(location)
    path = sources.local_path(location)
    folder = os.path.dirname(path)  # no name of a flow behind a path holds a slash
    top = folder if root is None else sources.local_path(root)
    if not is_below(folder, top):
        raise SourceError(f"cannot load {path}: it lies outside the root {top}; name a folder that holds it")
    lent = await looking.granted_at(top, caller)
    if lent is None:
        # Whether it is there is nobody's business who may not see it.
        refuse(caller, f"load {path}", "peers.folders")
    with contextlib.closing(lent.held):
        place = os.path.join(lent.held.path, os.path.relpath(path, top))  # noqa: ASYNC240 - of what is spelled
        yield place, Origin(sources.parse(lent.held.path).text, lent.held.identity, lent.reader)
