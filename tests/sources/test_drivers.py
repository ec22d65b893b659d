"""Drivers whose servers are elsewhere: each against one on 127.0.0.1 that answers as the real one."""

import base64
import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from loader.access import Access
from loader.sources import read
from loader.sources.reasons import reason

FILES = {"main.py": b"import helper\n", "helper.py": b"x = 1\n", "sub/empty": b""}
ELSEWHERE = "http://127.0.0.2:9"
LARGE = b"# large\n" * (1 << 16)


class Answers(dict):
    """Answers that a function makes of a request's method, path and query."""

    def __init__(self, server, reply, answer):
        super().__init__()
        self.server, self.reply, self.answer = server, reply, answer

    def get(self, target, default=None):
        parts = urlsplit(target)
        method = self.server.requests[-1].split(b" ")[0].decode()
        found = self.answer(method, unquote(parts.path), parse_qs(parts.query))
        return default if found is None else found


def folder(files, prefix):
    """The names directly below a prefix: of files, and of folders."""
    below = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
    return [name for name in below if "/" not in name], sorted(
        {name.split("/")[0] for name in below if "/" in name}
    )


@pytest.fixture
def github(server, reply, monkeypatch, near):
    """Access to a repository as GitHub's REST API shows it."""
    files = {f"srv/{name}": content for name, content in FILES.items()} | {"srv/large.py": LARGE}

    def tree(prefix):
        names, folders = folder(files, prefix)
        entries = [
            {"path": name, "mode": "100644", "type": "blob", "size": len(files[prefix + name])}
            | {"sha": (prefix + name).encode().hex()}
            for name in names
        ]
        entries += [
            {"path": name, "mode": "040000", "type": "tree", "sha": f"{prefix}{name}/"} for name in folders
        ]
        if prefix == "srv/":
            entries.append({"path": "link.py", "mode": "120000", "type": "blob", "size": 3, "sha": "l"})
            entries.append({"path": "submodule", "mode": "160000", "type": "commit", "sha": "s"})
        return reply(json.dumps({"tree": entries}).encode())

    def answer(method, path, query):
        if path.startswith("/repos/ann/flows/git/trees/"):
            return tree(path.removeprefix("/repos/ann/flows/git/trees/").removeprefix("main"))
        if path == "/repos/ann/flows":
            return reply(b'{"default_branch": "main"}')
        for name, content in files.items():
            if path == f"/repos/ann/flows/git/blobs/{name.encode().hex()}":
                return reply(content)
        if path.startswith("/repos/ann/renamed"):
            return reply(status="301 Moved", Location=path.replace("renamed", "flows"))
        if path.startswith("/repos/ann/elsewhere"):
            return reply(status="302 Found", Location=path.replace("/repos", f"{ELSEWHERE}/repos"))

        if path.startswith("/repos/ann/odd/git/trees/"):
            item = {"path": "main.py", "mode": "100644", "type": "blob", "size": 1, "sha": "1"}
            part = path.rpartition("/")[2] == "part"
            return reply(json.dumps({"tree": [item] if part else [item, item], "truncated": part}).encode())
        return None

    server.answers = Answers(server, reply, answer)
    monkeypatch.setattr("loader.sources.github.API", server.url)
    return near, "github://ann:flows@main/srv"


def test_a_project_of_github_is_read(github, refused):
    """Small files and large ones; links are left out."""
    near, root = github
    found = read(f"{root}/main.py", access=near())
    assert (found.content, found.filename) == (FILES["main.py"], f"{root}/main.py")
    found = read(f"{root}/main.py", root, near())
    assert dict(found.project.files) == FILES | {"large.py": LARGE}
    assert dict(found.project.left_out) == {"link.py": "it is a link"}
    assert "it is a link" in refused(f"{root}/link.py", access=near())
    for name in ("gone.py", "gone/x.py", "main.py/x.py"):
        assert "there is no such file" in refused(f"{root}/{name}", access=near())
    assert "there is no such file" in refused("github://ann:other@main/a.py", access=near())
    assert "larger than 5 bytes" in refused(f"{root}/main.py", access=near(size=5))


def test_a_whole_repository_of_github_is_read(github):
    """Its root is the top folder."""
    near, _ = github
    for top in ("github://ann:flows@main", "github://ann:flows"):
        found = read(f"{top}/srv/main.py", top, near())
        assert found.project.files["srv/helper.py"] == FILES["helper.py"]
        assert found.content == FILES["main.py"]


@pytest.mark.parametrize(("ref", "how"), [("part", "in part"), ("twice", "with a name twice")])
def test_a_folder_that_github_lists_in_an_odd_way_is_refused(github, refused, ref, how):
    """What is left out of it is not known, nor which of two files is meant."""
    near, _ = github
    assert f"folder '/' {how}; load from a clone" in refused(f"github://ann:odd@{ref}/main.py", access=near())


def test_a_branch_may_be_left_out_and_a_repository_be_renamed(github, refused):
    """Redirects are followed at the API, and lead nowhere else."""
    near, _ = github
    assert read("github://ann:flows/srv/main.py", access=near()).content == FILES["main.py"]
    assert read("github://ann:renamed@main/srv/main.py", access=near()).content == FILES["main.py"]
    message = refused("github://ann:elsewhere@main/srv/main.py", access=near())
    assert f"it is redirected to {ELSEWHERE}" in message


def test_github_is_told_nothing_of_the_callers_surroundings(github, server, monkeypatch, tmp_path):
    """No login of a .netrc, and nothing through a proxy; the caller's own options alone."""
    near, root = github
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password HUNTER2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    read(f"{root}/main.py", access=near())
    assert server.requests
    assert not any(b"authorization" in request.lower() for request in server.requests)
    read(f"{root}/main.py", access=near(options={"github": {"username": "me", "token": "own"}}))
    assert b"Basic " + base64.b64encode(b"me:own") in server.requests[-1]


def test_github_is_reached_under_guard(github, refused, server):
    """Whatever address its name has."""
    _, root = github
    assert "no public address" in refused(f"{root}/large.py", access=Access())
    assert not server.requests


@pytest.fixture
def gcs(server, reply):
    """Access to a bucket as Google's JSON API shows it."""
    files = {f"srv/{name}": content for name, content in FILES.items()}

    def item(name):
        return {
            "name": name,
            "bucket": "flows",
            "size": str(len(files[name])),
            "updated": "2024-01-01T00:00:00Z",
        }

    def answer(method, path, query):
        if path == "/storage/v1/b/flows/o":
            prefix = query.get("prefix", [""])[0]
            names, folders = folder(files, prefix)
            body = {
                "items": [item(prefix + name) for name in names],
                "prefixes": [f"{prefix}{name}/" for name in folders],
            }
            return reply(json.dumps(body).encode(), Content_Type="application/json")
        name = path.partition("/b/flows/o/")[2]
        if name not in files:
            return None
        if query.get("alt") == ["media"]:
            return reply(files[name])
        return reply(json.dumps(item(name)).encode(), Content_Type="application/json")

    server.answers = Answers(server, reply, answer)
    return Access(options={"gs": {"endpoint_url": server.url, "token": "anon"}}, seconds=10), "gs://flows/srv"


def test_a_project_of_google_cloud_storage_is_read(gcs, refused):
    """By either of its schemes."""
    access, root = gcs
    assert read(f"{root}/main.py", access=access).content == FILES["main.py"]
    assert dict(read(f"{root}/main.py", root, access).project.files) == FILES
    assert read("gcs://flows/srv/helper.py", access=access).content == FILES["helper.py"]
    assert "there is no such file" in refused(f"{root}/gone.py", access=access)
    assert "larger than 3 bytes" in refused(f"{root}/main.py", access=Access(options=access.options, size=3))


@pytest.fixture
def azure(server, reply):
    """Access to a container as Azure's REST API shows it."""
    files = {f"srv/{name}": content for name, content in FILES.items()}
    stamp = "Mon, 01 Jan 2024 00:00:00 GMT"

    def blob(name):
        return (
            f"<Blob><Name>{name}</Name><Properties><Last-Modified>{stamp}</Last-Modified><Etag>0x1</Etag>"
            f"<Content-Length>{len(files[name])}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
        )

    def answer(method, path, query):
        if query.get("comp") == ["list"]:
            prefix = query.get("prefix", [""])[0]
            names, folders = folder(files, prefix)
            inner = "".join(blob(prefix + name) for name in names)
            inner += "".join(f"<BlobPrefix><Name>{prefix}{name}/</Name></BlobPrefix>" for name in folders)
            text = (
                f'<?xml version="1.0"?><EnumerationResults ContainerName="flows"><Prefix>{prefix}</Prefix>'
                f"<Delimiter>/</Delimiter><Blobs>{inner}</Blobs><NextMarker /></EnumerationResults>"
            )
            return reply(text.encode(), Content_Type="application/xml")
        content = files.get(path.removeprefix("/ann/flows/"))
        if content is None:
            return reply(b"", "404 Not Found", x_ms_error_code="BlobNotFound")
        known = {"Last_Modified": stamp, "ETag": '"0x1"', "x_ms_blob_type": "BlockBlob"}
        if method == "HEAD":
            return reply(b"", Content_Length=len(content), **known)
        span = f"bytes 0-{len(content) - 1}/{len(content)}"
        return reply(content, "206 Partial Content", Content_Range=span, **known)

    server.answers = Answers(server, reply, answer)
    key = base64.b64encode(b"very-secret-key").decode()
    words = f"DefaultEndpointsProtocol=http;AccountName=ann;AccountKey={key};BlobEndpoint={server.url}/ann;"
    return Access(options={"az": {"connection_string": words}}, seconds=10), "az://flows/srv"


def test_a_project_of_azure_is_read(azure, refused):
    """By each of its schemes."""
    access, root = azure
    assert read(f"{root}/main.py", access=access).content == FILES["main.py"]
    assert dict(read(f"{root}/main.py", root, access).project.files) == FILES
    for scheme in ("abfs", "abfss"):
        assert read(f"{scheme}://flows/srv/helper.py", access=access).content == FILES["helper.py"]
    assert "there is no such file" in refused(f"{root}/gone.py", access=access)


def test_no_secret_of_the_options_is_in_a_message():
    """Whole, or as a part of a connection string; whatever a driver says."""
    options = {
        "connection_string": "AccountName=ann;AccountKey=very-secret==;X=y",
        "deep": [{"token": "other-secret"}],
    }
    error = ValueError(
        "bad AccountKey very-secret== or other-secret in AccountName=ann;AccountKey=very-secret==;X=y"
    )
    words = reason(error, options)
    assert "secret" not in words
    assert words.startswith("ValueError: bad AccountKey … or …")
