"""Where a spec's storage block may lead, and what it may say to a driver."""

import os

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


def test_what_is_refused_by_its_name_is_not_walked(tmp_path, monkeypatch):
    """Nor is it told where a link leads that lies in what is allowed."""
    (tmp_path / "a").mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "a" / "out").symlink_to(tmp_path / "hidden")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "hidden")
    access, looked, lstat = Access(storage=(str(tmp_path / "a"),)), [], os.lstat

    def seen(path, **how):
        looked.append(str(path))
        return lstat(path, **how)

    monkeypatch.setattr(os, "lstat", seen)
    for name in ("elsewhere/x", "hidden/x", "none/x"):
        said = refusal(local, tmp_path / name, access, trusted=False)
        assert f"cannot use {tmp_path / name} as storage: the spec names it" in said
    assert looked
    assert not [path for path in looked if not str(tmp_path / "a").startswith(path)]
    for name in ("out", "out/x", "out/none"):
        assert "hidden" not in refusal(local, tmp_path / "a" / name, access, trusted=False)
    assert not [path for path in looked if "hidden" in path]


def test_links_inside_what_is_allowed_are_followed(tmp_path):
    """As far as they are there; what is missing behind them is made where they lead, and leads not out."""
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(tmp_path / "a")
    for name, target in {"in": "deep", "round": tmp_path / "alias" / "deep", "back": "none/../deep"}.items():
        (tmp_path / "a" / name).symlink_to(target)
    (tmp_path / "a" / "sly").symlink_to("none/../../b")
    access = Access(storage=(str(tmp_path / "alias"), str(tmp_path / "unborn")))
    for number, name in enumerate(("alias/in/new", "a/round/new", "alias/deep/../deep/new", "a/back/new")):
        local(tmp_path / name, access, trusted=False).write(b"%d" % number)
        assert len(list((tmp_path / "a" / "deep" / "new").iterdir())) == number + 1
    local(tmp_path / "unborn" / "x", access, trusted=False).write(b"1")
    assert "--allow-storage" in refusal(local, tmp_path / "a" / "sly", access, trusted=False)
    assert not (tmp_path / "b").exists()


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
    "path",
    ["/kv/other", "/admin%2f..%2fkv/flows", "/kv/flows/..;/..;/admin", "/admin/x%2f..%2f..%2fkv/flows/y"],
)
def test_a_servers_path_is_compared_as_it_is_sent(path):
    """Not as it would be if what stands for a slash were one."""
    access = Access(storage=("http://h/kv/flows",), hosts=frozenset({"h"}))
    block = KVServerStorageBlock(api_address=f"http://h{path}")
    assert "the caller does not allow it" in refusal(store_of, block, access, trusted=False)


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


@pytest.mark.parametrize("path", ["~/x", "~", "~root"])
def test_a_spec_is_not_told_where_the_callers_home_is(path, tmp_path, monkeypatch):
    """Whether or not it may go there; in a block of the caller's own, ~ is the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for block in (LocalStorageBlock(storage_path=path), FileStorageBlock(base_path=path)):
        said = refusal(store_of, block, Access(storage=(str(tmp_path),)), trusted=False)
        assert said.startswith(f"cannot use '{path}")
        assert "write the whole path" in said
        assert str(tmp_path) not in said
    local("~/x", trusted=True).write(b"1")
    assert len(list((tmp_path / "x").iterdir())) == 1


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


AZURE = "AccountName=abc;AccountKey=eA==;"
PRIVATE = [
    KVServerStorageBlock(api_address="http://10.0.0.1:9000/kv"),
    KVServerStorageBlock(api_address="http://93.184.215.14:9000/kv"),
    KVServerStorageBlock(api_address="https://minio.example:9000/kv"),
    FileStorageBlock(base_path="s3://box", options={"endpoint_url": "http://10.0.0.1:9000"}),
    FileStorageBlock(base_path="s3://box", options={"endpoint_url": "https://minio.example:9000"}),
    FileStorageBlock(
        base_path="s3://box", options={"client_kwargs": {"endpoint_url": "http://10.0.0.1:9000"}}
    ),
    FileStorageBlock(base_path="gs://box", options={"endpoint_url": "http://10.0.0.1:9000"}),
    FileStorageBlock(
        base_path="az://box", options={"account_name": "a", "anon": True, "account_host": "10.0.0.1:9000"}
    ),
    FileStorageBlock(
        base_path="az://box", options={"connection_string": "BlobEndpoint=http://10.0.0.1:9000/a;"}
    ),
    AzureBlobStorageBlock(container="box", connection_string=AZURE + "BlobEndpoint=http://10.0.0.1:9000/a"),
    AzureBlobStorageBlock(container="box", connection_string=AZURE + "blobendpoınt=http://10.0.0.1:9000/a"),
    AzureBlobStorageBlock(container="box", connection_string=AZURE + "BlobEndpoint=10.0.0.1:9000/a"),
    AzureBlobStorageBlock(container="box", connection_string=AZURE + "EndpointSuffix=minio.example:9000"),
    AzureBlobStorageBlock(container="box", connection_string="AccountName=10.0.0.1:9000/;AccountKey=eA=="),
    AzureBlobStorageBlock(
        container="box", connection_string=AZURE + "DefaultEndpointsProtocol=http://10.0.0.1:9000/"
    ),
]


NAMED = {"10.0.0.1:9000", "93.184.215.14", "minio.example", "abc.blob.minio.example"}


@pytest.mark.parametrize("block", PRIVATE, ids=range(len(PRIVATE)))
def test_a_registered_block_leads_to_no_host_that_the_caller_does_not_name(block):
    """Whoever wrote it, it is the supervisor that would connect."""
    said = refusal(store_of, block, ANY, trusted=True)
    assert ":9000 as storage" in said or ":9000)" in said
    for hosts in (NAMED, {"10.0.0.0/8", "93.184.215.0/24"}):
        if "example" not in str(block.plain()) or hosts is NAMED:
            store_of(block, Access(hosts=frozenset(hosts)), trusted=True)
    assert refusal(store_of, block, Access(hosts=frozenset({"10.0.0.1:9001", "example"})), trusted=True)


@pytest.mark.parametrize(
    "options",
    [
        {"config_kwargs": {"proxies": {"http": "10.0.0.1:3128"}}},
        {"client_kwargs": {"config": "x"}},
        {"client_kwargs": {"endpoint_url": ["http://10.0.0.1"]}},
        {"endpoint_url": "//10.0.0.1"},
        {"endpoint_url": "http://a@10.0.0.1"},
        {"session": "x"},
    ],
)
def test_a_registered_block_tells_a_driver_nothing_unknown(options):
    """What could lead elsewhere in a way that is not looked at is the caller's to configure."""
    block = FileStorageBlock(base_path="s3://box", options=options)
    refusal(store_of, block, Access(hosts=frozenset({"0.0.0.0/0"})), trusted=True)


def test_a_storage_of_developers_is_on_this_machine():
    """It has no address of its own in what names it."""
    block = AzureBlobStorageBlock(container="box", connection_string="UseDevelopmentStorage=true")
    assert "127.0.0.1:10000" in refusal(store_of, block, ANY, trusted=True)
    store_of(block, Access(hosts=frozenset({"127.0.0.1"})), trusted=True)


def test_blocks_of_the_providers_own_hosts_need_no_word():
    """Nothing is resolved to find out."""
    for block in (
        FileStorageBlock(
            base_path="s3://box", options={"key": "a", "client_kwargs": {"region_name": "eu-1"}}
        ),
        FileStorageBlock(base_path="/srv/kept", options={"auto_mkdir": True}),
        AzureBlobStorageBlock(container="box", connection_string=AZURE + "EndpointSuffix=core.windows.net"),
        S3StorageBlock(bucket="box", profile_name="mine"),
    ):
        store_of(block, ANY, trusted=True)


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
