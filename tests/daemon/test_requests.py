"""What is identical of what is asked, and what it costs to know."""

import tracemalloc

import pytest

from loader.daemon.requests import Asked, Checking, Planning

LONE = "\udcff"


@pytest.mark.parametrize("value", [LONE, "\x7f", 1 << 80, -(1 << 80), 0.5, True, None, {"a": [1]}])
def test_requests_that_differ_in_what_may_differ_are_identical(value):
    """Who asks more urgently, or waits less long, wants the same."""
    asked = {"text": "x = 1", "parameters": {"n": value}}
    again = Checking(**asked, priority="before_run", wait=3.0)
    assert Checking(**asked).digest == again.digest


def test_requests_that_differ_in_anything_else_are_not():
    """However alike they are."""
    texts = ["1", b"1", "", "\udcff", "ÿ"]
    values = [1, 1.0, "1", True, [1], {"1": 1}, 1 << 80, str(1 << 80), LONE, "\\udcff"]
    asked = [
        *(Asked(text=text) for text in texts),
        *(Asked(text="1", **more) for more in ({"name": "n"}, {"cache": False}, {"shown": "n"})),
        *(Checking(text="1", parameters={"n": value}) for value in values),
        Planning(text="1", storage="s3://a"),
    ]
    assert len({item.digest for item in asked}) == len(asked)


def test_a_request_s_identity_takes_little_room():
    """Also where each character would be written as several."""
    large = "\x7f" * (1 << 22)
    tracemalloc.start()
    try:
        asked = Checking(text="x = 1", parameters={"n": large})
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert asked.digest
    assert held < 1 << 20
    assert most < 4 * len(large)
