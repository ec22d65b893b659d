"""Descriptors that are sent to the supervisor do not stay with it."""

import os
from pathlib import Path

import pytest


def sends(kit, messages):
    """Send the supervisor descriptors beside bytes; returns what the first message came to."""
    import array
    import os
    import socket

    end = socket.socket(fileno=os.dup(kit.channel()))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 200))]
    first = kit.tried(end.sendmsg, [b"\0"], rights)
    if first == "allowed":
        for _ in range(messages):
            kit.tried(end.sendmsg, [b"\0\0\0\1"], rights, socket.MSG_DONTWAIT)
    return first


def test_they_cannot_be_sent(escape, profile):
    assert escape(sends, 1, profile=profile).report == "EPERM"


@pytest.mark.parametrize("profile", ["network", "development"])
def test_where_they_can_be_sent_they_are_dropped(escape, profile):
    engine = escape.engine(profile)
    escape(keeps_its_own, profile=profile)
    engine.settled()
    before = set(os.listdir(f"/proc/{engine.process.pid}/fd"))
    seen = escape(sends, 1000, profile=profile)
    assert seen.status == "violated_protocol"
    assert engine.settled()
    assert set(os.listdir(f"/proc/{engine.process.pid}/fd")) <= before
    assert Path(f"/proc/{engine.process.pid}").exists()


def keeps_its_own(kit):
    """Within the process descriptors can be copied as one likes."""
    import os

    one, other = os.pipe()
    os.write(os.dup(other), b"copied")
    return os.read(one, 10).decode()


def test_descriptors_can_be_copied(escape, profile):
    assert escape(keeps_its_own, profile=profile).report == "copied"
