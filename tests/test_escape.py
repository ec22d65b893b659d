"""Hostile text on its way to a terminal: whatever it is, what comes out only draws."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import escape
from loader.cli import failure, listing, terminal, words
from loader.cli.load import rendered
from loader.models import (
    Dialect,
    Error,
    Flow,
    Frame,
    Guarantee,
    Notice,
    Outcome,
    Output,
    Sandbox,
    Source,
    Spec,
    Status,
)

NASTY = (
    "\x00\x07\x08\t\n\r\x1b\x7f\x80\x85\x9b\x9d\u061c\u200b\u200e\u200f\u2028\u2029"
    "\u202a\u202e\u2066\u2069\ufeff\ud800\udfff"
)
TEXT = st.text(st.one_of(st.sampled_from(NASTY), st.characters()), max_size=200)
FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}


def is_harmless(text):
    return not any(unicodedata.category(char) in FORBIDDEN for char in text)


@given(TEXT)
def test_one_line_stays_one_line(text):
    """No line break, no control, nothing that reverses or hides."""
    assert is_harmless(escape.line(text))
    assert is_harmless(escape.first_line(text))


@given(TEXT)
def test_block_has_only_our_line_breaks(text):
    """Each line of a block is as harmless as a line."""
    assert all(map(is_harmless, escape.block(text)))
    assert all(map(is_harmless, escape.block(text, tail=True)))


SEEN = st.characters(categories=["L", "M", "N", "P", "S", "Zs"]).filter(
    lambda char: not escape.UNSEEN.match(char) and unicodedata.bidirectional(char) not in escape.TO_THE_LEFT
)


@given(st.text(SEEN, max_size=300))
def test_ordinary_text_is_left_as_it_is(text):
    """Every script and sign that is written from left to right is shown as written."""
    assert escape.line(text) == text


@pytest.mark.parametrize("char", "\u034f\u115f\u17b4\u180b\u3164\ufe00\ufe0e\uffa0\U000e0101\u2800\xad\u2060")
def test_what_nobody_sees_is_written_out(char):
    """Two names that look the same are the same."""
    assert escape.line(f"nightly{char}") == f"nightly{escape.number(char)}"


@given(st.text(st.characters(), max_size=100))
def test_nothing_is_reordered(text):
    """Whatever stands beside a foreign text stays where it is."""
    directions = {unicodedata.bidirectional(char) for char in escape.line(text)}
    assert not directions & {"R", "AL", "AN", "RLE", "RLO", "RLI", "LRO", "LRE", "LRI", "FSI", "PDI", "PDF"}


def test_values_of_an_environment_are_masked():
    """They may be secrets; the names say what is set."""
    told = words.runner({"type": "subprocess", "config": {"env": {"PW": "hunter2"}, "condaenv": "x"}})
    assert told == 'subprocess (env = {"PW": "…"}, condaenv = "x")'
    assert "hunter2" not in words.runner({"type": "subprocess", "config": {"env": ["hunter2"]}})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\udcff"),
        ("\x9b2J", "\\x9b2J"),
        ("Grüße 日本 🙂", "Grüße 日本 🙂"),
        ("\u05d0\u05d1 1", "\\u05d0\\u05d1 1"),
    ],
)
def test_what_is_escaped_can_be_read(text, shown):
    """It is written as Python would."""
    assert escape.line(text) == shown


@pytest.mark.parametrize("write", [escape.visible, escape.kept_lines])
def test_a_character_is_judged_once_for_a_text(monkeypatch, write):
    """Tracebacks and messages of a hostile script have millions of them."""
    judged = []
    judge = escape.is_shown
    monkeypatch.setattr(escape, "is_shown", lambda char: judged.append(char) or judge(char))
    assert write("\u05d0\x1b" * 50_000) == "\\u05d0\\x1b" * 50_000
    assert sorted(judged) == ["\x1b", "\u05d0"]


@given(st.text(max_size=50), st.integers(1, 40))
def test_length_is_capped(text, cap):
    """A long text is cut, and it is said how long it was."""
    shown = escape.line(text, cap)
    if len(text) > cap:
        assert shown.endswith(f" … ({len(text)} characters)")
    assert len(shown) <= cap + len(f" … ({len(text)} characters)")


def test_block_is_capped_at_either_end():
    """What is cut is said where it was."""
    lines = "\n".join(map(str, range(1000)))
    assert escape.block(lines, 3)[:3] == ["0", "1", "2"]
    assert escape.block(lines, 3, tail=True)[1:] == ["997", "998", "999"]
    assert "3889 characters" in escape.block(lines, 3)[-1]
    assert len("".join(escape.block("x" * 10**6))) < escape.BLOCK + 100


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), TEXT),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(TEXT, below, max_size=3)),
    max_leaves=6,
)
SCHEMA = st.dictionaries(
    st.sampled_from(
        ["type", "properties", "required", "anyOf", "items", "enum", "$ref", "default", "format"]
    ),
    JSON,
)
SCHEDULE = st.dictionaries(
    st.sampled_from(["interval", "cron", "rrule", "timezone", "anchor_date", "day_or"]), JSON
)
MAYBE = st.one_of(st.none(), TEXT)
LINE = st.one_of(st.none(), st.integers(-1, 10**6))
FLOW = st.builds(
    Flow,
    name=TEXT,
    description=MAYBE,
    parameters=st.one_of(st.none(), SCHEMA, st.builds(lambda item: {"properties": {"x": item}}, SCHEMA)),
    file=MAYBE,
    line=LINE,
    retries=LINE,
    tags=st.lists(TEXT, max_size=2).map(tuple),
)
SPEC = st.builds(
    Spec,
    name=MAYBE,
    flow_name=MAYBE,
    flow_location=MAYBE,
    parameters=st.dictionaries(TEXT, JSON, max_size=2),
    schedule=st.one_of(st.none(), SCHEDULE),
    tags=st.lists(TEXT, max_size=2).map(tuple),
    flow_runner=st.one_of(st.none(), st.dictionaries(st.sampled_from(["type", "config"]), JSON)),
    file=MAYBE,
    line=LINE,
)
FRAME = st.builds(Frame, file=TEXT, line=LINE, function=TEXT, source=MAYBE)
TRACEBACK = st.lists(st.one_of(TEXT, TEXT.map('  File "{}", line 1, in x'.format)), max_size=5).map("\n".join)
ERROR = st.builds(
    Error,
    stage=TEXT,
    type=TEXT,
    message=TEXT,
    frames=st.lists(FRAME, max_size=2).map(tuple),
    traceback=TRACEBACK,
    hint=MAYBE,
)
OUTPUT = st.builds(Output, text=TEXT, bytes=st.integers(0, 9), truncated=st.booleans())
OUTCOME = st.builds(
    Outcome.model_construct,
    status=st.sampled_from(list(Status)),
    source=st.builds(Source.model_construct, location=TEXT, digest=TEXT, size=st.integers()),
    sandbox=st.builds(Sandbox.model_construct, profile=TEXT, guarantees=st.just((Guarantee("x", "full"),))),
    flows=st.lists(FLOW, max_size=2).map(tuple),
    specs=st.lists(SPEC, max_size=2).map(tuple),
    notices=st.lists(st.builds(Notice, kind=TEXT, message=TEXT, file=MAYBE, line=LINE), max_size=2).map(
        tuple
    ),
    error=st.one_of(st.none(), ERROR),
    stdout=OUTPUT,
    stderr=OUTPUT,
    dialect=st.builds(Dialect, name=TEXT, version=MAYBE),
)


@given(OUTCOME, st.sampled_from([40, 80]))
def test_no_field_of_an_outcome_reaches_the_terminal_unescaped(outcome, width):
    """Whatever a worker claimed, in whatever field: only text and our own line breaks come out."""
    shown = rendered(outcome, "-", terminal.Style(width=width))
    assert is_harmless(shown.replace("\n", ""))


@given(SCHEDULE, SCHEMA)
def test_any_claim_has_words(schedule, schema):
    """Words are found for claims of any shape."""
    assert isinstance(words.schedule(schedule), str)
    assert all(isinstance(item, str) for item in words.parameters({"properties": {"x": schema}}))


def test_modules_render_nothing_by_themselves():
    """Only rendering is here: no module of it can reach the engine's processes."""
    for module in (failure, listing, words):
        assert "process" not in vars(module)
