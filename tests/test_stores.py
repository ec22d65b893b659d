"""Storage blocks as bytes in and out: keys, names, rights, caps and who may lead where."""

import http.server
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import fsspec
import pytest

from loader.access import Access
from loader.errors import StorageError
from loader.storage import (
    AzureBlobStorageBlock,
    FileStorageBlock,
    GoogleCloudStorageBlock,
    KVServerStorageBlock,
    LocalStorageBlock,
    S3StorageBlock,
    TempStorageBlock,
)
from loader.stores import store_of
from tests.servers import s3_server  # noqa: F401 - a fixture

NOBODY = 65534
ANY = Access()


def local(path, access=ANY, *, trusted=True):
    return store_of(LocalStorageBlock(storage_path=str(path)), access, trusted=trusted)


def refusal(call, *arguments, **options):
    with pytest.raises(StorageError) as caught:
        call(*arguments, **options)
    assert str(caught.value).startswith("cannot ")
    return str(caught.value)


# --- folders of this machine ---------------------------------------------------------------------


def test_what_is_written_is_read_again_under_its_key(tmp_path):
    """Each block that has a folder gives a key for bytes, and the bytes for the key."""
    for block in (
        LocalStorageBlock(storage_path=str(tmp_path / "a")),
        FileStorageBlock(base_path=str(tmp_path / "b")),
        FileStorageBlock(base_path=f"file://{tmp_path}/c"),
        FileStorageBlock(base_path="memory://flow-loader-tests"),
    ):
        store = store_of(block, ANY, trusted=True)
        key = store.write(b"\x00\xff")
        assert store.read(key) == b"\x00\xff"
        store.remove(key)
        store.remove(key)
        assert "it is not there" in refusal(store.read, key)
    assert not any(any(folder.iterdir()) for folder in tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["hash", "uuid", "timestamp"])
def test_keys_are_of_the_kind_that_the_block_says(tmp_path, kind):
    """A digest is the same for the same bytes; the other kinds are new every time, at one moment too."""
    store = store_of(FileStorageBlock(base_path=str(tmp_path), key_type=kind), ANY, trusted=True)
    keys = [store.write(b"x") for _ in range(50)]
    assert len(set(keys)) == (1 if kind == "hash" else 50)
    assert len(list(tmp_path.iterdir())) == len(set(keys))
    if kind == "hash":
        assert keys[0] == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    if kind == "timestamp":
        assert [key[:23] for key in keys] == sorted(key[:23] for key in keys)


def test_files_and_folders_are_their_owners_alone(tmp_path):
    """New folders are 0700 and files 0600, whatever the umask; a folder that was there keeps its rights."""
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        local(tmp_path / "new" / "deep").put("flow/a/flow.py", b"1")
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert [mode for path, mode in found.items() if path.is_file()] == [0o600]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_put_replaces_what_was_there(tmp_path):
    """A name is the caller's: writing it again replaces its bytes, and leaves nothing beside them."""
    store = local(tmp_path)
    store.put("flow/a/flow.py", b"1")
    store.put("flow/a/flow.py", b"2")
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.py")} == {"flow.py": b"2"}
    assert [path.name for path in (tmp_path / "flow" / "a").iterdir()] == ["flow.py"]


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "../a", "a/../b", "a//b", "./a", "a\\b", "a\nb", "a\0b", "x" * 300, "a/" * 600 + "b"],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    """A name is relative, of printable parts, and no part is a way up."""
    assert "it is no relative name of a file" in refusal(local(tmp_path / "store").put, name, b"")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        ".x",
        "-x",
        "a b",
        "a\n",
        "a\0",
        "ключ",
        "a" * 202,
        None,
        1,
    ],
)
def test_a_key_of_a_foreign_record_is_refused_unless_it_can_be_one(tmp_path, key):
    """Keys come back from records that others wrote: what could be a path is none."""
    (tmp_path / "x").write_text("secret")
    store = local(tmp_path / "store")
    assert "is no key of this storage" in refusal(store.read, key)
    assert "is no key of this storage" in refusal(store.remove, key)
    assert (tmp_path / "x").exists()


def test_symbolic_links_below_the_base_are_not_followed(tmp_path):
    """Neither reading nor writing leaves the folder by a link in it; a link that has the name is replaced."""
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (base / "link").symlink_to(outside / "file")
    (base / "folder").symlink_to(outside)
    store = local(base)
    assert "no regular file" in refusal(store.read, "link")
    assert "cannot write" in refusal(store.put, "folder/file", b"mine")
    store.put("link", b"mine")
    assert (outside / "file").read_bytes() == b"theirs"
    assert (base / "link").read_bytes() == b"mine"
    assert not (base / "link").is_symlink()


def test_a_pipe_under_a_key_is_not_waited_for(tmp_path):
    """What is no regular file is refused before it is opened."""
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(local(tmp_path).read, "pipe")


def test_a_failed_write_leaves_nothing(tmp_path):
    """When the disk is full the old bytes stay, and no part of the new ones does."""
    script = """
import resource, signal, sys
from loader.access import Access
from loader.errors import StorageError
from loader.storage import LocalStorageBlock
from loader.stores import store_of
store = store_of(LocalStorageBlock(storage_path=sys.argv[1]), Access(), trusted=True)
store.put("flow.py", b"old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    store.put("flow.py", b"x" * 5000)
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cannot write flow.py of ")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("flow.py", b"old")]


def test_two_writers_of_one_name_never_show_half_of_it(tmp_path):
    """Whoever reads sees one whole version."""
    store = local(tmp_path, Access(size=1 << 20))
    versions = [bytes([number]) * 300_000 for number in range(2)]
    store.put("flow.py", versions[0])
    threads = [
        threading.Thread(target=lambda data=data: [store.put("flow.py", data) for _ in range(20)])
        for data in versions
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert store.read("flow.py") in versions
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["flow.py"]


def test_sizes_are_capped(tmp_path):
    """At most `size` bytes are read or written; just as many are fine."""
    store = local(tmp_path, Access(size=10))
    assert store.read(store.write(b"x" * 10)) == b"x" * 10
    assert "more than 10 bytes" in refusal(store.write, b"x" * 11)
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert "larger than 10 bytes" in refusal(store.read, "large")


def test_local_storage_is_by_default_in_the_users_own_folder(tmp_path, monkeypatch):
    """It is below XDG_DATA_HOME, or else below the home; a relative XDG_DATA_HOME does not count."""
    for name, value, expected in (
        ("XDG_DATA_HOME", str(tmp_path / "data"), tmp_path / "data"),
        ("XDG_DATA_HOME", "data", tmp_path / "home" / ".local" / "share"),
    ):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv(name, value)
        store = store_of(LocalStorageBlock(), ANY, trusted=False)
        key = store.write(b"1")
        assert (expected / "flow-loader" / "storage" / key).read_bytes() == b"1"


def test_a_users_temporary_folder_is_its_own(tmp_path, monkeypatch):
    """It is made 0700, and one that others can enter or that somebody planted is refused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = store_of(TempStorageBlock(), ANY, trusted=False)
    key = store.write(b"1")
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"flow-loader-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert store.read(key) == b"1"
    folder.chmod(0o755)
    assert "others may enter it" in refusal(store.read, key)
    folder.chmod(0o700)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "cannot write" in refusal(store.write, b"2")


PLANTED = """
import sys, tempfile
sys.path.insert(0, sys.argv[1])
tempfile.tempdir = sys.argv[2]
from loader.access import Access
from loader.errors import StorageError
from loader.storage import LocalStorageBlock, TempStorageBlock
from loader.stores import store_of
for block in (TempStorageBlock(), LocalStorageBlock(storage_path=sys.argv[3])):
    try:
        print(store_of(block, Access(), trusted=True).write(b"1"))
    except StorageError as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_users_folder_is_refused(open_python, open_code, tmp_path_factory):
    """A temporary folder that somebody else made first, and a folder that may not be written, say so."""
    folder = tmp_path_factory.mktemp("shared")
    for place in (folder, *list(folder.parents)[:2]):
        place.chmod(0o777 if place == folder else 0o755)
    (folder / f"flow-loader-{NOBODY}").mkdir(0o777)
    (folder / f"flow-loader-{NOBODY}").chmod(0o777)
    (folder / "closed").mkdir(0o755)
    command = [open_python, "-c", PLANTED, str(open_code), str(folder), str(folder / "closed")]
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", **identity)
    first, second = done.stdout.splitlines()
    assert "belongs to another user" in first, done.stderr
    assert "this user may not do that there" in second
    assert not any((folder / "closed").iterdir())


# --- who may lead where --------------------------------------------------------------------------


def test_a_spec_leads_only_where_the_caller_allows(tmp_path):
    """Prefixes are judged by whole names and after links were followed."""
    (tmp_path / "a").mkdir()
    (tmp_path / "ab").mkdir()
    (tmp_path / "a" / "out").symlink_to(tmp_path / "ab")
    (tmp_path / "alias").symlink_to(tmp_path / "a")
    access = Access(storage=(str(tmp_path / "alias"),))
    for fine in ("a", "a/deep", "alias", "alias/x"):
        local(tmp_path / fine, access, trusted=False).write(b"1")
    for foul in ("ab", "a/../ab", "a/out", "a/out/x", "alias/out", ""):
        assert "--allow-storage" in refusal(local, tmp_path / foul, access, trusted=False)
        local(tmp_path / foul, access, trusted=True)


@pytest.mark.parametrize(
    ("prefix", "fine", "foul"),
    [
        ("s3://bucket", ["s3://bucket", "s3://bucket/x"], ["s3://bucket2", "s3://bucke", "gs://bucket"]),
        (
            "s3://bucket/flows/",
            ["s3://bucket/flows", "s3://bucket/flows/a"],
            ["s3://bucket", "s3://bucket/flows2"],
        ),
        ("abfs://box", ["az://box/a"], ["az://box2"]),
        ("memory://a", ["memory://a/b"], ["memory://ab", "memory://"]),
    ],
)
def test_urls_are_judged_by_their_parts(prefix, fine, foul):
    """A bucket or folder whose name only begins alike is another."""
    access = Access(storage=(prefix,))
    for base in fine:
        store_of(FileStorageBlock(base_path=base), access, trusted=False)
    for base in foul:
        block = FileStorageBlock(base_path=base)
        assert (
            f"allow it with --allow-storage {base.rstrip('/') if base != 'memory://' else base}"
            in refusal(store_of, block, access, trusted=False)
        )


@pytest.mark.parametrize(
    "block",
    [
        S3StorageBlock(bucket="b"),
        GoogleCloudStorageBlock(bucket="b"),
        AzureBlobStorageBlock(container="b", connection_string="AccountName=abc;AccountKey=eA=="),
        KVServerStorageBlock(api_address="http://127.0.0.1:1/kv"),
        FileStorageBlock(base_path="memory://x"),
        FileStorageBlock(base_path="/x"),
        LocalStorageBlock(storage_path="/x"),
    ],
    ids=lambda block: block.block_name,
)
def test_nothing_is_allowed_unless_the_caller_says_so(block):
    """By default a spec's own block is refused, for every kind that leads somewhere."""
    assert "the caller does not allow it; allow it with --allow-storage" in refusal(
        store_of, block, ANY, trusted=False
    )


@pytest.mark.parametrize(
    "base",
    [
        "~/x",
        "~root",
        "simplecache::s3://bucket",
        "zip://a::/tmp/b.zip",
        "ftp://host/x",
        "https://host/x",
        "github://a:b@main/x",
        "s3://key:hunter2secret@bucket/x",
        "https://me:hunter2secret@host/",
        "s3://bucket/../x",
        "s3://bucket/x?y",
        "s3://",
        "file://host/x",
    ],
)
def test_odd_places_are_refused(base):
    """Chains, homes, unknown schemes, credentials in URLs: none is storage, and no password is repeated."""
    message = refusal(
        store_of, FileStorageBlock(base_path=base), Access(storage=("/", "s3://bucket")), trusted=True
    )
    assert "hunter2secret" not in message


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("s3://bucket", {"endpoint_url": "http://169.254.169.254"}),
        ("s3://bucket", {"client_kwargs": {"endpoint_url": "http://169.254.169.254"}}),
        ("s3://bucket", {"config_kwargs": {"proxies": {}}}),
        ("s3://bucket", {"key": ["a"]}),
        ("s3://bucket", {"profile": "admin"}),
        ("gs://bucket", {"token": "/root/key.json"}),
        ("gs://bucket", {"endpoint_url": "http://10.0.0.1"}),
        ("az://box", {"account_host": "10.0.0.1", "account_name": "a"}),
        ("az://box", {"account_name": "10.0.0.1/"}),
        ("az://box", {"connection_string": "BlobEndpoint=http://10.0.0.1"}),
        ("memory://x", {"anything": "a"}),
    ],
)
def test_a_specs_options_name_no_host_file_or_program(base, options):
    """What a spec tells a driver is who asks, and nothing else. Nothing is connected to find out."""
    block = FileStorageBlock(base_path=base, options=options)
    assert "cannot use" in refusal(store_of, block, Access(storage=(base,)), trusted=False)


def test_a_specs_account_names_no_host():
    """Neither Azure's connection string nor Google's account data leads to another host, nor S3's region."""
    access = Access(storage=("az://box", "gs://box", "s3://box"))
    for text in (
        "BlobEndpoint=http://10.0.0.1/;AccountName=abc",
        "AccountName=abc;AccountKey=eA==;EndpointSuffix=evil.example",
        "AccountName=10.0.0.1/;AccountKey=eA==",
        "AccountName=abc;accountname=abc.evil",
        "UseDevelopmentStorage=true",
        "DefaultEndpointsProtocol=http;AccountName=abc",
        "",
    ):
        block = AzureBlobStorageBlock(container="box", connection_string=text)
        assert "cannot use the Azure Blob Storage" in refusal(store_of, block, access, trusted=False)
    fine = "DefaultEndpointsProtocol=https;AccountName=abc;AccountKey=eA==;EndpointSuffix=core.windows.net"
    store_of(AzureBlobStorageBlock(container="box", connection_string=fine), access, trusted=False)
    for account in (
        {"type": "service_account", "token_uri": "http://10.0.0.1/"},
        {"type": "external_account"},
        {"token_uri": "https://oauth2.googleapis.com/token"},
    ):
        block = GoogleCloudStorageBlock(bucket="box", service_account_info=account)
        assert "cannot use the Google Cloud Storage" in refusal(store_of, block, access, trusted=True)
    block = S3StorageBlock(bucket="box", region_name="us.evil.example/")
    assert "region" in refusal(store_of, block, access, trusted=True)


# --- object stores -------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3_server):  # noqa: F811 - the fixture
    """The access of a caller who has a bucket `flows` at the test server."""
    import s3fs

    options = {"endpoint_url": s3_server.endpoint_url}
    system = s3fs.S3FileSystem(**options, skip_instance_cache=True)
    if not system.exists("flows"):
        system.mkdir("flows")
    return Access(options={"s3": options}, storage=("s3://flows",))


@pytest.mark.slow
def test_s3_keeps_bytes_under_keys_and_names(bucket):
    """A block of a bucket and one of files in it reach the same objects."""
    store = store_of(S3StorageBlock(bucket="flows", region_name="us-east-1"), bucket, trusted=False)
    key = store.write(b"\x00" * 1000)
    assert store.read(key) == b"\x00" * 1000
    store.put("deep/er/flow.py", b"1")
    files = store_of(FileStorageBlock(base_path="s3://flows/deep/er"), bucket, trusted=False)
    assert files.read("flow.py") == b"1"
    files.remove("flow.py")
    files.remove("flow.py")
    assert "it is not there" in refusal(files.read, "flow.py")
    assert fsspec.get_filesystem_class("s3")._cache == {}


@pytest.mark.slow
def test_s3_sizes_are_capped(bucket):
    """An object that is too large is not read."""
    store = store_of(S3StorageBlock(bucket="flows"), bucket, trusted=True)
    key = store.write(b"x" * 11)
    small = Access(options=bucket.options, size=10)
    assert "larger than 10 bytes" in refusal(
        store_of(S3StorageBlock(bucket="flows"), small, trusted=True).read, key
    )


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_said(bucket):
    """Writing into nowhere is an error of storage."""
    store = store_of(S3StorageBlock(bucket="nowhere-at-all"), bucket, trusted=True)
    assert "what it lies in is not" in refusal(store.write, b"1")


def test_a_store_that_does_not_answer_ends_in_time(monkeypatch):
    """`seconds` is for everything; a server that accepts and says nothing is left."""
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")):
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        access = Access(options={"s3": {"endpoint_url": url}}, hosts=frozenset({"127.0.0.1"}), seconds=1)
        for block in (S3StorageBlock(bucket="flows"), KVServerStorageBlock(api_address=url)):
            started = time.monotonic()
            message = refusal(store_of(block, access, trusted=True).write, b"1")
            assert "longer than 1 seconds" in message
            assert time.monotonic() - started < 3


SECRET = "hunter2secret"


def read_from(block, access):
    store = store_of(block, access, trusted=True)
    assert SECRET not in repr(store) + repr(vars(store)) + repr(block)
    store.read("key")


@pytest.mark.parametrize(
    "block",
    [
        S3StorageBlock(bucket="flows", aws_access_key_id=SECRET, aws_secret_access_key=SECRET),
        FileStorageBlock(base_path="s3://flows", options={"key": SECRET, "secret": SECRET + "\n"}),
        FileStorageBlock(base_path="s3://flows", options={"key": SECRET, "nonsense": SECRET}),
        AzureBlobStorageBlock(
            container="flows",
            connection_string=f"AccountName=x;AccountKey={SECRET};BlobEndpoint=http://127.0.0.1:1/x",
        ),
        AzureBlobStorageBlock(container="flows", connection_string=SECRET),
        GoogleCloudStorageBlock(
            bucket="flows", service_account_info={"type": "service_account", "private_key": SECRET}
        ),
    ],
    ids=range(6),
)
def test_secrets_are_shown_to_nobody(block, caplog):
    """No message, repr, log or traceback of a store that fails holds what its block keeps secret."""
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    options = {"s3": {"endpoint_url": closed}}
    with pytest.raises(StorageError) as caught:
        read_from(block, Access(options=options, seconds=1))
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert SECRET not in shown + caplog.text
    assert caught.value.__cause__ is None


NO_DRIVER = """
import sys
for name in ("s3fs", "gcsfs", "adlfs", "httpx"):
    sys.modules[name] = None
from loader.access import Access
from loader.errors import StorageError
from loader.storage import AzureBlobStorageBlock, GoogleCloudStorageBlock
from loader.storage import KVServerStorageBlock, S3StorageBlock
from loader.stores import store_of
for block in (
    S3StorageBlock(bucket="abc"),
    GoogleCloudStorageBlock(bucket="abc"),
    AzureBlobStorageBlock(container="abc", connection_string="x"),
    KVServerStorageBlock(api_address="http://127.0.0.1:1"),
):
    try:
        store_of(block, Access(), trusted=True).write(b"1")
    except StorageError as error:
        print(error)
"""


def test_a_missing_driver_is_named():
    """Without its driver a block says what to install."""
    root = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", NO_DRIVER], capture_output=True, text=True, cwd=root)
    lines = done.stdout.splitlines()
    assert [line.partition("pip install ")[2] for line in lines] == [
        "'flow-loader[s3]'",
        "'flow-loader[gcs]'",
        "'flow-loader[azure]'",
        "httpx",
    ], done.stderr


# --- key-value servers ---------------------------------------------------------------------------


class KeyValueServer(http.server.BaseHTTPRequestHandler):
    """Keeps JSON texts by path."""

    def answer(self, status, body=b""):
        self.send_response(status)
        for name, value in self.server.extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.seen.append((self.path, self.headers["Host"]))
        self.server.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.server.status)

    def do_GET(self):
        self.server.seen.append((self.path, self.headers["Host"]))
        found = self.server.kept.get(self.path)
        self.answer(404) if found is None else self.answer(self.server.status, found)

    def do_DELETE(self):
        self.answer(200 if self.server.kept.pop(self.path, None) else 405)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def kv():
    """A key-value server, and what it keeps and saw."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), KeyValueServer)
    server.kept, server.seen, server.status, server.extra = {}, [], 200, {}
    server.url = f"http://127.0.0.1:{server.server_port}/kv"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def kv_store(server, *, trusted=True, **access):
    access = {"hosts": frozenset({"127.0.0.1"}), **access}
    return store_of(KVServerStorageBlock(api_address=server.url), Access(**access), trusted=trusted)


def test_a_kv_server_keeps_text_as_json(kv):
    """Text goes as a JSON string under a new key, and comes back as the same bytes."""
    store = kv_store(kv, storage=(kv.url,), trusted=False)
    key = store.write('"ä\n'.encode())
    assert {path: json.loads(body) for path, body in kv.kept.items()} == {f"/kv/{key}": '"ä\n'}
    assert store.read(key) == '"ä\n'.encode()
    assert kv.seen[0][1] == f"127.0.0.1:{kv.server_port}"
    store.remove(key)
    store.remove(key)
    assert "it is not there" in refusal(store.read, key)
    assert "UTF-8 text only" in refusal(store.write, b"\xff")


def test_a_private_kv_server_must_be_named(kv):
    """Loopback is refused before anything is connected, in every spelling, unless the caller names it."""
    port = kv.server_port
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"):
        block = KVServerStorageBlock(api_address=f"http://{host}:{port}/kv")
        with pytest.raises(StorageError) as caught:
            store_of(block, ANY, trusted=True).write(b"1")
        assert (
            "no public address" in str(caught.value)
            or "odd" in str(caught.value)
            or "address" in str(caught.value)
        )
    assert kv.seen == []


def test_a_kv_servers_answers_are_not_trusted(kv):
    """Redirects, errors, other data and too much of it are refused."""
    store = kv_store(kv, size=100)
    key = store.write(b"1")
    (path,) = kv.kept
    for body in (
        b"[]",
        b"{",
        b"null",
        b"[" * 5000,
        json.dumps("x" * 101).encode(),
        b'"' + b"x" * 10_000 + b'"',
    ):
        kv.kept[path] = body
        assert refusal(store.read, key).startswith(f"cannot read {key} of {kv.url}: ")
    kv.kept[path] = b'"1"'
    kv.status, kv.extra = 302, {"Location": "http://169.254.169.254/"}
    assert "status 302" in refusal(store.read, key)
    kv.status, kv.extra = 500, {}
    assert "status 500" in refusal(store.write, b"1")


def test_a_kv_server_that_is_not_running_is_said():
    """A refused connection is an error of storage."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    store = store_of(
        KVServerStorageBlock(api_address=url), Access(hosts=frozenset({"127.0.0.1"})), trusted=True
    )
    assert "cannot be reached" in refusal(store.write, b"1")
