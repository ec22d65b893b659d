"""Threads are counted for each worker by itself, and end with it."""


def starts_many(kit, until):
    """Start threads that wait for ever; how many there are when one is refused, or ``until``."""
    import threading
    import time

    # Small stacks, so that address space does not run out before threads do.
    threading.stack_size(1 << 17)
    started = 0
    try:
        for _ in range(until):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    time.sleep(1)
    return started


def test_threads_are_capped_and_neighbours_have_their_own(escape):
    loads = [escape.start(starts_many, 10_000) for _ in range(3)]
    neighbour = escape.start(starts_many, 40)
    assert [load().report for load in loads] == [63, 63, 63]
    assert neighbour().report == 40


def starts_many_small(kit):
    """As many as memory and the processor allow."""
    import threading
    import time

    threading.stack_size(32768)
    started = 0
    while True:
        threading.Thread(target=time.sleep, args=(1000,)).start()
        started += 1


def test_threads_without_end_end_with_their_worker(escape, profile):
    seen = escape(starts_many_small, profile=profile, timeout=3)
    assert seen.status in ("script_failed", "timed_out", "out_of_memory")
