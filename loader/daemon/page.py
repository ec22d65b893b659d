"""The page for people: a few files that hold no data, under a strict content security policy."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
INDEX = "index.html"


def held() -> dict[str, Answer]:
    """The page and what belongs to it, by path."""
    files = [item for item in resources.files("loader.daemon").joinpath("static").iterdir() if item.is_file()]
    return {
        "/" if item.name == INDEX else f"/static/{item.name}": Answer(item.name, item.read_bytes())
        for item in sorted(files, key=lambda item: item.name)
        if item.name.rpartition(".")[2] in KINDS
    }


class Answer:
    """Answers with one file."""

    def __init__(self, name: str, content: bytes) -> None:
        self.kind, self.content = KINDS[name.rpartition(".")[2]], content

    async def give(self, _: web.Request) -> web.Response:
        """The file."""
        return web.Response(body=self.content, content_type=self.kind, charset="utf-8", headers=HEADERS)


HELD = held()
"""They hold no data: who may ask for that is for the other routes to say."""


def routes() -> list[web.RouteDef]:
    """A route for each of them."""
    return [web.get(path, answer.give) for path, answer in HELD.items()]
