"""Servers that tests talk to: real ones, on the loopback interface, each in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""The environment of whoever talks to ``s3_server``: no real keys, and no way to a cloud's metadata."""


@dataclass(frozen=True)
class S3Server:
    """Where the server is, and what is in the environment of those who use it."""

    endpoint_url: str
    environment: dict[str, str]


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def wait_for(url, process, seconds=30):
    """Return when ``url`` answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.05)
    raise RuntimeError(f"cannot start the server of {url}: it ended or does not answer")


@contextlib.contextmanager
def running_s3():
    """An S3 server without any bucket, until the block is left."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"{url}/moto-api/", process)
            yield S3Server(url, CREDENTIALS)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def s3_server():
    """A real server of the S3 protocol, and credentials for it in the environment."""
    before = {name: os.environ.get(name) for name in CREDENTIALS}
    os.environ.update(CREDENTIALS)
    with running_s3() as server:
        yield server
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
