"""It cannot be seen that anything exists outside the script's folder."""


def looks(kit, path):
    """Ask for ``path`` in every way there is."""
    import os
    import pathlib

    parent, name = os.path.split(path)
    ways = {
        "stat": (os.stat, path),
        "lstat": (os.lstat, path),
        "open by path only": (os.open, path, os.O_PATH),
        "readlink": (os.readlink, path),
        "listdir": (os.listdir, parent),
        "chdir": (os.chdir, parent),
        "statvfs": (os.statvfs, path),
        "through the own folder": (os.stat, f"../{os.path.basename(parent)}/{name}"),
    }
    report = {way: kit.tried(*call) for way, call in ways.items()}
    report["access"] = os.access(path, os.F_OK)
    report["glob"] = [str(found) for found in pathlib.Path(parent).parent.glob("*/*")]
    report["handle"] = kit.called("name_to_handle_at", -100, path.encode(), 0, 0, 0)
    return report, sorted(os.listdir(".."))


def test_what_lies_outside_is_not_seen_to_exist(escape):
    canary = escape.write(escape.folder() / "canary", "secret")
    seen = escape(looks, str(canary))
    report, beside = seen.report
    assert report.pop("access") is False
    assert report.pop("handle") == "EPERM"
    assert set(report.pop("glob")) <= {str(path) for path in seen.folder.iterdir()}
    assert set(report.values()) == {"ENOENT"}
    assert beside == [seen.folder.name]


def test_what_exists_and_what_does_not_look_the_same(escape):
    canary = escape.write(escape.folder() / "canary", "secret")
    (there, _), (absent, _) = (
        escape(looks, path).report for path in (str(canary), f"{canary.parent}-/canary")
    )
    assert {**there, "glob": 0} == {**absent, "glob": 0}


def looks_at_itself(kit):
    """The script's own file and folder."""
    import os

    return os.access("script.py", os.R_OK), sorted(os.listdir("."))


def test_the_own_folder_is_seen(escape, profile):
    assert escape(looks_at_itself, profile=profile).report == [True, ["kit.py", "script.py"]]
