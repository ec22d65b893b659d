"""Watched folders as the daemon tells of them, and what its configuration says of them."""

import json
import signal

import pytest

from tests.daemon.running import FLOW, SLOW


def configured(file, *folders, **more):
    """A configuration that watches folders."""
    sources = [{"location": str(folder), "every": 5} for folder in folders]
    file.write_text(json.dumps({"sources": sources, **more}))
    return file


def found(daemon):
    """What is watched, by its file's name."""
    return {item["location"].rpartition("/")[2]: item for item in daemon.get("/v1/sources").json["sources"]}


@pytest.mark.slow
def test_what_is_watched_is_told_and_outlives_the_daemon(started, place):
    """With its outcome, also the last good one; a folder that is added is watched after a SIGHUP."""
    flows, more = place / "flows", place / "more"
    for folder in (flows, more):
        folder.mkdir()
    (flows / "flow.py").write_text(FLOW.format(name="first"))
    (more / "other.py").write_text(FLOW.format(name="first"))
    file = configured(place / "daemon.yaml", flows)
    daemon = started("--config", file)
    daemon.until(lambda: "flow.py" in found(daemon))
    seen = found(daemon)["flow.py"]
    assert (seen["status"], seen["ok"], seen["flows"]) == ("loaded", True, 1)
    (flows / "flow.py").write_text("1/0 # flow prefect\n")
    daemon.until(lambda: found(daemon)["flow.py"]["stale"])
    whole = daemon.get(f"/v1/sources/{seen['id']}").json
    assert (whole["outcome"]["error"]["type"], whole["good"]["flows"][0]["name"]) == (
        "ZeroDivisionError",
        "first",
    )
    configured(file, flows, more)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: "other.py" in found(daemon))
    assert daemon.get("/v1/sources").json["twice"][0]["name"] == "first"
    assert daemon.end() == 0
    again = started("--config", file)
    assert found(again)["flow.py"]["stale"]


def test_what_is_watched_leaves_the_owner_a_place(started, place):
    """However long its scripts take, and however many they are: those that write them are not the owner."""
    flows = place / "flows"
    flows.mkdir()
    for name in ("one", "two", "three"):
        (flows / f"{name}.py").write_text(SLOW.format(seconds=25, name=name))
    daemon = started("--config", configured(place / "daemon.yaml", flows), "--set", "limits.loads=2")
    daemon.until(lambda: daemon.counted('flow_loader_queue_waiting{priority="watching"}') == 1)
    assert daemon.post("load", text="1/0", wait=15).json["status"] == "script_failed"
    assert daemon.counted("flow_loader_queue_inside") == 1


MANIFEST = """
name: good
flow_name: first
flow_location: ./flow.py
schedule: {cron: "30 2 * * *"}
flow_runner: {type: subprocess}
---
name: bad
flow_location: ./later.py
schedule: {cron: "30 2 * * *"}
flow_runner: {type: subprocess}
"""
PROJECT = """
deployments:
  - name: daily
    entrypoint: flow.py:first
    work_pool: {name: any}
    schedules: [{cron: "30 2 * * *"}]
"""


def specs(daemon, name):
    """What is told of a manifest's specs: name, line, and whether and when it can run."""
    whole = daemon.get(f"/v1/sources/{found(daemon)[name]['id']}").json
    return [
        (item["name"], item["line"], item["valid"], len(item["next_runs"]))
        for item in whole["outcome"]["specs"]
    ]


def is_ok(daemon, *names):
    """Whether all of these are."""
    return all(found(daemon)[name]["ok"] for name in names)


@pytest.mark.slow
def test_manifests_are_judged_and_so_again_when_a_script_changes(started, place):
    """Deployment specs and Prefect's project file, by the very words of `specs`; what they import counts."""
    flows = place / "flows"
    flows.mkdir()
    (flows / "helper.py").write_text("")
    (flows / "flow.py").write_text("import helper\n" + FLOW.format(name="first"))
    (flows / "deployments.yaml").write_text(MANIFEST)
    (flows / "prefect.yaml").write_text(PROJECT)
    (flows / "other.yaml").write_text("anything: else\n")
    daemon = started("--config", configured(place / "daemon.yaml", flows))
    daemon.until(lambda: found(daemon).keys() == {"flow.py", "deployments.yaml", "prefect.yaml"})
    seen = found(daemon)["deployments.yaml"]
    assert (seen["status"], seen["ok"], seen["specs"]) == ("loaded", False, 2)
    assert specs(daemon, "deployments.yaml") == [("good", 2, True, 3), ("bad", 8, False, 0)]
    [daily] = specs(daemon, "prefect.yaml")
    assert (daily[0], daily[2]) == ("daily", True)
    whole = daemon.get(f"/v1/sources/{seen['id']}").json["outcome"]
    asked = daemon.post("specs", location=str(flows / "deployments.yaml")).json
    told = [[item["problems"] for item in answer["specs"]] for answer in (whole, asked)]
    assert told[0] == told[1]
    (flows / "later.py").write_text(FLOW.format(name="late"))
    daemon.until(lambda: is_ok(daemon, "deployments.yaml"))
    (flows / "helper.py").write_text("1/0\n")
    daemon.until(lambda: not is_ok(daemon, "deployments.yaml") and not is_ok(daemon, "prefect.yaml"))
    (flows / "helper.py").write_text("")
    daemon.until(lambda: is_ok(daemon, *found(daemon)))
    assert daemon.end() == 0
    again = started("--config", place / "daemon.yaml")
    assert [valid for _, _, valid, _ in specs(again, "deployments.yaml")] == [True, True]
    (flows / "deployments.yaml").write_text("flow_location: [\n")
    again.until(lambda: found(again)["deployments.yaml"]["stale"])
    (flows / "deployments.yaml").unlink()
    again.until(lambda: "deployments.yaml" not in found(again))
