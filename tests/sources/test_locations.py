"""Locations: each has one reading; what is beside and below another is judged by names alone."""

import contextlib
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import SourceError
from loader.sources import below, beside, display, folder_of
from loader.sources.parsing import parse

BASES = (
    "/srv/flows",
    "memory://flows",
    "s3://bucket/flows",
    "gs://bucket/flows",
    "az://container/flows",
    "http://example.org/flows",
    "https://example.org:8443/flows",
    "github://owner:repository@main/flows",
    "git:///srv/repository:main@flows",
    "zip://flows::/srv/project.zip",
    "tar://flows::https://example.org/project.tar.gz",
)
NAMES = st.text(st.sampled_from("abc.-_%ü "), min_size=1, max_size=6).filter(
    lambda name: name.strip(". ") and name.strip() == name and "%" not in name
)
WILD = st.text(st.sampled_from("abz/.:@%2eEfF5c\\?#[]~$ &*\0\n1é"), max_size=30)

SAME = [
    ("HTTP://Example.ORG:80/a", "http://example.org/a"),
    ("https://example.org:443/a", "https://example.org/a"),
    ("https://example.org./a", "https://example.org/a"),
    ("https://example.org:0443/a", "https://example.org/a"),
    ("http://example.org/a/./b/../c", "http://example.org/a/c"),
    ("http://example.org/a/%2e%2E/c", "http://example.org/c"),
    ("http://example.org/../../c", "http://example.org/c"),
    ("http://example.org//a///b", "http://example.org/a/b"),
    ("http://[0:0::1]/a", "http://[::1]/a"),
    ("http://example.org/ü", "http://example.org/%C3%BC"),
    ("S3://bucket/a", "s3://bucket/a"),
    ("memory:///a", "memory://a"),
    ("github://o:r@/a", "github://o:r@/a"),
    ("github://o:r/a", "github://o:r@/a"),
    ("git:///srv/./r:a", "git:///srv/r:HEAD@a"),
    ("ZIP://a/b::S3://bucket/c.zip", "zip://a/b::s3://bucket/c.zip"),
    ("file:///a/../b", "/b"),
    ("FILE:///a%20b", "/a b"),
    ("//a/b", "//a/b"),
]


@pytest.mark.parametrize(("given", "meant"), SAME)
def test_a_location_has_one_spelling(given, meant):
    """Which means the same when it is given again."""
    assert parse(given).text == meant
    assert parse(meant).text == meant


@pytest.mark.parametrize(
    "location",
    [
        "s3://", "s3:///a", "s3://bucket/../a", "s3://bucket/a//b", "s3://bucket/./a",
        "s3://bucket/a?versionId=1",
        "s3://bucket/a#b", "s3://key:secret@bucket/a", "s3://key@bucket/a", "s3://bucket/a\\b",
        "s3://bucket/a\nb",
        "s3://bucket/a::b", "s3://bucket\u00a0/a", "gs://user@bucket/a",
        "abfs://container@account.dfs.core.windows.net/a",
        "az://container@account/a", "memory://a/../b", "memory://a//b", "memory://a?b", "github://owner/repo",
        "github://a:b@c?d/e", "github://..:b@c/e", "github://a:..@c/e", "github://a:b@../e",
        "github://a:b@c/%2e%2e/e", "github://a:b@%2e%2e/e", "github://a:b@main%2f/e", "github://%2e:b@c/e",
        "github://a:b:c@d/e", "git://", "git://repository/a", "git:///srv/r:main@../a", "zip://a",
        "zip://a::",
        "zip://../a::b.zip", "zip://a//b::c.zip", "zip://a\\b::c.zip", "zip://a\0::c.zip",
        "zip://a::zip://b::c.zip",
        "zip://a::tar://b::c.tar", "tar://a::b::c", "zip://a::simplecache::s3://b/c.zip",
        "zip://a::memory://b::c",
        "http://example.org/a#b", "http://example.org/a b", "http://example.org", "http://h:99999/a",
        "local:///a", "sftp://h/a", "ftp://h/a", "smb://h/a", "data://x", "reference://a", "dir://a",
        "simplecache://a",
    ],
)  # fmt: skip
def test_an_odd_location_is_refused(location):
    """And no password is in the message."""
    if location == "http://example.org":
        assert parse(location).folder
        return
    with pytest.raises(SourceError, match=r"^cannot load ") as caught:
        parse(location)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "http://user:hunter2@example.org/a", "https://hunter2@example.org/a",
        "http://user:p/hunter2@example.org/a",
        "http://user:hunter2@[::1/a", "http://user:a://hunter2@example.org/", "s3://key:hunter2@bucket/a",
        "zip://a::http://user:hunter2@example.org/a.zip", "ftp://user:hunter2@example.org/a",
        "http://h/a b?k=hunter2",
        "zip://a::zip://b::http://user:hunter2@h/c",
    ],
)  # fmt: skip
def test_a_password_is_not_repeated(location):
    """Wherever it stands in what cannot be used."""
    with pytest.raises(SourceError) as caught:
        parse(location)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("base", BASES)
def test_a_file_beside_another_is_in_its_folder(base):
    """Also in a folder below it or next to it."""
    folder, _, rest = base.partition("::")
    file = f"{folder}/deployment.yaml" + (f"::{rest}" if rest else "")

    def at(path):
        top = folder.removesuffix("flows")
        return parse(top + path + (f"::{rest}" if rest else "")).text

    assert folder_of(file) == base
    assert beside(file, "flow.py") == at("flows/flow.py")
    assert beside(file, "./sub/../flow.py") == at("flows/flow.py")
    assert beside(file, "sub/flow.py") == at("flows/sub/flow.py")
    assert beside(file, "../flow.py") == at("flow.py")
    for name in ("flow.py", "sub/flow.py", "../flows/flow.py"):
        assert below(beside(file, name), base)
    for name in ("../flow.py", "../flows.py", "../flowsome/flow.py", "../other/flow.py"):
        assert not below(beside(file, name), base)
    if base.startswith("/"):
        assert beside(file, "../../../../etc/passwd") == "/etc/passwd"
        return
    with pytest.raises(SourceError, match="leads out"):
        beside(file, "../../flow.py")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "s3://other/flow.py", "file:///etc/passwd", "http://h/a", "zip://a::b"]
)
def test_what_is_no_relative_path_is_beside_nothing(base, name):
    """Absolute paths, URLs, nothing."""
    with pytest.raises(SourceError):
        beside(f"{base}/x.yaml" if "::" not in base else base.replace("::", "/x.yaml::"), name)


def test_a_name_beside_a_url_is_a_name():
    """What means something in a URL is quoted, and leads nowhere."""
    assert beside("https://h/a/m.yaml", "b c?d#e.py") == "https://h/a/b%20c%3Fd%23e.py"
    assert beside("https://h/a/m.yaml?k=v", "b.py") == "https://h/a/b.py"
    assert beside("https://h/a/m.yaml", "%2e%2e/b.py") == "https://h/a/%252e%252e/b.py"
    assert beside("https://h/a%20b/m.yaml", "c.py") == "https://h/a%20b/c.py"
    for name in ("b\\c.py", "b\nc.py", "\0", "..", "."):
        with pytest.raises(SourceError):
            beside("https://h/a/m.yaml", name)


@pytest.mark.parametrize(
    ("location", "root"),
    [
        ("http://h/a/../b/x", "http://h/a"), ("http://h/a/%2e%2e/b", "http://h/a"),
        ("http://h/a/..%2fb", "http://h/a"),
        ("http://h/a/%2e%2e%2fb", "http://h/a"), ("http://h/a/%252e%252e/b", "http://h/a"),
        ("http://h/a%5c..%5cb", "http://h/a"), ("http://h/x%2f..%2fa/b", "http://h/a"),
        ("http://h/z%2F%2E./a/b", "http://h/a"), ("http://h/a/%EF%BC%8E%EF%BC%8E/b", "http://h/a"),
        ("http://h/a/..;/b", "http://h/a"), ("http://h/a/.%20./..%20/b", "http://h/a"),
        ("http://h/a/x%EF%BC%8Fy", "http://h/a"), ("http://h/a/..;v=1/b", "http://h/a"),
        ("http://h/a/b%5c..%5c..%5cc", "http://h/a"), ("http://h/a/%00", "http://h/a"),
        ("http://h/ab/x", "http://h/a"),
        ("http://h/a", "http://h/a"), ("http://h/a/", "http://h/a"), ("http://h2/a/x", "http://h/a"),
        ("http://h:81/a/x", "http://h/a"), ("https://h/a/x", "http://h/a"), ("http://h@h2/a/x", "http://h/a"),
        ("http://h/a/x", "http://h/a?b"), ("s3://b/a/../x", "s3://b/a"), ("s3://b2/a/x", "s3://b/a"),
        ("gs://b/a/x", "s3://b/a"), ("s3://b/A/x", "s3://b/a"), ("/a/../b", "/a"), ("/a/b", "s3://a"),
        ("zip://a::/x.zip", "/"), ("zip://a/b::/x.zip", "zip://a::/y.zip"),
        ("zip://a/b::/x.zip", "tar://a::/x.zip"),
        ("/x.zip", "zip://::/x.zip"), ("memory://a::b", "memory://"), ("nonsense://a/b", "nonsense://a"),
        ("github://o:r@v1/a/b", "github://o:r@v2/a"), ("git:///r:main@a/b", "git:///r:other@a"),
    ],
)  # fmt: skip
def test_what_lies_elsewhere_is_not_below(location, root):
    """However its path is written: what a server might read as another path is not below."""
    assert not below(location, root)


@pytest.mark.parametrize(
    ("location", "root"),
    [
        ("HTTP://H:80/a/x", "http://h/a/"), ("http://h/%61/x", "http://h/a"),
        ("http://h/a/b/../x", "http://h/a"),
        ("http://h/a/x?k=v", "http://h/a"), ("http://h/x", "http://h"), ("gcs://b/a/x", "gs://b/a/"),
        ("s3://b/x", "s3://b"),
        ("abfs://c/x", "az://c"), ("/a/b/../c", "/a"), ("file:///a/b", "/a"), ("/a", "/"),
        ("memory:///a/b", "memory://a"),
        ("zip://a/b::/x.zip", "zip://::/x.zip"), ("zip://a/b::HTTP://h/x.zip", "zip://a::http://h:80/x.zip"),
        ("git:///r:main@a/b", "git:///r:main@a"), ("git:///r:main@a/b", "git:///r:main@"),
    ],
)  # fmt: skip
def test_what_lies_in_a_folder_is_below_it(location, root):
    """However either is spelled."""
    assert below(location, root)


def test_what_is_displayed_holds_no_query():
    """It may hold the key of a signed URL."""
    assert display("https://h/a.py?signature=secret") == "https://h/a.py?…"
    assert display("zip://a.py::https://h/a.zip?signature=secret") == "zip://a.py::https://h/a.zip?…"
    assert display("/a/../b.py") == "/b.py"


@given(
    WILD,
    st.sampled_from(
        ["", "http://", "https://h/", "s3://", "s3://b/", "memory://", "github://", "git://", "zip://a::"]
    ),
)
def test_any_text_is_a_location_or_a_source_error(text, prefix):
    """And whatever was understood is understood the same again."""
    with contextlib.suppress(SourceError):
        found = parse(prefix + text)
        assert parse(found.text) == found
        assert parse(parse(found.text).text).parts == found.parts


@given(st.sampled_from(BASES), WILD)
def test_nothing_beside_a_file_is_below_its_folder_unless_its_names_say_so(base, relative):
    """Compared with what the path itself comes to."""
    file = f"{base}/m.yaml" if "::" not in base else base.replace("::", "/m.yaml::")
    with contextlib.suppress(SourceError):
        found = beside(file, relative)
        plain = posixpath.normpath("/x/flows/" + relative)
        assert not below(found, base) or plain.startswith("/x/flows/")


@given(st.sampled_from(BASES), st.lists(NAMES, min_size=1, max_size=4))
def test_names_below_a_folder_are_below_it(base, names):
    """Any names that lead nowhere else; and their folder's folder is again where they are."""
    file = f"{base}/m.yaml" if "::" not in base else base.replace("::", "/m.yaml::")
    found = beside(file, "/".join(names))
    assert below(found, base)
    assert parse(found).parts[-len(names) :] == tuple(names)
    assert len(names) > 1 or folder_of(found) == parse(base).at(parse(base).decoded).text
