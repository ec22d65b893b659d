"""The profiles as the command lists and explains them."""

import pytest

from worker.protocol import GUARANTEES


@pytest.mark.sampled
def test_profiles_are_listed_with_their_descriptions(anyone):
    """Each built-in profile says in a line what it is for."""
    code, answer = anyone.json("profiles")
    assert code == 0
    assert [item["name"] for item in answer["profiles"]] == [
        "development",
        "network",
        "no-namespaces",
        "strict",
    ]
    assert all(item["description"] for item in answer["profiles"])
    shown = anyone("profiles").stdout
    assert "strict         The script can compute and nothing else. The default.\n" in shown


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["development", "network", "no-namespaces", "strict"])
def test_profile_is_explained_guarantee_by_guarantee(command, name):
    """Nothing is left out of what a profile means, also what it does not ask for."""
    shown = command("profiles", name).stdout
    starts = [line.split()[0] for line in shown.splitlines()[1:] if not line.startswith(" ")]
    assert starts == list(GUARANTEES)
    _, answer = command.json("profiles", name)
    assert answer["name"] == name
    assert [item["name"] for item in answer["guarantees"]] == list(GUARANTEES)
    assert answer["values"]["wall"] > 0


def test_profile_file_is_explained(command, tmp_path):
    """What a file of one's own comes to, with everything it extends."""
    profile = tmp_path / "mine.yaml"
    profile.write_text("description: Mine.\nextends: strict\nmemory:\n  size: 96 MiB\n")
    assert "takes up to 96 MiB" in " ".join(command("profiles", profile).stdout.split())
