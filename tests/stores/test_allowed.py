"""Where a spec's storage block may lead, and what it may say to a driver."""

import pytest

from loader.access import Access
from loader.storage import (
    AzureBlobStorageBlock,
    FileStorageBlock,
    GoogleCloudStorageBlock,
    KVServerStorageBlock,
    LocalStorageBlock,
    S3StorageBlock,
)
from loader.stores import store_of
from tests.stores.kit import local, refusal

ANY = Access()


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
        "s3://bucket/../x",
        "s3://",
        "file://host/x",
    ],
)
def test_odd_places_are_refused(base):
    """Chains, homes, unknown schemes, queries: none is storage."""
    access = Access(storage=("/", "s3://bucket"))
    assert refusal(store_of, FileStorageBlock(base_path=base), access, trusted=True).startswith("cannot ")


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("s3://bucket", {"endpoint_url": "http://169.254.169.254"}),
        ("s3://bucket", {"client_kwargs": {"endpoint_url": "http://169.254.169.254"}}),
        ("s3://bucket", {"config_kwargs": {"proxies": {}}}),
        ("s3://bucket", {"key": ["a"]}),
        ("s3://bucket", {"profile": "admin"}),
        ("s3://bucket", {"requester_pays": True}),
        ("gs://bucket", {"requester_pays": "projects-of-the-caller"}),
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
