"""The daemon's life: it listens, serves, reads its configuration again, drains, and leaves nothing behind.

SIGTERM and SIGINT end it when what is under way is done; a second one at once. SIGHUP reads the configuration
again and starts warm anew. A socket that somebody removed is put back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from loader import waking
from loader.access import Access
from loader.answers import Plan
from loader.daemon import library, notify, sockets
from loader.daemon.admission import Admission
from loader.daemon.bodies import Budget
from loader.daemon.config import Config, Watched, is_loopback
from loader.daemon.connections import Connections, Door
from loader.daemon.engine import Engine
from loader.daemon.engines import Engines
from loader.daemon.events import Events
from loader.daemon.grants import granted
from loader.daemon.kept import Kept
from loader.daemon.logs import Logs, observed
from loader.daemon.metrics import Metrics
from loader.daemon.openapi import GOT, POSTED, TEXTS
from loader.daemon.places import Place
from loader.daemon.problems import Problem
from loader.daemon.routes import application
from loader.daemon.service import Service
from loader.daemon.state import State
from loader.daemon.tracing import tracer
from loader.daemon.watching import Watch
from loader.errors import ConfigError, FlowLoaderError
from loader.models import Outcome, Status
from loader.sources import Script

THREADS = 32
SWITCH = 0.0005
"""Seconds after which a thread makes room for the event loop: answers must not wait for loads."""
LOOK = 1.0
"""Seconds between two looks at whether everything is as it should be."""
AGAIN = 15.0
"""Seconds between two tries to load anything, while nothing can be loaded."""
LAST = 3.0
"""Seconds for which the last answers may be taken, twice."""
FIXED = ("socket", "socket_access", "listen", "state", "cache", "tracing")
"""What is read at the start only."""
KEEP_ALIVE = 75.0
"""Seconds for which a connection may be silent between two requests, unless less is allowed."""
LEAVE = 1.0
"""Seconds for which the process may go on once everything is closed."""
Read = Callable[[], Config]


class Daemon:
    """One daemon. ``read`` gives its configuration, now and whenever it is to be read again."""

    def __init__(self, read: Read, environ: Mapping[str, str]) -> None:
        self.read, self.config = read, read()
        self.logs = Logs(self.config.log, sys.stderr)
        self.log: FilteringBoundLogger = self.logs.log
        self.manager = notify.Manager(environ)
        self.token = sockets.token(self.config.listen.token_file) if self.config.listen else None
        self.ending, self.now = asyncio.Event(), asyncio.Event()
        self.metrics = Metrics([*POSTED, *GOT, *TEXTS])
        self.tracer = tracer(self.config.tracing)
        self.engines = Engines(self.config.limits, self.observe)
        self.admission = Admission(**admitted(self.config))
        cache = self.config.cache
        kept = Kept(cache.folder, cache.size) if cache.enabled else None
        self.engine = Engine(self.config, self.admission, self.engines, kept)
        self.metrics.watch(self.admission, self.engines.idle_workers)
        self.service = Service(
            self.config,
            self.token,
            self.engine,
            self.log,
            self.metrics,
            Budget(self.config.limits),
            Events(self.config.limits.events, self.config.limits.event_backlog),
            self.tracer,
            granted(self.config, self.log.warning),
        )
        self.reading = asyncio.Lock()
        self.state: State | None = None
        self.watching: asyncio.Task[None] | None = None
        self.connections = Connections(self.config)
        self.listening: dict[socket.socket, asyncio.Task[None]] = {}
        self.bound: sockets.Bound | None = None
        self.tasks: set[asyncio.Task[Any]] = set()

    def observe(self, happened: Any) -> None:
        """Count, trace and write down what becomes of processes."""
        self.metrics.observe(happened)
        self.tracer.observe(happened)
        observed(self.log, happened)

    async def run(self, handed: list[socket.socket]) -> None:
        """Serve until a signal ends it. Raises ConfigError."""
        tls = sockets.tls(self.config.listen) if self.config.listen else None
        runner = web.AppRunner(
            application(self.service),
            handle_signals=False,
            access_log=None,
            handler_cancellation=True,
            auto_decompress=False,
            shutdown_timeout=LAST,
            keepalive_timeout=min(KEEP_ALIVE, self.config.limits.request_seconds),
            max_headers=64,
            max_field_size=4096,
        )
        await runner.setup()
        library.attend(runner)
        try:
            self.signals()
            await self.listen(runner, handed, tls)
            self.start(self.keep_able())
            self.watch()
            self.start(self.look(runner))
            self.start(self.manager.watchdog())
            self.manager.ready()
            await self.ending.wait()
            await self.drain()
        finally:
            self.deafen()
            for task in self.tasks:
                task.cancel()
            await waking.within(asyncio.gather(*self.tasks, return_exceptions=True))
            if self.state is not None:
                self.state.close()
            await self.engine.close()
            await waking.within(runner.cleanup(), 3 * LAST)
            if self.bound is not None:
                self.bound.close()
            await waking.within(asyncio.to_thread(self.tracer.close))
            self.log.info("ended")

    def watch(self) -> None:
        """Watch what is configured, instead of what was before."""
        if self.watching is not None:
            self.watching.cancel()
        places = [place_of(source) for source in self.config.sources]
        if places and self.state is None:
            self.state = State(os.path.join(self.config.state, "watched.db"))
            if self.state.trouble is not None:
                self.log.warning("what is watched does not outlive the daemon", reason=self.state.trouble)
        if self.state is not None:
            files = self.config.limits.watched_files
            watch = Watch(places, self.load_watched, self.state, self.service.events, files=files)
            self.service.watch = watch
            self.watching = self.start(watch.run())
            self.start(self.warn_of_shared(places))

    async def warn_of_shared(self, places: Sequence[Place]) -> None:
        """Tell of folders in which others may put what is loaded as this user's own."""
        for place in places:
            if await asyncio.to_thread(place.is_shared):
                said = "others may write to what is watched: what they put there is loaded as this user's own"
                self.log.warning(said, source=place.shown, profile=place.profile)

    async def load_watched(self, place: Place, script: Script) -> Outcome | Plan:
        """Load a watched script or judge a manifest, and count it."""
        found = await self.engine.watched(place, script)
        self.metrics.loaded(found.status if isinstance(found, Outcome) else found.outcome.status)
        return found

    def signals(self) -> None:
        """What signals do."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.start(self.reload()))

    def end(self) -> None:
        """End when what is under way is done; at once when this is asked again."""
        (self.now if self.ending.is_set() else self.ending).set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside serving."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def listen(
        self, runner: web.AppRunner, handed: list[socket.socket], tls: ssl.SSLContext | None
    ) -> None:
        """Listen where it is configured, or at what was handed over. Raises ConfigError."""
        if not any(end.family == socket.AF_UNIX for end in handed):
            self.bound = sockets.listen(self.config.socket, self.config.socket_access)
            handed = [*handed, self.bound.listening]
        place = self.config.listen
        if place is not None and not any(end.family != socket.AF_UNIX for end in handed):
            handed = [*handed, tcp(place.host, place.port)]
        for end in handed:
            unix, name = end.family == socket.AF_UNIX, end.getsockname()
            shown = self.config.socket if unix else f"{name[0]}:{name[1]}"
            if not unix and self.token is None:
                raise ConfigError("cannot listen at TCP without a token: say listen.token_file")
            if not unix and tls is None and not is_loopback(name[0]):
                raise ConfigError(
                    f"cannot listen at {shown} without a certificate: others could read the token on its way;"
                    " say listen.certificate and listen.key"
                )
            self.serve(runner, end, None if unix else tls)
            self.log.info("listening", at=shown, tls=tls is not None and not unix)

    def serve(self, runner: web.AppRunner, end: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer whoever connects to a socket."""
        server = runner.server
        assert server is not None
        door = Door(self.connections, server, self.start, self.log)
        self.listening[end] = self.start(door.watch(end, tls))

    def deafen(self) -> None:
        """Listen no longer."""
        while self.listening:
            end, task = self.listening.popitem()
            task.cancel()
            end.close()

    async def keep_able(self) -> None:
        """Start the usual loader; as long as nothing can be loaded, anew every now and then."""
        await self.warm()
        while True:
            await asyncio.sleep(AGAIN)
            if self.service.trouble is not None:
                await self.warm(renew=True)

    async def warm(self, *, renew: bool = False) -> None:
        """Start the usual loader, and say whether anything can be loaded."""
        try:
            outcome = await (self.engines.renew() if renew else self.engines.warm())
        except FlowLoaderError as error:
            self.service.trouble = Problem("not-ready", str(error))
            return
        said = outcome.error.message if outcome.error is not None else ""
        unable = outcome.status is Status.SANDBOX_UNAVAILABLE
        self.service.trouble = Problem("not-ready", said) if unable else None
        self.manager.status(said if unable else "ready")
        self.log.info("ready" if not unable else "cannot load", reason=said if unable else None)

    async def look(self, runner: web.AppRunner) -> None:
        """Mend what was broken from outside, and close what nobody uses."""
        while True:
            await asyncio.sleep(LOOK)
            self.connections.sweep()
            try:
                await self.engines.close_idle()
                if self.bound is not None and not self.bound.is_there():
                    self.put_back(runner, self.bound)
            except Exception:
                self.log.exception("mistake")

    def put_back(self, runner: web.AppRunner, bound: sockets.Bound) -> None:
        """Listen again at a path from which the socket was removed."""
        if bound.listening in self.listening:
            self.listening.pop(bound.listening).cancel()
        try:
            bound.again()
        except ConfigError as error:
            self.log.warning("cannot put back the socket", reason=str(error))
            return
        self.serve(runner, bound.listening, None)
        self.log.warning("the socket was removed and is back", at=bound.path)

    async def reload(self) -> None:
        """Read the configuration again; one with mistakes changes nothing."""
        self.manager.reloading()
        try:
            async with self.reading:  # what is read last counts last
                await self.reread()
        except ConfigError as error:
            self.log.warning("the configuration stays as it was", reason=str(error))
        else:
            await self.warm(renew=True)
            self.log.info("the configuration was read again")
        self.manager.ready()

    async def reread(self) -> None:
        """Go by what the configuration says now. Raises ConfigError."""
        config = await asyncio.to_thread(self.read)
        token = sockets.token(config.listen.token_file) if config.listen else None
        grants = await asyncio.to_thread(granted, config, self.log.warning)
        changed = [name for name in FIXED if getattr(config, name) != getattr(self.config, name)]
        if changed:
            self.log.warning("some keys are read at the start only", keys=", ".join(changed))
        watched = [(one.sources, one.limits.watched_files) for one in (config, self.config)]
        self.service.grants = grants
        self.apply(config.model_copy(update={name: getattr(self.config, name) for name in FIXED}), token)
        if watched[0] != watched[1]:
            self.watch()

    def apply(self, config: Config, token: str | None) -> None:
        """Go by another configuration from now on."""
        self.config = self.service.config = self.engine.config = self.connections.config = config
        self.service.token = token if self.token is not None else None
        self.engines.limits = config.limits
        self.service.budget.limit = config.limits.bodies
        self.admission.resize(**admitted(config))
        self.logs.config = config.log

    async def drain(self) -> None:
        """Let what is under way come to its end, for as long as it may take and nobody is impatient."""
        self.manager.stopping()
        self.log.info("ending", under_way=self.admission.inside)
        self.deafen()
        draining = asyncio.create_task(self.admission.drain(self.config.drain_seconds))
        impatient = asyncio.create_task(self.now.wait())
        await asyncio.wait([draining, impatient], return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, impatient):
            task.cancel()
        await asyncio.gather(draining, impatient, return_exceptions=True)
        self.service.events.end()


def place_of(source: Watched) -> Place:
    """What is watched, as it is configured."""
    return Place(
        location=source.location,
        root=source.root,
        every=source.every,
        profile=source.profile,
        python=source.python,
        dialect=source.dialect,
        access=Access(hosts=frozenset(source.allow_host), linked=frozenset(source.allow_scheme)),
    )


def admitted(config: Config) -> dict[str, Any]:
    """What bounds the queue."""
    limits = config.limits
    return {
        "concurrent": limits.loads,
        "waiting": limits.queue,
        "per_caller": limits.queue_per_caller,
        "patience": limits.wait_seconds,
    }


def tcp(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=sockets.BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"cannot listen at {host}:{port}: {why}; say another address with listen") from None


def run(read: Read, environ: MutableMapping[str, str]) -> None:
    """Run a daemon to its end. Raises ConfigError."""
    handed = notify.handed_over(environ)
    os.chdir("/")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError):  # without root it is nobody else to files, and has none to put away
        os.setgroups([])
    sys.setswitchinterval(SWITCH)
    library.prepare()
    asyncio.run(main(partial(Daemon, read, environ), handed))


async def main(make: Callable[[], Daemon], handed: list[socket.socket]) -> None:
    """The daemon in its event loop. Raises ConfigError."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    daemon = make()
    with daemon.logs.borrowing(), warnings.catch_warnings():
        await daemon.run(handed)
    leave()


def leave() -> None:
    """See to it that the process ends soon: neither asyncio nor Python leaves a thread that hangs."""
    ends = threading.Timer(LEAVE, os._exit, [0])
    ends.daemon = True
    ends.start()
