"""Memory beyond the profile's cannot be had, and trying hurts nobody else."""

import pytest

CAP = 1 << 30
"""Bytes of heap that the profiles give."""


def grows_bytes(kit):
    """One object that doubles."""
    data = bytearray(1 << 20)
    while True:
        data *= 2


def grows_a_list(kit):
    """Very many objects."""
    kept = []
    while True:
        kept.append(bytes(1 << 16))


def grows_a_nest(kit):
    """One deep object, whose parts are small."""
    nest = []
    while True:
        nest = [nest, "x" * 100000]


def maps(kit):
    """Memory that is not the heap's."""
    import mmap

    kept = []
    while True:
        kept.append(mmap.mmap(-1, 1 << 24))
        kept[-1].write(b"x" * (1 << 24))


@pytest.mark.sampled
@pytest.mark.parametrize("attempt", [grows_bytes, grows_a_list, grows_a_nest])
def test_the_heap_is_bounded(escape, profile, attempt):
    neighbour = escape.start(allocates, profile=profile)
    seen = escape(attempt, profile=profile)
    assert seen.status == "out_of_memory"
    assert seen.outcome["usage"]["max_rss_bytes"] < CAP * 1.1
    assert neighbour().report == 100 << 20


@pytest.mark.slow
def test_mapped_memory_is_bounded(escape, profile):
    seen = escape(maps, profile=profile)
    assert seen.status in ("script_failed", "out_of_memory")
    assert seen.outcome["usage"]["max_rss_bytes"] < CAP * 1.1


def allocates(kit):
    """A hundred megabytes."""
    return len(bytearray(100 << 20))


def test_what_the_profile_gives_can_be_had(escape, profile):
    assert escape(allocates, profile=profile).report == 100 << 20
