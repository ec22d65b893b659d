"""Whose credentials a spec's block may use, and what is shown of those in a block's place."""

import pytest
from pydantic import ValidationError

from loader.access import Access
from loader.errors import StorageError
from loader.sources import drivers, parse
from loader.sources.deadline import Deadline
from loader.storage import (
    FileStorageBlock,
    GoogleCloudStorageBlock,
    KVServerStorageBlock,
    LocalStorageBlock,
    S3StorageBlock,
)
from loader.stores import store_of
from loader.stores.files import file_system

SECRET = "hush-hush"
ACCESS = Access(storage=("s3://box", "gs://box"))
TOKENS = "https://oauth2.googleapis.com/token"


def test_a_spec_does_not_choose_the_callers_profile():
    """A profile is the caller's own identity; a block of the caller's may name one."""
    block = S3StorageBlock(bucket="box", profile_name="admin")
    with pytest.raises(StorageError, match=r"^cannot use the S3 Storage: .*profile_name"):
        store_of(block, ACCESS, trusted=False)
    store_of(block, ACCESS, trusted=True)
    store_of(S3StorageBlock(bucket="box"), ACCESS, trusted=False)


@pytest.mark.parametrize("more", [{"universe_domain": "evil.example"}, {"trust_boundary": "x"}])
def test_a_specs_account_of_google_names_nothing_else(more):
    """What could lead to another host is the caller's to say."""
    account = {"type": "service_account", "token_uri": TOKENS, "universe_domain": "googleapis.com"}
    store_of(GoogleCloudStorageBlock(bucket="box", service_account_info=account), ACCESS, trusted=False)
    block = GoogleCloudStorageBlock(bucket="box", service_account_info={**account, **more})
    with pytest.raises(StorageError, match=r"universe_domain googleapis\.com, and nothing else"):
        store_of(block, ACCESS, trusted=False)


@pytest.mark.parametrize(
    ("kind", "name", "place"),
    [
        (FileStorageBlock, "base_path", f"s3://key:{SECRET}@box/x"),
        (FileStorageBlock, "base_path", f"s3://key:a/{SECRET}@box/x"),
        (KVServerStorageBlock, "api_address", f"http://{SECRET}@host:1/kv"),
        (S3StorageBlock, "bucket", f"key:{SECRET}@box"),
    ],
)
def test_a_place_with_a_password_is_refused_and_never_shown(kind, name, place):
    """Also one with slashes in it; and a block that was never checked shows none either."""
    with pytest.raises(ValidationError) as caught:
        kind(**{name: place})
    assert SECRET not in str(caught.value)
    if "://" in place:
        assert SECRET not in str(kind.model_construct(**{name: place}).masked())


def test_queries_are_not_shown():
    """They may be keys."""
    unchecked = KVServerStorageBlock.model_construct(api_address=f"http://host/kv?token={SECRET}")
    assert unchecked.masked()["config"] == {"api_address": "http://host/kv"}


@pytest.mark.parametrize("place", ["/srv/a@b:c", "s3://box/a@b", "http://[::1]:80/a:b", "http://host:80/a@b"])
def test_other_marks_are_no_passwords(place):
    """An @ behind the host is a part of a path."""
    assert FileStorageBlock(base_path=place).masked()["config"]["base_path"] == place + "/"


def test_the_kernels_files_are_known_by_their_file_system(tmp_path):
    """However a path leads there: the mount says what it is."""
    with open("/proc/self/environ", "rb") as foul, open(tmp_path / "x", "wb") as fine:
        assert file_system(foul.fileno()) == "proc"
        assert file_system(fine.fileno()) not in {"", "proc", "sysfs"}
    store = store_of(LocalStorageBlock(storage_path="/"), Access(), trusted=True)
    with pytest.raises(StorageError, match="its file system is of the kind proc"):
        store.put("proc/sys/x", b"")
    with pytest.raises(StorageError, match="below /proc are no files to keep"):
        store_of(LocalStorageBlock(storage_path="//proc/self"), Access(), trusted=True)


@pytest.mark.parametrize("trusted", [False, True], ids=["spec", "registered"])
def test_a_key_that_is_too_large_is_not_looked_at(trusted):
    """To read one takes time by the cube of its size."""
    account = {"type": "service_account", "token_uri": TOKENS}
    for private_key in ("x" * 4096, "x" * 4097):
        block = GoogleCloudStorageBlock(
            bucket="box", service_account_info={**account, "private_key": private_key}
        )
        if len(private_key) <= 4096:
            store_of(block, ACCESS, trusted=trusted)
            continue
        with pytest.raises(StorageError, match="more than 4096 characters"):
            store_of(block, ACCESS, trusted=trusted)


KEYS = {"account_key": "T3du", "sas_token": "?sv=1&sig=own", "anon": True}


@pytest.mark.parametrize("trusted", [False, True], ids=["spec", "registered"])
@pytest.mark.parametrize("own", KEYS)
def test_a_blocks_account_gets_no_credentials_of_the_caller(monkeypatch, own, trusted):
    """What a block leaves out is not filled from the surroundings: no token, key or account of the caller."""
    for name in ("SAS_TOKEN", "ACCOUNT_KEY", "CLIENT_ID", "CLIENT_SECRET", "TENANT_ID"):
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", SECRET)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=mine;AccountKey={SECRET}")
    access = Access(
        storage=("az://box",), options={"az": {"account_name": "mine", "credential": SECRET, "anon": False}}
    )
    options = {"account_name": "theirs", own: KEYS[own]}
    place = store_of(FileStorageBlock(base_path="az://box", options=options), access, trusted=trusted)._place
    client = drivers.made(parse("az://box"), place._access, Deadline("az://box", 5)).service_client
    assert client.account_name == "theirs"
    assert SECRET not in f"{client.url} {vars(client.credential) if client.credential else None}"
    assert ("sig=own" in client.url) is (own == "sas_token")


@pytest.mark.parametrize(
    "options",
    [
        {"account_name": "theirs"},
        {"account_name": "theirs", "anon": False},
        {"account_name": "theirs", "account_key": "a;BlobEndpoint=http://10.0.0.1"},
        {"account_name": "theirs", "account_key": "eA==", "sas_token": "sig=1"},
        {"account_name": "th.eirs/", "account_key": "eA=="},
        {"account_key": "eA=="},
        {"sas_token": "sig=1"},
        {"anon": True},
    ],
)
@pytest.mark.parametrize("trusted", [False, True], ids=["spec", "registered"])
def test_half_an_account_is_refused(options, trusted):
    """A block says all of who asks, or nothing of it."""
    block = FileStorageBlock(base_path="az://box", options=options)
    with pytest.raises(StorageError, match="account"):
        store_of(block, Access(storage=("az://box",)), trusted=trusted)
    store_of(FileStorageBlock(base_path="az://box"), Access(storage=("az://box",)), trusted=trusted)


def test_a_specs_region_keeps_the_callers_endpoint():
    """The bucket that the caller allows is the one at the caller's own server."""
    own = {"s3": {"client_kwargs": {"endpoint_url": "http://127.0.0.1:1"}}}
    block = S3StorageBlock(bucket="box", region_name="eu-west-1")
    place = store_of(block, Access(storage=("s3://box",), options=own), trusted=False)._place
    client = place._access.options["s3"]["client_kwargs"]
    assert client == {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-west-1"}
