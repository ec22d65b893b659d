"""Layers of a configuration made into one: defaults, a file, the environment, flags; the last word counts.

What is wrong is told by where it was said: the file's line, the variable or the flag, and the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from loader import escape
from loader.errors import ConfigError
from loader.strict_yaml import PROBLEM_CAP, SIZE_CAP, Document, StrictYamlError, read_all
from loader.yaml_places import KeyPath, Position, Problem, dotted

PREFIX = "FLOW_LOADER_"
FILE = f"{PREFIX}CONFIG"
OTHERS = (FILE, f"{PREFIX}DAEMON", f"{PREFIX}TESTS_")
"""Variables that are no key, or how they begin: the file, the socket that clients ask, those of tests."""
NULL = "null"
EMPTY = Document({}, {(): Position(1, 1)})
C = TypeVar("C", bound=BaseModel)
WORDS = {
    "missing": "missing",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "too_long": "must not have so many entries",
}


def read(
    model: type[C],
    file: str | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    computed: Mapping[KeyPath, Any],
) -> C:
    """The model's values. ``computed`` stand in for those that are null. Raises ConfigError."""
    layers = Layers(model, file, defaults())
    layers.add_file()
    layers.add_environment(environ)
    layers.add_flags(flags)
    for path, value in computed.items():
        if layers.get(path) is None:
            layers.put(path, value)
    found: C | None = layers.checked()
    if found is None or layers.problems:
        of = f" {escape.line(file)}" if file else ""
        told = "\n  ".join(said for _, said in sorted(layers.problems)[:PROBLEM_CAP])
        raise ConfigError(f"cannot use the configuration{of}: {told}")
    return found


def mistake(path: KeyPath, message: str) -> PydanticCustomError:
    """A mistake that shows where several keys are looked at; ``path`` leads to the one to be mended."""
    return PydanticCustomError("mistake", "{message}", {"message": message, "path": path})


@dataclass
class Layers:
    """The data so far, where each key was said, and what is wrong with it, by line."""

    model: type[BaseModel]
    file: str | None
    data: dict[str, Any]
    document: Document = EMPTY
    said: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add_file(self) -> None:
        """What the file says, if there is one."""
        if self.file is None:
            return
        try:
            self.document = document(self.file)
        except StrictYamlError as error:
            self.problems += [(problem.position.line, str(problem)) for problem in error.problems]
            return
        if isinstance(self.document.data, dict):
            self.data = merged(self.data, self.document.data)
        else:
            self.refuse((), WORDS["model_type"])

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """What variables say; an empty one says nothing."""
        known = {variable(path): path for path in keys(self.model)}
        for name, value in sorted(environ.items()):
            if not name.startswith(PREFIX) or name.startswith(OTHERS) or not value:
                continue
            if name in known:
                self.add(known[name], value, name)
            else:
                self.problems.append((0, f"{escape.line(name)}: unknown{did_you_mean(name, known)}"))

    def add_flags(self, flags: Mapping[str, Any]) -> None:
        """What flags say; None says nothing."""
        known = {flag(dotted(path)): path for path in keys(self.model)}
        for name, value in ((flag(key), value) for key, value in flags.items() if value is not None):
            if name in known:
                self.add(known[name], value, name)
            else:
                self.problems.append((0, f"{escape.line(name)}: unknown{did_you_mean(name, known)}"))

    def add(self, path: KeyPath, value: Any, origin: str) -> None:
        """One key's value; text is read as the key's type wants it."""
        self.said[path] = origin
        try:
            self.put(path, parsed(value, annotation(self.model, path)) if isinstance(value, str) else value)
        except StrictYamlError as error:
            self.refuse(path, error.problems[0].message)

    def get(self, path: KeyPath) -> Any:
        """A key's value so far, or None."""
        found: Any = self.data
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def put(self, path: KeyPath, value: Any) -> None:
        """Set one key, unless what it is part of is a mistake."""
        *around, last = path
        place: Any = self.data
        for step in around:
            if place.get(step) is None:
                place[step] = {}
            place = place[step]
            if not isinstance(place, dict):
                return
        place[last] = value

    def checked(self) -> Any:
        """The model made of the data, or None with its mistakes noted."""
        try:
            return self.model.model_validate(self.data)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                path = (*item["loc"], *item.get("ctx", {}).get("path", ()))
                self.refuse(path, self.words(item))
        return None

    def words(self, item: ErrorDetails) -> str:
        """What is wrong, in words."""
        if item["type"] == "value_error":
            return str(item["ctx"]["error"])
        if item["type"] == "extra_forbidden":
            *around, last = item["loc"]
            section = section_of(annotation(self.model, tuple(around))) if around else self.model
            return f"unknown{did_you_mean(str(last), section.model_fields if section else ())}"
        return WORDS.get(item["type"], item["msg"])

    def refuse(self, path: KeyPath, message: str) -> None:
        """Note one mistake, where it was said."""
        for length in range(len(path), 0, -1):
            if origin := self.said.get(path[:length]):
                rest = f" (key {dotted(path)!r})" if length < len(path) else ""
                self.problems.append((0, f"{origin}{rest}: {message}"))
                return
        problem = Problem(self.document.position(path), path, message)
        self.problems.append((problem.position.line, str(problem) if self.file else problem.text))


def defaults() -> dict[str, Any]:
    """What the shipped file says."""
    shipped = resources.files("loader.daemon").joinpath("daemon.yaml").read_text(encoding="utf-8")
    (only,) = read_all(shipped)
    return dict(only.data)


def document(file: str) -> Document:
    """The one document of a file; one of comments only is empty. Raises ConfigError, StrictYamlError."""
    try:
        with open(file, "rb") as opened:
            found = read_all(opened.read(4 * SIZE_CAP + 1).decode())
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 text, from byte {error.start} on; write it as UTF-8"
    except StrictYamlError:
        raise
    except (OSError, ValueError) as error:
        why = f"{getattr(error, 'strerror', None) or error}; name another file with --config"
    else:
        if len(found) > 1:
            second = found[1].position(())
            raise StrictYamlError([Problem(second, (), "a second document begins; only one is expected")])
        return found[0] if found and found[0].data is not None else EMPTY
    raise ConfigError(f"cannot use the configuration {escape.line(file)}: {why}")


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``base`` with what ``own`` says instead; a section that is left empty says nothing."""
    result = dict(base)
    for key, value in own.items():
        held = base.get(key)
        if isinstance(held, dict) and (value is None or isinstance(value, dict)):
            result[key] = merged(held, value or {})
        else:
            result[key] = value
    return result


def parsed(value: str, wanted: Any) -> Any:
    """Text from a variable or a flag as the key's type: text as it is, all else as YAML.

    Raises StrictYamlError.
    """
    if str in kinds(wanted):
        return None if value == NULL else value
    documents = read_all(value)
    return documents[0].data if len(documents) == 1 else value


def keys(model: type[BaseModel]) -> Iterator[KeyPath]:
    """The path of every key that one variable or flag can set."""
    for name, info in model.model_fields.items():
        section = section_of(info.annotation)
        if section is None:
            yield (name,)
        else:
            yield from ((name, *rest) for rest in keys(section))


def annotation(model: type[BaseModel], path: KeyPath) -> Any:
    """The type at a path, list indices included, or None where there is none."""
    wanted: Any = model
    for step in path:
        section = section_of(wanted)
        if isinstance(step, int):
            wanted = next(iter(get_args(wanted)), None)
        elif section is not None and step in section.model_fields:
            wanted = section.model_fields[step].annotation
        else:
            return None
    return wanted


def kinds(wanted: Any) -> tuple[Any, ...]:
    """A type, or those of a union, each without what is annotated to it."""
    if hasattr(wanted, "__metadata__"):
        return kinds(wanted.__origin__)
    if hasattr(wanted, "__origin__") or isinstance(wanted, type):
        return (wanted,)
    return tuple(kind for item in get_args(wanted) for kind in kinds(item)) or (wanted,)


def section_of(wanted: Any) -> type[BaseModel] | None:
    """The section that a type is, or may be."""
    models = (kind for kind in kinds(wanted) if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(models, None)


def variable(path: KeyPath) -> str:
    """The variable that sets a key."""
    return PREFIX + "_".join(map(str, path)).upper()


def flag(name: str) -> str:
    """The flag that sets a key."""
    return "--" + name.replace(".", "-").replace("_", "-")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What may have been meant by a word that is not known."""
    close = get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
