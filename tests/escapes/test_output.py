"""Output without end is cut and counted; it stops neither the supervisor nor, in its time, the script."""

import pytest

CAP = 256 << 10
MEGABYTES = 100


def prints(kit, stream, megabytes):
    """Write so much, and then the report."""
    import os

    block = b"0123456789abcde\n" * 65536
    for _ in range(megabytes):
        view = memoryview(block)
        while view:
            view = view[os.write(stream, view) :]
    return "done"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_much_output_is_cut(escape, stream):
    supervisor = escape.engine()
    escape(prints, 1, 1)
    before = supervisor.peak()
    seen = escape(prints, 1 + (stream == "stderr"), MEGABYTES)
    captured = seen.outcome[stream]
    assert seen.report == "done"
    assert captured["truncated"]
    assert MEGABYTES << 20 <= captured["bytes"] <= (MEGABYTES << 20) + 100
    assert len(captured["text"]) < CAP + 100
    assert supervisor.peak() - before < 16 << 20


def test_output_without_end_ends_in_time(escape, profile):
    seen = escape(prints, 2, 1 << 30, profile=profile, timeout=1)
    assert seen.status == "timed_out"
    assert seen.outcome["usage"]["wall_seconds"] < 3
    assert "view = view[os.write(stream, view) :]" in seen.lines


def prints_bytes(kit):
    """What is no text, and what a terminal would obey."""
    import os

    os.write(2, b"\xff\xfe\x00\x1b[2J\x9b\r\n" + "\u202e\ud7ff".encode())
    return "done"


def test_bytes_that_are_no_text_are_kept_as_text(escape, profile):
    seen = escape(prints_bytes, profile=profile)
    assert seen.report == "done"
    assert seen.outcome["stderr"]["text"].startswith("\\xff\\xfe\0\x1b[2J\\x9b")
