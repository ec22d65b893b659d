"""Capture: the beginning and the end of a stream are kept, the middle is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.capture import Capture


def captured(cap, *pieces):
    """What is kept of a stream that comes in `pieces`."""
    capture = Capture(cap)
    for piece in pieces:
        capture.feed(piece)
        assert len(capture.head) + len(capture.tail) <= cap
    return capture.output()


@given(st.integers(0, 40), st.lists(st.binary(max_size=30), max_size=8))
def test_head_and_tail_are_kept_whatever_the_pieces(cap, pieces):
    """How a stream is cut on its way makes no difference to what is kept of it."""
    data = b"".join(pieces)
    output = captured(cap, *pieces)
    assert output.bytes == len(data)
    assert output.truncated is (len(data) > cap)
    if output.truncated:
        head, tail = data[: cap // 2], data[len(data) - (cap - cap // 2) :]
        lost = f"\n… {len(data) - cap} bytes cut …\n"
        assert output.text == head.decode(errors="backslashreplace") + lost + tail.decode(
            errors="backslashreplace"
        )
    else:
        assert output.text == data.decode(errors="backslashreplace")


def test_what_fits_is_kept_whole():
    """Up to the cap, and with the cap."""
    assert captured(10, b"0123", b"456789").text == "0123456789"
    assert not captured(10, b"0123456789").truncated


def test_what_does_not_fit_loses_its_middle():
    """The beginning says what it was about, the end how it went."""
    output = captured(7, b"abcdefgh", b"ijkl")
    assert output.text == "abc\n… 5 bytes cut …\nijkl"
    assert (output.bytes, output.truncated) == (12, True)


@pytest.mark.parametrize("cap", [0, 1])
def test_a_cap_of_next_to_nothing_counts_all_the_same(cap):
    """No output asked for is none kept."""
    output = captured(cap, b"x" * 100)
    assert output.bytes == 100
    assert f"{100 - cap} bytes cut" in output.text
    assert captured(cap).text == ""


def test_a_character_between_two_pieces_stays_one():
    """Text is made at the end, and of all that was kept."""
    assert captured(100, b"\xe2\x82", b"\xac").text == "€"
    assert captured(4, b"a\xe2", b"\x82\xac").text == "a€"


def test_a_character_that_was_cut_is_shown_as_bytes():
    """Half a character is no error."""
    assert captured(4, "€€€€".encode()).text == "\\xe2\\x82\n… 8 bytes cut …\n\\x82\\xac"


def test_bytes_that_are_no_text_are_shown():
    """Output is whatever a script writes."""
    assert captured(100, b"a\xff\x00b").text == "a\\xff\x00b"


def test_an_endless_stream_costs_no_more_than_the_cap():
    """Memory is bounded however much comes, and however large the pieces are."""
    capture = Capture(1000)
    for _ in range(200):
        capture.feed(bytes(1 << 16))
    assert len(capture.head) + len(capture.tail) == 1000
    assert capture.output().bytes == 200 << 16
