"""Each route, over the real socket of a real daemon."""

import json
import os
import platform
import socket
from pathlib import Path

import msgpack
import pytest

from loader.daemon.problems import KINDS
from worker.protocol import DIALECTS

SAMPLES = Path(__file__).parents[1] / "samples"
MANIFEST = f"{SAMPLES}/manifests/deployments.yaml"
PACKED = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}


def plain(outcome):
    """An outcome without what differs between two loads."""
    return {name: value for name, value in outcome.items() if name not in ("usage", "kept")}


@pytest.mark.parametrize("name", ["single_flow.py", "deployments.py", "parameters.py", "failing/exits.py"])
def test_outcome_equals_the_one_without_the_daemon(daemon, loader, name):
    """Whatever became of the script: a 200 with its status."""
    path = str(SAMPLES / name)
    answer = daemon.post("load", location=path, cache=False)
    assert answer.status == 200
    assert plain(answer.json) == plain(loader.load(path).model_dump(mode="json"))


def test_msgpack_says_the_same_as_json(daemon):
    """By content type, both ways; text may be bytes."""
    asked = {"text": b"# coding: latin-1\nprint('\xe9')\n", "name": "x.py", "cache": False}
    answer = daemon.ask("POST", "/v1/load", msgpack.packb(asked), PACKED)
    assert answer.headers["Content-Type"] == "application/msgpack"
    found = msgpack.unpackb(answer.body)
    assert (found["stdout"]["text"], found["source"]["location"]) == ("é\n", "x.py")


def test_check_and_specs_and_deploy(daemon, tmp_path):
    """The other three say what the command prints."""
    verdict = daemon.post("check", location=f"{SAMPLES}/single_flow.py:hello", parameters={"nmae": 1}).json
    assert [reason["kind"] for reason in verdict["reasons"]] == ["unknown_parameter"]
    registry = str(tmp_path / "registry.db")
    first = daemon.post("specs", location=MANIFEST, registry=registry).json["specs"][0]
    assert (first["valid"], len(first["next_runs"])) == (True, 3)
    asked = {"location": MANIFEST, "registry": registry}
    made = [daemon.post("deploy", **asked, dry_run=dry).json for dry in (True, False, False)]
    results = [item["specs"][0]["result"] for item in made]
    assert results == ["would create", "created", "updated"]
    assert made[1]["api"] == registry


def test_messages_call_the_location_as_it_is_shown(daemon):
    """The caller's own words, which mean nothing to the daemon."""
    asked = {"location": f"{SAMPLES}/single_flow.py:nothing", "shown": "single_flow.py:nothing"}
    verdict = daemon.post("check", **asked).json
    assert "'single_flow.py'" in verdict["reasons"][0]["message"]
    assert verdict["outcome"]["source"]["location"] == "single_flow.py"


def test_health_version_sandbox_and_sources(daemon):
    """What is only read."""
    assert daemon.get("/v1/health/live").json == {"status": "live"}
    assert daemon.get("/v1/health/ready").json == {"status": "ready"}
    assert daemon.get("/v1/version").json["python"] == platform.python_version()
    assert daemon.get("/v1/sources").json["sources"] == []
    assert daemon.get("/v1/sources/none").status == 404
    assert {item["name"] for item in daemon.get("/v1/sandbox").json["profiles"]} >= {"strict"}


def test_metrics_count_loads_by_status(daemon):
    """And answers by route, with no path that somebody chose."""
    before = daemon.counted('flow_loader_loads_total{status="script_failed"}')
    daemon.post("load", text="1/0")
    assert daemon.counted('flow_loader_loads_total{status="script_failed"}') == before + 1
    daemon.get("/v1/chosen-by-somebody")
    assert "chosen-by-somebody" not in daemon.get("/v1/metrics").body.decode()


def test_every_answer_has_the_request_id_and_so_have_its_workers_lines(daemon):
    """The caller's own, if it is a plain word."""
    answer = daemon.ask("POST", "/v1/load", {"text": "x = 1"}, {"X-Request-Id": "my-own.1"})
    assert answer.headers["X-Request-Id"] == "my-own.1"

    def told():
        return [line for line in daemon.lines() if line.get("request") == "my-own.1"]

    daemon.until(lambda: {"worker taken", "worker ended", "answered"} <= {line["event"] for line in told()})
    assert {line["caller"] for line in told()} == {f"uid {os.geteuid()}"}
    assert len(daemon.get("/v1/health/live", **{"X-Request-Id": 'a" b'}).headers["X-Request-Id"]) == 16


def test_lines_about_a_refused_request_say_who_asked(daemon):
    """Its id, the user and the process, whatever it was refused for."""
    for number, (path, headers) in enumerate(
        [("/v1/nothing", {}), ("/v1/version", {"Accept": "text/html"}), ("/v1/load", {})]
    ):
        own = f"refused.{number}"
        assert daemon.get(path, **headers, **{"X-Request-Id": own}).status >= 400
        daemon.until(lambda own=own: daemon.logged("answered", request=own))
        [line] = daemon.logged("answered", request=own)
        assert (line["caller"], line["asked_by"]) == (f"uid {os.geteuid()}", os.getpid())


def test_kept_results_are_said_to_be_and_refused_to_who_asks(daemon, tmp_path):
    """`cache` is false for who wants a fresh one."""
    path = tmp_path / "flow.py"
    path.write_text("from prefect import flow\n@flow\ndef kept(): pass\n")
    daemon.until(lambda: daemon.post("load", location=str(path)).json["kept"])
    assert not daemon.post("load", location=str(path), cache=False).json["kept"]


MISTAKES = {
    "unreadable": ("POST", "/v1/load", b"{", {}, 400),
    "mistaken": ("POST", "/v1/load", {"location": "/x.py", "text": ""}, {}, 422),
    "media-type": ("POST", "/v1/load", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "not-acceptable": ("GET", "/v1/version", None, {"Accept": "text/html"}, 406),
    "not-found": ("GET", "/v1/nothing", None, {}, 404),
    "wrong-method": ("GET", "/v1/load", None, {}, 405),
    "source": ("POST", "/v1/load", {"location": "/no/such.py"}, {}, 422),
    "profile": ("POST", "/v1/load", {"text": "", "profile": "none"}, {}, 422),
    "expectation": ("GET", "/v1/version", None, {"Expect": "foo"}, 417),
    "too-large": ("POST", "/v1/load", b"", {"Content-Length": str(1 << 40)}, 413),
    "client": ("POST", "/v1/deploy", {"location": MANIFEST, "api": "nonsense"}, {}, 502),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_what_is_wrong_with_a_request_is_a_problem(daemon, kind):
    """As RFC 9457 has it: its kind, its status, and the remedy."""
    method, path, data, headers, status = MISTAKES[kind]
    answer = daemon.ask(method, path, data, headers)
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    problem = answer.json
    assert (answer.status, problem["status"], KINDS[kind][0]) == (status, status, status)
    assert problem["type"] == f"urn:flow-loader:problem:{kind}"
    assert problem["detail"].startswith("cannot ")
    assert problem["instance"].endswith(answer.headers["X-Request-Id"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/v1/metrics"), ("GET", "/none"), ("PUT", "/v1/load")]
)
def test_an_expectation_that_is_not_met_is_written_down(daemon, method, path):
    """As every other request, also for paths that are not there."""
    before = daemon.counted("flow_loader_requests_total{")
    number = f"expects.{method}{path.replace('/', '.')}"
    answer = daemon.ask(method, path, None, {"Expect": "foo", "X-Request-Id": number})
    assert (answer.status, answer.json["instance"]) == (417, f"urn:flow-loader:request:{number}")
    daemon.until(lambda: daemon.logged("answered", request=number, status=417))
    assert daemon.counted("flow_loader_requests_total{") > before + 1


def test_whoever_expects_to_go_on_is_told_so(daemon):
    """Before its body is there; then it is answered."""
    head = b"POST /v1/load HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(60)
        end.connect(str(daemon.socket))
        end.sendall(head + b"Expect: 100-continue\r\nContent-Length: 15\r\n\r\n")
        assert end.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        end.sendall(b'{"text": "1/0"}')
        assert end.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5000,
        b'{"text": ' + b"[" * 150 + b"]" * 150 + b"}",
        b'{"text": NaN}',
        b'{"text": "", "text": ""}',
    ],
    ids=["deep", "nested", "nan", "twice"],
)
def test_json_that_is_none_is_refused(daemon, body):
    """Deep, doubled or with numbers that JSON does not have."""
    assert daemon.ask("POST", "/v1/load", body).json["type"].endswith(":unreadable")


def test_too_large_a_body_names_limit_size_and_option(daemon):
    """Before it is read, and no more than may be is read of one that does not say its size."""
    told = daemon.ask("POST", "/v1/load", b"", {"Content-Length": str(1 << 30)}).json
    assert (told["limit"], told["size"], told["option"]) == (16 << 20, 1 << 30, "limits.body")


def test_a_relative_path_is_refused(daemon):
    """The daemon's working directory is nobody's."""
    assert "absolute" in daemon.post("load", location="flow.py").json["detail"]


def test_dialects_are_those_of_the_worker():
    """The request's model spells them."""
    from loader.daemon.requests import Asked

    assert set(json.dumps(Asked.model_json_schema()["properties"]["dialect"]).split('"')) >= set(DIALECTS)


def test_no_answer_tells_which_libraries_answer(daemon):
    """Not even to what is no HTTP."""
    for method, path in (("GET", "/"), ("GET", "/v1/version"), ("GET", "/none"), ("PUT", "/v1/load")):
        assert daemon.ask(method, path).headers["Server"] == "flow-loader"
    for request in (b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(daemon.socket))
            end.sendall(request)
            assert b"\r\nServer: flow-loader\r\n" in end.recv(4096)


def closed_after(daemon, request):
    """What is answered to a request whose sender sends no more, until the connection ends."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(60)
        end.connect(str(daemon.socket))
        end.sendall(request.encode())
        end.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: end.recv(4096), b""))


@pytest.mark.parametrize("target", ["http://xn--/v1/version", "http://xn--a-/"])
def test_a_target_that_is_no_url_is_refused_and_written_down(daemon, target):
    """Whatever the server library makes of it, nobody is left without an answer."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(60)
        end.connect(str(daemon.socket))
        end.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nX-Request-Id: no-url\r\n\r\n".encode())
        assert end.recv(4096).startswith(b"HTTP/1.1 400 ")
    daemon.until(lambda: daemon.logged("answered", request="no-url", status=400))


@pytest.mark.parametrize("path", ["/nothing", "/v1/health/live"])
def test_who_sends_no_more_is_answered_or_told_of_as_gone(daemon, path):
    """On one line, with the request's id: it is no mistake of the daemon's."""
    number = f"closed{path.replace('/', '.')}"
    told = lambda: [line for line in daemon.lines() if line.get("request") == number]  # noqa: E731
    closed_after(daemon, f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {number}\r\n\r\n")
    daemon.until(told)
    daemon.catch_up()
    assert [line["event"] in {"answered", "caller gone"} for line in told()] == [True]
    assert not [line for line in daemon.lines() if line["event"].startswith("Error handling")]
