"""Mistakes in manifests: every one of every spec, where it stands, whatever is wrong with the others."""

import pytest

from loader.errors import ManifestError
from loader.manifests import ENTRY_CAP, SHOWN_CAP, explain, parse

PLACE = "/srv/flows/deployments.yaml"
SPEC = "name: a\nflow_location: f.py\n"


def said(text):
    """Every mistake of a manifest, in the order of its entries."""
    return [str(problem) for entry in parse(text, PLACE) for problem in entry.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shedule: {}", ["line 3: key 'shedule': there is no such key; did you mean 'schedule'?"]),
        ("zzz: 1", ["line 3: key 'zzz': there is no such key"]),
        ("flow: f", ["line 3: key 'flow': a manifest cannot hold a flow; give its file as flow_location"]),
        ("flow_name: 1", ["line 3: key 'flow_name': text is due; put it in quotes"]),
        ("flow_name: no", ["line 3: key 'flow_name': text is due; put it in quotes"]),
        ("flow_name: 2022-05-01", ["line 3: key 'flow_name': text is due; put it in quotes"]),
        ("tags: a", ["line 3: key 'tags': a list of texts is due"]),
        ("tags: [a, 1]", ["line 3: key 'tags[1]': text is due; put it in quotes"]),
        ("tags:\n- on\n- b\n- 1.5", ["line 4: key 'tags[0]': text is due; put it in quotes",
                                     "line 6: key 'tags[2]': text is due; put it in quotes"]),
        ("parameters: [a]", ["line 3: key 'parameters': a mapping is due"]),
        ("parameters: {a: {b: .inf}}", ["line 3: key 'parameters.a.b': this is no number that JSON has;"
                                        " give another, or put text in quotes"]),
        ("parameters: {a: [.nan]}", ["line 3: key 'parameters.a[0]': this is no number that JSON has;"
                                     " give another, or put text in quotes"]),
        (f"parameters:\n  a: {1 << 64}", ["line 4: key 'parameters.a': the number takes more than 64 bits;"
                                          " put it in quotes"]),
        ("schedule:\n  interval: 0", ["line 4: key 'schedule.interval': The interval must be positive"]),
        ("schedule:\n  interval: yes", ["line 4: key 'schedule.interval': a length of time is due,"
                                        " like 3600, '1:00:00' or 'PT1H'"]),
        ("schedule:\n  interval: soon", ["line 4: key 'schedule.interval': a length of time is due,"
                                         " like 3600, '1:00:00' or 'PT1H'"]),
        ("schedule: {interval: 1, anchor_date: 20220501}",
         ["line 3: key 'schedule.anchor_date': a date is due, like 2022-05-01"]),
        ("schedule:\n  cron: '* *'", ["line 4: key 'schedule.cron': Invalid cron string: \"* *\""]),
        ("schedule:\n  cron: '* * * * *'\n  timezone: Mars",
         ["line 5: key 'schedule.timezone': Invalid timezone: \"Mars\""]),
        ("schedule: {}", ["line 3: key 'schedule': a schedule is due: a mapping with one of interval, cron,"
                          " rrule"]),
        ("flow_runner: dokcer", ["line 3: key 'flow_runner': there is no flow runner 'dokcer';"
                                 " did you mean 'docker'?"]),
        ("flow_runner:\n  type: docker\n  config:\n    imag: x",
         ["line 6: key 'flow_runner.config.imag': there is no such field"]),
        ("flow_runner:\n  type: docker\n  config:\n    env: {V: 3.10}",
         ["line 6: key 'flow_runner.config.env.V': text is due; put it in quotes"]),
        ("flow_storage: 12", ["line 3: key 'flow_storage': a storage block is due: its UUID, or a mapping of"
                              " type and config"]),
        ("flow_storage:\n  type: S3 Storage\n  config: {buckt: b}",
         ["line 5: key 'flow_storage.config.bucket': it must be given",
          "line 5: key 'flow_storage.config.buckt': there is no such field"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_key(text, expected):
    """What is wrong is said once, where it stands."""
    assert said(SPEC + text) == expected


def test_the_location_must_be_given():
    """A manifest has no other way to say what is to run."""
    assert said("name: a") == ["line 1: key 'flow_location': it must be given: where the flow's script is"]


def test_a_name_may_not_hold_what_no_deployment_may():
    """The rule is that of scripts."""
    assert said("name: a/b\nflow_location: f.py") == [
        "line 1: key 'name': Name 'a/b' contains an invalid character."
        " Must not contain any of: ['/', '%', '&', '>', '<']."
    ]


def test_every_mistake_of_every_spec_is_told_and_hides_no_other():
    """Four wrong ones, of the YAML and of what it says, among two good ones."""
    entries = parse(
        "name: good\nflow_location: f.py\n"
        "---\n"
        "name: 1\ntags: x\nnam: y\nname: z\n"
        "---\n"
        "- name: &a b\n  flow_location: f.py\n  schedule: {interval: -1}\n"
        "- just text\n"
        "- name: fine\n  flow_location: f.py\n"
        "---\n"
        "name: [\n"
        "---\n"
        "name: last\nflow_location: f.py\n",
        PLACE,
    )
    good = [entry.spec.name for entry in entries if entry.spec]
    assert good == ["good", "fine", "last"]
    lines = [[problem.position.line for problem in entry.problems] for entry in entries]
    assert lines == [[], [4, 5, 6, 7], [9, 11], [12], [], [17], []]


def test_keys_are_named_from_their_own_spec_on():
    """Where in a list it stands is what the line says."""
    text = "- flow_location: f.py\n- flow_location: f.py\n  parameters: {a: *b}\n  tags: [1]\n"
    assert said(text) == [
        "line 3: key 'parameters.a': the alias '*b' is not allowed; repeat the value",
        "line 4: key 'tags[0]': text is due; put it in quotes",
    ]


def test_a_wrong_spec_keeps_its_name():
    """Whoever lists the mistakes can say whose they are."""
    entries = parse("name: a\n---\n- name: b\n  zzz: 1\n- name: 3\n- c\n", PLACE)
    assert [(entry.name, entry.spec) for entry in entries] == [
        ("a", None),
        ("b", None),
        (None, None),
        (None, None),
    ]


def test_a_missing_place_is_that_of_the_first_key():
    """Of the second document, not of the text."""
    assert said(f"{SPEC}---\n\nname: b\n")[0].startswith("line 5: key 'flow_location'")


def test_a_syntax_mistake_in_a_list_leaves_the_items_before_it():
    """And says that those after it were not looked at."""
    entries = parse(f"- {{{'name: a, flow_location: f.py'}}}\n- name: 'b\n- name: c\n---\n{SPEC}", PLACE)
    assert [entry.spec.name if entry.spec else None for entry in entries] == ["a", None, "a"]
    (problem,) = entries[1].problems
    assert str(problem) == (
        "line 4: found unexpected document separator, while scanning a quoted scalar that begins on line 2;"
        " what follows in this document was not read"
    )


def test_what_is_wrong_with_a_list_itself_is_told_beside_its_items():
    """An anchor before the first item belongs to none of them."""
    entries = parse("&all\n- flow_location: f.py\n", PLACE)
    assert entries[0].spec is not None
    assert [str(problem) for problem in entries[1].problems] == [
        "line 1: the anchor '&all' is not allowed; take it out"
    ]


def test_secrets_are_in_no_message():
    """Whatever is wrong with a value of storage or environment, it is not repeated."""
    lines = [
        "bucket: 2022-13-41",
        "aws_access_key_id: *hunter2",
        "aws_secret_access_key: !hunter2 x",
        "aws_session_token: [hunter2]",
        "profile_name: 0177",
    ]
    storage = f"flow_storage: {{type: S3 Storage, config: {{{', '.join(lines)}}}}}\n"
    runner = "flow_runner: {type: docker, config: {env: {A: [hunter2], B: *hunter2}}}\n"
    entries = parse(SPEC + storage + runner, PLACE)
    text = explain(PLACE, entries) + repr(entries)
    assert len(entries[0].problems) >= 7
    assert not any(secret in text for secret in ("hunter2", "2022", "0177"))
    assert "hunter2" not in repr(parse(f"{SPEC}flow_storage: {{type: S3 Storage, config: {{bucket: b,"
                                       " aws_session_token: hunter2}}", PLACE))  # fmt: skip


# --- the message ---------------------------------------------------------------------------------


def test_the_message_has_a_line_for_each_mistake_in_order():
    """File, line and column come first, as editors know them."""
    entries = parse(f"{SPEC}tags: [1]\n---\nshedule: 1\nflow_location: f.py\n", "deployments.yaml")
    text = explain("deployments.yaml", reversed(entries))
    assert text == (
        "cannot use the manifest deployments.yaml: it has 2 mistakes to mend\n"
        "  deployments.yaml:3:8: key 'tags[0]': text is due; put it in quotes\n"
        "  deployments.yaml:5:1: key 'shedule': there is no such key; did you mean 'schedule'?"
    )
    assert str(ManifestError(text)) == text


def test_a_long_message_is_cut_and_says_so():
    """The first mistakes are those to mend first."""
    text = explain(PLACE, parse("zzz: 1\nflow_location: f.py\n---\n" * 70, PLACE))
    lines = text.splitlines()
    assert len(lines) == 1 + SHOWN_CAP + 1
    assert lines[0].endswith("it has 70 mistakes to mend")
    assert lines[-1] == f"  and {70 - SHOWN_CAP} more"


def test_foreign_text_does_not_leave_its_line():
    """Names of any length with any characters are quoted, and shortened."""
    name = "a\\n  /etc/passwd:1: \\e[31m\\u202e" + "x" * 500
    text = f'{SPEC}"{name}": 1\nschedule: {{cron: x, timezone: "{name}"}}\nflow_runner: "{name}"'
    message = explain("a\nb\u202e.yaml", parse(text, PLACE))
    lines = message.splitlines()
    assert len(lines) == 1 + 4
    assert all(line.isprintable() and len(line) < 500 for line in lines)
    assert lines[1].startswith("  a\\nb\\u202e.yaml:3:1: key 'a\\n")


# --- the whole text ------------------------------------------------------------------------------


def test_what_is_not_utf8_is_refused_with_its_place():
    """UTF-16 included."""
    (entry,) = parse("name: a\nflow_location: é.py".encode("latin-1"), PLACE)
    assert (entry.line, entry.column, entry.spec) == (2, 16, None)
    assert [str(problem) for problem in entry.problems] == [
        "line 2: this is not UTF-8 text; save it as UTF-8"
    ]
    assert said(SPEC.encode("utf-16")) == ["line 1: this is not UTF-8 text; save it as UTF-8"]
    assert said(SPEC.encode("utf-16-le")) == ["line 1: the character '\\x00' is not allowed"]


@pytest.mark.slow
def test_more_specs_than_the_cap_are_refused():
    """The first of them are still read."""
    entries = parse("- flow_location: f.py\n" * (ENTRY_CAP + 1), PLACE)
    assert sum(entry.spec is not None for entry in entries) == ENTRY_CAP
    assert [str(problem) for problem in entries[-1].problems] == [
        f"line {ENTRY_CAP + 1}: there are more than {ENTRY_CAP} specs; split the manifest"
    ]
    assert all(entry.spec for entry in parse("- flow_location: f.py\n" * ENTRY_CAP, PLACE))


def test_specs_before_a_limit_are_read_and_the_rest_is_said_not_to_be():
    """A list of mistakes that ends has an end."""
    entries = parse(SPEC + "---\na: &x 1\n" * 300 + f"---\n{SPEC}", PLACE)
    assert entries[0].spec is not None
    assert str(entries[-1].problems[0]).endswith("there are too many mistakes; what follows was not read")
    assert all(entry.spec is None for entry in entries[1:])
