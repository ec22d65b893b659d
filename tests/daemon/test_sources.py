"""Watched folders as the daemon tells of them, and what its configuration says of them."""

import json
import signal

from tests.daemon.running import FLOW, SLOW


def configured(file, *folders, **more):
    """A configuration that watches folders."""
    sources = [{"location": str(folder), "every": 5} for folder in folders]
    file.write_text(json.dumps({"sources": sources, **more}))
    return file


def found(daemon):
    """What is watched, by its file's name."""
    return {item["location"].rpartition("/")[2]: item for item in daemon.get("/v1/sources").json["sources"]}


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
