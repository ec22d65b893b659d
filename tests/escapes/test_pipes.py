"""Nothing is written to a pipe or a socket of the host's: no read-only mount protects them."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

PLACES = ("/tmp", "/var/tmp", "/dev/shm")


def writes_to_pipes(kit, folder):
    """Write to the pipe and the socket in ``folder``, and to where one may; say where that is."""
    import errno
    import os
    import socket
    import tempfile

    report = {}
    pipe, bound = os.path.join(folder, "pipe"), os.path.join(folder, "bound")
    ways = {
        "path": pipe,
        "descriptor": f"/proc/self/fd/{os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)}",
        "parent": os.path.join(folder, "..", os.path.basename(folder), "pipe"),
    }
    for name, way in ways.items():
        for flags in (os.O_WRONLY | os.O_NONBLOCK, os.O_RDWR, os.O_RDWR | os.O_APPEND):
            report[f"{name} {flags}"] = kit.tried(
                lambda way=way, flags=flags: os.write(os.open(way, flags), b"out")
            )
    report["mode"] = kit.tried(os.chmod, pipe, 0o600)
    report["socket"] = kit.tried(lambda: socket.socket(socket.AF_UNIX).connect(bound))
    report["socket as file"] = kit.tried(os.open, bound, os.O_WRONLY)
    report["new"] = kit.tried(os.mkfifo, os.path.join(folder, "new"))
    report["beside"] = kit.tried(os.mkfifo, os.path.join(os.path.dirname(folder), "new"))
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
        space = tempfile.gettempdir()
        assert os.environ["HOME"] == space
    except OSError as error:
        space = errno.errorcode[error.errno]
    memory = kit.tried(open, "/dev/shm/own", "w") == "allowed"
    table = "/proc/self/mountinfo"
    lines = []
    if kit.tried(open, table) == "allowed":
        lines = [line.split() for line in open(table)]  # noqa: SIM115
    writable = [line[4] for line in lines if "rw" in line[5].split(",") and "proc" not in line]
    return report, space, memory, sorted(writable)


class Held:
    """A folder of the identity's own with a pipe and a socket that someone listens to."""

    def __init__(self, escape, place):
        self.folder = Path(tempfile.mkdtemp(prefix="flow-loader-pipes-", dir=place))
        escape.give(self.folder, 0o755)
        os.mkfifo(self.folder / "pipe")
        escape.give(self.folder / "pipe", 0o666)
        self.reading = os.open(self.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.folder / "bound"))
        (self.folder / "bound").chmod(0o666)
        self.socket.listen()

    def close(self):
        os.close(self.reading)
        self.socket.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def held(escape):
    """Makes such folders below a place, and takes them away."""
    made = []

    def make(place):
        made.append(Held(escape, place))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_scripts_folder_takes_nothing(escape, held, profile, place):
    """Also where the folder lies below what is a place to write for others: that gives way."""
    own = held(place)
    seen = escape(writes_to_pipes, str(own.folder), profile=profile, folder=own.folder)
    report, space, memory, writable = seen.report
    assert set(report.values()) <= {"EACCES", "EPERM", "EROFS", "ENXIO"}, report
    assert os.read(own.reading, 100) == b""
    assert not (own.folder / "new").exists()
    if profile == "strict":
        assert Path(space) not in own.folder.parents
        assert memory is (place != "/dev/shm")
        assert writable == sorted([space, "/dev/shm"] if memory else [space])


def test_what_a_profile_shows_takes_nothing(escape, held, base):
    """Wherever it lies: then the scratch space is where none of it is, and everything of it is read."""
    shown = [held(place) for place in PLACES]
    profile = base / f"shows-pipes-{escape.identity}.yaml"
    trees = ", ".join(str(each.folder) for each in shown)
    profile.write_text(
        "description: shows pipes\nextends: strict\n"
        f"filesystem: {{hold: required, level: full, read: [{trees}], scratch: 1 MiB}}\n"
    )
    for each in shown:
        seen = escape(writes_to_pipes, str(each.folder), profile=str(profile))
        report, space, memory, writable = seen.report
        assert set(report.values()) <= {"EACCES", "EPERM", "EROFS", "ENXIO"}, report
        assert os.read(each.reading, 100) == b""
        assert (memory, writable) == (False, [space])


def writes_beside_itself(kit):
    """Write to the pipe in the own folder."""
    import os

    return kit.tried(lambda: os.write(os.open("pipe", os.O_WRONLY | os.O_NONBLOCK), b"out"))


def test_without_scratch_space_nothing_below_its_place_is_writable(escape, held, base):
    own = held("/tmp")
    profile = base / f"without-scratch-{escape.identity}.yaml"
    profile.write_text(
        "description: no scratch\nextends: strict\nfilesystem: {hold: required, level: full, scratch: 0}\n"
    )
    assert escape(writes_beside_itself, profile=str(profile), folder=own.folder).report == "EACCES"
    assert os.read(own.reading, 100) == b""
