"""Nothing can be written but the scratch space, and that vanishes with the worker."""

from pathlib import Path


def writes(kit, outside):
    """Change the own folder, the interpreter, the system and ``outside`` in every way."""
    import os
    import sys

    own = os.path.join(os.getcwd(), "script.py")
    files = [own, os.__file__, kit.__file__, "/usr/lib/os-release", "/etc/passwd", "/dev/null/x", outside]
    folders = [
        os.getcwd(),
        os.path.dirname(os.__file__),
        sys.prefix,
        "/",
        "/usr/lib",
        "/etc",
        "/dev",
        "/proc/self",
    ]
    report = {}
    for file in files:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
            report[f"open {file} {flags}"] = kit.tried(os.open, file, flags)
        report[f"truncate {file}"] = kit.tried(os.truncate, file, 0)
        report[f"unlink {file}"] = kit.tried(os.unlink, file)
        report[f"replace {file}"] = kit.tried(os.replace, own, file)
    for folder in [*folders, os.path.dirname(outside)]:
        new = os.path.join(folder, "new")
        report[f"create {new}"] = kit.tried(os.open, new, os.O_CREAT | os.O_WRONLY)
        report[f"mkdir {new}"] = kit.tried(os.mkdir, new)
        report[f"mkfifo {new}"] = kit.tried(os.mkfifo, new)
        report[f"mknod {new}"] = kit.tried(os.mknod, new)
        report[f"symlink {new}"] = kit.tried(os.symlink, "/etc/shadow", new)
        report[f"link {new}"] = kit.tried(os.link, own, new)
        report[f"temporary file in {folder}"] = kit.tried(os.open, folder, os.O_TMPFILE | os.O_RDWR)
    report["compiled beside the source"] = kit.tried(
        __import__("py_compile").compile, own, own + "c", doraise=True
    )
    return report


def test_nothing_outside_scratch_can_be_written(escape, profile):
    outside = escape.folder(0o777)
    canary = escape.write(outside / "canary", "secret")
    canary.chmod(0o666)
    seen = escape(writes, str(canary), profile=profile)
    assert [name for name, result in seen.report.items() if result == "allowed"] == []
    assert sorted(path.name for path in seen.folder.iterdir()) == ["kit.py", "script.py"]
    assert [path.name for path in outside.iterdir()] == ["canary"]
    assert canary.read_text() == "secret"


def scratches(kit, name):
    """Leave a file in each scratch space; say whether it was there before."""
    import os
    import tempfile

    found = []
    for folder in (tempfile.gettempdir(), "/dev/shm"):
        found += [entry for entry in os.listdir(folder) if entry == name]
        with open(os.path.join(folder, name), "w") as file:
            file.write("scratch")
        assert open(file.name).read() == "scratch"  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder:
        os.symlink("/", os.path.join(folder, "link"))
    return found


def test_scratch_can_be_written_and_vanishes(escape):
    name = f"scratch-of-{escape.engine().secret}"
    assert [escape(scratches, name).report for _ in range(2)] == [[], []]
    assert not [folder for folder in ("/tmp", "/var/tmp", "/dev/shm") if Path(folder, name).exists()]
