"""Sandbox profiles: a built-in's name or a YAML file in, a `Policy` with every value filled in out.

A profile says what must hold, never how. What it may say is in `profile_schema`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from loader.errors import ProfileError
from loader.profile_schema import HOLD, LEVEL, VALUES, Reader, modules, text
from loader.profile_words import describe
from loader.strict_yaml import SIZE_CAP, Document, StrictYamlError, read
from loader.yaml_places import KeyPath, Problem
from worker.protocol import FULL, GUARANTEES, PARTIAL, Policy

__all__ = ["builtin_names", "describe", "descriptions", "load_profile", "with_timeout"]

_MISSING = object()


def builtin_names() -> tuple[str, ...]:
    """The names of the built-in profiles, sorted."""
    files = resources.files("sandbox_profiles").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def descriptions() -> dict[str, str]:
    """Each built-in profile's own line about itself, by name."""
    return {name: _data(name, _builtin(name))["description"] for name in builtin_names()}


def load_profile(name_or_path: str, timeout: float | None = None) -> Policy:
    """The policy of a built-in profile, or else of the YAML file at that path.

    ``timeout`` in seconds, if given, replaces the profile's wall time.
    Raises ProfileError with every mistake of the file, each with its line and key: those of its YAML,
    or where there is none, those of what it says.
    """
    content = _builtin(name_or_path) if name_or_path in builtin_names() else _own(name_or_path)
    policy = _policy(name_or_path, _data(name_or_path, content))
    return policy if timeout is None else with_timeout(policy, timeout)


def with_timeout(policy: Policy, timeout: float) -> Policy:
    """``policy`` with a wall time of ``timeout`` seconds. Raises ProfileError for one out of bounds."""
    try:
        return replace(policy, wall=VALUES["wall"]["seconds"].read(timeout))
    except ValueError as error:
        raise ProfileError(f"cannot use a timeout of {timeout!r}: it {error}") from None


def _builtin(name: str) -> str:
    return resources.files("sandbox_profiles").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _own(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(4 * SIZE_CAP + 1).decode()
    except UnicodeDecodeError as error:
        raise ProfileError(
            f"cannot use profile {path}: it is not UTF-8 text, from byte {error.start} on"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = _did_you_mean(path, builtin_names()) or f"; the built-in ones are {', '.join(builtin_names())}"
        raise ProfileError(f"cannot use profile {path}: {reason}{hint}") from None


def _data(name: str, content: str) -> dict[str, Any]:
    """A profile's checked data, with what it extends filled in. Raises ProfileError."""
    try:
        document = read(content)
        check = _Check(document, [])
        data = check.profile()
    except StrictYamlError as error:
        problems = list(error.problems)
    else:
        problems = sorted(check.problems, key=lambda problem: problem.position.line)
    if problems:
        raise ProfileError(f"cannot use profile {name}: " + "\n  ".join(map(str, problems)))
    return data


def _policy(name: str, data: dict[str, Any]) -> Policy:
    asked = {guarantee: data[guarantee] for guarantee in GUARANTEES if guarantee in data}
    values = {
        value.field: asked[guarantee][key] if guarantee in asked else value.neutral
        for guarantee, keys in VALUES.items()
        for key, value in keys.items()
    }
    return Policy(
        profile=name,
        demands={guarantee: section["level"] for guarantee, section in asked.items()},
        required=tuple(guarantee for guarantee, section in asked.items() if section["hold"] == "required"),
        preload=data["preload"],
        **values,
    )


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


@dataclass
class _Check:
    """One profile's document, checked key by key; mistakes go into ``problems``."""

    document: Document
    problems: list[Problem]

    def refuse(self, path: KeyPath, message: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(self.document.position(path), path, message))

    def profile(self) -> dict[str, Any]:
        """The whole profile."""
        own = self.document.data
        if type(own) is not dict:
            self.refuse((), "must be a mapping of keys to values")
            return {}
        self.known((), own, ("description", "extends", "preload", *GUARANTEES))
        base = self.base(own.get("extends"))
        data = {
            "description": self.value(("description",), own, text, _MISSING),
            "preload": self.value(("preload",), own, modules, base.get("preload", ())),
        }
        for guarantee in GUARANTEES:
            if guarantee in own:
                data[guarantee] = self.section(guarantee, own[guarantee], base.get(guarantee, {}))
            elif guarantee in base:
                data[guarantee] = base[guarantee]
        return data

    def base(self, name: Any) -> dict[str, Any]:
        """The profile that this one extends, if any."""
        if name is None:
            return {}
        if name not in builtin_names():
            hint = _did_you_mean(str(name), builtin_names())
            self.refuse(("extends",), f"must be one of {', '.join(builtin_names())}{hint}")
            name = "strict"  # so that keys it would have filled in are not called missing
        return _data(name, _builtin(name))

    def section(self, guarantee: str, own: Any, base: dict[str, Any]) -> dict[str, Any]:
        """One guarantee's keys; those that it leaves out are the base's."""
        if type(own) is not dict:
            self.refuse((guarantee,), "must be a mapping with 'hold' and its own keys")
            return base
        keys = VALUES[guarantee]
        self.known((guarantee,), own, ("hold", "level", *keys))
        section = {
            "hold": self.value((guarantee, "hold"), own, HOLD, base.get("hold", _MISSING)),
            "level": self.value((guarantee, "level"), own, LEVEL, base.get("level", FULL)),
        }
        for key, value in keys.items():
            section[key] = self.value((guarantee, key), own, value.read, base.get(key, _MISSING))
        if guarantee == "filesystem" and section["level"] == PARTIAL and section["scratch"]:
            self.refuse(
                ("filesystem", "scratch"), "must be 0 with level 'partial': scratch space needs level 'full'"
            )
        return section

    def value(self, path: KeyPath, own: dict[str, Any], reader: Reader, default: Any) -> Any:
        """One key's value, or the default, or None with a problem noted."""
        found = own.get(str(path[-1]), _MISSING)
        if found is _MISSING and default is _MISSING:
            self.refuse(path, "missing")
        if found is _MISSING:
            return default
        try:
            return reader(found)
        except ValueError as error:
            self.refuse(path, str(error))
            return None

    def known(self, path: KeyPath, own: dict[str, Any], keys: tuple[str, ...]) -> None:
        """Note the keys that no profile has."""
        for key in own:
            if key not in keys:
                self.refuse((*path, key), f"unknown{_did_you_mean(key, keys)}")
