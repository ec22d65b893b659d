"""Under ``development`` nothing is confined but time and memory, and every outcome says so."""

import pytest


def reads_a_file(kit, path):
    """What no other profile permits."""
    return open(path).read()


@pytest.mark.slow
def test_every_outcome_warns(escape):
    canary = escape.write(escape.folder(0o755) / "canary", "open")
    seen = escape(reads_a_file, str(canary), profile="development")
    assert seen.report == "open"
    kinds = {notice["kind"]: notice["message"] for notice in seen.outcome["notices"]}
    assert "for scripts you trust" in kinds["profile"]
    levels = {item["name"]: item["level"] for item in seen.outcome["sandbox"]["guarantees"]}
    unconfined = ("filesystem", "network", "processes", "identity", "visibility", "syscalls")
    assert {levels.get(name, "none") for name in unconfined} == {"none"}


def test_no_other_profile_warns_or_permits(escape, profile):
    canary = escape.write(escape.folder(0o755) / "canary", "closed")
    seen = escape(reads_a_file, str(canary), profile=profile)
    assert seen.status == "script_failed"
    assert not [notice for notice in seen.outcome["notices"] if notice["kind"] == "profile"]


def hangs(kit):
    """Time is limited under every profile."""
    while True:
        pass


@pytest.mark.slow
def test_time_is_limited(escape):
    assert escape(hangs, profile="development", timeout=0.5).status == "timed_out"
