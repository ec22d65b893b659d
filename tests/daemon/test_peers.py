"""Who may ask what: users by the kernel's word, bearers of the token, and pages of other servers."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import make_mocked_request

from loader import doctor
from loader.client.embedded import EmbeddedRegistry
from loader.daemon import bodies, routes
from loader.daemon.config import Peer
from loader.daemon.peers import Caller
from loader.deploying import UNTOLD
from loader.validation import NOT_LENT
from tests.daemon.running import FLOW, NOBODY, SLOW

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
TOKEN = "a-token-that-nobody-guesses"
HOST = doctor.Host(kernel="", machine="", python="", root=False)
ASK = """
import http.client, json, os, socket, sys
os.setgroups([]); os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)
path, method, url, body = sys.argv[1:]
end = socket.socket(socket.AF_UNIX)
try:
    end.connect(path)
except OSError as error:
    print(json.dumps([type(error).__name__, None])); sys.exit()
connection = http.client.HTTPConnection("localhost"); connection.sock = end
connection.request(method, url, body or None, {"Content-Type": "application/json"})
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""


def as_nobody(daemon, method, url, **asked):
    """The answer to user 65533."""
    body = json.dumps(asked) if asked else ""
    command = ["/usr/bin/env", "python3", "-c", ASK, str(daemon.socket), method, url, body]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def flows(place):
    """A folder that is granted, beside one that is not."""
    for name in ("mine", "other"):
        (place / name).mkdir()
        (place / name / "flow.py").write_text(FLOW.format(name=name))
    return place / "mine"


@pytest.fixture
def granting(started, place, flows):
    """A callable: a daemon that grants user 65533 the folder, and more."""

    def make(*flags, prefix=(), **more):
        file = place / "daemon.yaml"
        peer = {"uid": NOBODY, "folders": [str(flows)], **more}
        file.write_text(json.dumps({"socket_access": "everyone", "peers": [peer]}))
        return started("--config", file, *flags, prefix=prefix)

    return make


@ROOT_ONLY
def test_nobody_else_can_connect_by_default(started):
    """The socket and its folder are closed to them."""
    daemon = started()
    assert as_nobody(daemon, "GET", "/v1/health/live")[0] == "PermissionError"


@pytest.mark.slow
@ROOT_ONLY
def test_who_is_not_granted_anything_gets_health_only(started):
    """Though the socket is open to everyone."""
    daemon = started("--set", "socket_access=everyone")
    assert as_nobody(daemon, "GET", "/v1/health/live") == [200, {"status": "live"}]
    assert as_nobody(daemon, "GET", "/v1/health/ready")[0] == 200
    for method, url in (
        ("GET", "version"),
        ("GET", "events"),
        ("GET", "sources"),
        ("GET", "metrics"),
        ("POST", "load"),
    ):
        status, problem = as_nobody(daemon, method, f"/v1/{url}", text="")
        assert (status, problem["option"]) == (403, "peers"), url
    daemon.until(lambda: daemon.logged("answered", caller=f"uid {NOBODY}", status=403))


READS = """
from prefect import flow
try:
    found = open("root.py").read()
except OSError as error:
    found = type(error).__name__
@flow(name=found.strip())
def f(): pass
"""


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_a_script_reads_what_who_asks_may_read(granting, flows, owner):
    """Not what the granted folder's owner may, nor its own folder's: it may move files and folders there."""
    os.chown(flows, owner, owner)
    inner = flows / "drop"
    inner.mkdir(0o777)
    inner.chmod(0o777)
    for name, uid in (("root.py", 0), ("own.py", NOBODY)):
        (inner / name).write_text("the secret")
        (inner / name).chmod(0o600)
        os.chown(inner / name, uid, uid)
        (inner / f"reads_{name}").write_text(READS.replace("root.py", name))
    daemon = granting()

    def read(name, **root):
        asked = {"location": f"{inner}/reads_{name}", "cache": False, **root}
        status, told = as_nobody(daemon, "POST", "/v1/load", **asked)
        assert (status, told["status"]) == (200, "loaded"), told
        return told["flows"][0]["name"]

    for root in ({}, {"root": str(inner)}, {"root": str(flows)}):
        assert read("own.py", **root) == "the secret"
        assert read("root.py", **root) == "PermissionError"
    status, told = as_nobody(daemon, "POST", "/v1/load", location=f"{inner}/root.py")
    assert (status, "secret" in json.dumps(told)) == (422, False)


@pytest.mark.slow
@ROOT_ONLY
def test_a_folder_of_the_callers_own_mounts_is_not_gone_to_later(granting, flows, place, gate):
    """When its turn comes a link may lead to the same folder, but for what was mounted in it."""
    secret = place / "secret"
    secret.write_text("a secret: word")
    secret.chmod(0o600)
    inner = flows / "a"
    inner.mkdir()
    (inner / "m.yaml").touch()
    for path in (flows, inner, inner / "m.yaml"):
        os.chown(path, NOBODY, NOBODY)
    daemon = granting("--set", "limits.loads=1")
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = f"mount --bind {secret} {inner}/m.yaml && echo ready && exec sleep 60"
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    place.chmod(0o755)
    with (
        subprocess.Popen([*become, *namespace, script], stdout=subprocess.PIPE, cwd="/") as caller,
        ThreadPoolExecutor(2) as pool,
    ):
        try:
            assert caller.stdout.readline() == b"ready\n"
            pool.submit(daemon.post, "load", **gate.asked())
            gate.until_waiting()
            asked = pool.submit(as_nobody, daemon, "POST", "/v1/specs", location=f"{inner}/m.yaml")
            daemon.until(lambda: daemon.counted("flow_loader_queue_waiting") == 1)
            inner.rename(flows / "b")
            inner.symlink_to(f"/proc/{caller.pid}/root{flows}/b")
            assert (inner / "m.yaml").read_text() == "a secret: word"
            gate.open()
            status, told = asked.result()
        finally:
            caller.kill()
            gate.open()
    assert (status, "secret" in json.dumps(told)) == (422, False)
    assert "was exchanged while it was in use" in told["detail"]


@pytest.mark.slow
@ROOT_ONLY
def test_ways_through_closed_folders_tell_nothing_of_them(granting, flows, place):
    """A link that comes back to the peer's own folder has been everywhere on the way."""
    os.chown(flows, NOBODY, NOBODY)
    (place / "closed" / "there").mkdir(parents=True)
    (place / "closed" / "link").symlink_to(flows)
    (place / "closed").chmod(0o700)
    daemon = granting()
    back = "/".join([".."] * 9) + str(flows)
    targets = [f"{place}/closed/{name}/{back}" for name in ("there", "none", "flow.py")]
    targets += [f"{place}/closed/link", f"/proc/{daemon.process.pid}/cwd/{flows}"]
    targets += [f"/proc/self/fd/{number}/{back}" for number in range(3, 40)]
    locations = [
        f"{place}/closed/link/flow.py",
        *(f"/proc/self/fd/{number}/flow.py" for number in range(3, 40)),
    ]
    told = set()

    def ask(location):
        status, problem = as_nobody(daemon, "POST", "/v1/load", location=location)
        told.add((status, problem["detail"].replace(location, "")))

    for target in targets:
        (flows / "way").symlink_to(target)
        ask(f"{flows}/way/flow.py")
        (flows / "way").unlink()
    for location in locations:
        ask(location)
    assert [status for status, _ in told] == [403]


@pytest.mark.slow
@ROOT_ONLY
def test_kept_results_and_checks_tell_nothing_of_what_is_closed_to_a_peer(granting, flows):
    """Whether a link of its own leads there to a file, to which, or to none."""
    os.chown(flows, NOBODY, NOBODY)
    closed = flows / "closed"
    closed.mkdir(0o700)
    (closed / "there.txt").write_text("the secret")
    for name in ("there.txt", "none.txt"):
        (flows / name).symlink_to(closed / name)
    (flows / "reads.py").write_text(READS.replace("root.py", "link"))
    daemon = granting()
    time.sleep(0.2)
    load = lambda: as_nobody(daemon, "POST", "/v1/load", location=f"{flows}/reads.py")[1]  # noqa: E731
    kept = []
    for target in ("closed/none.txt", "closed/none.txt", "closed/there.txt"):
        (flows / "link").unlink(missing_ok=True)
        (flows / "link").symlink_to(target)
        time.sleep(0.3)
        first = load()
        assert first["flows"][0]["name"] == "PermissionError", first
        kept.append(first["kept"])
        daemon.catch_up()
    assert kept[1] == kept[2]
    told = [
        as_nobody(daemon, "POST", "/v1/check", location=f"{flows}/{name}:f")[1]["detail"].replace(name, "")
        for name in ("there.txt", "none.txt")
    ]
    assert told[0] == told[1]


@pytest.mark.slow
@ROOT_ONLY
def test_what_is_closed_to_a_peer_is_not_read_for_it(granting, flows):
    """Though it lies in its folder, whose entries it may rename: the daemon is root, and the peer is not."""
    os.chown(flows, NOBODY, NOBODY)
    for folder, mode in (("plain", 0o755), ("closed", 0o700)):
        (flows / folder).mkdir(mode)
        for name in ("all.py", "root.py"):
            (flows / folder / name).write_text("the secret\n")
        (flows / folder / "root.py").chmod(0o600)
    daemon = granting()
    load = lambda name: as_nobody(daemon, "POST", "/v1/load", location=f"{flows}/{name}", root=str(flows))  # noqa: E731
    assert load("plain/all.py")[1]["status"] == "script_failed"
    for name in ("plain/root.py", "closed/all.py"):
        status, told = load(name)
        assert status == 422, told
        assert "secret" not in json.dumps(told)
        assert as_nobody(daemon, "POST", "/v1/load", location=f"{flows}/{name}")[0] in {403, 422}


@ROOT_ONLY
def test_a_peer_is_kept_to_what_is_granted(granting, flows, place):
    """Texts, its folders, its profiles and interpreters; nothing that leads elsewhere."""
    daemon = granting()
    load = lambda **asked: as_nobody(daemon, "POST", "/v1/load", **asked)  # noqa: E731
    assert load(text="1/0")[1]["status"] == "script_failed"
    assert load(location=f"{flows}/flow.py")[1]["flows"][0]["name"] == "mine"
    assert as_nobody(daemon, "POST", "/v1/check", location=f"{flows}/flow.py:mine")[1]["ok"]
    for asked in (
        {"location": f"{place}/other/flow.py"},
        {"location": f"{flows}/../other/flow.py"},
        {"location": f"{flows}/flow.py", "root": str(place)},
        {"location": f"{flows}/flow.py", "profile": "development"},
        {"location": f"{flows}/flow.py", "python": "/usr/bin/python3"},
        {"location": f"{flows}/flow.py", "allow_schemes": ["file"]},
        {"location": "http://127.0.0.1:1/x.py"},
        {"location": f"zip://x.py::{flows}/x.zip"},
        {"location": "/etc/shadow"},
        {"location": "/no/such/file.py"},
    ):
        assert load(**asked)[0] == 403, asked
    assert as_nobody(daemon, "POST", "/v1/deploy", location=f"{flows}/flow.py")[0] == 403
    assert as_nobody(daemon, "POST", "/v1/specs", text="", registry="/tmp/x.db")[0] == 403


@pytest.mark.slow
@ROOT_ONLY
def test_a_peer_gets_no_more_time_than_its_profile(granting):
    """The owner may say more."""
    daemon = granting()
    assert as_nobody(daemon, "POST", "/v1/load", text="1/0", timeout=30)[0] == 200
    status, problem = as_nobody(daemon, "POST", "/v1/load", text="1/0", timeout=31)
    assert (status, problem["option"], problem["limit"]) == (403, "timeout", 30)
    assert daemon.post("load", text="1/0", timeout=31).status == 200


@pytest.mark.slow
@ROOT_ONLY
def test_a_peer_cannot_lock_the_owner_out(granting):
    """Its urgent loads leave a place, and nobody has to wait in its line for the same load."""
    daemon = granting("--set", "limits.loads=2")
    asked = [{"text": SLOW.format(seconds=20, name=f"x{n}"), "priority": "before_run"} for n in range(3)]
    threads = [
        threading.Thread(target=as_nobody, args=(daemon, "POST", "/v1/load"), kwargs={**each, "wait": 3})
        for each in asked
    ]
    for thread in threads:
        thread.start()
    daemon.until(lambda: daemon.counted("flow_loader_queue_waiting") == 2)
    assert daemon.ask("POST", "/v1/load", {"text": "1/0"}, timeout=2).json["status"] == "script_failed"
    for each in asked:
        answer = daemon.ask("POST", "/v1/load", {**each, "priority": "interactive", "wait": 0.5})
        assert answer.json["type"].endswith(":deadline")
    for thread in threads:
        thread.join()


@pytest.mark.slow
@ROOT_ONLY
def test_results_kept_for_a_peer_are_its_own(granting):
    """They bear its name, and the owner loads for itself; that the owner had one is not told to the peer."""
    daemon = granting()
    script = {"text": FLOW.format(name="kept")}
    daemon.until(lambda: as_nobody(daemon, "POST", "/v1/load", **script)[1]["kept"])
    assert not daemon.post("load", **script).json["kept"]
    daemon.until(lambda: daemon.post("load", **script).json["kept"])
    script = {"text": FLOW.format(name="other")}
    daemon.until(lambda: daemon.post("load", **script).json["kept"])
    assert not as_nobody(daemon, "POST", "/v1/load", **script)[1]["kept"]


@ROOT_ONLY
def test_what_is_not_granted_is_not_told_of(granting, place):
    """Whether a file is there is nobody's business who may not read it."""
    daemon = granting()
    answers = [
        as_nobody(daemon, "POST", "/v1/load", location=f"{place}/other/{name}")
        for name in ("flow.py", "x.py")
    ]
    gone = as_nobody(daemon, "POST", "/v1/load", location=f"{place}/none/flow.py")
    assert (
        len({answer[1]["detail"].rpartition("/")[0].replace("none", "other") for answer in [*answers, gone]})
        == 1
    )


@ROOT_ONLY
def test_the_name_of_a_text_is_not_looked_for(granting, place):
    """It stays what it is called, whatever lies at a path of that name."""
    daemon = granting()
    asked = {"text": FLOW.format(name="x"), "shown": "text:x"}
    told = [
        as_nobody(daemon, "POST", "/v1/check", **asked, name=f"{place}/other/{name}:x")[1]
        for name in ("flow.py", "none.py", "none")
    ]
    assert [answer["outcome"]["source"]["location"] for answer in told] == ["text:x"] * 3


@pytest.mark.slow
@ROOT_ONLY
def test_links_lead_nowhere_else(granting, flows, place):
    """Of files or of folders, in the location or in the root."""
    daemon = granting()
    (flows / "out").symlink_to(place / "other")
    (flows / "file.py").symlink_to(place / "other" / "flow.py")
    for name in ("out/flow.py", "file.py"):
        status, answer = as_nobody(daemon, "POST", "/v1/load", location=f"{flows}/{name}")
        assert (status in (403, 422), "flows" in answer) == (True, False), name


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("behind", ["", ":flow", "/x.py"])
def test_links_do_not_tell_what_is_elsewhere(granting, flows, place, behind):
    """Whoever may make links in its folder learns nothing of where it may not look."""
    daemon = granting()
    (place / "other" / "data").touch()
    told = set()
    for target in ("other/flow.py", "other/data", "other/none", "other", "none/flow.py"):
        (flows / "link").symlink_to(place / target)
        for what in ("load", "check"):
            asked = {"location": f"{flows}/link{behind}", "root": str(flows)}
            told.add(as_nobody(daemon, "POST", f"/v1/{what}", **asked)[1]["detail"])
        (flows / "link").unlink()
    assert len(told) == 1


@ROOT_ONLY
@pytest.mark.slow
def test_a_folder_that_is_exchanged_meanwhile_is_not_followed(granting, flows, place):
    """However often it is tried, the other folder's script is never loaded."""
    daemon = granting()
    inner, away, link = flows / "inner", flows / "away", flows / "link"
    inner.mkdir()
    (inner / "flow.py").write_text(FLOW.format(name="inner"))
    link.symlink_to(place / "other")
    ending = threading.Event()

    def exchange():
        while not ending.is_set():
            os.rename(inner, away)
            os.rename(link, inner)
            os.rename(inner, link)
            os.rename(away, inner)

    thread = threading.Thread(target=exchange)
    thread.start()
    latest, found = time.monotonic() + 4, set()
    while time.monotonic() < latest:
        _, answer = as_nobody(daemon, "POST", "/v1/load", location=f"{inner}/flow.py", cache=False)
        found |= {flow["name"] for flow in answer.get("flows", ())}
    ending.set()
    thread.join()
    assert found <= {"inner"}


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("way", ["link", "folder", "link in the middle"])
def test_what_is_put_in_the_place_of_a_granted_folder_is_not_granted(granting, flows, place, way):
    """Not by a request, and not by reading the configuration again through a link that others can change."""
    os.chown(place, NOBODY, -1)
    daemon = granting()
    os.rename(flows, place / "away")
    if way == "link":
        flows.symlink_to(place / "other")
    elif way == "folder":
        os.rename(place / "other", flows)
    else:
        (place / "other" / "mine").mkdir()
        (place / "other" / "mine" / "flow.py").write_text(FLOW.format(name="other"))
        os.rename(place, f"{place}.away")
        os.symlink(f"{place}.away/other", place)
    try:
        ask = lambda: as_nobody(daemon, "POST", "/v1/load", location=f"{flows}/flow.py")[0]  # noqa: E731
        if way == "link in the middle":
            daemon.socket = f"{place}.away/run/api.sock"
        assert ask() == 403
        if way == "link":
            daemon.process.send_signal(signal.SIGHUP)
            daemon.until(lambda: daemon.logged("the configuration was read again"))
            assert ask() == 403
            assert any("a link that others may change" in line["event"] for line in daemon.lines())
    finally:
        if way == "link in the middle":
            os.unlink(place)
            os.rename(f"{place}.away", place)


@pytest.mark.slow
@ROOT_ONLY
def test_a_refusal_does_not_tell_what_is_there(granting, flows, place):
    """Whether a flow is named behind a path decides nothing before the folder was granted."""
    daemon = granting()
    told = {
        as_nobody(daemon, "POST", "/v1/load", location=f"{place}/other/{name}:x")[1]["detail"].replace(
            f"/{name}:x", ""
        )
        for name in ("flow.py", "other.py", "flow", "none")
    }
    assert len(told) == 1
    status, answer = as_nobody(daemon, "POST", "/v1/check", location=f"{flows}/flow.py:mine")
    assert (status, answer["ok"]) == (200, True)


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("watch", [False, True])
def test_what_is_watched_is_seen_by_whom_that_was_granted(started, place, flows, watch):
    """All of it or nothing, whoever has its folder; what is counted as well."""
    (flows / "flow.py").write_text("import helpers\nfrom prefect import flow\n")
    (place / "helpers.py").touch()
    (place / "pyproject.toml").touch()
    file = place / "daemon.yaml"
    peers = [{"uid": NOBODY, "folders": [str(flows)], "watch": watch}]
    watched = [{"location": str(flows)}]
    file.write_text(json.dumps({"socket_access": "everyone", "peers": peers, "sources": watched}))
    daemon = started("--config", file)
    own = lambda: daemon.get("/v1/sources").json["sources"]  # noqa: E731
    daemon.until(own)
    url = f"/v1/sources/{own()[0]['id']}"
    if watch:
        told, whole = (as_nobody(daemon, "GET", path)[1] for path in ("/v1/sources", url))
        assert [item["location"] for item in told["sources"]] == [f"{flows}/flow.py"]
        assert [*told["places"]] == [str(flows)]
        assert str(place) in whole["outcome"]["error"]["hint"]
    for path in () if watch else ("/v1/sources", url, "/v1/sources/none", "/v1/metrics"):
        status, problem = as_nobody(daemon, "GET", path)
        assert (status, problem["option"]) == (403, "peers.watch")


def test_only_the_owner_has_the_sandbox_examined_again(monkeypatch):
    """It takes seconds. Others are told what is known, or wait for an examination that is under way."""
    reports = []

    def examine():
        reports.append(doctor.Report(host=HOST, mechanisms=(), profiles=(), problem=str(len(reports))))
        return reports[-1]

    monkeypatch.setattr(doctor, "examine", examine)
    limits, peer = SimpleNamespace(wait_seconds=60.0), Peer(uid=1)
    handlers = routes.Handlers(SimpleNamespace(config=SimpleNamespace(limits=limits, peers=(peer,))))

    async def ask(query, caller):
        request = make_mocked_request("GET", f"/v1/sandbox{query}")
        request[routes.CALLER], request[routes.FORM] = caller, bodies.JSON
        return json.loads((await handlers.sandbox(request)).body)["problem"]

    async def asked():
        other = Caller("uid 1", peer=peer)
        first = await asyncio.gather(*(ask("?fresh=1", other) for _ in range(3)))
        return [*first, await ask("?fresh=1", Caller("uid 0", owner=True)), await ask("?fresh=1", other)]

    assert asyncio.run(asked()) == ["0", "0", "0", "1", "1"]
    assert len(reports) == 2


def test_an_examination_of_the_sandbox_is_not_begun_again_by_who_leaves(monkeypatch):
    """It goes on, and whoever asks next is told what it found."""
    began, go, reports = threading.Event(), threading.Event(), []

    def examine():
        began.set()
        assert go.wait(60)
        reports.append(doctor.Report(host=HOST, mechanisms=(), profiles=(), problem="found"))
        return reports[-1]

    monkeypatch.setattr(doctor, "examine", examine)
    limits, peer = SimpleNamespace(wait_seconds=60.0), Peer(uid=1)
    handlers = routes.Handlers(SimpleNamespace(config=SimpleNamespace(limits=limits, peers=(peer,))))

    async def ask():
        request = make_mocked_request("GET", "/v1/sandbox")
        request[routes.CALLER], request[routes.FORM] = Caller("uid 1", peer=peer), bodies.JSON
        return json.loads((await handlers.sandbox(request)).body)["problem"]

    async def asked():
        left = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.to_thread(began.wait, 60)
        for task in left:
            task.cancel()
        await asyncio.sleep(0)
        last = asyncio.create_task(ask())
        go.set()
        await asyncio.gather(*left, return_exceptions=True)
        return await last

    assert asyncio.run(asked()) == "found"
    assert len(reports) == 1


LISTEN = """
import http.client, os, socket, sys
os.setgroups([]); os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)
end = socket.socket(socket.AF_UNIX); end.connect(sys.argv[1])
last = b"Last-Event-ID: " + sys.argv[2].encode() + b"\\r\\n" if sys.argv[2:] else b""
end.sendall(b"GET /v1/events HTTP/1.1\\r\\nHost: localhost\\r\\n" + last + b"\\r\\n")
for line in end.makefile("rb"):
    print(line.decode().strip(), flush=True)
    if line == b"0\\r\\n": break
"""


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("watch", [False, True])
def test_events_tell_who_asked_of_what_it_asked(granting, flows, place, watch):
    """Nothing of others unless that is granted, and no more once the configuration is another."""
    daemon = granting(watch=watch)
    command = ["/usr/bin/env", "python3", "-c", LISTEN, str(daemon.socket)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as peer:
        assert "200" in peer.stdout.readline()
        daemon.post("load", text="1/0", name=f"{flows}/forged.py")
        daemon.post("load", location=f"{place}/other/flow.py", shown=f"{flows}/flow.py")
        daemon.post("load", location=f"{flows}/flow.py", shown="/elsewhere.py")
        as_nobody(daemon, "POST", "/v1/load", text="1/0", name="mine")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda: daemon.logged("the configuration was read again"))
        daemon.post("load", location=f"{flows}/flow.py")
        lines = peer.stdout.read().splitlines()
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    others = [f"{flows}/forged.py", f"{place}/other/flow.py", f"{flows}/flow.py"] if watch else []
    assert [(item["location"], item["caller"]) for item in told] == [
        *((location, f"uid {os.geteuid()}") for location in others),
        ("mine", f"uid {NOBODY}"),
    ]


def first_event(daemon, last):
    """The id and the data of the first event that user 65533 is told who saw that one last."""
    command = ["/usr/bin/env", "python3", "-c", LISTEN, str(daemon.socket), last]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as peer:
        told = {}
        for line in peer.stdout:
            name, _, value = line.strip().partition(": ")
            told[name] = value
            if name == "data":
                peer.kill()
                return told["id"], json.loads(value)
    raise AssertionError("no event came")


@pytest.mark.slow
@ROOT_ONLY
def test_ids_of_events_tell_a_peer_nothing_of_others(granting):
    """They count its own requests, and it goes on after each of them, whatever others did meanwhile."""
    daemon = granting()

    def others():
        for number in range(3):
            daemon.post("load", text=f"x = {number}")

    nothing = first_event(daemon, "none")
    others()
    assert first_event(daemon, "none") == nothing
    assert as_nobody(daemon, "POST", "/v1/load", text="x = 1", name="one")[0] == 200
    others()
    assert as_nobody(daemon, "POST", "/v1/load", text="x = 1", name="two")[0] == 200
    others()
    [run, number] = nothing[0].split("-")
    told = [first_event(daemon, f"{run}-{seen}") for seen in (number, 1)]
    assert [(identity, data["location"]) for identity, data in told] == [
        (f"{run}-1", "one"),
        (f"{run}-2", "two"),
    ]


@pytest.mark.slow
@ROOT_ONLY
def test_peers_are_not_told_what_lies_above_their_folders(granting, flows, place):
    """The root that would help is told to who may name it."""
    daemon = granting()
    (place / "pyproject.toml").touch()
    (place / "helpers.py").touch()
    (flows / "flow.py").write_text("import helpers\nfrom prefect import flow\n")
    hint = lambda answer: answer["error"]["hint"]  # noqa: E731
    assert str(place) in hint(daemon.post("load", location=f"{flows}/flow.py").json)
    told = hint(as_nobody(daemon, "POST", "/v1/load", location=f"{flows}/flow.py")[1])
    assert told.endswith("or put helpers.py beside the script")
    assert str(place) not in told


@pytest.mark.slow
@ROOT_ONLY
def test_what_waits_is_not_done_by_a_grant_that_was_taken_away(granting, flows, place, gate):
    """It is refused when its turn comes; the owner's is done."""
    daemon = granting("--set", "limits.loads=1")
    waiting = lambda: daemon.counted("flow_loader_queue_waiting")  # noqa: E731
    with ThreadPoolExecutor(3) as pool:
        pool.submit(daemon.post, "load", **gate.asked())
        gate.until_waiting()
        peers = pool.submit(as_nobody, daemon, "POST", "/v1/load", location=f"{flows}/flow.py")
        owners = pool.submit(daemon.post, "load", location=f"{flows}/flow.py")
        daemon.until(lambda: waiting() == 2)
        (place / "daemon.yaml").write_text(json.dumps({"socket_access": "everyone"}))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda: daemon.logged("the configuration was read again"))
        gate.open()
        status, problem = peers.result()
        assert (status, problem["option"]) == (403, "peers")
        assert "ask again" in problem["detail"]
        assert owners.result().json["status"] == "loaded"


@pytest.mark.slow
@ROOT_ONLY
def test_callers_take_turns(granting, gate):
    """One that asks for much does not keep the other waiting for all of it."""
    daemon = granting("--set", "limits.loads=1", "--set", "cache.enabled=false", "--log-level", "debug")
    waiting = lambda: daemon.counted("flow_loader_queue_waiting")  # noqa: E731
    with ThreadPoolExecutor(10) as pool:
        pool.submit(daemon.post, "load", **gate.asked())
        gate.until_waiting()
        for number in range(8):
            pool.submit(daemon.post, "load", text="x = 1", name=f"n{number}")
        daemon.until(lambda: waiting() == 8)
        pool.submit(as_nobody, daemon, "POST", "/v1/load", text="x = 1")
        daemon.until(lambda: waiting() == 9)
        gate.open()
    order = [line["caller"] for line in daemon.logged("worker taken") if "caller" in line]
    assert order.index(f"uid {NOBODY}") <= 3


@pytest.fixture
def listening(started, place, flows):
    """A daemon that listens at a TCP port, too, and what asks it there."""
    token = place / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = place / "daemon.yaml"
    file.write_text(json.dumps({"peers": [{"uid": "token", "folders": [str(flows)]}]}))
    daemon = started("--config", file, "--listen", f"127.0.0.1:{port}", "--token-file", token)

    def ask(path, data=None, **headers):
        body = None if data is None else json.dumps(data).encode()
        told = {
            "Content-Type": "application/json",
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, told)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    ask.port, ask.daemon = port, daemon
    return ask


BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_tcp_wants_the_token(listening, flows):
    """Every request, and it is granted what its entry says."""
    assert listening("/v1/version")[0] == 401
    assert listening("/v1/version", Authorization="Bearer " + TOKEN[:-1])[0] == 401
    assert listening("/v1/version", Authorization=f"Basic {TOKEN}")[0] == 401
    assert listening("/v1/version", **BEARER)[0] == 200
    assert listening("/v1/load", {"location": f"{flows}/flow.py"}, **BEARER)[1]["status"] == "loaded"
    assert listening("/v1/load", {"location": "/etc/passwd"}, **BEARER)[0] == 403


@pytest.mark.slow
def test_pages_of_others_are_refused(listening):
    """By their origin, and by the name under which they reach this machine."""
    assert listening("/v1/version", **BEARER, Origin="http://evil.example")[0] == 403
    assert listening("/v1/version", **BEARER, Host=f"evil.example:{listening.port}")[0] == 421
    assert listening("/v1/version", **BEARER, Origin=f"http://127.0.0.1:{listening.port}")[0] == 200
    assert listening("/v1/version", **BEARER, Host=f"localhost:{listening.port}")[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "status"),
    [(b"Host: localhost\r\nAuthorization: Bearer \xff\xfe", 401), (b"Host: [::1", 421)],
)
def test_headers_that_are_no_text_are_no_mistake_of_ours(listening, headers, status):
    """They are refused as any others that are wrong."""
    with socket.create_connection(("127.0.0.1", listening.port)) as end:
        end.sendall(b"GET /v1/version HTTP/1.1\r\n" + headers + b"\r\n\r\n")
        assert int(end.recv(100).split()[1]) == status


@pytest.mark.slow
def test_the_client_asks_over_tcp(listening, flows):
    """With its token."""
    from loader import DaemonClient, DaemonError

    with DaemonClient(f"http://127.0.0.1:{listening.port}", token=TOKEN) as client:
        assert client.load(flows / "flow.py").status == "loaded"
    with (
        DaemonClient(f"http://127.0.0.1:{listening.port}") as client,
        pytest.raises(DaemonError, match="token"),
    ):
        client.load(flows / "flow.py")


STORED = """
- {{name: plain, flow_location: ./flow.py, flow_runner: {{type: subprocess}}}}
- {{name: remote, flow_location: ./flow.py}}
- {{name: named, flow_location: ./flow.py, flow_storage: {named}}}
- {{name: broken, flow_location: ./flow.py, flow_storage: {broken}}}
"""


@pytest.fixture
def registry(place, flows):
    """The owner's registry, with blocks that a manifest of the peer names, and a default that it does not."""
    file = place / "owners.db"
    with EmbeddedRegistry(file) as client:
        kept = {"base_path": str(place / "owners-folder")}
        default = client.create_block("owners-default", "File Storage", kept)
        client.set_default_storage_block(default)
        named = client.create_block("owners-other", "File Storage", {"base_path": str(place / "elsewhere")})
        broken = client.create_block("owners-hook", "Slack Webhook", {"url": "https://owners.example"})
        (flows / "m.yaml").write_text(STORED.format(named=named, broken=broken))
        yield SimpleNamespace(client=client, file=file, default=default, broken=broken)


@ROOT_ONLY
def test_peers_are_not_told_of_the_owner_s_registry(granting, registry, flows):
    """Without ``deploy`` their specs are judged as if it held nothing, whatever it holds."""
    daemon = granting("--set", f"registry={registry.file}")

    def answers():
        location = f"{flows}/m.yaml"
        specs = as_nobody(daemon, "POST", "/v1/specs", location=location)[1]["specs"]
        checks = [
            as_nobody(daemon, "POST", "/v1/check", location=location, deployment=spec["name"])[1]
            for spec in specs
        ]
        return specs, [(check["ok"], check["spec"], check["reasons"], check["warnings"]) for check in checks]

    full = answers()
    assert [spec["valid"] for spec in full[0]] == [True, False, False, False]
    assert [spec["flow_storage"] for spec in full[0][:2]] == [None, None]
    assert not [word for word in ("owners", str(registry.default)) if word in json.dumps(full)]
    own = daemon.post("specs", location=f"{flows}/m.yaml").json["specs"]
    assert [(spec["valid"], spec["flow_storage"]) for spec in own[:2]] == [(True, str(registry.default))] * 2
    registry.file.write_text("no registry")
    assert answers() == full
    registry.file.unlink()
    assert answers() == full


@pytest.mark.slow
@ROOT_ONLY
def test_a_peer_s_batch_does_not_hold_its_place_for_long(granting, flows):
    """After limits.wait_seconds no more of its scripts are begun, whatever is asked; the owner's all are."""
    daemon = granting("--set", "limits.wait_seconds=1")
    names = [f"slow{number}" for number in range(4)]
    for name in names:
        (flows / f"{name}.py").write_text(SLOW.format(seconds=0.6, name=name))
    entries = [f"- {{name: {name}, flow_location: ./{name}.py}}" for name in names]
    (flows / "many.yaml").write_text("\n".join(entries))
    asked, late = {"location": f"{flows}/many.yaml"}, "its scripts took more than 1 seconds"
    told = as_nobody(daemon, "POST", "/v1/specs", **asked)[1]["specs"]
    assert [late in "".join(spec["problems"]) for spec in told][-2:] == [True, True]
    checked = as_nobody(daemon, "POST", "/v1/check", deployment=names[-1], **asked)[1]
    assert late in json.dumps(checked["reasons"])
    assert late not in json.dumps(daemon.post("specs", **asked).json)


@pytest.mark.slow
@ROOT_ONLY
def test_a_peer_that_deploys_is_not_told_of_the_storage_that_it_gets(granting, registry, flows, place):
    """It is the default; no other can be named, and what is wrong with it is the owner's to know."""
    daemon = granting("--set", f"registry={registry.file}", deploy=True)
    location, secrets = f"{flows}/m.yaml", ("owners", str(registry.default))

    def answers(*dry_runs):
        found = [
            as_nobody(daemon, "POST", "/v1/specs", location=location)[1],
            *(as_nobody(daemon, "POST", "/v1/deploy", location=location, dry_run=dry) for dry in dry_runs),
        ]
        assert not [word for word in secrets if word in json.dumps(found)]
        return [
            [(spec["valid"], spec.get("result"), spec.get("failure")) for spec in answer["specs"]]
            for answer in (found[0], *(answer[1] for answer in found[1:]))
        ]

    refused = [(False, "invalid", None)] * 2
    judged, dry, done = answers(True, False)
    assert judged == [(True, None, None)] * 2 + [(False, None, None)] * 2
    assert dry == [(True, "would create", None)] * 2 + refused
    assert done == [(True, "created", None)] * 2 + refused
    assert [path.is_dir() for path in (place / "owners-folder", place / "elsewhere")] == [True, False]
    for record in registry.client.read_deployments():
        assert str(registry.default) in record.flow_data.blob
    shutil.rmtree(place / "owners-folder")
    (place / "owners-folder").touch()
    assert answers(False)[1] == [(True, "failed", UNTOLD)] * 2 + refused
    registry.client.set_default_storage_block(registry.broken)
    assert answers(False)[1] == [(False, "invalid", None)] * 4
    registry.client.close()
    registry.file.write_text("no registry")
    assert answers(False)[1] == [(False, "invalid", None)] * 4


FOLDERS = """
from prefect import flow
from prefect.blocks.storage import LocalStorageBlock, TempStorageBlock
from prefect.deployments import DeploymentSpec

@flow
def first(): ...

for name, block in {{"temporary": TempStorageBlock(), "local": LocalStorageBlock(), "none": None}}.items():
    DeploymentSpec(name=name, flow=first, flow_runner="subprocess", flow_storage=block)
DeploymentSpec(
    name="path", flow=first, flow_runner="subprocess", flow_storage=LocalStorageBlock(storage_path={path!r})
)
"""


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("by_default", [True, False])
def test_a_peer_that_deploys_writes_to_no_folder_that_it_was_not_lent(
    granting, registry, flows, place, by_default
):
    """What its specs say of the machine's own folders counts nothing, and nothing is kept twice."""
    temporary, local = place / "temporary", place / "data" / "flow-loader" / "storage"
    temporary.mkdir()
    prefix = ["/usr/bin/env", f"TMPDIR={temporary}"]
    daemon = granting("--set", f"registry={registry.file}", deploy=True, prefix=prefix)
    (flows / "kept.py").write_text(FOLDERS.format(path=str(place / "chosen")))
    if not by_default:
        registry.client.delete_block(registry.default)
    for result in ("created", "updated", "updated"):
        answer = as_nobody(daemon, "POST", "/v1/deploy", location=f"{flows}/kept.py")[1]
        specs = {spec["name"]: spec for spec in answer["specs"]}
        assert "the caller does not allow it" in specs.pop("path")["failure"]
        assert [spec["result"] for spec in specs.values()] == [result] * 3
        assert {name for name, spec in specs.items() if NOT_LENT in spec["warnings"]} == {
            "temporary",
            "local",
        }
        assert [spec["flow_storage"] for spec in specs.values()] == [None] * 3
    kept = place / "owners-folder" if by_default else local
    assert len([item for item in kept.iterdir() if item.is_file()]) == (1 if by_default else 3)
    assert [local.exists(), (place / "chosen").exists()] == [not by_default, False]
    assert not list(temporary.glob("flow-loader-*"))


@pytest.mark.slow
@ROOT_ONLY
def test_it_is_warned_of_who_else_may_write_to_what_is_watched(started, place, flows):
    """What others put there is loaded as the owner's own."""
    shared = place / "other"
    os.chown(shared, NOBODY, NOBODY)
    file = place / "daemon.yaml"
    file.write_text(json.dumps({"sources": [{"location": str(folder)} for folder in (flows, shared)]}))
    daemon = started("--config", file)
    said = "others may write to what is watched: what they put there is loaded as this user's own"
    daemon.until(lambda: daemon.logged(said, profile="strict"))
    assert [line["source"] for line in daemon.lines() if line["event"] == said] == [str(shared)]
