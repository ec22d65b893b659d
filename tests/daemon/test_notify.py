"""The service manager: what it is told and hands over, by real sockets and processes; the units."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loader.daemon.notify import UNITS, Manager, handed_over, unit, watchdog_seconds
from loader.errors import ConfigError

ROOT = Path(__file__).parents[2]
CHILD = """
import os, sys
code, *given = sys.argv[1:]
for number, descriptor in enumerate(given):
    os.dup2(int(descriptor), 500 + number)
for number in range(len(given)):
    os.dup2(500 + number, 3 + number)
os.closerange(3 + len(given), 600)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-c", code])
"""
USE = """
import os, sys
from loader.daemon.notify import handed_over
from loader.errors import ConfigError
try:
    ends = handed_over(os.environ)
except ConfigError as error:
    sys.exit(f"refused: {error}")
left = [name for name in os.environ if name.startswith("LISTEN_")]
print(len(ends), [end.family.name for end in ends], left, os.get_inheritable(3), os.get_blocking(3))
for end in ends:
    end.setblocking(True)
    with end.accept()[0] as asked:
        asked.sendall(asked.recv(9).upper())
"""


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """What a service manager listens at, and its address as the environment has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        if request.param == "path":
            address = given = str(tmp_path / "notify")
        else:
            address, given = f"\0flow-loader-{os.getpid()}", f"@flow-loader-{os.getpid()}"
        end.bind(address)
        end.settimeout(60)
        yield end, {"NOTIFY_SOCKET": given}


def test_the_manager_is_told_what_becomes_of_the_daemon(manager):
    """Each in one packet, as sd_notify(3) has them."""
    end, environ = manager
    told = Manager(environ)
    before = time.monotonic_ns() // 1000
    told.ready()
    told.reloading()
    told.status("loading\nREADY=1\x1b")
    told.stopping()
    said = [end.recv(4096).decode() for _ in range(4)]
    assert said[0] == "READY=1"
    first, second = said[1].split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert said[2:] == ["STATUS=loading\\nREADY=1\\x1b", "STOPPING=1"]


@pytest.mark.sampled
def test_the_watchdog_hears_twice_in_each_interval(manager):
    """From the event loop itself: one that hangs is silent."""
    end, environ = manager
    told = Manager(environ | {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())})

    async def live():
        task = asyncio.create_task(told.watchdog())
        began = time.monotonic()
        heard = [await asyncio.to_thread(end.recv, 4096) for _ in range(4)]
        task.cancel()
        return heard, time.monotonic() - began

    heard, seconds = asyncio.run(live())
    assert heard == [b"WATCHDOG=1"] * 4
    assert seconds > 0.29


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "5", "WATCHDOG_PID": "me"}, None),
    ],
)
def test_the_watchdog_is_meant_for_one_process(environ, seconds):
    """What is meant for another, or makes no sense, is nothing."""
    assert watchdog_seconds(environ) == seconds
    if seconds is None:
        asyncio.run(asyncio.wait_for(Manager(environ).watchdog(), 60))


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "/" + "x" * 200, "@" + "x" * 200])
def test_without_a_manager_nothing_happens(address):
    """Nor with one that does not listen."""
    Manager({"NOTIFY_SOCKET": address}).ready()
    Manager({}).ready()


def test_a_manager_that_does_not_read_holds_nobody_up(manager):
    """A full queue loses messages."""
    _, environ = manager
    began = time.monotonic()
    for _ in range(3000):
        Manager(environ).status("x" * 400)
    assert time.monotonic() - began < 30


def start(ends, count=None):
    """A process to which sockets are handed over as systemd does it."""
    numbers = [end.fileno() for end in ends]
    environ = os.environ | {"LISTEN_FDS": str(len(ends) if count is None else count), "LISTEN_FDNAMES": "a:b"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, USE, *map(str, numbers)],
        env=environ,
        cwd=ROOT,
        pass_fds=numbers,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sockets_are_taken_over(tmp_path):
    """A Unix socket and TCP: they serve, no child inherits them, and nobody else is told of them."""
    with (
        socket.socket(socket.AF_UNIX) as unix,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as first,
    ):
        unix.bind(str(tmp_path / "api.sock"))
        unix.listen()
        child = start([unix, tcp])
        first.settimeout(60)
        first.connect(str(tmp_path / "api.sock"))
        first.sendall(b"unix")
        assert first.recv(9) == b"UNIX"
        with socket.create_connection(tcp.getsockname(), timeout=60) as second:
            second.sendall(b"tcp")
            assert second.recv(9) == b"TCP"
        out, err = child.communicate(timeout=60)
    assert (out, err) == ("2 ['AF_UNIX', 'AF_INET'] [] False False\n", "")


@pytest.mark.parametrize("kind", ["datagram", "silent", "connected", "file", "missing"])
def test_what_cannot_be_listened_to_is_refused(tmp_path, kind):
    """With its number and what the unit must say."""
    one, other = socket.socketpair()
    opened = (tmp_path / "file").open("w")
    silent, datagram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other, opened, silent, datagram:
        ends = {"datagram": datagram, "silent": silent, "connected": one, "file": opened}.get(kind)
        child = start([ends] if ends else [], count=1)
        out, err = child.communicate(timeout=60)
    assert out == ""
    assert err.startswith("refused: cannot use descriptor 3, which the service manager handed over: ")
    assert "ListenStream=" in err


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
    ],
)
def test_what_is_meant_for_another_process_is_left_alone(environ):
    """Its descriptors are somebody else's here."""
    assert handed_over(environ) == []
    assert not environ


def test_more_sockets_than_anybody_needs_are_a_mistake():
    """And not a loop of a milliard steps."""
    with pytest.raises(ConfigError, match=r"^cannot use 1000000000 sockets"):
        handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1000000000"})


def test_units_say_how_to_start_this_very_program(monkeypatch):
    """With whatever is in the interpreter's path."""
    assert f'\nExecStart="{sys.executable}" -m loader serve\n' in unit("flow-loader.service")
    monkeypatch.setattr(sys, "executable", '/opt/a b/100%/$x/"q"')
    assert '\nExecStart="/opt/a b/100%%/$$x/\\"q\\"" -m loader serve\n' in unit("flow-loader.service")
    assert "@" not in "".join(re.sub(r"(?m)^#.*", "", unit(name)) for name in UNITS)
    with pytest.raises(ConfigError, match="cannot show the unit 'x'"):
        unit("x")


def test_units_keep_the_socket_to_its_owner():
    """As the daemon itself does: 0600 in a folder of 0700, which outlives the service."""
    assert "\nSocketMode=0600\nDirectoryMode=0700\n" in unit("flow-loader.socket")
    service = unit("flow-loader.service")
    for line in (
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=yes",
        "Type=notify",
        "KillMode=mixed",
    ):
        assert f"\n{line}\n" in service


if shutil.which("systemd-analyze"):  # nothing else says what systemd says

    @pytest.mark.parametrize("whose", ["--system", "--user"])
    def test_systemd_finds_nothing_wrong_with_the_units(tmp_path, whose):
        """Neither as the system's nor as a user's."""
        paths = [tmp_path / name for name in UNITS]
        for path in paths:
            path.write_text(unit(path.name))
        command = ["systemd-analyze", "verify", whose, "--man=no", "--recursive-errors=no", *paths]
        environ = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environ)
        assert (done.returncode, done.stderr) == (0, "")
        paths[0].write_text(unit(paths[0].name).replace("KillMode", "KillMoed"))
        done = subprocess.run(command, capture_output=True, text=True, env=environ)
        assert "KillMoed" in done.stderr
