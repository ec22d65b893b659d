"""The pool decides how many workers to ask for, and never more or fewer."""

from hypothesis import given
from hypothesis import strategies as st

from loader.pool import Pool


def test_the_first_load_asks_for_its_own_worker_and_those_ahead():
    """One to take now, and as many as shall wait after that."""
    assert Pool(2).to_ask(1) == 3
    assert Pool(0).to_ask(1) == 1


def test_each_load_asks_for_one_in_its_stead():
    """What was taken is replaced, and nothing else is asked for."""
    pool = Pool(2).asking(3).taken()
    assert pool.to_ask(1) == 1
    assert pool.to_ask(0) == 0


def test_deciding_changes_nothing():
    """Who asks for an answer twice gets it twice."""
    pool = Pool(2)
    assert pool.to_ask(1) == pool.to_ask(1)
    assert pool == Pool(2)


@given(st.integers(0, 5), st.lists(st.integers(0, 4), max_size=20))
def test_there_is_always_one_to_take_and_never_more_than_needed(ahead, rounds):
    """After asking, so many are on their way as are wanted and kept ahead; what is enough already stays."""
    pool = Pool(ahead)
    for wanted in rounds:
        count = pool.to_ask(wanted)
        assert count >= 0
        before, pool = pool, pool.asking(count)
        assert pool.asked == max(before.asked, wanted + ahead)
        for _ in range(wanted):
            pool = pool.taken()
        assert pool.asked >= ahead
        assert pool.ahead == ahead
