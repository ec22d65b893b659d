"""TCP with TLS: who bears the token is answered, over a connection that nobody else can read."""

import contextlib
import datetime as dt
import http.client
import ipaddress
import json
import socket
import ssl
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.daemon.test_descriptors import HAND

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-nobody-guesses"
DAY = dt.timedelta(days=1)


def certified(folder):
    """A certificate for this machine, which nobody but itself vouches for, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def listening(started, place):
    """A daemon that listens at TCP with TLS; its port, what trusts its certificate, and itself."""
    certificate, key = certified(place)
    token = place / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = {"port": port, "token_file": str(token), "certificate": str(certificate), "key": str(key)}
    file = place / "daemon.yaml"
    file.write_text(json.dumps({"listen": listen, "peers": [{"uid": "token"}]}))
    daemon = started("--config", file)
    return port, ssl.create_default_context(cafile=certificate), daemon


def ask(connection, path, body=None, authorization=None):
    """The status and the answer to one request."""
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": authorization} if authorization else {}
    )
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_tls_wants_the_token_too(listening):
    """The right one is answered, another or none is refused."""
    port, context, daemon = listening
    secure = lambda: http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)  # noqa: E731
    load = json.dumps({"text": "1/0"})
    assert ask(secure(), "/v1/load", load, f"Bearer {TOKEN}")[1]["status"] == "script_failed"
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", None):
        status, problem = ask(secure(), "/v1/load", load, wrong)
        assert (status, problem["option"]) == (401, "listen.token_file")
    daemon.until(lambda: daemon.logged("answered", status=401, caller="nobody", asked_from="127.0.0.1"))
    assert daemon.logged("answered", status=200, caller="token", asked_from="127.0.0.1")


def test_what_is_no_tls_gets_nothing(listening):
    """Neither plain HTTP nor an old TLS; and others are served as before."""
    port, context, _ = listening
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(f"GET /v1/version HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(1 << 16)
    secure = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
    assert ask(secure, "/v1/version", authorization=f"Bearer {TOKEN}")[0] == 200


def test_who_does_not_trust_the_certificate_says_nothing(listening):
    """It is that very one that is shown."""
    port, *_ = listening
    stranger = http.client.HTTPSConnection(
        "127.0.0.1", port, context=ssl.create_default_context(), timeout=60
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(stranger, "/v1/version", authorization=f"Bearer {TOKEN}")


def test_a_socket_for_other_machines_that_is_handed_over_needs_a_certificate(started, place):
    """As one that the daemon opens itself: the token crosses no network in the clear."""
    token, file = place / "token", place / "daemon.yaml"
    token.touch(0o600)
    token.write_text(TOKEN)
    with socket.create_server(("0.0.0.0", 0)) as end:
        port = end.getsockname()[1]
        file.write_text(json.dumps({"listen": {"port": port, "token_file": str(token)}}))
        prefix = [sys.executable, "-c", HAND, str(end.fileno())]
        daemon = started("--config", file, wait=False, prefix=prefix, pass_fds=[end.fileno()])
        assert daemon.process.wait(60) != 0
    said = f"cannot listen at 0.0.0.0:{port} without a certificate: "
    assert said in daemon.log.read_text()
