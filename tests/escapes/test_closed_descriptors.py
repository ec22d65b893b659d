"""A worker that closes or redirects what it was given ends as a failure of its own script."""

import pytest


def closes_the_channel(kit):
    """No reply can come any more."""
    import os

    os.close(kit.channel())


def closes_everything(kit):
    """Not even the fault handler can speak."""
    import os

    os.closerange(0, 1024)


def shuts_the_channel(kit):
    """The supervisor sees the end, and the worker lives on."""
    import os
    import time

    os.close(kit.channel())
    time.sleep(30)


def swaps_the_channel(kit):
    """The reply goes elsewhere."""
    import os
    import socket

    channel = kit.channel()
    end, other = socket.socketpair()
    os.dup2(end.fileno(), channel)
    other.detach()


def redirects_the_channel(kit):
    """The reply goes to standard output."""
    import os

    os.dup2(1, kit.channel())


@pytest.mark.slow
@pytest.mark.parametrize(
    "attempt",
    [closes_the_channel, closes_everything, shuts_the_channel, swaps_the_channel, redirects_the_channel],
)
def test_without_a_channel_there_is_no_reply(escape, profile, attempt):
    seen = escape(attempt, profile=profile, timeout=2)
    assert seen.status in ("crashed", "timed_out")
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["harmless"]
    assert escape.engine(profile).process.poll() is None


def closes_its_streams(kit):
    """Whatever is printed from here on is nobody's."""
    import os
    import sys

    print("before", flush=True)
    sys.stdout.close()
    for number in (0, 1, 2):
        os.close(number)
    sys.stdout = sys.stderr = None


def test_closed_streams_cost_the_output_only(escape, profile):
    seen = escape(closes_its_streams, profile=profile)
    assert seen.status in ("loaded", "script_failed")
    assert seen.outcome["stdout"]["text"].startswith("before\n")


def redirects_its_streams(kit):
    """Print into a file of one's own, and back."""
    import contextlib
    import io

    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        print("kept")
    return buffer.getvalue()


def test_streams_can_be_redirected(escape, profile):
    assert escape(redirects_its_streams, profile=profile).report == "kept\n"
