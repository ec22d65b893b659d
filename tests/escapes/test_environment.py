"""Nothing of the supervisor's environment or memory comes along but the variables that the profile names."""


def searches(kit, planted):
    """Look for the secret in the environment and in all of the own memory; its digits are not known here."""
    import os
    import re

    pattern = re.compile(b"hidden[-][0-9a-f]{32}")
    places = [repr(sorted(os.environ.items())).encode()]
    with open("/proc/self/environ", "rb") as file:
        places.append(file.read())
    # Read without a line of it being kept: what was found once would be found again.
    lines = open("/proc/self/maps").read().splitlines()  # noqa: SIM115
    kept = b"-".join([b"hidden", b"0123456789abcdef" * 2]) if planted else b""
    found = [match for place in places for match in pattern.findall(place)]
    with open("/proc/self/mem", "rb", 0) as memory:
        for line in lines:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if " r" not in line[:40] or "[v" in line:
                continue
            memory.seek(low)
            try:
                found += pattern.findall(memory.read(high - low))
            except OSError:
                continue
    return sorted({match.decode() for match in found}), sorted(os.environ), len(kept)


def test_the_supervisors_secrets_are_nowhere(escape):
    found, names, _ = escape(searches, False).report
    assert found == []
    assert not [name for name in names if "FLOW_LOADER" in name or "PYTHONPATH" in name]


def test_the_search_finds_what_is_there_and_named_variables_are_passed(escape):
    found, names, _ = escape(searches, True).report
    assert found == ["hidden-" + "0123456789abcdef" * 2]
    assert {"LANG", "HOME", "PATH", "USER"} <= set(names)


def inherits(kit):
    """The whole environment."""
    import os

    return dict(os.environ)


def test_without_namespaces_the_environment_is_as_clean(escape, profile):
    environment = escape(inherits, profile=profile).report
    assert escape.engine(profile).secret not in str(environment)
    assert environment["LANG"] == "C.UTF-8"
