"""The files of a repository on GitHub, by its REST API over the guarded web client.

Nothing of the surroundings goes with a request: no proxy, no ``.netrc``, no cookie; only the ``username`` and
``token`` that the caller configured for the scheme. Methods with an underscore are fsspec's interface for
what runs on its event loop. Source: https://docs.github.com/rest/git.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loader.access import Access
from loader.errors import SourceError
from loader.sources import web
from loader.sources.locations import Location
from loader.sources.parsing import parse

API = "https://api.github.com"
LISTING = 8 << 20
"""Bytes of what the API says of one folder; it cuts its answers at seven megabytes."""
JSON, RAW = "application/vnd.github+json", "application/vnd.github.raw+json"
KINDS = {"blob": "file", "tree": "directory"}
OPTIONS = {"username", "token"}


class Repository:
    """The files of one ref. ``options`` are the caller's."""

    async_impl = True

    def __init__(self, location: Location, access: Access, options: Mapping[str, Any]) -> None:
        owner, _, rest = location.place.partition(":")
        repository, _, self.ref = rest.partition("@")
        self.path = f"{API}/repos/{quote(owner, safe='')}/{quote(repository, safe='')}"
        self.shown = location.shown
        self.access = access
        self.headers = {}
        if options:
            if set(options) != OPTIONS:
                raise SourceError(f"cannot load {self.shown}: the options of github are username and token")
            key = base64.b64encode("{username}:{token}".format(**options).encode()).decode()
            self.headers["Authorization"] = f"Basic {key}"
        self.folders: dict[str, dict[str, dict[str, Any]]] = {}

    async def _info(self, path: str) -> dict[str, Any]:
        if not path:
            return {"name": "", "type": "directory", "size": 0, "sha": await self.top()}
        found = (await self.listed(path.rpartition("/")[0])).get(path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    async def _ls(self, path: str, *, detail: bool = True) -> list[dict[str, Any]]:  # noqa: ARG002 - fsspec's
        return list((await self.listed(path)).values())

    async def open_async(self, path: str, mode: str) -> Any:
        """Files come whole."""
        raise NotImplementedError(path, mode)

    async def _cat_file(self, path: str, start: int, end: int) -> bytes:
        found = await self.asked(f"/git/blobs/{quote((await self._info(path))['sha'], safe='')}", RAW, end)
        return found[start:]

    async def listed(self, path: str) -> dict[str, dict[str, Any]]:
        """What a folder holds, by its path."""
        if path not in self.folders:
            folder = await self._info(path)
            if folder["type"] != "directory":
                raise FileNotFoundError(path)
            answer = json.loads(
                await self.asked(f"/git/trees/{quote(folder['sha'], safe='')}", JSON, LISTING)
            )
            names = [item["path"] for item in answer["tree"]]
            if answer.get("truncated") or len(set(names)) < len(names):
                how = "in part" if answer.get("truncated") else "with a name twice"
                raise SourceError(
                    f"cannot load {self.shown}: GitHub lists its folder {path or '/'!r} {how};"
                    f" load from a clone"
                )
            below = f"{path}/" if path else ""
            self.folders[path] = {
                below + item["path"]: {
                    "name": below + item["path"],
                    "type": KINDS[item["type"]],
                    "mode": item["mode"],
                    "size": item.get("size", 0),
                    "sha": item["sha"],
                }
                for item in answer["tree"]
                if item["type"] in KINDS
            }
        return self.folders[path]

    async def top(self) -> str:
        """The ref, by default the repository's own branch."""
        if not self.ref:
            self.ref = str(json.loads(await self.asked("", JSON, LISTING))["default_branch"])
        return self.ref

    async def asked(self, path: str, kind: str, most: int) -> bytes:
        """What the API answers, which sends nobody elsewhere. Raises SourceError."""
        place = parse(self.path + path)
        try:
            return await web.fetch(
                place, self.access, most, {**self.headers, "Accept": kind}, top=place.at("")
            )
        except SourceError as error:
            raise SourceError(f"cannot load {self.shown}: {str(error).partition(': ')[2]}") from None
