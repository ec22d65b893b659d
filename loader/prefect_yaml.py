"""Prefect's project file, ``prefect.yaml``: each of its deployments as an entry. Templates stay texts.

Pure, but for a look at whether the file of a module is there, below its origin. Source of keys and of what
they mean: ``prefect.cli.deploy`` of Prefect 2.20 and 3.8.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from loader.entries import Entry, jsonable, news, odd, text_of
from loader.errors import SourceError
from loader.prefect_part import PrefectPart, Step
from loader.prefect_schedules import TEMPLATE, Item, planned
from loader.sources import Origin, beside
from loader.sources.parsing import URL
from loader.sources.script import SOURCES
from loader.specs import DeploymentSpec, mistakes
from loader.strict_yaml import Document
from loader.yaml_places import KeyPath, Problem

NAMES = ("prefect.yaml", "prefect.yml")
LISTED = "deployments"
MARK = re.compile(rf"(?m)^{LISTED}[ \t]*:")
"""What a text holds that is such a file, whatever its name."""
KEYS = tuple(
    "name version version_type tags description schedule schedules paused concurrency_limit flow_name"
    " entrypoint parameters enforce_parameter_schema build push pull work_pool triggers sla".split()
)
POOL_KEYS = ("name", "work_queue_name", "job_variables")
ENTRYPOINT_DUE = "an entrypoint is due, like flows/etl.py:main or package.module:main"
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
CLOSE = 0.8
"""How much alike a key and one that Prefect knows are when it must be a slip."""
STRATEGIES = ("ENQUEUE", "CANCEL_NEW")
STEPS = ("build", "push", "pull")
STEP_NAMES = 4_096
"""Longest names of the steps of one kind in all, in characters: each deployment tells those of the file."""
UNDONE: Mapping[str, str] = MappingProxyType(
    {
        "build": "its build steps are not run",
        "push": "its push steps are not run",
        "triggers": "its triggers are not created",
        "sla": "its service level agreements are not created",
    }
)
"""Keys of what flow-loader leaves alone, and what is said of it."""
NO_POOL = "it names no work pool, so that no worker will run it"


def is_project(data: Any, location: str) -> bool:
    """Whether a document is such a file: by what it holds, or else by its name."""
    named = posixpath.basename(location.partition("::")[0].partition("?")[0]) in NAMES
    return type(data) is dict and (LISTED in data or named)


def entries(document: Document, location: str, origin: Origin) -> Iterator[Entry]:
    """The entries of such a file, and one of the mistakes that belong to none of them.

    ``origin`` is what it may lead to: nothing is looked for elsewhere.
    """
    data = document.data
    items = data.get(LISTED)
    rest = list(document.problems)
    if items is not None and type(items) is not list:
        rest.append(Problem(document.position((LISTED,)), (LISTED,), "a list of deployments is due"))
        items = None
    if LISTED not in data and (close := get_close_matches(LISTED, data, 1, CLOSE)):
        message = f"there is no such key; did you mean {LISTED!r}?"
        rest.append(Problem(document.position((close[0],)), (close[0],), message))
    whole = Item(data)
    shared = {key: steps_of(whole, key) for key in STEPS}
    for index, item in enumerate(items or ()):
        path = (LISTED, index)
        own = [problem for problem in rest if problem.path[:2] == path]
        rest = [problem for problem in rest if problem.path[:2] != path]
        yield Deployment(document, path, location, origin, shared).entry(item, own)
    rest += [Problem(document.position(path), path, said) for path, said in whole.said]
    if rest:
        first = rest[0].position
        yield Entry(line=first.line, column=first.column, problems=tuple(rest))


def steps_of(item: Item, key: str) -> tuple[Step, ...]:
    """The steps of one kind; one alone may be without a list."""
    held = item.data.get(key)
    steps = [held] if type(held) is dict and held else held or []
    if type(steps) is not list or any(type(step) is not dict for step in steps):
        item.wrong("a list of steps is due, each a mapping", key)
        return ()
    if sum(len(name) + 1 for step in steps for name in step) > STEP_NAMES:
        item.wrong(f"the names of these steps have more than {STEP_NAMES} characters; have fewer steps", key)
        return ()
    return tuple(jsonable(steps))


@dataclass(frozen=True)
class Deployment:
    """One deployment in the making: the data at ``path`` of the file, whose own steps are ``shared``."""

    document: Document
    path: KeyPath
    location: str
    origin: Origin
    shared: Mapping[str, tuple[Step, ...]]

    def entry(self, data: Any, problems: Iterable[Problem]) -> Entry:
        """The spec that the data make, or all that is wrong with them."""
        first = self.document.position(self.path)
        found = [Problem(item.position, item.path[len(self.path) :], item.message) for item in problems]
        spec = None
        if type(data) is dict:
            item = Item(data)
            spec = self.spec(item)
            told = {problem.path for problem in found}
            found += [
                Problem(self.document.position((*self.path, *path)), path, said)
                for path, said in news([*item.said, *odd(data)], told)
            ]
        elif not found:
            found = [Problem(first, (), f"a deployment is due: a mapping of {', '.join(KEYS)}")]
        return Entry(
            line=first.line,
            column=first.column,
            spec=None if found or spec is None else spec.at(self.location, first.line),
            problems=tuple(sorted(found, key=lambda problem: problem.position.line)),
            written=text_of(data, "entrypoint"),
            name=text_of(data, "name"),
        )

    def spec(self, item: Item) -> DeploymentSpec | None:
        """The spec of what the deployment says; what is wrong is noted at ``item``."""
        warnings = [*unknown(item, KEYS), *self.undone(item)]
        file, module, function = self.entrypoint(item)
        if item.data.get("name") is None:
            item.wrong("it must be given", "name")
        pool = item.part("work_pool")
        warnings += unknown(pool, POOL_KEYS)
        schedules = planned(item, warnings)
        limit, options = concurrency(item)
        part = PrefectPart(
            entrypoint=str(item.data.get("entrypoint")),
            function=function,
            module=module,
            version=item.text("version"),
            description=item.text("description"),
            schedules=schedules,
            work_pool=pool.text("name"),
            work_queue=pool.text("work_queue_name"),
            job_variables=jsonable(pool.mapping("job_variables")),
            pull=self.pull(item),
            builds=bool(self.steps(item, "build")),
            paused=item.truth("paused"),
            enforce_parameter_schema=item.truth("enforce_parameter_schema"),
            concurrency_limit=limit,
            concurrency_options=options,
            warnings=tuple(warnings + ([] if pool.data.get("name") else [NO_POOL])),
        )
        values = {
            "name": item.text("name"),
            "flow_location": file,
            "parameters": jsonable(item.mapping("parameters")),
            "schedule": part.coming[0] if part.coming else None,
            "tags": tags(item),
        }
        try:
            return DeploymentSpec.model_validate(values).of_prefect(part)
        except ValidationError as error:
            item.said.extend(mistakes(error))
            return None

    def entrypoint(self, item: Item) -> tuple[str | None, str | None, str]:
        """The location of the flow's script, its name as a module if it is given so, and the function."""
        written = item.text("entrypoint")
        if written is None:
            if item.data.get("entrypoint") is None:
                item.wrong(f"it must be given: {ENTRYPOINT_DUE}", "entrypoint")
            return None, None, ""
        if TEMPLATE in written:
            item.wrong("templates are not filled in here; write the entrypoint out", "entrypoint")
            return None, None, ""
        place, _, function = written.rpartition(":" if ":" in written else ".")
        module = place if not place.endswith(".py") and MODULE.fullmatch(place) else None
        if written.endswith(".py") or not MODULE.fullmatch(function) or not (module or place.endswith(".py")):
            item.wrong(ENTRYPOINT_DUE, "entrypoint")
            return None, None, ""
        try:
            return self.file_of(place, module), module, function
        except SourceError as error:
            item.wrong(str(error), "entrypoint")
            return None, None, ""

    def file_of(self, place: str, module: str | None) -> str:
        """The location of a script, or of a module: in the project's folder, or in its sources.

        One that cannot be looked for is taken for a file in the folder.
        """
        if module is None:
            return place if place.startswith("/") or URL.match(place) else beside(self.location, place)
        stem = module.replace(".", "/")
        names = [f"{stem}.py", f"{stem}/__init__.py"]
        places = [beside(self.location, name) for name in (*names, *(f"{SOURCES}/{name}" for name in names))]
        return next(filter(self.origin.has_file, places), places[0])

    def pull(self, item: Item) -> tuple[Step, ...] | None:
        """The pull steps: the deployment's own, or else the file's; an empty list says that none are due."""
        said = item.data.get("pull", self.document.data.get("pull"))
        return () if said == [] else self.steps(item, "pull") or None

    def steps(self, item: Item, key: str) -> tuple[Step, ...]:
        """The steps of one kind: the deployment's own, or else the file's."""
        own = steps_of(item, key)
        return own if own or item.data.get(key) == [] else self.shared[key]

    def undone(self, item: Item) -> Iterator[str]:
        """What is said of the deployment, and done by nobody but ``prefect deploy``."""
        for key, said in UNDONE.items():
            if item.data.get(key) or (key in STEPS and self.steps(item, key)):
                yield f"{said} here; `prefect deploy` does that"


def unknown(item: Item, keys: tuple[str, ...]) -> list[str]:
    """What is to be said of keys that Prefect passes over; one that is nearly right is a mistake."""
    found = []
    for key in item.data:
        if key not in keys:
            close = get_close_matches(key[:100], keys, 1, CLOSE)
            if close:
                item.wrong(f"there is no such key; did you mean {close[0]!r}?", key)
            else:
                found.append(f"Prefect knows no key {key[:100]!r} here, and passes it over")
    return found


def concurrency(item: Item) -> tuple[int | None, Mapping[str, Any] | None]:
    """How many runs there may be at a time, and what becomes of more."""
    if type(item.data.get("concurrency_limit")) is not dict:
        return item.number("concurrency_limit"), None
    held = item.part("concurrency_limit")
    strategy = held.text("collision_strategy")
    if strategy not in (None, *STRATEGIES) and TEMPLATE not in (strategy or ""):
        held.wrong(f"one of {', '.join(STRATEGIES)} is due", "collision_strategy")
    told = {"collision_strategy": strategy, "grace_period_seconds": held.number("grace_period_seconds")}
    options = {key: value for key, value in told.items() if value is not None}
    return held.number("limit"), options or None


def tags(item: Item) -> list[str] | None:
    """The tags; a template may stand for them."""
    held = item.data.get("tags")
    if type(held) is str and TEMPLATE in held:
        return [held]
    if held is not None and type(held) is not list:
        item.wrong("a list of texts is due", "tags")
        return None
    for place, tag in enumerate(held or ()):
        if type(tag) not in (str, int):
            item.wrong("text is due; put it in quotes", "tags", place)
    return [str(tag) for tag in held or ()]
