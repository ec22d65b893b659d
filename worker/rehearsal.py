"""A harmless load that leaves everything warm and nothing behind; it runs beside foreign code only later.

The first load of a process resolves the interpreter's lazy imports and, after a fork, copies the pages
that every load writes to. A rehearsal does both before there is a script.
"""

from __future__ import annotations

import builtins
import linecache
import os
import sys
import warnings
from typing import Any, Callable, Dict, Tuple

from worker import dialects, imports, protocol, watch
from worker.dialects.base import Dialect

MODULE = "rehearsal"
FILENAME = "<rehearsal>"
DEFINES = b'''
import asyncio, contextlib, dataclasses, datetime, enum, logging, os, pathlib, typing
from prefect import flow, get_run_logger, task
from prefect.deployments import DeploymentSpec
from prefect.orion.schemas.schedules import IntervalSchedule

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int = 0

@task
def step(value: int) -> int:
    return value

@flow
def first(a: int, b: "typing.Optional[Point]" = None, *, c: typing.List[str] = [], d: Colour = Colour.RED):
    """Says nothing."""
    step(a)

@flow(name="second", timeout_seconds=5)
async def other(when: datetime.datetime):
    await asyncio.sleep(0)

get_run_logger()
step(1)
DeploymentSpec(flow=first, schedule=IntervalSchedule(interval=60, timezone="UTC"), tags=["a"])
'''
SMALL = b"""
from prefect import flow

@flow
def first(a: int = 0):
    'Says nothing.'
"""
REAL = b'''
import asyncio, contextlib, dataclasses, datetime, enum, logging, os, pathlib, typing
from prefect import flow, get_run_logger, serve, task
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int = 0

@task(retries=1)
def step(value: int) -> int:
    return value

@flow(log_prints=True)
def first(a: int, b: typing.Optional[Point] = None, *, c: typing.List[str] = [], d: Colour = Colour.RED):
    """Says nothing.

    Args:
        a: a number
    """
    step(a)

@flow(name="second", timeout_seconds=5, retries=1)
async def other(when: datetime.datetime = datetime.datetime(2020, 1, 1), path: pathlib.Path = None):
    await asyncio.sleep(0)

step(1)
first(1)
daily, hourly = CronSchedule(cron="0 0 * * *"), IntervalSchedule(interval=datetime.timedelta(hours=1))
RunnerDeployment(name="a", flow_name="first", schedules=[daily])
RunnerDeployment(name="b", flow_name="first", schedules=[hourly])
'''
USUAL = b'''
from typing import List, Optional
from prefect import flow, task
from pydantic import BaseModel

class Settings(BaseModel):
    table: str = "events"
    limit: Optional[int] = None

@task(retries=2)
def extract(day: str) -> List[str]:
    return [day]

@flow(name="rehearsed", retries=1)
def first(day: str, settings: Settings = Settings(), names: List[str] = ["a"]):
    """Says nothing.

    Args:
        day: a day
    """
    return extract(day)

@flow
async def other(number: int = 1): ...
'''
FAILS = b"""
def inner():
    raise KeyError("rehearsal")
try:
    inner()
except KeyError as error:
    raise RuntimeError("rehearsal") from error
"""


class Surroundings:
    """What of the interpreter a load changes, as it is now."""

    def __init__(self) -> None:
        self.folder = os.getcwd()
        self.arguments, self.path, self.finders = sys.argv[:], sys.path[:], sys.meta_path[:]
        self.modules = dict(sys.modules)
        self.found = set(sys.path_importer_cache)
        self.lines = set(linecache.cache)
        self.import_function: Any = builtins.__import__
        self.show_warning: Any = warnings.showwarning

    def restore(self, dialect: Dialect) -> None:
        """Put all of it back. Modules that the libraries loaded meanwhile stay."""
        watch.end()
        builtins.__import__, warnings.showwarning = self.import_function, self.show_warning
        sys.argv[:], sys.path[:], sys.meta_path[:] = self.arguments, self.path, self.finders
        imports.take_out([MODULE, imports.FOLDER])
        dialect.end()
        if not dialect.lasting:
            imports.take_out(dialect.modules)
        sys.modules.update(self.modules)
        for entry in set(sys.path_importer_cache) - self.found:
            del sys.path_importer_cache[entry]
        for file in set(linecache.cache) - self.lines:
            del linecache.cache[file]
        os.chdir(self.folder)


Scripts = Tuple[Tuple[bytes, type], ...]
EVERYTHING: Dict[bool, Scripts] = {
    False: ((DEFINES, protocol.Loaded), (FAILS, protocol.Failed)),
    True: ((REAL, protocol.Loaded), (FAILS, protocol.Failed)),
}
"""For a fresh interpreter: what may be lazy anywhere is resolved; by whether the dialect is lasting."""
ORDINARY = {False: SMALL, True: USUAL}
"""What most scripts do, to find out which memory that takes."""


def rehearse(execute: Callable[..., Any]) -> None:
    """Load harmless scripts, which must end as said, and forget them."""
    for dialect in dialects.rehearsed():
        for source, expected in EVERYTHING[dialect.lasting]:
            before = Surroundings()
            try:
                perform(execute, dialect, source, expected)
            finally:
                before.restore(dialect)


def season(execute: Callable[..., Any]) -> None:
    """Load an ordinary script of the likeliest dialect and forget it."""
    before = Surroundings()
    try:
        once(execute)
    finally:
        before.restore(dialects.rehearsed()[0])


def once(execute: Callable[..., Any]) -> None:
    """Load an ordinary script and leave everything as it is then."""
    dialect = dialects.rehearsed()[0]
    perform(execute, dialect, ORDINARY[dialect.lasting], protocol.Loaded)


def perform(execute: Callable[..., Any], dialect: Dialect, source: bytes, expected: type) -> None:
    """One load, which must end as said."""
    reply = execute(protocol.Load(FILENAME, source, MODULE, None, dialect.name), lambda _: None)
    if type(reply) is not expected:
        why = reply.error.message if type(reply) is protocol.Failed else reply
        raise RuntimeError(f"cannot rehearse a load: {why}")
