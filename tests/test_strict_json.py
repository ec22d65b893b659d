"""JSON as it is defined, and what is said of what is not."""

import time

import pytest

from loader import strict_json


def test_a_name_that_is_given_twice_is_found_in_one_look():
    """Requests come from anybody: an object of many names costs no more than reading it."""
    names = [*range(20_000), 19_999]
    text = "{" + ", ".join(f'"{name}": 0' for name in names) + "}"
    began = time.process_time()
    with pytest.raises(ValueError, match="'19999' is given twice"):
        strict_json.read(text)
    assert time.process_time() - began < 2
