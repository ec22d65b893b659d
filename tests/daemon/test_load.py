"""Many callers at once: turns, what is done once, who goes away, and what ends."""

import contextlib
import json
import os
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.daemon.conftest import settled
from tests.daemon.running import FLOW, PATIENCE, SLOW, Connection

BUSY = 'flow_loader_workers{state="busy"}'
NARROW = ("--set", "limits.loads=1", "--set", "cache.enabled=false")


def sleeping(seconds=60, name="x"):
    """A script that takes its time."""
    return {"text": SLOW.format(seconds=seconds, name="flow"), "name": name}


def loads(daemon):
    """How many loads were given a worker, the one that warms not counted."""
    return daemon.counted('flow_loader_phase_seconds_count{phase="fork"}') - 1


def raw(daemon, data):
    """A connection on which that much of a request was sent."""
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(daemon.socket))
    end.sendall(data)
    return end


def posted(body):
    """A load's request as it is sent."""
    content = json.dumps(body).encode()
    kind = "Content-Type: application/json"
    head = f"POST /v1/load HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.slow
def test_a_caller_that_goes_away_cancels_its_load(started):
    """Its worker is killed, and its turn is another's."""
    daemon = started(*NARROW)
    with raw(daemon, posted(sleeping())):
        daemon.until(lambda: daemon.counted(BUSY) == 1)
    daemon.until(lambda: daemon.counted(BUSY) == 0)
    assert daemon.post("load", text="x = 1").status == 200


@pytest.mark.slow
def test_identical_loads_under_way_are_done_once(started, gate):
    """Also once it began; and it goes on as long as one of them waits."""
    daemon = started(*NARROW)
    with contextlib.ExitStack() as stack:
        first, *others = (stack.enter_context(raw(daemon, posted(gate.asked()))) for _ in range(9))
        gate.until_waiting()
        daemon.catch_up()
        first.close()
        daemon.catch_up()
        gate.open()
        for end in others:
            assert b'"status":"loaded"' in end.recv(1 << 16).replace(b'": "', b'":"')
    assert loads(daemon) == 1


@pytest.mark.slow
def test_a_file_that_changed_meanwhile_is_loaded_again(started, place):
    """No answer is older than its question."""
    daemon = started("--set", "limits.loads=2", "--set", "cache.enabled=false")
    path = place / "flows" / "flow.py"
    path.parent.mkdir()
    path.write_text(SLOW.format(seconds=8, name="before"))
    settled()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(daemon.post, "load", location=str(path))
        daemon.until(lambda: daemon.counted(BUSY) == 1)
        joined = pool.submit(daemon.post, "load", location=str(path))
        time.sleep(0.5)
        daemon.catch_up()
        path.write_text(FLOW.format(name="after"))
        second = daemon.post("load", location=str(path)).json
    names = [answer["flows"][0]["name"] for answer in (first.result().json, joined.result().json, second)]
    assert names == ["before", "before", "after"]
    assert loads(daemon) == 2


@pytest.mark.slow
def test_a_full_queue_says_when_to_come_back(started):
    """429 for what the caller has waiting, 503 for all; each with Retry-After and the option."""
    daemon = started(*NARROW, "--set", "limits.queue=3", "--set", "limits.queue_per_caller=2")
    with contextlib.ExitStack() as stack:
        for number in range(3):
            stack.enter_context(raw(daemon, posted(sleeping(name=str(number)))))
        daemon.until(lambda: daemon.counted("flow_loader_queue_waiting") == 2)
        answer = daemon.post("load", text="")
    assert (answer.status, answer.json["option"]) == (429, "limits.queue_per_caller")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (answer.json["limit"], answer.json["size"]) == (2, 2)


@pytest.mark.slow
def test_deadlines_include_the_waiting(started):
    """One that is over before a turn came, and one that is over before the answer was there."""
    daemon = started(*NARROW)
    late = daemon.post("load", **sleeping(), wait=2)
    assert (late.status, late.json["option"]) == (504, "wait")
    with raw(daemon, posted(sleeping())):
        daemon.until(lambda: daemon.counted(BUSY) == 1)
        waiting = daemon.post("load", text="", wait=0.5)
    assert (waiting.status, waiting.json["option"]) == (503, "wait")


@pytest.mark.slow
def test_what_comes_before_a_run_goes_first(started):
    """Before what only watches, however long that has waited."""
    daemon = started(*NARROW, "--log-level", "debug")

    def ask(name, priority):
        asked = {"text": "x = 1", "name": name, "priority": priority}
        daemon.ask("POST", "/v1/load", asked, {"X-Request-Id": name})

    with raw(daemon, posted(sleeping())) as first, ThreadPoolExecutor(6) as pool:
        daemon.until(lambda: daemon.counted(BUSY) == 1)
        for number in range(3):
            pool.submit(ask, f"w{number}", "watching")
        daemon.until(lambda: daemon.counted("flow_loader_queue_waiting") == 3)
        pool.submit(ask, "run", "before_run")
        daemon.until(lambda: daemon.counted("flow_loader_queue_waiting") == 4)
        first.close()
    order = [line["request"] for line in daemon.logged("worker taken") if "request" in line]
    assert order[1] == "run"  # before it was the first, which kept them waiting


@pytest.mark.slow
def test_half_sent_requests_are_closed(started):
    """Whether the head or the body stays away; and others are served meanwhile."""
    daemon = started("--set", "limits.request_seconds=1")
    head = raw(daemon, b"POST /v1/load HTTP/1.1\r\nHost: x\r\n")
    body = raw(daemon, posted({"text": "x" * 100})[:-50])
    silent = raw(daemon, b"")
    assert daemon.get("/v1/health/live").status == 200
    for end in (head, body, silent):
        end.settimeout(PATIENCE)
    assert b" 408 " in body.recv(1 << 16).split(b"\r\n")[0]
    assert (head.recv(1 << 16), silent.recv(1 << 16)) == (b"", b"")
    for end in (head, body, silent):
        end.close()


@pytest.mark.slow
def test_connections_are_bounded(started):
    """One more is told so; a place that is free again is given away."""
    daemon = started("--set", "limits.connections=5")
    held = [raw(daemon, b"") for _ in range(5)]
    with raw(daemon, b"") as end:
        assert b"limits.connections" in end.recv(1 << 16)
    for end in held:
        end.close()
    daemon.until(daemon.answers)


def memory(daemon):
    """Resident memory in bytes."""
    with open(f"/proc/{daemon.process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.slow
def test_memory_is_bounded_with_a_thousand_connections(started):
    """That send half of a request, or do not read their answers."""
    daemon = started(
        "--log-level", "warning", "--set", "limits.connections=1010", "--set", "limits.request_seconds=20"
    )
    before = memory(daemon)
    large = posted({"text": f"print('x' * {1 << 20})", "name": "large"})
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            data = large if number % 50 == 0 else posted({"text": "y" * 100_000})[:50_000]
            stack.enter_context(raw(daemon, data))
        time.sleep(5)
        assert daemon.get("/v1/health/live").status == 200
        assert memory(daemon) - before < 200 << 20
    daemon.until(lambda: daemon.counted("process_open_fds") < 100)


@pytest.mark.slow
def test_events_are_told_and_gone_on_with(started):
    """A stream that another reader goes on with where it ended."""
    daemon = started()
    connection = Connection(daemon.socket)

    def until_event(**headers):
        connection.request("GET", "/v1/events", headers=headers)
        response = connection.getresponse()
        daemon.post("load", text="x = 1", name="told")
        lines = []
        while not lines or lines[-1] != b"\n":
            lines.append(response.readline())
        connection.close()
        return dict(line.decode().strip().split(": ", 1) for line in lines[:-1])

    first = until_event()
    daemon.post("load", text="x = 2", name="missed")
    second = until_event(**{"Last-Event-ID": first["id"]})
    told = [json.loads(event["data"])["location"] for event in (first, second)]
    assert (first["event"], told) == ("load", ["told", "missed"])


@pytest.mark.slow
def test_sigterm_lets_what_is_under_way_come_to_its_end(started, gate):
    """And refuses what comes then; nothing is left but the lock."""
    daemon = started(*NARROW)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(daemon.post, "load", **gate.asked())
        gate.until_waiting()
        late = Connection(daemon.socket)
        late.connect()
        late.request("GET", "/v1/health/live")
        late.getresponse().read()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.until(lambda: daemon.logged("ending"))
        late.request("POST", "/v1/load", json.dumps({"text": ""}), {"Content-Type": "application/json"})
        refused = json.loads(late.getresponse().read())
        late.close()
        gate.open()
        assert answer.result().json["status"] == "loaded"
    assert refused["type"].endswith(":draining")
    assert daemon.process.wait(PATIENCE) == 0
    assert os.listdir(daemon.socket.parent) == ["api.sock.lock"]


@pytest.mark.slow
def test_a_second_sigterm_ends_it_at_once(started):
    """Its workers end with it."""
    daemon = started(*NARROW)
    with raw(daemon, posted(sleeping())):
        daemon.until(lambda: daemon.counted(BUSY) == 1)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.until(lambda: daemon.logged("ending"))
        assert daemon.end() == 0


@pytest.mark.slow
def test_sighup_reads_the_configuration_again(started, place):
    """One with mistakes changes nothing."""
    file = place / "daemon.yaml"
    file.write_text("limits:\n  body: 1 MiB\n")
    daemon = started("--config", file)
    too_large = lambda: daemon.ask("POST", "/v1/load", b"", {"Content-Length": str(1 << 30)}).json["limit"]  # noqa: E731
    assert too_large() == 1 << 20
    file.write_text("limits:\n  body: 2 MiB\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: too_large() == 2 << 20)
    file.write_text("limits:\n  bodi: 3 MiB\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: daemon.logged("the configuration stays as it was"))
    assert too_large() == 2 << 20


def test_a_killed_zygote_is_replaced(started):
    """The next load does not notice."""
    daemon = started("--set", "cache.enabled=false")
    children = f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children"
    for _ in range(3):
        with open(children) as file:
            broker = int((file.read().split() or ["0"])[0])
        if broker:
            os.kill(broker, signal.SIGKILL)
        assert daemon.post("load", text="x = 1").json["status"] == "script_failed"


def test_the_interpreter_that_is_used_is_the_one_that_was_judged():
    """Not what a link on the way makes of its path."""
    from loader.daemon.engine import engine_key
    from loader.daemon.requests import Asked

    asked = Asked(text="", python="/srv/venv/bin/../bin/python")
    assert engine_key(asked, owner=False)[1] == "/srv/venv/bin/python"
