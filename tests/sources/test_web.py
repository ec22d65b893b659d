"""Files of web servers: one request, its bytes and nothing else, whatever the server does."""

import base64
import contextlib
import gzip
import os
import socket
import time
import tracemalloc

import pytest

from loader.access import Access
from loader.errors import SourceError
from loader.sources import fetch, read, web

TEXT = b"print('hello')\n"
CAP = 1 << 16


def endless(head, piece, pause=0.0):
    """An answer that does not end by itself."""

    def send(connection):
        connection.sendall(head)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(piece)
                time.sleep(pause)

    return send


def test_a_script_is_read(server, reply, near):
    """It is a project of just itself; its name is its URL without the query."""
    server.answers["/flows/my%20flow.py?version=3"] = reply(TEXT)
    found = read(f"{server.url}/flows/./x/../my%20flow.py?version=3", access=near())
    assert (found.content, found.module, found.folder, found.root) == (TEXT, "my flow", None, None)
    assert found.filename == f"{server.url}/flows/my%20flow.py"
    assert (found.project.url, found.project.entry) == (f"{server.url}/flows", "my flow.py")
    assert found.project.files == {"my flow.py": TEXT}
    assert found.location == f"{server.url}/flows/./x/../my%20flow.py?version=3"
    assert "version=3" not in repr(found)


def test_a_request_tells_nothing_about_us(server, reply, near, monkeypatch, tmp_path):
    """No cookie, no credentials of .netrc, no proxy, no content encoding, no header with a name of ours."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/flow.py"] = reply(TEXT, Set_Cookie="a=b")
    for _ in range(2):
        assert fetch(f"{server.url}/flow.py", near()) == TEXT
    for request in server.requests:
        names = {line.partition(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent"}
        assert b"Accept-Encoding: identity" in request


def keyed(server, **changes):
    """Options by which a header with a key is for a server."""
    return {"headers": {"Authorization": "Bearer secret-key"}, "origin": server.url, **changes}


def test_headers_of_the_caller_are_sent_to_the_host_they_are_for(servers_on, reply):
    """A redirect to another host, or to another port, takes none along."""
    first, second = servers_on(), servers_on()
    second.answers["/flow.py"] = reply(TEXT)
    first.answers["/a"] = reply(status="302 Found", Location="/b")
    first.answers["/b"] = reply(status="307 Temporary Redirect", Location=f"{second.url}/flow.py")
    access = Access(hosts=frozenset({"127.0.0.1"}), options={"http": keyed(first)})
    assert fetch(f"{first.url}/a", access) == TEXT
    assert all(b"secret-key" in request for request in first.requests)
    assert b"secret-key" not in second.requests[0]
    assert "secret-key" not in repr(access)


def test_headers_of_the_caller_are_sent_to_no_other_host(servers_on, reply):
    """Whoever is named first, as by somebody's manifest: another port of the same host is another."""
    first, second = servers_on(), servers_on()
    first.answers["/flow.py"] = reply(TEXT)
    second.answers["/a"] = reply(status="302 Found", Location=f"{first.url}/flow.py")
    access = Access(hosts=frozenset({"127.0.0.1"}), options={"http": keyed(first, origin=f"{first.url}/")})
    assert fetch(f"{second.url}/a", access) == TEXT
    assert not any(b"secret-key" in request for request in first.requests + second.requests)


@pytest.mark.parametrize(
    "origin", [None, "", 1, "127.0.0.1", "https://127.0.0.1", "http://h/flows", "http://h/?a=b", "/srv"]
)
def test_headers_for_no_server_are_refused(server, refused, near, origin):
    """What has a key must say whose it is: the scheme and the host, no path."""
    access = near(options={"http": keyed(server, origin=origin)})
    message = refused(f"{server.url}/flow.py", access=access)
    assert 'give http the option "origin" beside them, as in http://host:port' in message
    assert "secret-key" not in message
    assert server.connections == 0


@pytest.mark.parametrize("headers", ["Authorization: secret-key", {"A": 1}, {1: "secret-key"}])
def test_headers_that_are_none_are_refused(server, refused, near, headers):
    """Before anything is asked, and without repeating them."""
    message = refused(f"{server.url}/flow.py", access=near(options={"http": keyed(server, headers=headers)}))
    assert "the headers of http are no names with a text each" in message
    assert "secret-key" not in message


def test_an_unknown_option_is_refused(server, refused, near):
    """None is handed to a library that may do more with it."""
    access = near(options={"http": {"trust_env": True}})
    assert "the option 'trust_env' of http" in refused(f"{server.url}/flow.py", access=access)
    assert server.connections == 0


STATUSES = {
    "404 Not Found": "there is no such file (404)",
    "410 Gone": "no such file any more",
    "401 Unauthorized": "wants to know who asks (401)",
    "403 Forbidden": "does not allow it (403)",
    "429 Too Many": "asked too often",
    "500 Oh": "status 500",
    "206 Partial Content": "status 206",
    "204 No Content": "status 204",
    "304 Not Modified": "status 304",
}


@pytest.mark.parametrize("status", STATUSES)
def test_any_status_but_success_is_an_error(server, reply, refused, near, status):
    """In words, and nothing of the answer is repeated."""
    server.answers["/flow.py"] = reply(b"" if status[:3] in {"204", "304"} else TEXT, status)
    message = refused(f"{server.url}/flow.py", access=near())
    assert STATUSES[status] in message
    assert "hello" not in message


def test_the_query_is_not_repeated_in_messages(server, refused, near):
    """It may hold the key of a signed URL."""
    assert "secret" not in refused(f"{server.url}/flow.py?signature=secret", access=near())
    assert b"signature=secret" in server.requests[0]


def test_locations_that_differ_by_their_query_have_one_name(server, reply, near):
    """Yet each keeps its own location, as it was given."""
    for version in ("1", "2"):
        server.answers[f"/flow.py?v={version}"] = reply(version.encode())
    found = [read(f"{server.url}/flow.py?v={version}", access=near()) for version in ("1", "2")]
    assert {item.filename for item in found} == {f"{server.url}/flow.py"}
    assert [item.location for item in found] == [
        f"{server.url}/flow.py?v={version}" for version in ("1", "2")
    ]
    assert [item.content for item in found] == [b"1", b"2"]


def test_a_large_file_is_refused(server, reply, refused, near):
    """By what it says, and exactly the cap is allowed."""
    access = near(size=len(TEXT))
    server.answers["/flow.py"] = reply(TEXT)
    assert fetch(f"{server.url}/flow.py", access) == TEXT
    server.answers["/flow.py"] = reply(TEXT + b"#")
    assert f"larger than {len(TEXT)} bytes" in refused(f"{server.url}/flow.py", access=access)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_an_endless_answer_is_cut(server, near, head):
    """No more than the cap is held, whatever was announced."""
    piece = b"10000\r\n" + b"#" * 0x10000 + b"\r\n" if b"chunked" in head else b"#" * 0x10000
    server.answers["/flow.py"] = endless(head, piece)
    with contextlib.suppress(Exception):
        fetch(f"{server.url}/none", near())  # modules are loaded before memory is counted
    tracemalloc.start()
    with pytest.raises(SourceError, match=f"larger than {CAP} bytes"):
        fetch(f"{server.url}/flow.py", near(size=CAP))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * CAP


@pytest.mark.slow
def test_a_dripping_answer_ends_in_time(server, refused, near):
    """A byte now and then does not extend the time: in the head, in the body, or before either."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    server.answers["/body"] = endless(head, b"#", 0.05)
    server.answers["/head"] = endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05)
    server.answers["/line"] = endless(b"", b"H", 0.05)
    server.answers["/early"] = endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.05)
    server.answers["/silent"] = endless(b"", b"", 0.05)
    for path in ("body", "head", "early", "silent", "line"):
        start = time.monotonic()
        message = refused(f"{server.url}/{path}", access=near(seconds=0.4))
        assert "took longer than 0.4 seconds" in message or path == "line"
        assert time.monotonic() - start < 5


@pytest.mark.slow
def test_redirects_share_one_time(server, reply, refused, near):
    """Each of them slow, all of them together too slow."""

    def slow(connection):
        time.sleep(0.3)
        connection.sendall(reply(status="302 Found", Location="/flow.py"))

    server.answers["/flow.py"] = slow
    assert "took longer than 0.5 seconds" in refused(f"{server.url}/flow.py", access=near(seconds=0.5))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x1b[31mGARBAGE \xff\xfe\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nabc\r\n",
        b"\0" * 100,
        b"",
    ],
)
def test_a_broken_answer_is_an_error(server, refused, near, answer):
    """Cut, contradictory, or no HTTP at all."""
    server.answers["/flow.py"] = answer
    message = refused(f"{server.url}/flow.py?signature=hunter2&b=c%20d", access=near())
    assert len(message) < 200
    assert message.isprintable()
    for word in ("hunter2", "signature", "c%20d", "c d", "GARBAGE"):
        assert word not in message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
def test_a_compressed_answer_is_refused(server, reply, refused, near, encoding):
    """It was not asked for, and may be a bomb."""
    server.answers["/flow.py"] = reply(gzip.compress(bytes(1 << 24)), Content_Encoding=encoding)
    assert "sends it compressed" in refused(f"{server.url}/flow.py", access=near())


def test_a_file_that_is_compressed_is_a_file(server, reply, near):
    """What its name or type says is not acted on."""
    content = gzip.compress(TEXT)
    server.answers["/flow.py.gz"] = reply(content, Content_Type="application/gzip")
    assert fetch(f"{server.url}/flow.py.gz", near()) == content


def test_redirects_are_followed_five_times(server, reply, refused, near):
    """And relative ones lead from where they were sent."""
    server.answers["/flow.py"] = reply(TEXT)
    for number, status in enumerate((301, 302, 303, 307, 308)):
        target = "../flow.py" if number == 0 else f"{number - 1}?a=b"
        server.answers[f"/r/{number}"] = server.answers[f"/r/{number}?a=b"] = reply(
            status=f"{status} Moved", Location=target
        )
    found = read(f"{server.url}/r/4", access=near())
    assert (found.content, found.filename) == (TEXT, f"{server.url}/r/4")
    server.answers["/r/5"] = reply(status="302 Found", Location="4")
    assert "more than 5 times" in refused(f"{server.url}/r/5", access=near())


def test_a_redirect_in_a_circle_ends(server, reply, refused, near):
    """After as many requests as there may be."""
    server.answers["/flow.py"] = reply(status="302 Found", Location="/flow.py")
    assert "redirected more than 5 times" in refused(f"{server.url}/flow.py", access=near())
    assert server.connections == 6


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/hostname",
        "/etc/hostname\\..",
        "ftp://127.0.0.1/flow.py",
        "s3://bucket/flow.py",
        "memory://flow.py",
        "zip://a::/tmp/b.zip",
        "data:text/plain,x",
        "http://user:hunter2@127.0.0.1/flow.py",
        "http://[/",
        "http://[1]/",
        "javascript:1",
    ],
)
def test_a_redirect_leads_to_web_servers_only(server, reply, refused, near, target):
    """Not to files, other stores, or URLs that would be refused by themselves."""
    server.answers["/flow.py"] = reply(status="302 Found", Location=target)
    message = refused(f"{server.url}/flow.py", access=near())
    assert "hunter2" not in message
    assert len(server.requests) == 1


def test_a_scheme_that_is_not_allowed_is_not_redirected_to(server, reply, refused, near):
    """From https never to http: what is not allowed by its scheme is not followed."""
    server.answers["/flow.py"] = reply(status="302 Found", Location="https://127.0.0.1:9/flow.py")
    access = near(schemes=frozenset({"http"}))
    assert "is redirected to https://127.0.0.1:9/flow.py" in refused(f"{server.url}/flow.py", access=access)


def test_https_never_becomes_http():
    """The step of a redirect is judged by itself, without a connection."""
    place = web.parse("https://example.org/flow.py")
    with pytest.raises(web.SourceError, match="from https only https"):
        web.redirected(place, place, "http://example.org/flow.py", Access())
    assert web.redirected(place, place, "/other.py", Access()).text == "https://example.org/other.py"
    plain = web.parse("http://example.org/flow.py")
    assert web.redirected(plain, plain, "https://example.org/x.py", Access()).scheme == "https"


def test_what_cannot_be_reached_is_said_in_words(server, reply, refused, near, monkeypatch):
    """A closed port, a name without address, a server without TLS."""
    assert "connection was refused" in refused("http://127.0.0.1:9/flow.py", access=near())
    server.answers["/flow.py"] = reply(TEXT)
    message = refused(f"https://127.0.0.1:{server.port}/flow.py", access=near())
    assert "speaks no TLS" in message

    def unknown(*values, **named):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "its host has no address" in refused("http://no-such-host.invalid/flow.py", access=near())


@pytest.mark.slow
def test_nothing_stays_behind(server, reply, near, tmp_path, monkeypatch):
    """No descriptor, no file, whether it went well or not."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    server.answers["/flow.py"] = reply(TEXT)
    server.answers["/large.py"] = reply(TEXT * 1000)
    server.answers["/slow.py"] = endless(b"HTTP/1.1 200 OK\r\n\r\n", b"#", 0.05)

    def round_trip():
        fetch(f"{server.url}/flow.py", near())
        for name in ("large.py", "slow.py", "gone.py"):
            with contextlib.suppress(OSError):
                fetch(f"{server.url}/{name}", near(size=100, seconds=0.3))
        with contextlib.suppress(OSError):
            fetch(f"http://127.0.0.2:{server.port}/flow.py")

    def descriptors():
        # Ends of connections that the server's own threads hold are not ours.
        end = time.monotonic() + 5
        while any(thread.is_alive() for thread in server.threads) and time.monotonic() < end:
            time.sleep(0.01)
        return len(os.listdir("/proc/self/fd"))

    round_trip()
    before = descriptors()
    round_trip()
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_web_server_may_be_the_root(server, reply, refused, near):
    """It does not say what it holds: a script below it is read alone, and no other is."""
    server.answers["/p/q/flow.py"] = reply(TEXT)
    found = read(f"{server.url}/p/q/flow.py", f"{server.url}/p", near())
    assert found == read(f"{server.url}/p/q/flow.py", access=near())
    assert dict(found.project.files) == {"flow.py": TEXT}
    server.requests.clear()
    for root in (f"{server.url}/p/r", f"{server.url}/p?a=b", "http://127.0.0.2/p", "/srv"):
        assert "lies outside the root" in refused(f"{server.url}/p/q/flow.py", root, near())
    assert server.requests == []


def test_a_folder_of_a_web_server_is_no_script(server, refused, near):
    """With a slash at its end, or without any path."""
    assert "it is a folder" in refused(f"{server.url}/p/", access=near())
    assert "it is a folder" in refused(server.url, access=near())
    assert server.connections == 0


def test_a_server_of_this_machine_is_reached_by_ipv6(servers_on, reply):
    """Brackets and all."""
    server = servers_on("::1")
    server.answers["/flow.py"] = reply(TEXT)
    for host in ("::1", f"[::1]:{server.port}"):
        assert fetch(f"{server.url}/flow.py", Access(hosts=frozenset({host}))) == TEXT


def test_a_header_of_basic_authentication_is_a_header(server, reply, near):
    """The way for those who would write a password into a URL."""
    word = base64.b64encode(b"ann:secret").decode()
    server.answers["/flow.py"] = reply(TEXT)
    access = near(options={"http": keyed(server, headers={"Authorization": f"Basic {word}"})})
    assert fetch(f"{server.url}/flow.py", access) == TEXT
    assert f"Authorization: Basic {word}".encode() in server.requests[0]
