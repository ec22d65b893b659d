"""Storage blocks of object stores and key-value servers: real servers on the loopback interface."""

import http.server
import json
import logging
import socket
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
    S3StorageBlock,
)
from loader.stores import store_of
from loader.stores.drivers import in_words
from tests.servers import s3_server  # noqa: F401 - a fixture
from tests.stores.kit import refusal

pytestmark = pytest.mark.slow

ANY = Access()


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


def test_a_drivers_own_words_are_not_repeated():
    """They may quote what the driver was given: of an unknown error only its kind is said."""
    error = ValueError(f"wrong key {SECRET}")
    error.__cause__ = RuntimeError(SECRET)
    assert in_words(error) == "its driver failed with ValueError; check the block and its credentials"


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
        store_of(block, Access(hosts=frozenset({"127.0.0.1"})), trusted=True).write(b"1")
    except StorageError as error:
        print(error)
"""


def test_a_missing_driver_is_named():
    """Without its driver a block says what to install."""
    root = str(Path(__file__).parent.parent.parent)
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
        for trusted, access in ((True, ANY), (False, Access(storage=(kv.url.replace("127.0.0.1", host),)))):
            with pytest.raises(StorageError) as caught:
                store_of(block, access, trusted=trusted).write(b"1")
            assert any(word in str(caught.value) for word in ("--allow-host", "odd", "address"))
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
