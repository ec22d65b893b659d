"""The strict YAML reader: plain data with places, or every mistake with its line, in bounded time."""

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.strict_yaml import (
    DEPTH_CAP,
    PROBLEM_CAP,
    SIZE_CAP,
    Limits,
    Reading,
    StrictYamlError,
    read,
    read_all,
    read_each,
)
from loader.yaml_places import Position, dotted, place, shown

BOUND = 2.0
"""Seconds that no text may take; the slowest below needs a tenth of it on a slow machine."""


def problems(text: str) -> list[str]:
    started = time.process_time()
    with pytest.raises(StrictYamlError) as caught:
        read(text)
    assert time.process_time() - started < BOUND
    return [str(problem) for problem in caught.value.problems]


def test_plain_data_comes_with_the_place_of_every_key_and_item():
    """Each key and list item has a line and a column, both counted from 1; the root has the first."""
    document = read("# first\na: 1\nb:\n  c: [x, 2.5]\n")
    assert document.data == {"a": 1, "b": {"c": ["x", 2.5]}}
    assert document.positions == {
        (): Position(2, 1),
        ("a",): Position(2, 1),
        ("b",): Position(3, 1),
        ("b", "c"): Position(4, 3),
        ("b", "c", 0): Position(4, 7),
        ("b", "c", 1): Position(4, 10),
    }


def test_a_place_that_is_not_there_is_that_of_what_is_around_it():
    """A missing key is shown at the mapping that should hold it."""
    document = read("x: 0\na:\n  b: 1\n")
    assert document.position(("a", "missing", 3)) == Position(2, 1)
    assert document.position(("missing",)) == Position(1, 1)


def test_scalars_are_those_of_the_safe_loader():
    """Truth values, None, numbers, dates and quoted text are what YAML 1.1 says."""
    document = read("[yes, ~, 0x10, 1e3, 1.5, 2022-05-01, '1', =, .inf]")
    expected = [True, None, 16, "1e3", 1.5, dt.date(2022, 5, 1), "1", "=", float("inf")]
    assert document.data == expected


def test_a_clock_is_text():
    """YAML 1.1 takes it for a number to the base of 60 unless it begins with a zero; people never do."""
    assert read("[1:30:00, 0:30:00, 1:30.5, 190:20]").data == ["1:30:00", "0:30:00", "1:30.5", "190:20"]
    assert read("a: 1" + ":59" * 20_000).data == {"a": "1" + ":59" * 20_000}


def test_zero_and_fractions_below_one_are_no_octals():
    """Only digits after a zero are read in two ways."""
    assert read("[0, -0, 0.5, 0x0f, 0b01]").data == [0, 0, 0.5, 15, 1]


def test_the_mark_of_utf8_is_no_part_of_the_text():
    """Some editors put it at the beginning of a file."""
    document = read("\ufeffa: 1\n")
    assert (document.data, document.positions[("a",)]) == ({"a": 1}, Position(1, 1))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(end):
    """A break of two characters is one."""
    text = f"a: 1{end}{end}b: 2{end}"
    assert read(text).positions[("b",)] == place(text, text.index("b")) == Position(3, 1)


def test_mistakes_of_one_document_take_nothing_from_the_others():
    """Each document has its own; the places after a broken one are still those of the text."""
    first, second, third, fourth = read_each("a: 1\n---\nb: [\n---\nc: *x\n---\nd: 1\n").documents
    assert (first.data, first.problems, first.complete) == ({"a": 1}, (), True)
    assert (second.data, second.complete, second.problems[0].position.line) == (None, False, 4)
    assert (third.data, third.complete, third.problems[0].position) == ({"c": None}, True, Position(5, 4))
    assert (fourth.data, fourth.positions[("d",)]) == ({"d": 1}, Position(7, 1))


@pytest.mark.parametrize(
    "broken",
    ["a: 'x", 'a: "x', "a: [", "a: {", "a: |\n x\n- y", "? ? [", "@", "%YAML 9", "a: \t- b", "[" * 40],
)
def test_reading_goes_on_at_the_next_document(broken):
    """No quote, bracket or block reaches over a line that begins with three dashes."""
    reading = read_each(f"{broken}\n---\nz: 1\n--- {{y: 2}}\n")
    assert [document.data for document in reading.documents[-2:]] == [{"z": 1}, {"y": 2}]
    assert not reading.documents[0].complete
    assert reading.complete


def test_what_follows_a_document_without_a_separator_is_its_mistake():
    """A text that goes on is not the document that its beginning would be."""
    for text in ("{a: 1}\nb: 2\n", "'a' b\n", "[a]\n]\n"):
        (document,) = read_each(text).documents
        assert not document.complete
    ended, broken = read_each("{a: 1}\n...\n%X\nb: 2\n").documents
    assert (ended.data, ended.complete, broken.complete) == ({"a": 1}, True, False)


def test_dashes_within_a_line_separate_nothing():
    """Neither do indented ones, nor those that go on with a letter."""
    reading = read_each("a: [\n ---\n---x: 1\nb: 2\n")
    assert len(reading.documents) == 1


def test_the_items_before_a_syntax_mistake_are_kept():
    """A list is read up to its mistake; the unfinished item is left out."""
    (document,) = read_each("- a: 1\n- b: 2\n- c: [\n  - d\n").documents
    assert (document.data, document.complete) == ([{"a": 1}, {"b": 2}], False)


def test_a_value_below_a_quiet_key_is_in_no_message():
    """It may be a secret that its owner forgot to put in quotes."""
    text = "s:\n  - *hunter2\n  - &hunter2 x\n  - !hunter2 x\n  - 2022-13-41\n  - 0177\n  - {1: x}\n"
    (document,) = read_each(text, Limits(quiet=frozenset({"s"}))).documents
    said = " ".join(map(str, document.problems))
    assert len(document.problems) == 6
    assert not any(secret in said for secret in ("hunter2", "2022", "0177", "'1'"))
    (loud,) = read_each(text).documents
    assert "'*hunter2'" in str(loud.problems[0])


def test_each_limit_ends_the_reading():
    """Characters, documents, values and mistakes; what was read before stays."""
    many = read_each("---\na\n" * 9, Limits(documents=3))
    assert [document.data for document in many.documents] == ["a"] * 3
    assert [str(problem) for problem in many.problems] == ["line 8: there are more than 3 documents"]
    full = read_each("- a\n" * 9, Limits(values=5))
    assert full.documents[0].data == ["a"] * 4
    assert [str(problem) for problem in full.problems] == ["line 5: there are more than 5 keys and values"]
    wrong = read_each("*a\n---\n" * 9, Limits(problems=3))
    assert (len(wrong.documents), wrong.complete, wrong.problems) == (3, False, ())
    long = read_each("a: 1\n", Limits(size=3))
    assert [str(problem) for problem in long.problems] == ["line 1: the text has more than 3 characters"]
    assert read_each("a") == Reading((read("a"),))


def test_foreign_text_is_quoted_and_shortened():
    """Names of any length, and control characters, stay within their line."""
    assert shown("a\n'\u202e") == repr("a\n'\u202e")
    assert len(shown("x" * 1000)) < 70
    (problem,) = problems(f"a: &{'x' * 1000} 1\n")
    assert len(problem) < 150
    (problem,) = problems(f"{'x' * 500}: *a\n")
    assert len(problem) < 300


def test_several_documents_are_read_each_with_its_own_places():
    """`read_all` gives every document; lines count through the whole text."""
    first, second = read_all("a: 1\n---\n- b\n")
    assert (first.data, second.data) == ({"a": 1}, ["b"])
    assert second.positions == {(): Position(3, 1), (0,): Position(3, 3)}


def test_read_wants_exactly_one_document():
    """None and two are refused; the second is named by its line."""
    assert problems("") == ["line 1: there is nothing in it"]
    assert problems("# only a comment\n") == ["line 1: there is nothing in it"]
    assert problems("a: 1\n---\nb: 2\n") == ["line 3: a second document begins; only one is expected"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\n", "line 1: key 'a': the anchor '&x' is not allowed; take it out"),
        ("a: 1\nb: *x\n", "line 2: key 'b': the alias '*x' is not allowed; repeat the value"),
        ("a: 1\n<<: {b: 1}\n", "line 2: the merge key '<<' is not allowed; write the keys out"),
        ("- !!str x\n", "line 1: key '[0]': the tag 'tag:yaml.org,2002:str' is not allowed; take it out"),
        ("a:\n  b: 1\n  b: 2\n", "line 3: key 'a.b': it is there already, on line 2"),
        ("{a: 1, 'a': 2}\n", "line 1: key 'a': it is there already, on line 1"),
        ("on: 1\n", "line 1: the key 'on' is not text; put it in quotes"),
        ("1: 1\n", "line 1: the key '1' is not text; put it in quotes"),
        ("? [a]\n: 1\n", "line 1: a key is not text"),
        ("a: 0000-01-01\n", "line 1: key 'a': the value '0000-01-01' cannot be read; put text in quotes"),
        ("a: 2022-13-41\n", "line 1: key 'a': the value '2022-13-41' cannot be read; put text in quotes"),
        ("a: 0b_\n", "line 1: key 'a': the value '0b_' cannot be read; put text in quotes"),
        ('a: "\\uD800"\n', "line 1: key 'a': the value '\\ud800' cannot be read; put text in quotes"),
        ('\na: "\\UFFFFFFFF"\n', "line 2: an escape or a number is out of range"),
        ("a: 1\nb: \x00\n", "line 2: the character '\\x00' is not allowed"),
        ("a: 1\nb: \u202ec\n", "line 2: the character '\\u202e' is not allowed"),
        ("a: 1 # b\u2028c: 1\n", "line 1: the character '\\u2028' is not allowed"),
        ("a: 1\n\ufeffb: 1\n", "line 2: the character '\\ufeff' is not allowed"),
        (
            "a: 010\n",
            "line 1: key 'a': the number '010' may be octal; write it without the zero, or put it in quotes",
        ),
        ("a: !e!x 1\n", "line 1: the tag is not allowed; take it out"),
        (
            "a:\n  b: 'x\n  c: 1\n",
            "line 4: found unexpected end of stream, while scanning a quoted scalar that begins on line 2",
        ),
        ("a: 1\nb: [\n", "line 3: expected the node content, but found '<stream end>'"),
    ],
)
def test_what_is_not_strict_is_refused_with_its_line(text, expected):
    """Aliases, anchors, merge keys, tags, duplicates and odd keys and scalars are no part of it."""
    assert problems(text) == [expected]


def test_python_tags_are_refused_and_nothing_is_made():
    """A tag names a class; none is looked up, known or not."""
    (problem,) = problems("a: !!python/object/apply:os.system [true]\n")
    assert problem.startswith("line 1: key 'a': the tag 'tag:yaml.org,2002:python/object/apply:os.system'")


def test_a_quoted_merge_key_is_text():
    """Quotes make text of anything."""
    assert read("'<<': 1").data == {"<<": 1}


def test_every_mistake_is_listed_in_order():
    """One reading is enough to mend a file."""
    found = problems("a: &x 1\nb: *x\na: 2\nc: !t 3\n")
    assert [problem.split(":")[0] for problem in found] == ["line 1", "line 2", "line 3", "line 4"]


def test_the_list_of_mistakes_ends():
    """A long list helps nobody."""
    assert len(problems("a: 1\n" * 1000)) == PROBLEM_CAP


@pytest.mark.parametrize("start", ["[", "{a: ", "- ", "? ", "{? ", "[{a: "])
def test_deep_nesting_is_refused_at_once(start):
    """Depth is capped while scanning, whichever way it is written."""
    text = start * 40_000
    (problem,) = problems(text[:SIZE_CAP])
    assert problem.startswith("line 1: ")
    assert "nest more than" in problem or "a key is not text" in problem


def test_nesting_up_to_the_cap_is_read():
    """The cap itself is allowed, one more is not."""
    data = read("[" * DEPTH_CAP + "]" * DEPTH_CAP).data
    for _ in range(DEPTH_CAP - 1):
        (data,) = data
    assert data == []
    assert problems("[" * (DEPTH_CAP + 1) + "]" * (DEPTH_CAP + 1))


def test_alias_and_merge_bombs_are_refused_at_once():
    """Neither is followed, so neither can multiply."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert problems("\n".join(["a0: &a0 x", *levels]))[0].startswith("line 1: key 'a0': the anchor '&a0'")
    merges = [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert problems("\n".join(["a0: &a0 {x: 1}", *merges]))[0].startswith(
        "line 1: key 'a0': the anchor '&a0'"
    )


@pytest.mark.parametrize("digits", ["9" * 5_000, "0x" + "f" * 60_000, "9" * 60_000 + ".5"])
def test_endless_numbers_are_refused_at_once(digits):
    """Making a number of very many digits takes very long."""
    (problem,) = problems(f"a: 1\nb: {digits}\n")
    assert problem.startswith("line 2: key 'b': the value ")
    assert len(problem) < 200


def test_a_text_over_the_cap_is_refused_unread():
    """Size is checked first; the place is where the cap is passed."""
    assert read("a: " + "x" * (SIZE_CAP - 3))
    assert problems("a: 1\n" + "#" * SIZE_CAP) == [f"line 2: the text has more than {SIZE_CAP} characters"]


def test_a_path_is_written_as_people_do():
    """Keys by dots, items by brackets."""
    assert dotted(("filesystem", "read", 0)) == "filesystem.read[0]"


def _plain(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_plain, value))
    return value is None or type(value) in {bool, int, float, str, dt.date, dt.datetime}


@given(st.one_of(st.text(), st.text(alphabet="ab01:-?,[]{}&*!|>'\"%@`#\\ \n\t<=~._xUu")))
def test_whatever_the_text_it_is_plain_data_or_a_refusal(text):
    """No other exception, and no type that was not promised."""
    try:
        documents = read_all(text)
    except StrictYamlError:
        return
    assert all(_plain(document.data) for document in documents)
