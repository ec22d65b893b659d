"""No file outside the script's folder can be read by its path."""


def reads(kit, paths):
    """Open each path as a file and as a folder."""
    import os

    return {path: [kit.tried(open, path, "rb"), kit.tried(os.listdir, path)] for path in paths}


def test_files_outside_cannot_be_opened(escape):
    canary = escape.write(escape.folder() / "canary", "secret")
    host = ["/etc/shadow", "/etc/hostname", "/home", "/boot", "/sys", "/run", "/var/log", "/proc/1/environ"]
    report = escape(reads, [str(canary), str(canary.parent), *host]).report
    assert {result for results in report.values() for result in results} == {"ENOENT"}


def test_without_a_mount_namespace_they_cannot_be_opened_either(escape):
    canary = escape.write(escape.folder(0o755) / "canary", "secret")
    canary.chmod(0o644)
    outside = [str(canary), str(canary.parent), "/etc/passwd", "/etc", "/proc/self/environ", "/tmp", "/"]
    report = escape(reads, outside, profile="no-namespaces").report
    assert {result for results in report.values() for result in results} <= {"EACCES", "ENOTDIR"}
    assert {results[0] for results in report.values()} <= {"EACCES", "EISDIR"}


def reads_own(kit, paths):
    """Read each path."""
    return [open(path).read() for path in paths]


def test_the_scripts_own_folder_can_be_read(escape, profile):
    folder = escape.folder(0o755)
    (folder / "below").mkdir()
    escape.give(folder / "below", 0o755)
    data = escape.write(folder / "below" / "data", "mine")
    data.chmod(0o644)
    report = escape(reads_own, [str(data), "below/data"], folder=folder, profile=profile).report
    assert report == ["mine", "mine"]
