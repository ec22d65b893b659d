"""The text of a location: whatever it is, it is understood, or refused without what it may hold secret."""

import contextlib
import os
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.access import Access
from loader.errors import SourceError
from loader.sources import (
    basename_of,
    below,
    beside,
    display,
    fetch,
    folder_of,
    origin_of,
    parse,
    read,
    redacted,
    schemes_of,
)

HERE = Access(schemes=frozenset({"file", "zip", "tar", "memory"}))
BEGINNINGS = ["", " ", "\t", "http://", "https://", "file://", "file:", "s3://", "x://", "git://", "github://",
              "memory://", "zip://a::", "tar://a::zip://", "https://h/", "HTTP:/", "//"]  # fmt: skip
ODD = st.text(st.sampled_from("ab/.:@%2e0\\?#[]~ \0\n\t\x1b\x7f\x85℀٣é\ud800\u202e"), max_size=30) | st.text(
    max_size=30
)
SOME = ["http://[x", "x://[", "file://[x/y.py", "github://[", "http://℀/", "//[", " https://../x", "\thttp://a",
        "h\nttps://../x.py", "http://h:٣/", "http://h/\ud800", "file:///a%00b", "a\0b",
        "zip://a::" * 200 + "/x"]  # fmt: skip


@pytest.mark.parametrize("odd", SOME)
def test_an_odd_text_is_refused_or_understood(odd):
    """By each function that takes a location."""
    check_all(odd)


@given(st.sampled_from(BEGINNINGS), ODD)
@example("", "a\0b")
def test_any_text_is_refused_or_understood(beginning, text):
    """Nothing but SourceError is ever raised; what is for messages raises nothing."""
    check_all(beginning + text)


def said(call, text):
    """What a call says of a location that it refuses."""
    try:
        call(text)
    except SourceError as error:
        return str(error)
    return ""


def check_all(text):
    """Call everything that takes a location with the text."""
    assert redacted(text).isprintable() or parse(text)
    assert not below(text, "/nowhere")
    below("/srv/a", text)
    calls = [
        parse, folder_of, display, schemes_of, basename_of, origin_of,
        lambda text: beside(text, "a.py"),
        lambda text: beside("/srv/m.yaml", text),
        lambda text: beside("https://h/m.yaml", text),
        lambda text: read(text, access=HERE),
        lambda text: read("/etc/hostname", text, HERE),
        lambda text: fetch(text, HERE),
    ]  # fmt: skip
    for call in calls:
        with contextlib.suppress(SourceError):
            call(text)


@pytest.mark.parametrize("control", ["\0", "\n", "\t", "\x1b", "\x7f", "\x85"])
def test_a_path_with_a_control_character_is_refused(control, tmp_path):
    """As location, as root, percent-encoded in a URL; a terminal sees none of it."""
    (tmp_path / "a.py").write_bytes(b"")
    for location, root in (
        (f"{tmp_path}/a{control}.py", None),
        (f"file://{tmp_path}/%{ord(control):02x}.py" if control < "\x7f" else f"{tmp_path}/{control}", None),
        (f"{tmp_path}/a.py", f"{tmp_path}/{control}"),
        (f"zip://a.py::{tmp_path}/{control}.zip", None),
    ):
        with pytest.raises(SourceError, match="holds a control character") as caught:
            read(location, root)
        assert str(caught.value).isprintable()


def test_a_blank_before_a_url_is_refused():
    """Another reader of it might take it for the URL, while here it would be a path."""
    for blank in (" ", "  ", "\u00a0"):
        with pytest.raises(SourceError, match="a blank stands before it"):
            parse(f"{blank}https://h/../../etc/passwd")
    assert parse(" a.py").path.endswith("/ a.py")


@pytest.mark.parametrize("beginning", ["/", "", "file:///", "https://h/", "s3://b/", "zip://a::/", "zip://"])
def test_a_location_is_bounded_in_length(beginning):
    """2,000 characters are allowed, one more is not; the message holds few of them."""
    text = beginning + "a" * (2000 - len(beginning))
    if beginning not in {"", "zip://"}:
        assert parse(text)
    with pytest.raises(SourceError, match="has 2001 characters") as caught:
        parse(text + "a")
    assert len(str(caught.value)) < 200
    for call in (schemes_of, folder_of, display, read, fetch, lambda text: beside(text, "b")):
        with pytest.raises(SourceError, match="has 2001 characters"):
            call(text + "a")
    with pytest.raises(SourceError, match="has 2001 characters"):
        read("/etc/hostname", text + "a")


def test_what_a_location_is_normalised_to_is_bounded():
    """Each character of a URL may become nine, and a path is relative to a folder."""
    with pytest.raises(SourceError, match="may have 2000"):
        parse("https://h/" + "\u20ac" * 300)
    with pytest.raises(SourceError, match="may have 2000"):
        beside("/srv/" + "a" * 1990 + "/m.yaml", "bcdefghi.py")


def test_nested_archives_exhaust_no_stack():
    """They are refused at the second, however many there are."""
    limit = sys.getrecursionlimit()
    for count in (2, 220):
        with pytest.raises(SourceError, match="without another ::"):
            parse("zip://a::" * count + "/x")
        assert redacted("zip://a::" * 5000 + "http://u:hunter2@h/a").count("hunter2") == 0
    assert sys.getrecursionlimit() == limit


def test_a_working_directory_that_is_gone_is_said(tmp_path, monkeypatch):
    """Relative locations lead nowhere then."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    for location in ("flow.py", "git://repository:main@flow.py", "file:flow.py"):
        with pytest.raises(SourceError, match="the working directory is gone"):
            parse(location)
    monkeypatch.undo()
    assert os.getcwd()


@pytest.mark.parametrize(
    ("location", "schemes"),
    [
        ("flow.py", {"file"}), ("FILE:///a.py", {"file"}), ("HTTPS://h/a.py", {"https"}),
        ("gcs://b/a", {"gcs"}),
        ("zip://a::https://h/x.zip", {"zip", "https"}), ("tar://a::/x.tar", {"tar", "file"}),
        ("zip://a::github://o:r@/x.zip", {"zip", "github"}), ("x://a", {"file"}),
    ],
)  # fmt: skip
def test_the_schemes_of_a_location_are_all_that_it_uses(location, schemes):
    """Its archive's included."""
    assert schemes_of(location) == schemes


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("https://h/flow.py?v=1", "flow.py"), ("https://h/a/my%20flow.py", "my flow.py"),
        ("/a/b?c.py", "b?c.py"),
        ("file:///a/b%20c.py", "b c.py"), ("zip://a/b.py::https://h/c.zip?d=e", "b.py"),
        ("s3://b/c%20d", "c%20d"),
        ("git:///r:main@a/b.py", "b.py"), ("https://h", ""), ("zip://::/a.zip", ""), ("/", ""),
    ],
)  # fmt: skip
def test_the_last_name_of_a_location_has_no_query(location, name):
    """It is a file's name: decoded where the location was not."""
    assert basename_of(location) == name


@pytest.mark.parametrize(
    "location",
    [
        "https://h/flow.py?signature=hunter2", "https://h/flow.py#hunter2", "https://ann:hunter2@h/flow.py",
        "https://h/a?b=c@hunter2", "https://ann:x?y@hunter2/", "http:/ann:hunter2@h/a", "http:ann:hunter2@h",
        "zip://a.py::https://h/c.zip?signature=hunter2", "zip://a::http://ann:hunter2@h/a",
        " https://ann:hunter2@h/", "ftp://ann:hunter2@h/", "file://ann:hunter2@h/a", "file:///a?hunter2",
        "zip://a::zip://b::s3://hunter2@b/a", "https://ann:" + "a" * 3000 + "hunter2@h/", "ZIP://a::http:/a:hunter2@b",
    ],
)  # fmt: skip
def test_what_is_redacted_holds_no_secret(location):
    """Whether or not it is a location that can be used; nor does the error for it."""
    assert "hunter2" not in redacted(location)
    for call in (parse, schemes_of, display):
        assert "hunter2" not in said(call, location)


def test_what_holds_no_secret_is_redacted_to_itself():
    """But for its query, of which only a sign is left."""
    assert redacted("https://h/a.py?b=c") == "https://h/a.py?…"
    assert redacted("/srv/a.py") == "/srv/a.py"
    assert redacted("github://o:r@main/a.py") == "github://o:r@main/a.py"
    assert redacted("zip://a.py::s3://b/c.zip") == "zip://a.py::s3://b/c.zip"
    assert redacted("ftp://h/a") == "ftp://h/a"
