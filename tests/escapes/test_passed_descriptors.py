"""No descriptor can be handed to the supervisor: what leads to it is a pipe, and no socket stays open."""


def sends(kit):
    """Try to send descriptors over each of one's own; returns what came of it."""
    import array
    import os
    import socket

    links = kit.links()
    refusals = {}
    for number in links:
        try:
            socket.socket(fileno=os.dup(number)).sendmsg(
                [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
            )
            refusals[number] = "allowed"
        except OSError as error:
            refusals[number] = error.strerror
    return [sorted(set(links.values())), sorted(set(refusals.values()))]


def test_there_is_no_socket_to_send_them_over(escape, profile):
    kinds, refusals = escape(sends, profile=profile).report
    assert "socket" not in kinds
    assert "allowed" not in refusals


def test_not_even_where_sockets_are_allowed(escape):
    kinds, refusals = escape(sends, profile="network").report
    assert "socket" not in kinds
    assert "allowed" not in refusals


def keeps_its_own(kit):
    """Within the process descriptors can be copied as one likes."""
    import os

    one, other = os.pipe()
    os.write(os.dup(other), b"copied")
    return os.read(one, 10).decode()


def test_descriptors_can_be_copied(escape, profile):
    assert escape(keeps_its_own, profile=profile).report == "copied"
