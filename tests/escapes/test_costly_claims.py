"""What a script says on its way out costs the supervisor little, however it is made."""

MEBIBYTE = 1 << 20


def forges_a_dump(kit, size):
    """Frames whose line of source is the whole script, as the fault handler would write them."""
    import os

    with open("script.py") as script:
        longest = max(range(1, 200), key=lambda number: len(script.readline()))
    line = f'  File "{os.path.abspath("script.py")}", line {longest}, in x\n'
    os.write(
        kit.faults(), b"Current thread 0x0 (most recent call first):\n" + line.encode() * (size // len(line))
    )
    os._exit(0)


def test_a_forged_dump_is_cut(escape, profile):
    engine = escape.engine(profile)
    before = engine.peak()
    seen = escape(forges_a_dump, 60_000, profile=profile)
    assert seen.status == "crashed"
    assert len(seen.outcome["error"]["frames"]) <= 100
    assert engine.peak() - before < 64 * MEBIBYTE


def forges_a_long_line(kit):
    """A line that a careless pattern reads again from each of its characters."""
    import os

    os.write(kit.faults(), b"Thread 0x" + b"a" * 65_000)
    os._exit(0)


def test_a_long_line_takes_no_time(escape, profile):
    import time

    started = time.monotonic()
    assert escape(forges_a_long_line, profile=profile).status == "crashed"
    assert time.monotonic() - started < 2


def says_many_parts(kit):
    """One well-formed message after another, each of many small maps."""
    import time

    properties = {"k": [{} for _ in range(60_000)]}
    flow = {
        "name": "f",
        "function": None,
        "entrypoint": None,
        "version": None,
        "description": None,
        "parameters": properties,
        "file": None,
        "line": None,
        "end_line": None,
        "is_async": None,
        "retries": None,
        "timeout_seconds": None,
        "task_runner": None,
        "tags": [],
        "is_generator": None,
        "retry_delay_seconds": None,
        "persist_result": None,
        "hooks": None,
        "variable": None,
    }
    for _ in range(50):
        kit.say(kit.frame("Found", flow=flow, spec=None, notice=None))
    time.sleep(30)


def test_many_parts_are_counted_over_all_messages(escape, profile):
    engine = escape.engine(profile)
    before = engine.peak()
    seen = escape(says_many_parts, profile=profile, timeout=10)
    assert seen.status == "output_exceeded"
    assert engine.peak() - before < 128 * MEBIBYTE
