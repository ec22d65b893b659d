"""What a Prefect server, or something that is none, can do wrong: each has one clear error, and none the key.

The servers are real ones on this machine that answer so.
"""

import json
import logging
import socket
import ssl
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from loader.client.interface import DataDocument, DeploymentRequest
from loader.client.prefect import PrefectServer, http
from loader.client.prefect.address import address
from loader.client.prefect.http import Connection, seconds
from loader.client.prefect.words import detail, shown
from loader.errors import ClientError, ObjectAlreadyExists, ObjectNotFound

KEY = "pnu_0123456789abcdefghijklmnopqrstuvwxyz"
FLOW = {"id": "11111111-1111-4111-8111-111111111111", "name": "f", "created": "2026-01-01T00:00:00Z"}
BOUND = 10.0
"""Seconds that no request here may take: endless ones are cut by much shorter limits."""
HOSTILE = "\x1b[31mred\u202e\r\n\x07"
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUSYstD80pgdIgZOE17ebtLKEL4uQwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE5MDMwN1oYDzIxMjYxMDI5
MTkwMzA3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQEBd6n7DiEwLdJLmsnxha8BY2YwChXPoqiYfGgcg+ItKr3vYdkRNPw
pKs7iwForn/efazzCabOJnpg9pxcbIHfo28wbTAdBgNVHQ4EFgQUiIIxUsj6aXxt
SMS/91AmcXmcq+4wHwYDVR0jBBgwFoAUiIIxUsj6aXxtSMS/91AmcXmcq+4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIga22b1ypy0tnnFnIsDmNgZsVCkAuEclwUOUXdvJ5XXCoCIQDE
kXkNU89XrPZkLvbQMq/G3+tJ0lmVxm5VQzqdoFuGyw==
-----END CERTIFICATE-----
"""
CERTIFICATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpjDjSs7cp1A7c4o5
uJARLbqJX4LPqEKeYZNKfFvued+hRANCAAQEBd6n7DiEwLdJLmsnxha8BY2YwChX
PoqiYfGgcg+ItKr3vYdkRNPwpKs7iwForn/efazzCabOJnpg9pxcbIHf
-----END PRIVATE KEY-----
"""
"""Of localhost alone, and trusted by nobody."""


@contextmanager
def raw(talk):
    """A socket server that does what ``talk`` does with each connection; gives its URL."""
    listening, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()
    listening.settimeout(0.02)

    def run():
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            with connection, suppress(OSError):
                talk(connection, stop)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api"
    finally:
        stop.set()
        thread.join()
        listening.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A server that is too busy is asked again soon."""
    monkeypatch.setattr(http, "WAITS", (0.01, 0.02, 0.04))


def failure(url, *, timeout=5.0, key=None, ask=None, kind=ClientError):
    """The message with which a request fails, in bounded time."""
    started = time.monotonic()
    with PrefectServer(url, api_key=key, timeout=timeout) as client, pytest.raises(kind) as caught:
        (ask or (lambda client: client.create_flow("f")))(client)
    assert time.monotonic() - started < BOUND
    assert type(caught.value) is kind
    message = str(caught.value)
    assert message.startswith("cannot ")
    assert message.isprintable()
    assert len(message) < 800
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return message


def read_flow(client):
    return client.read_flow(UUID(FLOW["id"]))


# --- no answer -----------------------------------------------------------------------------------


def test_a_refused_connection_names_the_address_and_the_remedy():
    """Where nothing listens one is told to start a server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = failure(f"http://127.0.0.1:{port}/api")
    assert message == (
        f"cannot create flow 'f' on http://127.0.0.1:{port}/api: nothing listens there;"
        " start it with 'prefect server start', or check host and port"
    )


@pytest.mark.parametrize("host", [".".join(["a" * 60] * 5), "a" * 64 + ".example"], ids=["name", "label"])
def test_a_host_that_is_not_known_is_said(host):
    """A name that cannot be resolved is told from a host that does not answer."""
    assert "its host name is not known here; check its spelling" in failure(f"http://{host}/api")


def silent(_, stop):
    stop.wait()


def dripping_header(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not stop.wait(0.05):
        connection.sendall(b"x")


def dripping_body(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not stop.wait(0.05):
        connection.sendall(b" ")


def dripping_chunks(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not stop.wait(0.05):
        connection.sendall(b"1\r\n \r\n")


@pytest.mark.sampled
@pytest.mark.parametrize("talk", [silent, dripping_header, dripping_body, dripping_chunks])
def test_a_server_that_takes_for_ever_is_left(talk):
    """The whole answer must be there in time, however steadily it comes."""
    with raw(talk) as url:
        message = failure(url, timeout=0.4)
    assert "it did not answer in full within 0.4 seconds; check that it runs" in message


@pytest.mark.slow
def test_a_server_that_does_not_read_is_left():
    """A request that is not taken must not be waited for either."""
    request = DeploymentRequest(name="d", flow_id=UUID(FLOW["id"]), description="x" * 20_000_000)

    def talk(connection, stop):
        content = b""
        while b"/deployments/ " not in content:
            content = connection.recv(4096)
            if b"GET /api/admin" in content:
                body = b'"3.0.0"'
            elif b"GET /api/flows" in content:
                body = json.dumps(FLOW).encode()
            else:
                body = b"[]"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            if b"/filter " in content:
                connection.recv(4096)
                stop.wait()

    with raw(talk) as url:
        message = failure(url, timeout=0.5, ask=lambda client: client.create_deployment(request))
    assert "within 0.5 seconds" in message


def endless(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not stop.is_set():
        connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def huge(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


@pytest.mark.parametrize("talk", [endless, huge])
def test_an_answer_is_read_up_to_a_cap(talk):
    """What a server sends beyond it is never held."""
    with raw(talk) as url:
        assert "its answer is larger than 8 MiB; is it a Prefect server?" in failure(url)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000,
    ],
    ids=["nothing", "ssh", "tls", "status", "short", "headers"],
)
def test_what_is_not_http_is_said(content):
    """A port of another kind of service is told from a server that fails."""

    def talk(connection, _):
        connection.recv(4096)
        connection.sendall(content)

    with raw(talk) as url:
        message = failure(url)
    known = ("it closed the connection or does not speak HTTP; check the port", "the connection failed: ")
    assert any(words in message for words in known)


# --- encryption ----------------------------------------------------------------------------------


@pytest.fixture
def certified(tmp_path):
    """The certificate's file, and what serves with it."""
    (tmp_path / "cert.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(CERTIFICATE_KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return tmp_path / "cert.pem", context


def test_a_certificate_that_is_not_trusted_is_refused(serve, certified):
    """The key is not sent, and the remedy for an authority of one's own is said."""
    server = serve(tls=certified[1])
    message = failure(server.url, key=KEY)
    assert "its certificate is not trusted: " in message
    assert "point SSL_CERT_FILE at the authority that signed it" in message
    assert server.requests == []


def test_an_authority_of_ones_own_can_be_trusted(serve, certified, monkeypatch):
    """``SSL_CERT_FILE`` names it, as for everything else that is built on OpenSSL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[0]))
    server = serve({f"/flows/{FLOW['id']}": (200, {}, FLOW)}, tls=certified[1])
    with PrefectServer(server.url, api_key=KEY) as client:
        assert read_flow(client).name == "f"
    assert {request[2]["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_a_certificate_of_another_host_is_refused(serve, certified, monkeypatch):
    """A trusted certificate is one of the host that was named."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[0]))
    server = serve(tls=certified[1], host="127.0.0.2")
    assert "not valid for '127.0.0.2'" in failure(server.url, key=KEY)
    assert server.requests == []


def test_plain_http_where_encryption_was_asked_for_is_said(serve):
    """``https://`` for a server that speaks HTTP names the likely mistake."""
    message = failure(serve().url.replace("http:", "https:"), key=KEY)
    assert "no encrypted connection can be made: " in message
    assert "if it serves plain HTTP, use http://" in message


# --- the wrong server ----------------------------------------------------------------------------

PAGE = b"<!doctype html><html><script>alert(1)</script>" + b"x" * 100_000


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, {"detail": "Not Found"}),
        (404, {"Content-Type": "text/html"}, PAGE),
        (200, {"Content-Type": "text/html"}, PAGE),
        (200, {}, {"version": "3.0.0"}),
        (200, {}, 3),
        (200, {}, "three"),
        (200, {}, "3"),
        (200, {}, b"\xff\xfe"),
        (200, {}, b"[" * 1_000_000),
        (200, {}, b"9" * 100_000),
        (200, {}, b"NaN"),
        (204, {}, b""),
        (418, {}, {"detail": HOSTILE}),
    ],
    ids=lambda answer: f"{answer[0]} {str(answer[2])[:12]}",
)
def test_what_is_no_prefect_server_is_said(serve, answer):
    """Whatever answers otherwise than a Prefect server does is told so, with a guess at the right URL."""
    server = serve({"/admin/version": answer, "/prefect/admin/version": answer})
    message = failure(server.url)
    assert f"there is no Prefect server at this URL ({answer[0]}); check host and port" in message
    root = server.url.removesuffix("/api")
    assert f"; did you mean {root}/api?" in failure(root)
    assert f"; did you mean {root}/api?" in failure(root + "/prefect")


@pytest.mark.parametrize("version", ["2.20.9", "1.4.1", "0.15.13", "4.0.0", "30.1", "4.0.0rc1+5.gabc"])
def test_other_versions_are_refused(serve, version):
    """A server of a version that is not known is not written to."""
    server = serve({"/admin/version": (200, {}, version)})
    message = failure(server.url)
    assert f"it is a Prefect server of version {version}, and only version 3 is known" in message
    assert len(server.requests) == 1


def test_the_version_is_asked_for_once(serve):
    """Not with every request, nor by every thread."""
    server = serve({f"/flows/{FLOW['id']}": (200, {}, FLOW)})
    with PrefectServer(server.url) as client:
        threads = [threading.Thread(target=read_flow, args=(client,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [request[1] for request in server.requests].count("/api/admin/version") == 1
    assert len(server.requests) == 9


def test_prefect_cloud_is_not_asked_for_its_version(serve):
    """A workspace there has none to tell, and is always of the newest."""
    workspace = f"/accounts/{uuid4()}/workspaces/{uuid4()}"
    server = serve({f"{workspace}/flows/{FLOW['id']}": (200, {}, FLOW)})
    with PrefectServer(server.url + workspace, api_key=KEY) as client:
        assert read_flow(client).name == "f"
    assert len(server.requests) == 1


def test_a_server_that_was_away_is_asked_again(serve):
    """A check that failed is not remembered."""
    server = serve({"/admin/version": (500, {}, {}), f"/flows/{FLOW['id']}": (200, {}, FLOW)})
    with PrefectServer(server.url) as client:
        with pytest.raises(ClientError):
            read_flow(client)
        server.answers["/admin/version"] = (200, {}, "3.8.8")
        assert read_flow(client).name == "f"


@pytest.mark.parametrize(
    "body",
    [[], None, {}, {"id": 3}, {**FLOW, "id": "x"}, {**FLOW, "name": None}, {**FLOW, "created": "soon"}, "f"],
    ids=str,
)
def test_an_answer_that_is_no_flow_is_said(serve, body):
    """What is not what was asked for is never taken for it."""
    server = serve({f"/flows/{FLOW['id']}": (200, {}, body)})
    assert "its answer is not what a Prefect 3 server gives" in failure(server.url, ask=read_flow)


@pytest.mark.parametrize("body", [{}, [3], ["x"], "x", None, [{}], [{"id": "x"}]], ids=str)
def test_an_answer_that_is_no_list_is_said(serve, body):
    """The same of what a filter finds."""
    server = serve({"/flows/filter": (200, {}, body)})
    assert "its answer is not what a Prefect 3 server gives" in failure(server.url)


@pytest.mark.parametrize(
    "schedule",
    [
        {"interval": "x"},
        {"interval": 1.0, "timezone": "../../etc/passwd"},
        {"interval": 1.0, "anchor_date": "9999-12-31T23:59:59-12:00"},
        {"interval": 1.0, "timezone": ["x"]},
        {},
        3,
    ],
    ids=str,
)
def test_a_schedule_that_is_none_is_said(serve, schedule):
    """A deployment with a schedule that cannot be read is not read in part."""
    identity = str(uuid4())
    raw = {"id": identity, "flow_id": FLOW["id"], "name": "d"}
    raw["schedules"] = [{"schedule": schedule, "active": True}]
    answers = {f"/flows/{FLOW['id']}": (200, {}, FLOW), f"/deployments/{identity}": (200, {}, raw)}
    message = failure(serve(answers).url, ask=lambda client: client.read_deployment(UUID(identity)))
    assert "its answer is not what a Prefect 3 server gives" in message


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_missing_is_asked_for(serve, status):
    """A server that wants one is told from one that refuses one."""
    server = serve({"/admin/version": (status, {}, {"detail": "Unauthorized"})})
    assert "it wants an API key; give one as api_key, or in PREFECT_API_KEY" in failure(server.url)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "it does not accept the API key"), (403, "is not allowed to do this")]
)
def test_a_key_that_is_refused_is_said_and_not_shown(serve, status, words):
    """Not even when the server repeats it."""
    said = {"detail": f"bad key {KEY} or Bearer {KEY}" + "x" * 280 + KEY}
    server = serve({"/admin/version": (200, {}, "3.0.0"), "/flows/filter": (status, {}, said)})
    message = failure(server.url, key=KEY)
    assert words in message
    assert KEY[:8] not in message
    assert "bad key *** or Bearer ***" in message


def test_a_missing_object_is_not_found(serve):
    """A 404 with the server's own word is that of an object."""
    server = serve({f"/flows/{FLOW['id']}": (404, {}, {"detail": "Flow not found"})})
    message = failure(server.url, ask=read_flow, kind=ObjectNotFound)
    assert message == (f"cannot read flow {FLOW['id']} on {server.url}: Flow not found; check names and ids")


def test_a_conflict_is_said(serve):
    """A 409 is that of an object that is there already."""
    server = serve({"/flows/filter": (200, {}, []), "/flows/": (409, {}, {"detail": "taken"})})
    assert "it conflicts with what is there: taken" in failure(server.url, kind=ObjectAlreadyExists)


def test_mistakes_in_a_request_name_their_fields(serve):
    """A 422 becomes a line with each field and what is wrong with it, without what was sent."""
    wrong = [
        {"type": "list_type", "loc": ["body", "tags"], "msg": "Input should be a valid list", "input": 3},
        {"type": "extra_forbidden", "loc": ["body", "new"], "msg": "Extra inputs are not permitted"},
    ]
    answer = {
        "exception_message": "Invalid request received.",
        "exception_detail": wrong,
        "request_body": "secret",
    }
    server = serve({"/flows/filter": (422, {}, answer)})
    assert failure(server.url) == (
        "cannot create flow 'f': tags: Input should be a valid list; new: Extra inputs are not permitted"
    )


def test_a_server_that_fails_is_not_asked_again(serve):
    """A 500 may have done something: it is said, with where to look."""
    server = serve({"/flows/filter": (500, {}, {"exception_message": "Internal Server Error"})})
    message = failure(server.url)
    assert "it failed (500): Internal Server Error; see the server's log, or try again" in message
    assert len(server.requests) == 2


def test_a_connection_that_a_failing_server_closes_is_not_used_again(serve):
    """Servers close after a failure without saying so; the next request has a connection of its own."""

    def fail(handler):
        handler.close_connection = True
        return 500, {}, {"exception_message": "Internal Server Error"}

    server = serve({"/flows/filter": fail, f"/flows/{FLOW['id']}": (200, {}, FLOW)})
    with PrefectServer(server.url) as client:
        for _ in range(3):
            with pytest.raises(ClientError, match="it failed"):
                client.create_flow("f")
            assert read_flow(client).name == "f"


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_asked_again(serve, status):
    """Until it answers."""
    left = [(status, {"Retry-After": "0"}, {}), (status, {}, b"busy"), (200, {}, FLOW)]
    server = serve({f"/flows/{FLOW['id']}": lambda _: left.pop(0)})
    with PrefectServer(server.url) as client:
        assert read_flow(client).name == "f"
    assert left == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_stays_busy_is_left(serve, status):
    """It is asked four times in all."""
    server = serve({f"/flows/{FLOW['id']}": (status, {}, {"detail": "slow down"})})
    message = failure(server.url, ask=read_flow)
    assert f"it is too busy ({status}): slow down; try again later" in message
    assert len(server.requests) == 5


@pytest.mark.slow
def test_a_server_is_given_the_time_it_asks_for(serve):
    """``Retry-After`` is honoured."""
    times = []

    def answer(_):
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, {}) if len(times) == 1 else (200, {}, FLOW)

    with PrefectServer(serve({f"/flows/{FLOW['id']}": answer}).url) as client:
        read_flow(client)
    assert times[1] - times[0] >= 1


def test_a_server_that_asks_for_too_long_a_wait_is_left(serve):
    """One is told when to come back."""
    server = serve({f"/flows/{FLOW['id']}": (503, {"Retry-After": "86400"}, {})})
    assert "try again in 86400 seconds, as it asks" in failure(server.url, ask=read_flow)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3),
        ("", 0),
        ("soon", 0),
        ("-1", 0),
        ("²", 0),
        ("9" * 5000, 999999999),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_with_care(header, expected):
    """Seconds or a date; nonsense is none."""
    assert seconds(header) == expected


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(serve, status):
    """They are errors that say where to, without what an address may carry; the key goes nowhere else."""
    other = serve()
    there = other.url.replace("http://", "http://ann:pass@") + f"/x?token=hush&k={KEY}#part"
    server = serve({"/admin/version": (status, {"Location": there}, b"")})
    message = failure(server.url, key=KEY)
    assert f"it redirects to {other.url}/x; use the API's own URL" in message
    assert other.requests == []


@pytest.mark.parametrize("location", ["", "http://[", "//\x01", "/a\x9b31m", "x" * 5000])
def test_odd_redirects_are_said(serve, location):
    """A location that cannot be read does no harm."""
    assert "it redirects to " in failure(serve({"/admin/version": (302, {"Location": location}, b"")}).url)


def test_foreign_text_is_cut_and_escaped(serve):
    """Nothing in it acts on a terminal or fills one."""
    server = serve({"/flows/filter": (500, {}, {"detail": HOSTILE + "y" * 10_000})})
    message = failure(server.url)
    assert r"\x1b[31mred\u202e\r\n\x07yyyy" in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "data",
    [
        {"detail": [{"msg": 3}, 4, {"msg": "m", "loc": 5}]},
        {"detail": {"a": 1}},
        {"exception_detail": [{"msg": "x" * 10_000, "loc": ["body", "y" * 10_000]}] * 100},
        {"detail": [{"msg": "m", "loc": ["body", ["a"], None]}]},
        {"detail": "Validation failed for field ''. Failure reason: "},
        [],
        "x",
        None,
    ],
    ids=lambda data: str(data)[:30],
)
def test_refusals_of_any_shape_are_read(data):
    """What a server says is looked through, never relied on."""
    said = detail(data)
    assert isinstance(said, str)
    assert len(said) < 1000


def test_text_is_cut_after_the_key_is_struck_out():
    """A key at the cut does not leave its beginning behind."""
    for before in range(250, 301):
        said = detail({"detail": "x" * before + KEY}, KEY)
        assert KEY[:4] not in said
    assert shown("x" * 301) == "x" * 300 + " …"


# --- addresses and keys --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:4200/api",
        "ftp://h/api",
        "http:///api",
        "http://",
        "http://h:x/api",
        "http://h:99999/api",
        "http://[::1/api",
        "http://h/api?x=1",
        "http://h/api#x",
        "http://h/a pi",
        "http://h\\@i/api",
        "http://h/api\r\nX: y",
        "http://\u0661.example/api",
    ],
)
def test_urls_that_name_no_api_are_refused(url):
    """Before anything is connected to."""
    with pytest.raises(ClientError, match=r"^cannot (use|read) ") as caught:
        PrefectServer(url)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        f"https://ann:{KEY}@h/api",
        f"https://{KEY}@h/api",
        f"http://:{KEY}@h:x/api",
        f"ann:{KEY}@h/api",
        f"{KEY}@h",
    ],
)
def test_passwords_in_a_url_are_refused_and_not_shown(url):
    """The key has a place of its own."""
    with pytest.raises(ClientError) as caught:
        PrefectServer(url)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_address_has_no_slash_at_its_end():
    """Both spellings are one."""
    with PrefectServer("HTTP://LocalHost:4200/api/") as client:
        assert client.address == "http://localhost:4200/api"
        assert repr(client) == "<PrefectServer http://localhost:4200/api>"


def test_ipv6_addresses_keep_their_brackets():
    """In the header that names the host, which HTTP libraries make of the bare address."""
    found = address("http://[::1]:4200/api")
    assert (found.host, found.is_local, str(found)) == ("::1", True, "http://[::1]:4200/api")
    assert dict(Connection(found, None, 1.0)._headers())[b"Host"] == b"[::1]:4200"


@pytest.mark.parametrize("key", [KEY + "\n", "a b", "kéy", "a\x00b"])
def test_keys_that_no_header_can_hold_are_refused_and_not_shown(key):
    """A line end, as from a file, would otherwise surface in an error of the HTTP library."""
    with pytest.raises(ClientError, match=r"^cannot use this API key: ") as caught:
        PrefectServer("https://h/api", api_key=key)
    assert key not in str(caught.value)


def test_a_key_is_not_sent_unencrypted_to_another_machine():
    """Unless that is said; on this machine it may be."""
    with pytest.raises(ClientError, match=r"^cannot send an API key to http://10\.0\.0\.1/api unencrypted"):
        PrefectServer("http://10.0.0.1/api", api_key=KEY)
    PrefectServer("http://10.0.0.1/api", api_key=KEY, unencrypted_key=True).close()
    PrefectServer("http://localhost/api", api_key=SecretStr(KEY)).close()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_time_limits_that_are_none_are_refused(timeout):
    """Every request ends."""
    with pytest.raises(ClientError, match=r"^cannot wait "):
        PrefectServer("http://127.0.0.1/api", timeout=timeout)


def test_the_key_is_in_no_traceback_log_or_repr(serve, caplog):
    """Not even in one that shows the variables of every frame of ours and of the HTTP library."""
    caplog.set_level(logging.DEBUG)

    def talk(connection, _):
        connection.recv(65536)

    with raw(talk) as url, PrefectServer(url, api_key=KEY) as client:
        assert KEY not in repr(client) + repr(vars(client)) + repr(client._api) + repr(
            client._api._connection
        )
        try:
            client.create_flow("f")
        except ClientError as error:
            known = error
    frames = traceback.TracebackException.from_exception(known, capture_locals=True)
    text = "".join(frames.format())
    assert "cannot create flow" in text
    assert KEY not in text
    assert KEY not in caplog.text


def test_nothing_is_sent_to_a_proxy_for_this_machine(serve, monkeypatch):
    """What the environment names for the network outside is not for a server here."""
    proxy = serve()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server = serve({f"/flows/{FLOW['id']}": (200, {}, FLOW)})
    with PrefectServer(server.url, api_key=KEY) as client:
        read_flow(client)
    assert proxy.requests == []


@pytest.fixture
def proxied(monkeypatch):
    """A callable that names proxies in an environment that has no other."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return lambda **names: [monkeypatch.setenv(name, value) for name, value in names.items()]


def test_the_proxy_of_the_environment_is_used_for_other_machines(serve, proxied):
    """The request goes to the proxy, with its own name and password, which no message shows."""
    proxy = serve()
    there = "http://prefect.invalid/api"
    proxy.answers |= {
        f"{there}/admin/version": (200, {}, "3.1.0"),
        f"{there}/flows/{FLOW['id']}": (200, {}, FLOW),
    }
    proxied(http_proxy=f"http://ann:hush@127.0.0.1:{proxy.server_port}")
    with PrefectServer(there) as client:
        assert read_flow(client).name == "f"
    assert proxy.requests[0][1] == f"{there}/admin/version"
    assert proxy.requests[0][2]["Proxy-Authorization"] == "Basic YW5uOmh1c2g="
    assert "hush" not in repr(client._api.address)


def test_a_proxy_that_refuses_is_said(serve, proxied):
    """Its failure is told from the server's."""
    proxy = serve()
    proxied(https_proxy=f"http://ann:hush@127.0.0.1:{proxy.server_port}")
    message = failure("https://prefect.invalid/api", key=KEY)
    assert "the proxy refused; check HTTPS_PROXY" in message
    assert f"through the proxy http://127.0.0.1:{proxy.server_port}" in message
    assert "hush" not in message
    assert all(KEY not in str(request) for request in proxy.requests)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "p:1"}, "http://p:1"),
        ({"all_proxy": "http://p:1"}, "http://p:1"),
        ({"http_proxy": "http://p:1"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "example"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, None),
    ],
    ids=str,
)
def test_which_proxy_is_used(proxied, variables, expected):
    """That of the URL's scheme, or of all, unless the host is exempt."""
    proxied(**variables)
    found = address("https://prefect.example/api").proxy
    assert (found and found.url) == expected
    assert address("https://prefect.example/api", trust_env=False).proxy is None


@pytest.mark.parametrize("value", ["socks5://ann:hush@p:1", "ftp://ann:hush@p", "http://"])
def test_proxies_of_other_kinds_are_refused(proxied, value):
    """Rather than passed by; and without their password."""
    proxied(https_proxy=value)
    with pytest.raises(ClientError, match=r"^cannot use the proxy ") as caught:
        PrefectServer("https://prefect.example/api")
    assert "hush" not in str(caught.value)


# --- what is sent --------------------------------------------------------------------------------


def test_every_request_bears_the_key_and_nothing_else_of_ours(serve):
    """One header, to the one origin."""
    server = serve({"/flows/filter": (200, {}, []), "/flows/": (201, {}, FLOW)})
    with PrefectServer(server.url, api_key=KEY) as client:
        assert client.create_flow("f").new
    assert len(server.requests) == 3
    for _, _, headers, _ in server.requests:
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert headers["Host"] == server.url.removeprefix("http://").removesuffix("/api")
        assert not {"Cookie", "Referer"} & set(headers)


def test_cookies_are_not_kept(serve):
    """A server cannot mark a client."""
    answers = {f"/flows/{FLOW['id']}": (200, {"Set-Cookie": "a=b"}, FLOW)}
    server = serve(answers)
    with PrefectServer(server.url) as client:
        read_flow(client)
        read_flow(client)
    assert all("Cookie" not in request[2] for request in server.requests)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}], ids=str)
def test_what_json_cannot_hold_is_refused(serve, value):
    """Before it is sent."""
    server = serve({f"/flows/{FLOW['id']}": (200, {}, FLOW), "/deployments/filter": (200, {}, [])})
    request = DeploymentRequest(name="d", flow_id=UUID(FLOW["id"]), parameters={"n": value})
    message = failure(server.url, ask=lambda client: client.create_deployment(request))
    assert "cannot create deployment 'd' of flow 'f': it holds what JSON cannot" in message
    assert ("POST", "/api/deployments/") not in [item[:2] for item in server.requests]


def test_storage_blocks_are_refused_with_a_reason():
    """There are none on a Prefect server."""
    with PrefectServer("http://127.0.0.1:1/api") as client:
        calls = [
            lambda: client.create_block("b", "Local Storage", {}),
            lambda: client.read_block(uuid4()),
            lambda: client.read_block_by_name("b"),
            lambda: client.read_block_spec_by_name("Local Storage"),
            lambda: client.set_default_storage_block(uuid4()),
        ]
        for call in calls:
            with pytest.raises(
                ClientError, match=r"^cannot .*: a Prefect server keeps no scripts; say where"
            ):
                call()


def test_data_documents_are_resolved_without_a_server():
    """What holds its data itself needs no storage, and a pickle stays bytes."""
    with PrefectServer("http://127.0.0.1:1/api") as client:
        assert client.resolve_datadoc(DataDocument(encoding="json", blob='{"a": [1]}')) == {"a": [1]}
        assert client.resolve_datadoc(DataDocument(encoding="text", blob="x")) == "x"
        assert (
            client.resolve_datadoc(DataDocument(encoding="cloudpickle", blob="gASVAAAA"))
            == b"\x80\x04\x95\0\0\0"
        )
        stored = json.dumps({"data": "key", "block_id": str(uuid4())})
        with pytest.raises(ClientError, match=r"^cannot read storage block"):
            client.resolve_datadoc(DataDocument(encoding="blockstorage", blob=stored))


# --- transactions when the server fails ------------------------------------------------------------


def test_what_failed_without_a_word_is_looked_for_and_taken_back(serve):
    """A server that failed while it created may have done it nevertheless."""
    made = []

    def create(_):
        made.append(FLOW)
        return 500, {}, {"exception_message": "Internal Server Error"}

    def delete(handler):
        assert handler.command == "DELETE"
        made.clear()
        return 204, {}, b""

    answers = {
        "/flows/filter": lambda _: (200, {}, list(made)),
        "/flows/": create,
        "/deployments/count": (200, {}, 0),
        f"/flows/{FLOW['id']}": delete,
    }
    server = serve(answers)
    assert "it failed (500)" in failure(server.url)
    assert made == []
    assert server.requests[-1][0] == "DELETE"


def test_what_was_refused_is_not_looked_for(serve):
    """A refusal is sure to have done nothing, and undoing nothing must not undo what others did."""
    server = serve({"/flows/filter": (200, {}, []), "/flows/": (422, {}, {"detail": "no"})})
    assert failure(server.url) == "cannot create flow 'f': no"
    assert server.requests[-1][:2] == ("POST", "/api/flows/")


def test_a_failure_while_taking_back_is_said_in_a_note(serve):
    """The first failure is what is raised."""
    found = [[]]
    answers = {
        "/flows/filter": lambda _: (200, {}, found.pop()) if found else (500, {}, {"detail": "down"}),
        "/flows/": (201, {}, FLOW),
    }
    client = PrefectServer(serve(answers).url)

    @client.transaction()
    def attempt():
        client.create_flow("f")
        raise KeyError

    with client, pytest.raises(KeyError) as caught:
        attempt()
    (note,) = caught.value.__notes__
    assert note.startswith("cannot take back flow 'f': cannot delete flow 'f' on http://127.0.0.1:")
    assert note.endswith("it failed (500): down; see the server's log, or try again")
