"""A channel moves whole frames and descriptors, and swallows nothing of what follows them."""

import os
import socket
import threading

import pytest

from worker.channel import Channel, Closed, Replies
from worker.protocol import HEADER, Configure, Fork, Forked, Violation, encode, trusted

KINDS = {"stream": socket.SOCK_STREAM, "packets": socket.SOCK_SEQPACKET}


@pytest.fixture(params=KINDS)
def ends(request):
    """Both ends of a channel, of each kind that is used."""
    pair = [Channel(end.detach()) for end in socket.socketpair(socket.AF_UNIX, KINDS[request.param])]
    yield pair
    for channel in pair:
        channel.socket.close()


@pytest.fixture
def stream():
    """A channel of the stream kind, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    with ours:
        channel = Channel(theirs.detach())
        yield channel, ours
        channel.socket.close()


def test_messages_arrive_in_order(ends):
    """Frames that wait together are taken one at a time."""
    sender, receiver = ends
    for number in range(3):
        sender.send(Forked(number))
    assert [trusted(Forked, receiver.receive()).number for _ in range(3)] == [0, 1, 2]


def test_descriptors_travel_beside_their_message(ends):
    """Each descriptor arrives, in order, as a new one that a program started later does not inherit."""
    sender, receiver = ends
    pipes = [os.pipe(), os.pipe()]
    sender.send(Forked(1), [writing for _, writing in pipes])
    sender.send(Fork())
    assert trusted(Forked, receiver.receive()).number == 1
    received = receiver.receive_descriptors()
    assert trusted(Fork, receiver.receive()) == Fork()
    assert len(received) == 2
    for text, (reading, _), descriptor in zip((b"a", b"b"), pipes, received, strict=True):
        assert not os.get_inheritable(descriptor)
        os.write(descriptor, text)
        assert os.read(reading, 9) == text
    for descriptor in (*received, *pipes[0], *pipes[1]):
        os.close(descriptor)


def test_a_peer_that_is_gone_is_closed(ends):
    """An end between messages is told from every other failure."""
    sender, receiver = ends
    sender.send(Fork())
    sender.socket.close()
    receiver.receive()
    with pytest.raises(Closed):
        receiver.receive()
    with pytest.raises(Closed):
        receiver.receive_descriptors()


@pytest.mark.parametrize("kept", [1, HEADER.size, HEADER.size + 1, -1])
def test_a_stream_that_ends_inside_a_frame_is_closed(stream, kept):
    """Half a message is no message."""
    channel, peer = stream
    peer.sendall(encode(Configure("/folder"))[:kept])
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(Closed):
        channel.receive()


def test_a_dripped_frame_is_put_together(stream):
    """How a stream is cut makes no difference."""
    channel, peer = stream
    data = encode(Configure("/folder" * 50))

    def drip():
        for place in range(len(data)):
            peer.sendall(data[place : place + 1])

    thread = threading.Thread(target=drip)
    thread.start()
    assert trusted(Configure, channel.receive()).root == "/folder" * 50
    thread.join()


def test_a_broken_packet_is_a_violation():
    """A packet shorter than a header, too."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(theirs.detach())
    with ours, channel.socket:
        for packet in (b"\0", b"\0\0\0\1\xc1", encode(Fork())[:-1]):
            ours.send(packet)
            with pytest.raises(Violation):
                channel.receive()


def test_a_channel_that_is_closed_is_let_go_of(ends):
    """The peer sees the end, and nothing can be sent any more."""
    sender, receiver = ends
    sender.close()
    with pytest.raises(Closed):
        receiver.receive()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.send(Fork())


@pytest.fixture
def replies():
    """The pipe of a worker's answers, and a file at its other end."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        yield Replies(writing), file
    os.close(writing)


def test_answers_of_several_threads_do_not_mix(replies):
    """A frame goes out whole, however large, whoever else is answering."""
    answers, file = replies
    size, each = 100_000, 20
    frames = {letter: encode(Configure(letter * size)) for letter in "abcd"}

    def send(letter):
        for _ in range(each):
            answers.deliver(frames[letter])

    threads = [threading.Thread(target=send, args=(letter,)) for letter in frames]
    for thread in threads:
        thread.start()
    length = len(frames["a"])
    got = [file.read(length) for _ in range(len(frames) * each)]
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(frame for frame in frames.values() for _ in range(each))


def test_an_answer_that_goes_out_in_pieces_goes_out_whole(replies):
    """What a pipe did not take is written next."""
    answers, file = replies
    answers.write = lambda descriptor, rest: os.write(descriptor, rest[:7])
    frame = encode(Configure("/folder" * 50))
    answers.deliver(frame)
    answers.deliver(encode(Fork()))
    assert file.read(len(frame)) == frame
    assert file.read(len(encode(Fork()))) == encode(Fork())


def test_an_answer_that_nobody_reads_is_an_error_for_whoever_gives_it(replies):
    """And no lock stays behind for the next one to wait for."""
    answers, file = replies
    file.close()
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            answers.deliver(encode(Fork()))


def test_what_is_not_plain_leaves_the_channel_usable(stream):
    """A message that cannot be encoded sends no half of itself."""
    channel, peer = stream
    with pytest.raises(TypeError):
        channel.send(Configure(object()))
    channel.send(Fork())
    assert peer.recv(100) == encode(Fork())
