"""The daemon's configuration: every key, what stands above what, and mistakes told by their place."""

import os
import re
from importlib import resources
from itertools import pairwise

import pytest
import yaml
from pydantic import ValidationError

from loader import process
from loader.daemon import layers
from loader.daemon.config import WORKERS, Config, Listen, Peer, Watched, default_socket
from loader.errors import ConfigError
from loader.yaml_places import dotted

SHIPPED = resources.files("loader.daemon").joinpath("daemon.yaml").read_text(encoding="utf-8")
LISTEN = {"host": "127.0.0.1", "port": 1, "token_file": "/etc/token"}
VALUES = {
    "socket": "/run/x/api.sock",
    "socket_access": "everyone",
    "listen.host": "::1",
    "listen.port": 4280,
    "listen.token_file": "/etc/other",
    "listen.certificate": "/etc/cert.pem",
    "listen.key": "/etc/key.pem",
    "peers": [{"uid": 1000, "folders": ["/srv"], "deploy": True}, {"uid": "token"}],
    "limits.connections": 5,
    "limits.body": 2048,
    "limits.bodies": 64 << 20,
    "limits.request_seconds": 1.5,
    "limits.loads": 3,
    "limits.queue": 0,
    "limits.queue_per_caller": 7,
    "limits.wait_seconds": 2.0,
    "limits.engines": 2,
    "limits.engine_idle_seconds": 60.0,
    "limits.events": 9,
    "limits.event_readers": 4,
    "limits.event_backlog": 6,
    "limits.watched_files": 11,
    "sources": [{"location": "s3://bucket/flows", "every": 5, "allow_scheme": ["https"]}],
    "cache.enabled": False,
    "cache.folder": "/var/cache/x",
    "cache.size": 0,
    "state": "/var/lib/x",
    "registry": "/var/lib/registry.db",
    "log.format": "json",
    "log.level": "debug",
    "drain_seconds": 0.0,
    "tracing.endpoint": "http://127.0.0.1:4318/v1/traces",
}
"""A value of every key that is not its default."""


@pytest.fixture
def read(tmp_path):
    """Read a configuration from a text, variables and flags."""

    def load(text=None, environ=(), flags=()):
        file = None
        if text is not None:
            file = tmp_path / "own.yaml"
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Config.read(file and str(file), dict(environ), dict(flags))

    return load


@pytest.fixture
def mistakes(read):
    """The mistakes of a configuration, a line each."""

    def find(*given, **more):
        with pytest.raises(ConfigError) as caught:
            read(*given, **more)
        start, _, rest = str(caught.value).partition(": ")
        assert start.startswith("cannot use the configuration")
        return rest.split("\n  ")

    return find


def value(config, key):
    """The value of a dotted key, as plain data."""
    found = config.model_dump(mode="json")
    for step in key.split("."):
        found = found[step]
    return found


def nested(key, data):
    """A configuration's data that says one key, and what that key cannot be without."""
    section, _, name = key.rpartition(".")
    if section == "listen":
        tls = {"certificate": "/c", "key": "/k"} if name in ("certificate", "key") else {}
        return {section: LISTEN | tls | {name: data}}
    whole = {section: {name: data}} if section else {name: data}
    return whole | ({"listen": LISTEN} if key == "peers" else {})


def same(found, given):
    """Whether all that was given is there; a list's entries have defaults beside it."""
    if isinstance(given, list):
        return all(item | each == item for item, each in zip(found, given, strict=True))
    return found == given


def test_every_key_is_in_the_shipped_file_and_tested_here():
    """What is not documented cannot be set, and what cannot be set is not documented."""
    shipped = yaml.safe_load(SHIPPED)
    keys = [dotted(path) for path in layers.keys(Config)]
    assert keys == list(VALUES)
    assert list(shipped) == list(Config.model_fields)
    for section in ("limits", "cache", "log", "tracing"):
        assert list(shipped[section]) == [key.split(".")[1] for key in keys if key.startswith(f"{section}.")]


def test_every_key_of_the_shipped_file_is_explained():
    """A key is explained by a comment above it."""
    for above, line in pairwise(SHIPPED.splitlines()):
        if re.match(r" *\w+:", line):
            assert above.lstrip().startswith("# "), line


@pytest.mark.parametrize(("name", "model"), [("listen", Listen), ("peers", Peer), ("sources", Watched)])
def test_the_examples_in_the_comments_are_what_they_say(name, model):
    """Each key of a list's entry is listed with its default, and the example says all that is told."""
    text = SHIPPED.split(f"\n{name}:")[0].rpartition("\n\n")[2]
    listed = dict(re.findall(r"^#   (\w+) +(.*(?:\n#    .*)*)", text, re.MULTILINE))
    assert list(listed) == list(model.model_fields) or name == "listen"
    assert listed.keys() == model.model_fields.keys()
    example = yaml.safe_load(re.findall(r"^# (- \{.*\}|listen: \{.*\})$", text, re.MULTILINE)[-1])
    entry = example["listen"] if name == "listen" else example[0]
    given = model.model_validate(entry)
    if name == "sources":
        assert entry.keys() == model.model_fields.keys()
        assert given == model(location=given.location)


def test_nothing_said_is_the_shipped_file(read):
    """Its values are the defaults; null stands for what depends on this user and host."""
    config = read(environ={"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert config == read("# only a comment\n", {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert config == read("limits:\nlog:\n", {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert config.socket == "/run/user/7/flow-loader/api.sock"
    assert config.limits.loads >= 2
    assert (config.listen, config.peers, config.sources, config.tracing.endpoint) == (None, (), (), None)
    assert config.cache.folder.endswith("/.cache/flow-loader")
    assert config.state.endswith("/.local/state/flow-loader")


@pytest.mark.parametrize("key", VALUES)
def test_a_key_is_read_from_the_file(read, key):
    """Every key can be set, and means what it says."""
    config = read(yaml.safe_dump(nested(key, VALUES[key])))
    assert same(value(config, key), VALUES[key])
    assert config.model_dump().keys() == read().model_dump().keys()


@pytest.mark.parametrize("key", VALUES)
def test_the_environment_stands_above_the_file_and_flags_above_both(read, key):
    """The last word counts, key by key."""
    given = VALUES[key]
    variable = layers.variable(tuple(key.split(".")))
    rest = yaml.safe_dump(nested(key, given))
    wrong = nested(key, {"a": "mistake"})
    text = given if isinstance(given, str) else yaml.safe_dump(given, default_flow_style=True)
    assert same(value(read(yaml.safe_dump(wrong), {variable: text}), key), given)
    assert same(value(read(rest, {variable: "{a: mistake}"}, {key: given}), key), given)
    assert same(value(read(rest, {variable: "{a: mistake}"}, {key: text}), key), given)
    assert same(value(read(rest, {variable: ""}, {key: None}), key), given)


def test_a_section_can_be_made_of_variables_alone(read):
    """TCP needs no file."""
    config = read(environ={"FLOW_LOADER_LISTEN_PORT": "0", "FLOW_LOADER_LISTEN_TOKEN_FILE": "/etc/t"})
    assert config.listen == Listen(port=0, token_file="/etc/t")


def test_a_variable_may_name_the_file(tmp_path):
    """A unit need not have arguments; the argument stands above it."""
    for name, level in (("one", "error"), ("two", "debug")):
        (tmp_path / name).write_text(f"log: {{level: {level}}}")
    environ = {"FLOW_LOADER_CONFIG": str(tmp_path / "one")}
    assert Config.read(None, environ, {}).log.level == "error"
    assert Config.read(str(tmp_path / "two"), environ, {}).log.level == "debug"


def test_variables_of_clients_are_none_of_the_daemons(read):
    """Where to find the daemon is said to those who ask it."""
    assert read(environ={"FLOW_LOADER_DAEMON": "/x", "OTHER": "1", "FLOW_LOADER_TESTS_X": "1"})


def test_folders_that_systemd_made_are_used(read):
    """A unit with its own users and folders needs no configuration."""
    made = {f"{name}_DIRECTORY": f"/made/{name}" for name in ("RUNTIME", "CACHE", "STATE")}
    config = read(environ=made | {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/s"})
    assert config.socket == "/made/RUNTIME/api.sock"
    assert (config.cache.folder, config.state) == ("/made/CACHE", "/made/STATE")
    config = read(environ={"CACHE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "relative"})
    assert config.cache.folder == "/a"
    assert config.state == os.path.expanduser("~/.local/state/flow-loader")


def test_without_a_runtime_folder_the_socket_has_a_place_too(monkeypatch):
    """Root's is known to all; others' is named for their number."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_socket({"XDG_RUNTIME_DIR": "relative"}) == "/run/flow-loader/api.sock"
    monkeypatch.setattr(os, "geteuid", lambda: 1007)
    assert default_socket({}) == "/tmp/flow-loader-1007/api.sock"


def test_mistakes_are_named_by_line_and_key(mistakes):
    """All of them at once, in the order in which they are there."""
    found = mistakes(
        """\
limits:
  queue: many
  qeue: 3
  loads: true
sources:
- location: flows
  profile: strikt
  allow_scheme: [gopher]
- {}
peers:
- {uid: -1}
log: json
drain_seconds: .inf
state: 4
stat: 4
"""
    )
    text = "\n".join(found)
    for line, key, words in [
        (2, "limits.queue", "must be a whole number"),
        (3, "limits.qeue", "unknown; did you mean 'queue'?"),
        (4, "limits.loads", "must be a whole number"),
        (6, "sources[0].location", "must be an absolute path or a URL"),
        (7, "sources[0].profile", "must be one of development, network"),
        (8, "sources[0].allow_scheme[0]", "must be 'abfs' or"),
        (9, "sources[1].location", "missing"),
        (11, "peers[0].uid", "must be a whole number from 0 to 4294967294, or 'token'"),
        (12, "log", "must be a mapping"),
        (13, "drain_seconds", "must be a number of seconds"),
        (14, "state", "must be an absolute path"),
        (15, "stat", "unknown; did you mean 'state'?"),
    ]:
        assert re.search(rf"^line {line}: key '{re.escape(key)}': {re.escape(words)}", text, re.MULTILINE), (
            key
        )
    assert len(found) == 12


def test_mistakes_of_variables_and_flags_are_named_by_them(mistakes):
    """Whoever set it must find it."""
    environ = {
        "FLOW_LOADER_LOG_FORMAT": "xml",
        "FLOW_LOADER_LOG_FROMAT": "json",
        "FLOW_LOADER_SOURCES": "[{location: /srv, every: x}]",
        "FLOW_LOADER_PEERS": "*all",
    }
    assert mistakes(environ=environ, flags={"limits.queue": "x", "limits.quue": 1}) == [
        "--limits-queue: must be a whole number",
        "--limits-quue: unknown; did you mean '--limits-queue'?",
        "FLOW_LOADER_LOG_FORMAT: must be 'json' or 'console'",
        "FLOW_LOADER_LOG_FROMAT: unknown; did you mean 'FLOW_LOADER_LOG_FORMAT'?",
        "FLOW_LOADER_PEERS: the alias '*all' is not allowed; repeat the value",
        "FLOW_LOADER_SOURCES (key 'sources[0].every'): must be a number of seconds",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("peers: [{uid: 7}, {uid: 7}]", "key 'peers[1].uid': there is an entry for 7 already"),
        ("peers: [{uid: token}]", "key 'peers[0].uid': needs 'listen', which has the token"),
        ("limits: {body: 1 GiB, bodies: 1 MiB}", "key 'limits.bodies': must not be less than 'limits.body'"),
        ("listen: {port: 1, token_file: /t, key: /k}", "key 'listen': must have both"),
        ("listen: {port: 1, token_file: /t, host: 0.0.0.0}", "key 'listen': must have 'certificate'"),
        ("listen: {port: 1, token_file: /t, host: example.org}", "key 'listen': must have 'certificate'"),
        ("listen: {port: 1}", "key 'listen.token_file': missing"),
        ("tracing: {endpoint: 'ftp://127.0.0.1/'}", "key 'tracing.endpoint': must be a URL"),
        ("tracing: {endpoint: 'http://[x/'}", "key 'tracing.endpoint': "),
        ("socket: ./api.sock", "key 'socket': must be an absolute path"),
        ('socket: "/run/\\0"', "key 'socket': must be an absolute path"),
    ],
)
def test_what_one_key_needs_of_another(mistakes, text, words):
    """What would be open, or could not work, is refused before anything starts."""
    (found,) = mistakes(text)
    assert found.startswith(f"line 1: {words}")


@pytest.mark.parametrize("user", [0, 1000])
def test_the_workers_of_root_are_no_peers(mistakes, read, monkeypatch, user):
    """A script that can reach the socket would be granted what that user is."""
    assert WORKERS == process.NOBODY
    monkeypatch.setattr(os, "geteuid", lambda: user)
    text = f"peers: [{{uid: {WORKERS}}}]"
    if user == 0:
        (found,) = mistakes(text)
        assert found.startswith("line 1: key 'peers[0].uid': must not be the user that workers of root")
    else:
        assert read(text).peers[0].uid == WORKERS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a 1\nsocket: *a", "anchor"),
        ("limits: {queue: 1, queue: 2}", "it is there already, on line 1"),
        ("limits: !!python/object/apply:os.system [id]", "tag"),
        ("log:\n  <<: {level: info}", "merge key"),
        ("limits: {queue: 0100}", "octal"),
        ("[" * 100, "nest more than"),
        ("{a: " * 40 + "1" + "}" * 40, "nest more than"),
        ("# " + "x" * 70_000, "has more than"),
        ("socket: '\x1b[2J'", "not allowed"),
        ("state: /a\n---\nstate: /b", "a second document begins"),
        ("- a", "must be a mapping"),
        ("socket: {a: [", "expected"),
        ("limits: {" + ", ".join(f"k{n}: 1" for n in range(5000)) + "}", "unknown"),
    ],
)
def test_hostile_yaml_is_refused_with_its_line(mistakes, text, words):
    """Nothing is guessed, expanded or run, and the message stays short."""
    found = mistakes(text)
    assert any(words in item for item in found)
    assert all(item.startswith("line ") and len(item) < 400 and item.isprintable() for item in found)
    assert len(found) <= 20


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    """Its name and the remedy, without control characters."""
    for name, content, why in [
        ("no\x1bne", None, "No such file or directory; name another file with --config"),
        ("latin", b"socket: \xe9", "it is not UTF-8 text, from byte 8 on"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            Config.read(str(tmp_path / name), {}, {})
        assert str(caught.value).isprintable()
        assert why in str(caught.value)


def test_a_configuration_cannot_be_changed(read):
    """What was checked is what holds."""
    with pytest.raises(ValidationError, match="frozen"):
        read().limits.queue = 5
