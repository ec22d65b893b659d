"""Owner, mode, times and extended attributes of files cannot be changed but in scratch."""


def changes(kit, paths):
    """Change what can be changed of each path without opening it for writing."""
    import os

    report = {}
    for path in paths:
        ways = {
            "chmod": (os.chmod, path, 0o777),
            "chown": (os.chown, path, os.getuid(), os.getgid()),
            "utime": (os.utime, path),
            "setxattr": (os.setxattr, path, "user.x", b"1"),
        }
        report.update({f"{way} {path}": kit.tried(*call) for way, call in ways.items()})
        if kit.tried(os.open, path, os.O_RDONLY) == "allowed":
            descriptor = os.open(path, os.O_RDONLY)
            report[f"fchmod {path}"] = kit.tried(os.chmod, descriptor, 0o777)
            report[f"utime by descriptor {path}"] = kit.tried(os.utime, descriptor)
    return report


def test_attributes_cannot_be_changed(escape, profile):
    canary = escape.write(escape.folder(0o755) / "canary", "secret")
    before = canary.stat()
    seen = escape(changes, [str(canary), "script.py", ".", "/usr/lib", "/etc", "/dev/null"], profile=profile)
    assert [name for name, result in seen.report.items() if result == "allowed"] == []
    assert (canary.stat().st_mode, canary.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (seen.folder / "script.py").stat().st_mode & 0o7777 == 0o644


def changes_scratch(kit):
    """Mode and times of a file in scratch."""
    import os
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o4755)
        os.utime(file.name, (1, 2))
        return oct(os.stat(file.name).st_mode & 0o7777), os.stat(file.name).st_mtime


def test_attributes_of_scratch_can_be_changed(escape):
    assert escape(changes_scratch).report == ["0o4755", 2]
