"""What a web request may connect to: public addresses and those that the caller names, nothing else."""

import ipaddress
import socket
import threading
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.access import Access
from loader.sources import addresses, guard, read

PRIVATE = (
    "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 "
    "172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 "
    "198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: "
    "::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 "
    "64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1::1 2001:10::1 2001:db8::1 "
    "2002:7f00:1::1 2002:a00:1::1 2002:a9fe:a9fe:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 "
    "fec0::1 ff02::1 "
).split()
PUBLIC = (
    "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 "
    "198.20.0.1 223.255.255.255 2606:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::808:808 "
    "2002:808:808::1 "
).split()
SPELLINGS = [
    "http://127.0.0.1:{port}/flow.py",
    "http://127.1:{port}/flow.py",
    "http://0x7f.1:{port}/flow.py",
    "http://0x7f000001:{port}/flow.py",
    "http://2130706433:{port}/flow.py",
    "http://0177.0.0.1:{port}/flow.py",
    "http://127.0.0.1.:{port}/flow.py",
    "http://0:{port}/flow.py",
    "http://0.0.0.0:{port}/flow.py",
    "http://localhost:{port}/flow.py",
    "http://LOCALHOST:{port}/flow.py",
    "http://localhost.:{port}/flow.py",
    "http://[::ffff:127.0.0.1]:{port}/flow.py",
    "http://[::ffff:7f00:1]:{port}/flow.py",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/flow.py",
    "HTTP://127.0.0.1:{port}/flow.py",
    "https://127.0.0.1:{port}/flow.py",
    "https://localhost:{port}/flow.py",
    "zip://flow.py::http://127.0.0.1:{port}/flow.zip",
]
ODD = [
    "http://user@127.0.0.1:{port}/flow.py",
    "http://user:hunter2@127.0.0.1:{port}/flow.py",
    "http://example.org@127.0.0.1:{port}/flow.py",
    "http://example.org:80@127.0.0.1:{port}/flow.py",
    "http://127.0.0.1:{port}\\@example.org/flow.py",
    "http://example.org\\@127.0.0.1:{port}/flow.py",
    "http://１２７.０.０.１:{port}/flow.py",
    "http://ⓛocalhost:{port}/flow.py",
    "http://127。0。0。1:{port}/flow.py",
    "http://127.0.0.1%00.example.org:{port}/flow.py",
    "http://127.0.0.1\0.example.org:{port}/flow.py",
    "http://127.0.0.1 .example.org:{port}/flow.py",
    "http://127.0.0.1\t:{port}/flow.py",
    "http://\r\n127.0.0.1:{port}/flow.py",
    "http://[::1%25lo]:{port}/flow.py",
    "http://[127.0.0.1]:{port}/flow.py",
    "http://[::1:{port}/flow.py",
    "http://:{port}/flow.py",
    "http:///127.0.0.1:{port}/flow.py",
    "http://.:{port}/flow.py",
    "http:127.0.0.1:{port}/flow.py",
    "http:/127.0.0.1:{port}/flow.py",
    "//127.0.0.1:{port}/flow.py",
    "http://127.0.0.1:{port}0000/flow.py",
    "http://127.0.0.1:-1/flow.py",
    "http://127.0.0.1:0/flow.py",
    "http://127.0.0.1:{port}:{port}/flow.py",
    "url:http://127.0.0.1:{port}/flow.py",
    "simplecache::http://127.0.0.1:{port}/flow.py",
    "filecache::http://127.0.0.1:{port}/flow.py",
    "zip://flow.py::simplecache::http://127.0.0.1:{port}/flow.zip",
    "zip://flow.py::zip://flow.zip::http://127.0.0.1:{port}/flow.zip",
    "memory://flow.py::http://127.0.0.1:{port}/flow.py",
    "reference://::http://127.0.0.1:{port}/flow.py",
    "dask::http://127.0.0.1:{port}/flow.py",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_special_addresses_are_not_public(text):
    """Nor is an IPv6 address that leads to one."""
    assert not addresses.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_other_addresses_are_public(text):
    """Those next to special networks, too."""
    assert addresses.is_public(ipaddress.ip_address(text))


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_not_public(address):
    """Ours is never wider than the standard library's, but where an IPv4 address is embedded."""
    if addresses.embedded(address) == address and (address.is_private or address.is_multicast):
        assert not addresses.is_public(address)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_loopback_is_refused_before_it_is_connected_to(server, refused, spelling):
    """However it is spelled, by what the name comes to."""
    message = refused(spelling.format(port=server.port))
    assert "no public address" in message or "written in an odd way" in message
    assert f":{server.port}" in message
    assert server.connections == 0


@pytest.mark.parametrize("spelling", ODD)
def test_odd_urls_are_refused_before_they_are_looked_up(server, refused, spelling, monkeypatch):
    """Users, controls, foreign digits, chains: nothing is resolved for them, and no password is repeated."""
    looked_up = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *values, **_: looked_up.append(values))
    access = Access(hosts=frozenset({"127.0.0.1", "::1"}))
    message = refused(spelling.format(port=server.port), access=access)
    assert "hunter2" not in message
    assert not looked_up
    assert server.connections == 0


@pytest.mark.parametrize("address", [item for item in PRIVATE if ":" not in item])
def test_no_special_address_is_connected_to(refused, monkeypatch, address):
    """Not even a socket is made for it."""
    made = []

    def refusing(*values):
        made.append(values)
        raise OSError(113, "No route to host")

    monkeypatch.setattr(guard, "socket", SimpleNamespace(socket=refusing))
    assert "no public address" in refused(f"http://{address}/flow.py")
    assert not made


def test_a_name_is_judged_by_the_address_that_is_connected_to(server, refused, monkeypatch):
    """A name that comes to another address at each look leads to one of them, and that one is judged."""
    answers = []

    def rebinding(host, port, *values, **named):
        # A public address for whoever looks first, and loopback from then on.
        address = "127.0.0.1" if answers else "93.184.215.14"
        answers.append(address)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    judged = []
    original = guard.Guard.socket

    def watched(self, info):
        judged.append(info[4][0])
        if info[4][0] != "127.0.0.1":
            raise OSError(113, "No route to host")  # nothing but loopback is connected to here
        return original(self, info)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(guard.Guard, "socket", watched)
    for _ in range(2):
        refused(f"http://rebinding.example:{server.port}/flow.py")
    assert judged == answers == ["93.184.215.14", "127.0.0.1"]
    assert server.connections == 0


def test_the_guard_is_asked_for_every_connection(server, reply, near, monkeypatch):
    """By the installed client, for addresses, names and redirects."""
    server.answers["/moved"] = reply(status="302 Found", Location="/flow.py")
    server.answers["/flow.py"] = reply(b"x = 1")
    asked = []
    original = guard.Guard.socket

    def recorded(self, info):
        asked.append(info[4][:2])
        return original(self, info)

    monkeypatch.setattr(guard.Guard, "socket", recorded)
    for host in ("127.0.0.1", "localhost"):
        asked.clear()
        read(f"http://{host}:{server.port}/moved", access=near())
        assert [item for item in asked if item[0] == "127.0.0.1"] == [("127.0.0.1", server.port)] * 2


def test_a_client_that_does_not_ask_the_guard_sends_nothing(server, reply, refused, near, monkeypatch):
    """It fails closed: before a request is written."""
    server.answers["/flow.py"] = reply(b"x = 1")

    class Careless(aiohttp.TCPConnector):
        def __init__(self, *, socket_factory, **named):
            super().__init__(**named)

    monkeypatch.setattr(aiohttp, "TCPConnector", Careless)
    for host in ("127.0.0.1", "localhost"):
        message = refused(f"http://{host}:{server.port}/flow.py", access=near())
        assert "connects without asking" in message
    assert server.requests == []


def test_an_old_client_is_refused(server, reply, refused, near, monkeypatch):
    """One whose connector takes no factory connects to nothing."""

    class Old(aiohttp.TCPConnector):
        def __init__(self, *, resolver, use_dns_cache, force_close):
            raise AssertionError

    monkeypatch.setattr(aiohttp, "TCPConnector", Old)
    refused(f"http://127.0.0.1:{server.port}/flow.py", access=near())
    assert server.connections == 0


@pytest.mark.parametrize(
    "entry",
    ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "127.0.0.0/8:{port}", "localhost", "LOCALHOST.:{port}"],
)
def test_a_named_host_is_allowed(server, reply, entry):
    """By name, address or network, on one port or on all."""
    server.answers["/flow.py"] = reply(b"x = 1")
    access = Access(hosts=frozenset({entry.format(port=server.port)}))
    assert read(f"http://localhost:{server.port}/flow.py", access=access).content == b"x = 1"


@pytest.mark.parametrize(
    "entry",
    [
        "127.0.0.1:{other}",
        "10.0.0.0/8",
        "127.0.0.2",
        "localhost.example",
        "localhos",
        "",
        ":",
        "*",
        "localhost:{other}",
    ],
)
def test_another_host_is_not_allowed_by_it(server, refused, entry):
    """Names and ports are compared whole."""
    access = Access(hosts=frozenset({entry.format(other=server.port - 1)}))
    assert "no public address" in refused(f"http://localhost:{server.port}/flow.py", access=access)
    assert server.connections == 0


def test_ipv6_hosts_are_allowed_with_and_without_a_port():
    """With a port they stand in brackets."""
    one = ipaddress.ip_address("::1")
    for entry, fine in (
        ("::1", True),
        ("[::1]", True),
        ("[::1]:80", True),
        ("[::1]:81", False),
        ("::/64", True),
    ):
        assert addresses.allowed([entry], "::1", 80, one) is fine
    mapped = ipaddress.ip_address("::ffff:10.1.2.3")
    assert addresses.allowed(["10.0.0.0/8"], "::ffff:10.1.2.3", 80, mapped)
    assert not addresses.allowed(["11.0.0.0/8"], "::ffff:10.1.2.3", 80, mapped)


def test_a_name_allows_itself_alone():
    """Another name of the same private address stays refused."""
    address = ipaddress.ip_address("10.0.0.1")
    assert addresses.allowed(["intranet.example"], "intranet.example", 80, address)
    assert not addresses.allowed(["intranet.example"], "other.example", 80, address)


def test_a_redirect_to_a_private_host_is_refused(servers_on, reply, refused):
    """Judged as any other: the first host being allowed does not help the second."""
    first, second = servers_on(), servers_on()
    second.answers["/flow.py"] = reply(b"secret")
    first.answers["/flow.py"] = reply(status="302 Found", Location=f"{second.url}/flow.py")
    access = Access(hosts=frozenset({urlsplit(first.url).netloc}))
    message = refused(f"{first.url}/flow.py", access=access)
    assert "no public address" in message
    assert (first.connections, second.connections) == (1, 0)


def test_no_thread_is_left_but_that_of_fsspec(server, reply, near):
    """Its event loop's own, and those in which that loop looks names up."""
    server.answers["/flow.py"] = reply(b"x = 1")
    before = set(threading.enumerate())
    read(f"http://localhost:{server.port}/flow.py", access=near())
    new = set(threading.enumerate()) - before - set(server.threads)
    assert not [thread.name for thread in new if not thread.name.startswith(("fsspecIO", "asyncio_"))]
