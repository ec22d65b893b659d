"""What a script writes to the fault handler's pipe is a claim too: bounded, and nothing is opened for it."""

import pytest


def forges_a_dump(kit, megabytes, canary):
    """Say that it hung in another's file, at length, and then hang."""
    import os
    import time

    pipe = kit.faults()
    os.set_blocking(pipe, False)
    os.write(
        pipe, f'Thread 0x01 (most recent call first):\n  File "{canary}", line 1 in \x1b[2Jforged\n'.encode()
    )
    block = memoryview(b'  File "x", line 7 in y\n' * 40_000)
    written = 0
    while written < megabytes << 20:
        try:
            written += os.write(pipe, block)
        except BlockingIOError:
            time.sleep(0.001)
    time.sleep(1000)


@pytest.mark.slow
def test_a_forged_dump_is_bounded_and_reads_no_file(escape, profile):
    canary = escape.write(escape.folder() / "canary", "secret of the canary")
    engine = escape.engine(profile)
    escape(hangs, profile=profile, timeout=0.5)
    before = engine.peak()
    seen = escape(forges_a_dump, 20, str(canary), profile=profile, timeout=2)
    assert seen.status == "timed_out"
    assert seen.outcome["usage"]["wall_seconds"] < 4
    assert "secret of the canary" not in str(seen.outcome)
    assert len(str(seen.outcome)) < 4 << 20
    assert engine.peak() - before < 32 << 20


def hangs(kit):
    """An honest dump."""
    import time

    time.sleep(1000)  # here


def test_an_honest_dump_is_told(escape, profile):
    assert "time.sleep(1000)  # here" in escape(hangs, profile=profile, timeout=0.5).lines
