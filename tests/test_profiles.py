"""Profiles: the built-in ones mean what they promise, and every mistake of a file is found."""

import re
import time
from importlib import resources
from itertools import pairwise

import pytest

from loader.errors import FlowLoaderError, ProfileError
from loader.profile_schema import VALUES
from loader.profile_words import ASKED, OPEN
from loader.profiles import builtin_names, describe, descriptions, load_profile
from worker.protocol import GUARANTEES

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture
def profile(tmp_path):
    """Load a profile of one's own from its text."""

    def load(text, timeout=None):
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return load_profile(str(path), timeout)

    return load


@pytest.fixture
def mistakes(profile):
    """The mistakes of a profile's text, a line each."""

    def find(text):
        with pytest.raises(ProfileError) as caught:
            profile(text)
        start, _, rest = str(caught.value).partition(".yaml: ")
        assert start.startswith("cannot use profile /")
        return rest.split("\n  ")

    return find


def test_there_are_four_builtin_profiles():
    """A name that is documented is there, and each says what it is."""
    assert builtin_names() == ("development", "network", "no-namespaces", "strict")
    assert descriptions().keys() == set(builtin_names())


def test_strict_requires_every_guarantee_in_full():
    """The default leaves nothing out."""
    policy = load_profile("strict")
    assert policy.profile == "strict"
    assert policy.demands == dict.fromkeys(GUARANTEES, "full")
    assert policy.required == GUARANTEES
    assert (policy.read, policy.scratch, policy.outbound, policy.processes) == ((), 64 * MIB, False, 0)
    assert (policy.memory, policy.cpu, policy.wall, policy.threads) == (GIB, 30, 30.0, 64)
    assert (policy.open_files, policy.file_size) == (256, 64 * MIB)
    assert (policy.output, policy.result) == (256 * KIB, 4 * MIB)
    assert policy.environment == ("LANG", "LC_ALL", "TZ")


def test_no_namespaces_gives_up_only_what_needs_them():
    """Existence of files and processes may be seen, threads are not counted, and nothing can be written."""
    strict, policy = load_profile("strict"), load_profile("no-namespaces")
    changed = {name for name in GUARANTEES if policy.demands[name] != strict.demands[name]}
    assert changed == {"filesystem", "processes", "visibility"}
    assert policy.required == GUARANTEES
    assert policy.scratch == 0
    assert not policy.outbound


def test_network_only_opens_connections():
    """Beside connections it opens what a resolver of names reads."""
    strict, policy = load_profile("strict"), load_profile("network")
    assert policy.outbound
    assert (policy.demands, policy.required) == (strict.demands, strict.required)
    assert all(path.startswith("/etc/") for path in policy.read)


def test_development_asks_for_limits_and_time_only():
    """What it does not ask for has neutral values."""
    policy = load_profile("development")
    limits = {"memory", "cpu", "wall", "open_files", "output", "result", "environment"}
    assert policy.demands.keys() == limits
    assert (policy.outbound, policy.scratch, policy.read) == (True, 0, ())
    assert policy.processes == policy.threads == 65_535


@pytest.mark.parametrize("name", ["development", "network", "no-namespaces", "strict"])
def test_every_key_of_a_builtin_profile_is_explained(name):
    """A key is explained by a comment above it; `hold` and `level` are explained once, on top of strict."""
    lines = (
        resources.files("sandbox_profiles").joinpath(f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    )
    for above, line in pairwise(lines):
        key = re.match(r" *(\w+):", line)
        if key and key[1] not in {"hold", "level", "description"}:
            assert above.lstrip().startswith("#"), line


def test_the_schema_and_the_words_cover_every_guarantee():
    """Nothing can be asked for that cannot be said or explained."""
    assert tuple(VALUES) == tuple(ASKED) == tuple(OPEN) == GUARANTEES


def test_a_file_may_change_single_keys_of_a_builtin_profile(profile):
    """What it does not say is the extended profile's."""
    policy = profile("description: mine\nextends: strict\nmemory:\n  size: 2 GiB\ncpu: {hold: best-effort}\n")
    strict = load_profile("strict")
    assert policy.memory == 2 * GIB
    assert policy.required == tuple(name for name in GUARANTEES if name != "cpu")
    assert (policy.demands, policy.scratch, policy.cpu) == (strict.demands, strict.scratch, strict.cpu)
    assert policy.profile.endswith("/own.yaml")


def test_paths_are_read_as_the_kernel_takes_them(profile):
    """Two slashes at the beginning are one to it, and so to whoever compares them."""
    paths = "[//srv/a, /srv//b/, /srv/./c, ///srv/d]"
    policy = profile(f"description: d\nextends: strict\nfilesystem: {{read: {paths}}}\n")
    assert policy.read == ("/srv/a", "/srv/b", "/srv/c", "/srv/d")


def test_a_file_may_stand_alone(profile):
    """Without `extends` only what it says is asked for, and level is full unless it says otherwise."""
    policy = profile("description: mine\nwall:\n  hold: required\n  seconds: 1.5\n")
    assert (policy.demands, policy.required, policy.wall) == ({"wall": "full"}, ("wall",), 1.5)


@pytest.mark.parametrize(("written", "size"), [("64 MiB", 64 * MIB), ("1GiB", GIB), (MIB * 40, 40 * MIB)])
def test_sizes_are_written_with_a_unit_or_as_bytes(profile, written, size):
    """Units are powers of 1024 and say so."""
    assert profile(f"description: d\nmemory: {{hold: required, size: {written}}}").memory == size


def test_a_time_limit_replaces_the_wall_time():
    """The caller's time limit is in seconds; nothing else of the profile changes."""
    policy = load_profile("strict", timeout=5)
    assert policy.wall == 5.0
    assert policy.cpu == 30


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e9, True])
def test_a_time_limit_that_is_none_is_refused(timeout):
    """A load that never ends cannot be asked for."""
    with pytest.raises(ProfileError, match=r"^cannot use a timeout of .*: it must be a number of seconds"):
        load_profile("strict", timeout=timeout)


def test_an_unknown_key_is_named_with_its_line_and_the_likely_one(mistakes):
    """The message is enough to mend the file."""
    found = mistakes("description: d\nextends: strict\nfilesystem:\n  reed: []\n")
    assert found == ["line 4: key 'filesystem.reed': unknown; did you mean 'read'?"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("extends: strict", "line 1: key 'description': missing"),
        ("description: [d]", "line 1: key 'description': must be a line of text"),
        ("- a", "line 1: must be a mapping of keys to values"),
        ("description: d\nnetwrok: {}", "line 2: key 'netwrok': unknown; did you mean 'network'?"),
        ("description: d\ncpu: 3", "line 2: key 'cpu': must be a mapping with 'hold' and its own keys"),
        ("description: d\ncpu:\n  hold: required", "line 2: key 'cpu.seconds': missing"),
        ("description: d\nidentity:\n  level: full", "line 2: key 'identity.hold': missing"),
    ],
)
def test_what_is_missing_or_of_the_wrong_shape_is_named_with_its_line(mistakes, text, mistake):
    """A missing key is shown at the mapping that should hold it."""
    assert mistakes(text) == [mistake]


def test_a_profile_extends_only_a_builtin_one(mistakes):
    """Keys that a misspelt profile would have filled in are not called missing."""
    known = "development, network, no-namespaces, strict"
    assert mistakes("description: d\nextends: strikt\ncpu: {seconds: 1}") == [
        f"line 2: key 'extends': must be one of {known}; did you mean 'strict'?"
    ]


@pytest.mark.parametrize(
    ("key", "written", "must"),
    [
        ("identity.hold", "requird", "must be 'required' or 'best-effort'"),
        ("identity.level", "none", "must be 'full' or 'partial'"),
        ("network.outbound", "1", "must be true or false"),
        ("memory.size", "1 MiB", "must be a size from 32 MiB to 1024 GiB"),
        ("memory.size", "64 MB", "must be a size such as '64 MiB', or plain bytes"),
        ("result.size", "65 MiB", "must be a size from 4 KiB to 64 MiB"),
        ("wall.seconds", "0", "must be a number of seconds from 0.001 to 86400"),
        ("wall.seconds", ".nan", "must be a number of seconds"),
        ("cpu.seconds", "1.5", "must be a whole number of seconds"),
        ("processes.count", "true", "must be a whole number"),
        ("filesystem.read", "/etc", "must be a list of absolute paths"),
        ("filesystem.read", "[/a, b]", "must be a list of absolute paths without '..'; 'b' is not one"),
        (
            "filesystem.read",
            "[/a/../b]",
            "must be a list of absolute paths without '..'; '/a/../b' is not one",
        ),
        (
            "filesystem.read",
            "[//.]",
            "must not hold '/', which is every file; name the folders that are needed",
        ),
        ("environment.pass", "[A, A]", "must be a list of variable names, each only once"),
        ("environment.pass", "[A=1]", "must be a list of variable names; 'A=1' is not one"),
        (
            "environment.pass",
            "[LD_X]",
            "must not hold 'LD_X', which would change how the worker itself starts",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_key(mistakes, key, written, must):
    """The message says what the value must be."""
    guarantee, name = key.split(".")
    text = f"description: d\nextends: strict\n{guarantee}:\n  {name}: {written}\n"
    assert mistakes(text) == [f"line 4: key '{key}': {must}"]


def test_scratch_space_without_the_means_for_it_is_refused(mistakes):
    """Two keys that contradict each other are both named."""
    assert mistakes("description: d\nextends: strict\nfilesystem: {level: partial}") == [
        "line 3: key 'filesystem.scratch': must be 0 with level 'partial': scratch space needs level 'full'"
    ]


def test_all_mistakes_of_a_file_are_listed_at_once_in_order(mistakes):
    """One run is enough to mend a file."""
    found = mistakes(
        "description: d\n"
        "extends: strikt\n"
        "wall: {seconds: 0}\n"
        "filesystem:\n"
        "  reed: []\n"
        "  scratch: lots\n"
        "identity: none\n"
    )
    assert [line.split("'")[1] for line in found] == [
        "extends",
        "wall.seconds",
        "filesystem.reed",
        "filesystem.scratch",
        "identity",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: *a\n",
        "description: d\n<<: {extends: strict}\n",
        "description: !!python/name:os.system x\n",
        "description: d\ndescription: e\n",
        "description: 0000-01-01\n",
        "cpu: " + "9" * 5_000,
        "[" * 40_000,
        "#" * 200_000,
        "",
    ],
)
def test_bombs_and_odd_yaml_are_refused_with_a_line_in_bounded_time(mistakes, text):
    """Nothing but strict YAML is looked at."""
    started = time.process_time()
    assert all(re.match(r"line \d+: ", line) for line in mistakes(text))
    assert time.process_time() - started < 2


def test_a_profile_that_is_nowhere_is_refused_with_the_likely_name():
    """A misspelt name is neither a built-in one nor a file."""
    with pytest.raises(ProfileError, match=r"^cannot use profile strickt: .*; did you mean 'strict'\?$"):
        load_profile("strickt")
    with pytest.raises(
        ProfileError, match=r"the built-in ones are development, network, no-namespaces, strict$"
    ):
        load_profile("/nowhere/at-all.yaml")


@pytest.mark.parametrize("path", ["/", "/dev/null", "/dev/zero", "a\0b"])
def test_what_is_no_file_of_text_is_refused(path):
    """Folders, devices and impossible names end in the same exception, at once."""
    with pytest.raises(ProfileError, match=r"^cannot use profile "):
        load_profile(path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    """The message says where it stops being text."""
    path = tmp_path / "own.yaml"
    path.write_bytes(b"description: \xff\n")
    with pytest.raises(ProfileError, match=r"it is not UTF-8 text, from byte 13 on$"):
        load_profile(str(path))


def test_a_profile_error_is_a_value_error_of_ours():
    """Callers may catch either."""
    assert issubclass(ProfileError, FlowLoaderError)
    assert issubclass(ProfileError, ValueError)


@pytest.mark.parametrize("name", ["development", "network", "no-namespaces", "strict"])
def test_a_description_says_every_guarantee_on_one_line(name):
    """Also what is not asked for is said."""
    lines = describe(load_profile(name)).splitlines()
    assert [line.split()[0] for line in lines] == list(GUARANTEES)


def test_a_description_names_the_values():
    """The reader sees numbers and paths, not words about them."""
    strict, network = describe(load_profile("strict")), describe(load_profile("network"))
    assert "1 GiB" in strict
    assert "LC_ALL" in strict
    assert "reaches nothing" in strict
    assert "/etc/resolv.conf" in network
    assert "can open whatever you can" in describe(load_profile("development"))
