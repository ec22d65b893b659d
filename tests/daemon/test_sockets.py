"""The socket: its mode before it listens, what is in its place, and that it is put back."""

import fcntl
import os
import socket
import stat

import pytest

from loader.daemon import sockets
from loader.errors import ConfigError
from tests.daemon.running import PATIENCE


@pytest.fixture
def path(place):
    return str(place / "run" / "api.sock")


def test_modes_before_it_listens(path, monkeypatch):
    """Nobody else could open it at any moment, whatever the caller's umask."""
    seen = []
    listen = socket.socket.listen

    def look(self, *arguments):
        seen.extend(stat.S_IMODE(os.stat(item).st_mode) for item in (path, os.path.dirname(path)))
        return listen(self, *arguments)

    bind = socket.socket.bind

    def bound(self, address):
        bind(self, address)
        seen.append(stat.S_IMODE(os.stat(path).st_mode))

    before = os.umask(0)
    try:
        monkeypatch.setattr(socket.socket, "listen", look)
        monkeypatch.setattr(socket.socket, "bind", bound)
        made = sockets.listen(path)
    finally:
        os.umask(before)
    made.close()
    assert seen == [0o600, 0o600, 0o700]


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(path):
    """Whether it lives is asked of it."""
    os.makedirs(os.path.dirname(path), 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    sockets.listen(path).close()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(path)
        living.listen()
        with pytest.raises(ConfigError, match="lives there already"):
            sockets.listen(path)
        assert os.path.exists(path)


@pytest.mark.slow
def test_two_daemons_do_not_share_a_path(started):
    """The second says so and leaves the first alone."""
    daemon = started()
    second = started(wait=False)
    assert second.process.wait(PATIENCE) == 2
    assert "lives there already" in second.log.read_text()
    assert daemon.get("/v1/health/live").status == 200


def test_what_is_no_socket_is_left(path):
    """Somebody's file is not ours to remove."""
    os.makedirs(os.path.dirname(path), 0o700)
    with open(path, "w"):
        pass
    with pytest.raises(ConfigError, match="no socket"):
        sockets.listen(path)


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777])
def test_a_folder_that_others_may_use_is_refused(path, mode):
    """With what to do about it."""
    os.makedirs(os.path.dirname(path))
    os.chmod(os.path.dirname(path), mode)
    with pytest.raises(ConfigError, match="chmod 700"):
        sockets.listen(path)


def test_a_folder_of_another_user_or_a_link_is_refused(path, place):
    """Whoever owns it could exchange the socket."""
    folder = os.path.dirname(path)
    os.symlink(place, folder)
    with pytest.raises(ConfigError, match="folder"):
        sockets.listen(path)
    os.unlink(folder)
    if os.geteuid() == 0:
        os.mkdir(folder, 0o700)
        os.chown(folder, 65534, 65534)
        with pytest.raises(ConfigError, match="belongs to user 65534"):
            sockets.listen(path)


def test_a_socket_that_is_not_ours_any_more_is_left(path):
    """At the end only our own is removed."""
    made = sockets.listen(path)
    os.unlink(path)
    with open(path, "w"):
        pass
    made.close()
    assert os.path.exists(path)


@pytest.mark.slow
def test_a_removed_socket_is_put_back(started):
    """Also when its folder is gone."""
    daemon = started()
    os.unlink(daemon.socket)
    daemon.until(daemon.answers)
    for name in os.listdir(daemon.socket.parent):
        os.unlink(daemon.socket.parent / name)
    daemon.socket.parent.rmdir()
    daemon.until(daemon.answers)
    assert daemon.end() == 0
    assert not daemon.socket.exists()


def test_a_lock_is_held_until_there_is_another(path):
    """While somebody else holds the one that is there, ours is kept: its descriptor is nobody else's."""
    made = sockets.listen(path)
    for name in (path, f"{path}.lock"):
        os.unlink(name)
    with open(f"{path}.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for _ in range(2):
            with pytest.raises(ConfigError, match="lives there already"):
                made.again()
            assert os.fstat(made.lock).st_nlink == 0
    made.again()
    assert made.is_there()
    assert os.fstat(made.lock).st_nlink == 1
    made.close()


@pytest.mark.parametrize("text", ["short", "with a blank in its middle", ""])
def test_a_token_must_be_one(place, text):
    """And its file readable to nobody else."""
    file = place / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="token"):
        sockets.token(str(file))
    file.write_text("a-good-token-of-some-length")
    assert sockets.token(str(file)) == "a-good-token-of-some-length"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        sockets.token(str(file))
