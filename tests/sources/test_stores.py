"""Files of memory, object stores and repositories: one, or all below a folder."""

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import fsspec
import pygit2
import pytest
import s3fs

from loader.access import Access
from loader.errors import SourceError
from loader.sources import fetch, read
from loader.sources.drivers import DRIVERS

pytestmark = pytest.mark.slow

CODE = Path(__file__).parent.parent.parent
FILES = {
    "main.py": b"import helper\n",
    "helper.py": b"x = 1\n",
    "sub/deep/data.csv": b"a,b\n",
    "sub/empty": b"",
}


@pytest.fixture
def memory():
    """Fsspec's memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True) if system.ls("/") else None
    yield system
    for name in system.ls("/", detail=False):
        system.rm(name, recursive=True)


@pytest.fixture
def in_memory(memory):
    """Access to a project in memory."""
    for name, content in FILES.items():
        memory.pipe(f"/srv/project/{name}", content)
    memory.pipe("/srv/projects/other.py", b"not ours")
    return Access(), "memory://srv/project"


@pytest.fixture
def in_s3(s3_server):
    """Access to a project in a bucket."""
    system = s3fs.S3FileSystem(endpoint_url=s3_server.endpoint_url, skip_instance_cache=True)
    with contextlib.suppress(FileExistsError):
        system.mkdir("flows")
    for name, content in FILES.items():
        system.pipe(f"flows/srv/project/{name}", content)
    system.pipe("flows/srv/projects/other.py", b"not ours")
    system.call_s3("put_object", Bucket="flows", Key="srv/project/folder/", Body=b"")
    return Access(options={"s3": {"endpoint_url": s3_server.endpoint_url}}), "s3://flows/srv/project"


@pytest.fixture
def in_git(tmp_path):
    """Access to a project in a repository of this machine."""
    repository = pygit2.init_repository(tmp_path / "repository", initial_head="main")
    index = repository.index
    for name, content in {**{f"srv/project/{name}": FILES[name] for name in FILES}, "other.py": b""}.items():
        index.add(pygit2.IndexEntry(name, repository.create_blob(content), pygit2.enums.FileMode.BLOB))
    link = repository.create_blob(b"/etc/passwd")
    index.add(pygit2.IndexEntry("srv/project/link.py", link, pygit2.enums.FileMode.LINK))
    who = pygit2.Signature("Ann", "ann@example.org")
    repository.create_commit("HEAD", who, who, "Begin", index.write_tree(), [])
    return Access(), f"git://{tmp_path}/repository:main@srv/project"


@pytest.fixture(params=["memory", "s3", "git"])
def project(request):
    """Access to the same project in each kind of store, and its folder's location."""
    return request.getfixturevalue(f"in_{request.param}")


def test_a_script_is_read(project):
    """Without a root it is a project of just itself."""
    access, folder = project
    found = read(f"{folder}/main.py", access=access)
    assert (found.content, found.module, found.folder, found.root) == (FILES["main.py"], "main", None, None)
    assert found.location == found.filename == f"{folder}/main.py"
    assert (found.project.url, found.project.entry) == (folder, "main.py")
    assert dict(found.project.files) == {"main.py": FILES["main.py"]}
    assert fetch(f"{folder}/sub/empty", access) == b""


def test_a_folder_is_a_project(project):
    """Every file below it, however deep; not what only begins alike."""
    access, folder = project
    for root in (folder, f"{folder}/"):
        found = read(f"{folder}/main.py", root, access)
        assert dict(found.project.files) == FILES
        assert (found.project.url, found.project.entry) == (folder, "main.py")
        assert found.filename == f"{folder}/main.py"
    inner = read(f"{folder}/sub/deep/data.csv", folder, access)
    assert (inner.project.entry, inner.filename) == ("sub/deep/data.csv", f"{folder}/sub/deep/data.csv")
    above = read(f"{folder}/main.py", folder.removesuffix("project").rstrip("/"), access)
    assert above.project.entry == "project/main.py"
    assert {f"project/{name}" for name in FILES} <= set(above.project.files)


def test_what_is_not_there_is_said(project, refused):
    """Files, folders, and files of other folders."""
    access, folder = project
    for location in (f"{folder}/gone.py", f"{folder}/gone/main.py", f"{folder}/main.py/x.py"):
        assert "there is no such file" in refused(location, access=access)
    assert "there is no such file" in refused(f"{folder}/gone.py", folder, access)
    assert "it is a folder" in refused(f"{folder}/sub", access=access)
    assert "it is a folder" in refused(f"{folder}/sub/", access=access)
    assert "lies outside the root" in refused(f"{folder}/main.py", f"{folder}/sub", access)
    assert "lies outside the root" in refused(f"{folder}/main.py", "/tmp", access)
    assert "lies outside the root" in refused(f"{folder}s/other.py", folder, access)


def test_sizes_are_bounded(project, refused):
    """A file's, all files' together, and how many there are; exactly as much is allowed."""
    access, folder = project
    script = f"{folder}/main.py"
    largest, whole = len(FILES["main.py"]), sum(map(len, FILES.values()))

    def bounded(**values):
        return Access(options=access.options, **values)

    assert fetch(script, bounded(size=largest)) == FILES["main.py"]
    assert f"larger than {largest - 1} bytes" in refused(script, access=bounded(size=largest - 1))
    assert f"larger than {largest - 1} bytes" in refused(script, folder, bounded(size=largest - 1))
    assert read(script, folder, bounded(project_size=whole)).project.files
    assert f"more than {whole - 1} bytes" in refused(script, folder, bounded(project_size=whole - 1))
    assert read(script, folder, bounded(project_files=5)).project.files
    assert "more than 3 files" in refused(script, folder, bounded(project_files=3))


def test_a_scheme_that_is_not_allowed_is_refused(project, refused):
    """Before anything is asked of it."""
    access, folder = project
    scheme = folder.partition("://")[0]
    limited = Access(schemes=access.schemes - {scheme}, options={})
    assert f"the scheme {scheme} is not allowed" in refused(f"{folder}/main.py", access=limited)
    assert f"the scheme {scheme} is not allowed" in refused(f"zip://a::{folder}/a.zip", access=limited)
    assert (
        read(f"{folder}/main.py".replace(scheme, scheme.upper()), access=access).content == FILES["main.py"]
    )


def test_an_archive_may_lie_in_a_store(project, refused):
    """It is fetched like any file, and opened after that."""
    access, folder = project
    assert "no sound zip archive" in refused(f"zip://a.py::{folder}/main.py", access=access)
    assert "there is no such file" in refused(f"zip://a.py::{folder}/gone.zip", access=access)


def test_a_symbolic_link_of_a_repository_is_no_script(in_git, refused):
    """It is left out of its project."""
    access, folder = in_git
    assert "it is a link" in refused(f"{folder}/link.py", access=access)
    assert "it is a link" in refused(f"{folder}/link.py", folder, access)
    assert dict(read(f"{folder}/main.py", folder, access).project.left_out) == {"link.py": "it is a link"}


def test_a_repository_or_ref_that_is_not_there_is_said(in_git, refused, tmp_path):
    """In words."""
    _, folder = in_git
    assert read(folder.replace(":main@", ":HEAD@") + "/main.py").content == FILES["main.py"]
    assert "there is no such ref" in refused(folder.replace(":main@", ":gone@") + "/main.py")
    assert "there is no repository" in refused(f"git://{tmp_path}/nothing:main@a/main.py")
    file = f"{folder}/main.py"
    for location, root in (
        (f"{file}/main.py", None),
        (f"{file}/main.py", file),
        (f"{file}/x/y.py", f"{file}/x"),
    ):
        assert "there is no such file" in refused(location, root)


def test_names_of_a_store_are_checked(in_s3, refused, s3_server):
    """An object store keeps any name."""
    system = s3fs.S3FileSystem(endpoint_url=s3_server.endpoint_url, skip_instance_cache=True)
    access, _ = in_s3
    for number, name in enumerate(("a\\b.py", "a\u202eb.py", "main.py/x.py")):
        folder = f"flows/odd{number}"
        system.pipe({f"{folder}/main.py": b"", f"{folder}/{name}": b""})
        message = refused(f"s3://{folder}/main.py", f"s3://{folder}", access)
        assert "holds a control character, a backslash" in message or "is a file and a folder" in message
        assert message.isprintable()


def test_rights_and_keys_are_asked_for(in_s3, refused, monkeypatch, tmp_path):
    """Without credentials, or a driver's option that does not fit, nothing of them is repeated."""
    access, folder = in_s3
    endpoint = access.options["s3"]["endpoint_url"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "no credentials" in refused(f"{folder}/main.py", access=access)
    own = {"endpoint_url": endpoint, "key": "AKIASOMEBODY", "secret": "very-secret-word"}
    assert fetch(f"{folder}/main.py", Access(options={"s3": own})) == FILES["main.py"]
    wrong = {**own, "very-secret-word": "x"}
    message = refused(
        f"{folder}/main.py", access=Access(options={"s3": {**own, "token": ["very-secret-word"]}})
    )
    assert "very-secret-word" not in message
    assert "very-secret-word" not in repr(Access(options={"s3": wrong}))


def test_a_store_that_does_not_answer_ends_in_time(server, refused, monkeypatch, s3_server):
    """The driver's own retries do not extend it, and what it began is cancelled."""
    server.answers["/"] = lambda connection: time.sleep(1)
    start = time.monotonic()
    access = Access(options={"s3": {"endpoint_url": server.url}}, seconds=0.5)
    # Every path of this server is held open without an answer.
    server.answers = type("Any", (dict,), {"get": lambda *_: lambda connection: connection.recv(1)})()
    assert "took longer than 0.5 seconds" in refused("s3://bucket/main.py", access=access)
    assert "took longer than 0.5 seconds" in refused("s3://bucket/main.py", "s3://bucket", access)
    assert time.monotonic() - start < 5


def test_a_store_that_lies_of_sizes_is_cut(server, reply, s3_server):
    """What it announced is not what it sends: no more than the cap is taken."""

    def answers(connection):
        request = server.requests[-1]
        if request.startswith(b"HEAD"):
            connection.sendall(
                reply(Content_Length=10, Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT", ETag='"a"')
            )
            return
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nETag: "a"\r\n\r\n')
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"#" * 65536)

    server.answers = type("Any", (dict,), {"get": lambda *_: answers})()
    access = Access(options={"s3": {"endpoint_url": server.url}}, size=1 << 16, seconds=10)
    with pytest.raises(SourceError, match="larger than 65536 bytes"):
        fetch("s3://bucket/main.py", access)


def test_nothing_stays_behind(project, refused, tmp_path, monkeypatch):
    """No descriptor, no thread but fsspec's, no file, no warning of something left open."""
    access, folder = project
    monkeypatch.chdir(tmp_path)
    before_files = set(tmp_path.iterdir())

    def round_trip():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(f"{folder}/main.py", folder, access)
            refused(f"{folder}/gone.py", access=access)

    round_trip()
    before = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(3):
        round_trip()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert threading.active_count() <= threads
    assert set(tmp_path.iterdir()) == before_files


def test_what_changed_is_read_again(in_memory, memory):
    """No listing and no file is kept from one read to the next."""
    access, folder = in_memory
    read(f"{folder}/main.py", folder, access)
    memory.pipe("/srv/project/main.py", b"new")
    memory.pipe("/srv/project/new.py", b"")
    found = read(f"{folder}/main.py", folder, access)
    assert found.content == b"new"
    assert "new.py" in found.project.files


LOCATIONS = {
    "http": "https://127.0.0.1:9/flow.py",
    "s3": "s3://bucket/flow.py",
    "gcs": "gs://bucket/flow.py",
    "azure": "abfs://container/flow.py",
    "github": "github://owner:repository@main/flow.py",
}
MODULES = {
    "http": "aiohttp",
    "s3": "s3fs",
    "gcs": "gcsfs",
    "azure": "adlfs",
    "github": "aiohttp",
}
BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from loader.errors import SourceError
from loader.sources import read
try:
    read({location!r})
except SourceError as error:
    print(error)
"""


@pytest.mark.parametrize("extra", LOCATIONS)
def test_a_missing_driver_is_named(extra):
    """And how to install it, in a process where it is not."""
    code = BLOCKED.format(module=MODULES[extra], location=LOCATIONS[extra])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=CODE, timeout=60
    )
    assert done.stderr == ""
    assert f"pip install 'flow-loader[{extra}]'" in done.stdout
    assert LOCATIONS[extra] in done.stdout


def test_every_scheme_has_a_driver():
    """Each with the extra that it needs."""
    assert {driver.extra for driver in DRIVERS.values()} == {"", *LOCATIONS}


def test_a_script_of_this_machine_needs_no_driver():
    """Fsspec costs more than all the rest: it is imported where it is needed."""
    code = textwrap.dedent(
        f"""
        import sys
        from loader.sources import read
        read({str(Path(__file__))!r})
        print([name for name in ("fsspec", "aiohttp", "zipfile") if name in sys.modules])
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CODE, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
