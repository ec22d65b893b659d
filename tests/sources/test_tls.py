"""TLS: a server is believed when its certificate is trusted and names it, and not otherwise."""

import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CODE = Path(__file__).parent.parent.parent
READ = """
import sys
from loader.access import Access
from loader.errors import SourceError
from loader.sources import fetch
try:
    print(fetch(sys.argv[1], Access(hosts=frozenset({"127.0.0.1"}), seconds=20)).decode())
except SourceError as error:
    print(error)
"""


class Answer(BaseHTTPRequestHandler):
    """A file, and a redirect to it by plain HTTP."""

    def do_GET(self):
        port = self.server.server_port
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", f"http://127.0.0.1:{port}/flow.py")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"x = 1")

    def log_message(self, *values):
        pass


class Quiet(HTTPServer):
    """One that does not print what clients without trust do to it."""

    def handle_error(self, *values):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "flow-loader tests")])
    now = dt.datetime.now(dt.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="module")
def port(certificate):
    """The port of a web server on 127.0.0.1 that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Quiet(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def answer(url, **environment):
    """What is read at a URL by a process that trusts what its environment says."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ, url],
        capture_output=True,
        text=True,
        cwd=CODE,
        env={**os.environ, **environment},
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_trusted_server_is_believed(port, certificate):
    """One that the environment names."""
    assert answer(f"https://127.0.0.1:{port}/flow.py", SSL_CERT_FILE=str(certificate)) == "x = 1"


def test_a_server_that_nobody_vouches_for_is_not(port):
    """In words."""
    assert "certificate is not trusted" in answer(f"https://127.0.0.1:{port}/flow.py")


def test_a_certificate_of_another_name_is_not_believed(port, certificate):
    """It vouches for the address alone."""
    message = answer(f"https://localhost:{port}/flow.py", SSL_CERT_FILE=str(certificate))
    assert "certificate is not trusted" in message


def test_a_redirect_to_plain_http_is_refused(port, certificate):
    """What was asked for over TLS is not taken without."""
    message = answer(f"https://127.0.0.1:{port}/moved", SSL_CERT_FILE=str(certificate))
    assert "from https only https" in message
