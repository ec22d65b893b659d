"""What drivers raise is put into words that repeat no secret."""

import inspect

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from loader.sources.parsing import parse
from loader.sources.reasons import failure, reason

PLACE = "https://example.org/flow.py?signature=hunter2&name=two%20words"
REQUEST = aiohttp.RequestInfo(URL(PLACE), "GET", CIMultiDictProxy(CIMultiDict()), URL(PLACE))
CLASSES = [
    item
    for module in (client_exceptions, http_exceptions)
    for _, item in inspect.getmembers(module, inspect.isclass)
    if issubclass(item, Exception)
    and item.__module__.startswith("aiohttp")
    and item.__name__ != "WSMessageTypeError"
]


def made(kind):
    """An error of that class whose words hold the URL."""
    if issubclass(kind, aiohttp.ClientResponseError):
        return kind(REQUEST, (), status=400, message=f"bad answer of {PLACE}")
    error = kind.__new__(kind)
    error.args = (f"cannot talk to {PLACE}",)
    return error


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_of_the_web_client_is_put_into_our_words(kind):
    """Each of its classes: none of its own words is repeated."""
    message = reason(made(kind), {})
    assert "hunter2" not in message
    assert "example.org" not in message
    assert kind.__name__ not in message


def test_what_is_no_http_is_said_to_be_none():
    """Rather than the status that the client makes up for it."""
    error = made(aiohttp.ClientResponseError)
    assert reason(error, {}) == "the server answered with status 400"
    error.__cause__ = http_exceptions.BadStatusLine("x")
    assert reason(error, {}) == "the server's answer is no sound HTTP"


@pytest.mark.parametrize(
    "words",
    [
        f"no answer of {PLACE}",
        "no answer of url '/flow.py?signature=hunter2&name=two%20words'",
        "signature is hunter2",
        "the name is two words",
        "it was signature=hunter2&name=two words",
        "a" * 195 + "hunter2",
    ],
)
def test_a_query_is_struck_out_of_any_words(words):
    """As it is written, or as what it says; also where the words are cut."""
    message = str(failure(parse(PLACE), RuntimeError(words), {}))
    assert message.startswith("cannot load https://example.org/flow.py?…: RuntimeError: ")
    for secret in ("hunte", "two words", "two%20words"):
        assert secret not in message


def test_a_query_of_another_url_is_struck_out():
    """And its user and password: a driver may have been led elsewhere."""
    words = "at https://ann:pw@h/a?key=word it failed? yes"
    assert reason(RuntimeError(words), {}) == "RuntimeError: at https://…@h/a?… it failed? yes"
