"""Manifests that nobody wrote in good faith: refused with a place and a reason, in bounded time."""

import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.manifests import LIMITS, explain, parse
from loader.specs import DeploymentSpec
from loader.yaml_places import place

pytestmark = pytest.mark.slow

PLACE = "/srv/m.yaml"
GOOD = "flow_location: f.py\n"
BOUND = 5.0
"""Seconds that no manifest may take; the slowest below needs a third of it on a slow machine."""
MEMORY = 200 << 20
"""Bytes that no manifest may take."""


def refused(text):
    """The text of the error for a manifest with mistakes, made in bounded time."""
    started = time.monotonic()
    entries = parse(text, PLACE)
    message = explain(PLACE, entries)
    assert time.monotonic() - started < BOUND
    assert any(entry.problems for entry in entries)
    assert len(message) < 60 * 700
    return message


def first(text):
    """The first mistake of a manifest."""
    return refused(text).splitlines()[1].strip().removeprefix(PLACE + ":")


def test_alias_bombs_are_refused_where_they_begin():
    """No alias is followed, so none can multiply."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    message = refused("\n".join(["a0: &a0 x", *levels]))
    assert f"{PLACE}:1:5: key 'a0': the anchor '&a0' is not allowed; take it out" in message


def test_merge_bombs_are_refused_where_they_begin():
    """No mapping is merged into another."""
    merges = [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    message = refused("\n".join(["a0: &a0 {x: 1}", *merges]))
    assert "key 'a1': the merge key '<<' is not allowed; write the keys out" in message


def test_an_alias_to_itself_is_refused():
    """There is no data without an end."""
    assert "the anchor '&a' is not allowed" in refused(GOOD + "parameters: &a {a: *a}")


@pytest.mark.parametrize("start", ["[", "{a: ", "- ", "? ", "{? ", "[{a: ", "a:\n- "])
def test_deep_nesting_is_refused(start):
    """Whichever way it is written, and however deep; the specs around it are read."""
    depth = LIMITS.size // 2 // len(start)
    assert refused(start * depth)
    block = "".join(f"{' ' * n}a:\n" for n in range(500))
    assert "nest more than 32 deep" in refused(block)
    before, wrong, after = parse(f"{GOOD}---\n{start * 2_000}\n---\n{GOOD}", PLACE)
    assert before.spec is not None
    assert after.spec is not None
    assert wrong.problems


@pytest.mark.parametrize(
    "text", ["#" * 10_000_000, b"a" * 10_000_000, b"\xff" * 10_000_000, "é" * 10_000_000]
)
def test_a_text_of_megabytes_is_refused_unread(text):
    """The place is where the limit is passed."""
    assert first(text) == f"1:{LIMITS.size + 1}: the text has more than {LIMITS.size} characters"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (GOOD * 2, "flow_location"),
        (GOOD + "schedule:\n  cron: '* * * * *'\n  cron: '1 * * * *'\n", "schedule.cron"),
        (GOOD + "parameters: {a: {b: {c: 1, 'c': 2}}}\n", "parameters.a.b.c"),
        (GOOD + "parameters: {a: [{b: 1, ? b : 2}]}\n", "parameters.a[0].b"),
        (GOOD + 'tags: []\n"\\x74ags": []\n', "tags"),
        (GOOD + "flow_runner: {type: docker, config: {env: {A: x, A: y}}}\n", "flow_runner.config.env.A"),
    ],
)
def test_a_key_may_be_there_once_at_every_level(text, key):
    """However it is written."""
    assert f"key '{key}': it is there already, on line " in refused(text)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [touch /tmp/x]",
        "!!python/name:os.system",
        "!!python/object:loader.specs.DeploymentSpec {}",
        "!!python/object/new:tuple [[1]]",
        "!include /etc/passwd",
        "!<tag:yaml.org,2002:python/none> x",
        "!!binary aGk=",
        "!!set {a}",
        "!!str x",
        "! x",
    ],
)
def test_no_tag_is_looked_up(tag):
    """Known to others or not."""
    assert "key 'parameters.a': the tag " in refused(f"{GOOD}parameters:\n  a: {tag}\n")


@pytest.mark.parametrize(
    "value",
    [
        "0000-01-01",
        "2022-13-41",
        "0001-01-01 25:00:00",
        "9" * 4_300,
        "-" + "9" * 65,
        "0x" + "f" * 900_000,
        "0b_",
    ],
)
def test_dates_and_numbers_that_cannot_be_are_refused(value):
    """At once, however many digits there are."""
    message = first(f"{GOOD}parameters:\n  a: {value}\n")
    assert message.startswith("3:6: key 'parameters.a': the value '")
    assert message.endswith("cannot be read; put text in quotes")


@pytest.mark.parametrize(
    "value", [".inf", "-.Inf", ".NaN", "1.0e+999", "9" * 64, str(1 << 64), str(-(1 << 63) - 1)]
)
def test_numbers_that_json_does_not_have_are_refused(value):
    """Those that other readers would take for others included."""
    assert first(f"{GOOD}parameters:\n  a: {value}\n").startswith("3:3: key 'parameters.a': ")
    assert refused(f"{GOOD}schedule:\n  interval: {value}\n")


@pytest.mark.parametrize("value", ["010", "-0777", "00", "0_7"])
def test_numbers_that_may_be_octal_are_refused(value):
    """Readers of YAML do not agree on what they are."""
    assert f"the number '{value}' may be octal" in first(f"{GOOD}parameters: {{a: {value}}}\n")


@pytest.mark.parametrize(
    "key", ["on", "yes", "no", "Off", "true", "1", "1.5", "~", "2022-05-01", "2022-05-01 10:00:00", ""]
)
def test_a_key_that_yaml_takes_for_something_else_is_refused(key):
    """Only text is a key, at every level; in quotes anything is text."""
    assert f"the key '{key}' is not text; put it in quotes" in refused(
        f"{GOOD}{key or '?'}: 1\n" if key else f"{GOOD}? \n: 1\n"
    )
    assert f"the key '{key}' is not text" in refused(f"{GOOD}parameters: {{? {key} : 1}}\n")
    (entry,) = parse(f"{GOOD}parameters: {{'{key}': 1}}\n", PLACE)
    assert entry.spec.parameters == {key: 1}


@pytest.mark.parametrize(
    "key", ["? [a, b]\n: 1\n", "? {a: b}\n: 1\n", "[a]: 1\n", "? - a\n: 1\n", "? |\n  name\n: 1\n"]
)
def test_complex_keys_are_refused(key):
    """They have no JSON form; a block of text is a key that no spec has."""
    assert "a key is not text" in refused(key) or "there is no such key" in refused(key)


@pytest.mark.parametrize(
    "character", ["\u202e", "\u2066", "\u2028", "\x85", "\x00", "\x1b", "\x7f", "\ufeff", "\ufffe", "\ud800"]
)
def test_characters_that_hide_what_a_text_says_are_refused(character):
    """In comments too; those that turn its direction, that break lines for some readers, and controls."""
    text = f"{GOOD}name: a # {character} x\n"
    assert first(text) == f"2:11: the character {character!r} is not allowed"
    assert all(line.isprintable() for line in refused(text).splitlines())


def test_hidden_characters_written_as_escapes_are_data():
    """An author may want them; whoever shows them sees to it."""
    (entry,) = parse(GOOD + 'parameters: {a: "\\u202e\\x1b"}\n', PLACE)
    assert entry.spec.parameters == {"a": "\u202e\x1b"}


@pytest.mark.parametrize(
    "text", ["name: a\n\tflow_location: f.py\n", "\tname: a\n", "- \t- a\n", "a:\n  - b\n\t- c\n"]
)
def test_tabs_do_not_indent(text):
    """YAML forbids it."""
    assert refused(text)


def test_very_long_texts_are_data():
    """A parameter may be as long as the manifest."""
    long = "x" * (LIMITS.size - 100)
    (entry,) = parse(f"{GOOD}parameters: {{a: {long}}}\n", PLACE)
    assert entry.spec.parameters == {"a": long}
    (entry,) = parse(f"{GOOD}parameters:\n  a: |\n    {long}\n", PLACE)
    assert entry.spec.parameters == {"a": long + "\n"}


@pytest.mark.parametrize(
    "text",
    [
        "? {}\n: 1\n",
        "name: &{} a\n",
        "name: !{} a\n",
        "name: *{}\n",
        "name: a/{}\n",
        "flow_runner: {}\n",
        "flow_storage:\n  type: {}\n",
        "flow_storage: {}\n",
        "flow_location: ../{}/f.py\n",
        "schedule:\n  cron: {}\n",
        "schedule:\n  rrule: {}\n",
        "schedule:\n  interval: {}\n",
        "schedule:\n  cron: '* * * * *'\n  timezone: {}\n",
        "flow_runner:\n  type: docker\n  config:\n    ? {}\n    : 1\n",
    ],
)
def test_very_long_names_are_cut_in_messages(text):
    """Whose mistake they are does not matter."""
    start = "x: 1\n" if "flow_location" in text else f"x: 1\n{GOOD}"
    assert len(refused(start + text.format("y" * 200_000))) < 1_000


@pytest.mark.parametrize(
    "text", ["---\n" * 100_000, "--- a\n...\n" * 20_000, "--- ~\n" * 100_000, "---\n- {}\n" * 50_000]
)
def test_very_many_documents_are_refused(text):
    """Empty ones too."""
    assert f"there are more than {LIMITS.documents} documents" in refused(text) or "mistakes" in refused(text)


@pytest.mark.parametrize(
    "text", ["- a\n" * 200_000, "[" + "{}," * 300_000 + "]", GOOD + "tags: [" + "1," * 400_000 + "]"]
)
def test_very_many_values_are_refused(text):
    """Reading them takes time that their number bounds."""
    assert refused(text)


def test_broken_documents_cost_no_more_than_they_are_long():
    """After each mistake reading begins anew at the next document, as often as there may be mistakes."""
    assert refused("a: [\n---\n" * 300 + "#" * (LIMITS.size - 5_000))
    assert refused("a: 'x\n---\n" * 100_000)


def nested(lists):
    """A spec with so many lists of the greatest depth."""
    return GOOD + "parameters: {a: [" + ("[" * 28 + "]" * 28 + ",\n") * lists + "]}"


def test_the_slowest_texts_take_bounded_time():
    """Lists in lists within every limit, and as many specs as there may be."""
    one = f"---\n{GOOD}schedule: {{cron: '0 9 * * 1-5', timezone: UTC}}\nparameters: {{a: [1, b]}}\n"
    for text in (nested(1_700), one * 1_000):
        started = time.monotonic()
        assert any(entry.spec for entry in parse(text, PLACE))
        assert time.monotonic() - started < BOUND


def test_memory_is_bounded_by_the_number_of_values():
    """A manifest of a quarter of what may be takes a quarter of the memory."""
    tracemalloc.start()
    try:
        assert parse(nested(425), PLACE)[0].spec is not None
        assert tracemalloc.get_traced_memory()[1] < MEMORY / 4
    finally:
        tracemalloc.stop()


def test_comments_alone_are_no_specs():
    """However many there are."""
    assert parse("# name: a\n" * 50_000, PLACE) == ()


# --- whatever the text ---------------------------------------------------------------------------

SCRAPS = st.sampled_from(
    [
        *("name flow_name flow_location flow_storage parameters schedule tags flow_runner".split()),
        *("interval cron rrule timezone anchor_date type config docker subprocess env options".split()),
        *("bucket f.py ../f.py".split()),
        *("s3://b/f.py 1:00:00 PT1H 2022-05-01 .inf 010 0x1F -1 ~ yes null '' | > & * ! % @ ` # ?".split()),
        *(": , [ ] { } - --- ... << = &a *a !!str".split()),
        '"x"',
        "S3 Storage",
        "",
    ]
)
LAYOUT = st.sampled_from([" ", "\n", "\n  ", ": ", "\n- ", ", ", "\n---\n", ""])
SOUP = st.lists(st.tuples(SCRAPS, LAYOUT), max_size=40).map(lambda pairs: "".join(map("".join, pairs)))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["name", "flow_name", "flow_storage", "parameters", "schedule", "tags", "flow_runner", "flow", "x"]
)
PARTS = st.sampled_from(
    [
        {"interval": 60},
        {"cron": "* * * * *"},
        {"type": "docker", "config": {}},
        {"type": "S3 Storage", "config": {"bucket": "b"}},
        "docker",
        ["a"],
    ]
)


def sound(entries):
    """Check what holds of every manifest: a spec or its mistakes, and a message of bounded length."""
    for entry in entries:
        assert (entry.spec is None) == bool(entry.problems)
        assert entry.line >= 1
        assert entry.column >= 1
        assert entry.spec is None or isinstance(entry.spec, DeploymentSpec)
        assert all(problem.position.line >= 1 for problem in entry.problems)
    message = explain(PLACE, entries)
    assert all(line.isprintable() for line in message.splitlines())
    assert len(message) < 60 * 700


@given(st.one_of(st.text(), st.binary(), SOUP))
@example("&a\n- ?\n")
@example("- x: 1\n  [\n")
def test_whatever_the_text_there_are_specs_or_mistakes(text):
    """No exception, and no entry that is neither."""
    sound(parse(text, PLACE))


@given(st.dictionaries(KEYS, st.one_of(PLAIN, PARTS), max_size=5))
def test_whatever_the_data_there_is_a_spec_or_mistakes(data):
    """JSON is YAML: every kind of value at every key."""
    import json

    entries = parse(json.dumps({"flow_location": "f.py", **data}), PLACE)
    assert len(entries) == 1
    sound(entries)


@given(st.one_of(st.text(), SOUP))
def test_a_wrong_document_changes_nothing_in_those_around_it(middle):
    """The good ones before and after it are read as if it were not there, unless the text is refused."""
    text = f"name: before\n{GOOD}---\n{middle}\n---\nname: after\n{GOOD}"
    entries = parse(text, PLACE)
    sound(entries)
    if len(entries) == 1:
        assert str(entries[0].problems[0]).endswith("is not allowed")
        return
    assert entries[0].spec.name == "before"
    assert entries[-1].spec.name == "after"
    assert entries[-1].line == place(text, text.rindex("name: after")).line
