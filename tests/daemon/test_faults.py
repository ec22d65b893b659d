"""What befalls a daemon from outside: clear errors, no wrong answer, nothing left over, and service again."""

import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from loader.daemon import bodies
from tests.daemon.running import FLOW, NOBODY, ROOT, SLOW
from tests.daemon.test_peers import as_nobody

pytestmark = pytest.mark.slow

FILES = 300
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
BUSY = 'flow_loader_workers{state="busy"}'
LONG = {"text": SLOW.format(seconds=60, name="flow")}


def family(pid):
    """The processes that a process started, and those that they did."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
            for child in map(int, file.read().split()):
                found += [child, *family(child)]
    return found


def is_there(pid):
    """Whether a process lives."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def few_files():
    """Let this process open few files only."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


@pytest.mark.slow
def test_a_host_that_can_load_again_is_noticed(started):
    """What was in the way when it looked last may be gone later."""
    daemon = started()
    pid = daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (100, hard))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: daemon.logged("cannot load"))
    assert daemon.get("/v1/health/ready").status == 503
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    daemon.until(daemon.is_ready)
    assert daemon.post("load", text="1/0").json["status"] == "script_failed"


@pytest.mark.slow
def test_connections_leave_descriptors_to_loads(started):
    """Whoever comes when there are none left is told so, who is there is served, and all are again later."""
    daemon = started("--set", "cache.enabled=false", preexec_fn=few_files)
    with contextlib.ExitStack() as stack:
        for _ in range(FILES):
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            end.settimeout(60)
            end.connect(str(daemon.socket))
        told = end.recv(1 << 16).decode()
        assert " 503 " in told
        assert "open files" in told
        end = stack.enter_context(socket.socket(socket.AF_UNIX))
    daemon.until(daemon.answers)
    assert daemon.post("load", text="1/0").json["status"] == "script_failed"


@pytest.mark.slow
def test_without_any_descriptor_it_waits_until_there_is_one(started):
    """It does not spin, says so once in a while, and a load that cannot be had is told why."""
    daemon = started("--set", "cache.enabled=false")
    most = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:

        def nobody_gets_in():
            """Take what is free just now, as often as something is closed meanwhile."""
            held = set(map(int, os.listdir(f"/proc/{daemon.process.pid}/fd")))
            free = next(number for number in itertools.count() if number not in held)
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (free, most[1]))
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            end.connect(str(daemon.socket))
            return daemon.logged("cannot let anybody in", reason="Too many open files")

        daemon.until(nobody_gets_in)
        before, began = cpu(daemon), time.monotonic()
        time.sleep(2)
        assert cpu(daemon) - before < 0.8 * (time.monotonic() - began)
        assert len(daemon.lines()) < 1000
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, most)
    daemon.until(daemon.answers)
    assert daemon.post("load", text="1/0").json["status"] == "script_failed"


def cpu(daemon):
    """Seconds of a processor that it took."""
    with open(f"/proc/{daemon.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("victim", ["worker", "zygote", "broker"])
def test_who_is_killed_while_it_loads_is_replaced(started, victim):
    """The load ends with what became of it, and the next one is as if nothing had been."""
    daemon = started("--set", "cache.enabled=false", "--log-level", "debug")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(daemon.post, "load", **LONG)
        daemon.until(lambda: daemon.counted(BUSY) == 1)
        worker = daemon.logged("worker taken")[-1]["pid"]
        zygote = daemon.logged("zygote started")[-1]["pid"]
        broker = family(daemon.process.pid)[0]
        os.kill({"worker": worker, "zygote": zygote, "broker": broker}[victim], signal.SIGKILL)
        told = answer.result()
    assert told.status == 200
    assert told.json["status"] in {"crashed", "sandbox_unavailable"}
    assert told.json["flows"] == []
    daemon.until(lambda: daemon.post("load", text="1/0").json["status"] == "script_failed")
    daemon.until(lambda: daemon.counted(BUSY) == 0)


def test_a_daemon_that_is_killed_while_it_loads_leaves_nothing(started):
    """None of its processes, and nothing in the way of the next one."""
    daemon = started()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(daemon.post, "load", **LONG)
        daemon.until(lambda: daemon.counted(BUSY) == 1)
        processes = family(daemon.process.pid)
        assert len(processes) >= 3
        daemon.end(signal.SIGKILL)
        assert answer.exception() is not None
    daemon.until(lambda: not any(map(is_there, processes)))
    again = started()
    assert again.post("load", text="1/0").json["status"] == "script_failed"
    assert again.end() == 0


@ROOT_ONLY
@pytest.mark.slow
def test_a_full_disk_ends_nothing(started, place):
    """Neither for kept results nor for the state of what is watched; both go on when there is room."""
    disk, flows = place / "disk", place / "flows"
    for folder in (disk, flows):
        folder.mkdir()
    (flows / "flow.py").write_text(FLOW.format(name="first"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "none", disk], check=True)
    try:
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        file = place / "daemon.yaml"
        file.write_text(
            f"state: {disk}/state\ncache: {{folder: {disk}/kept}}\n"
            f"sources: [{{location: {flows}, every: 1}}]\n"
        )
        daemon = started("--config", file)
        daemon.until(lambda: daemon.get("/v1/sources").json["sources"])
        assert daemon.get("/v1/sources").json["sources"][0]["ok"]
        load = lambda: daemon.post("load", location=str(flows / "flow.py")).json  # noqa: E731
        assert [(load()["status"], load()["kept"]) for _ in range(2)] == [("loaded", False)] * 2
        (disk / "filler").unlink()
        daemon.until(lambda: load()["kept"])
        assert daemon.end() == 0
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


MANY = """
import json, os, socket, sys
os.setgroups([]); os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)
path, location, ends = *sys.argv[1:], []
body = json.dumps({"location": location, "cache": False}).encode()
for _ in range(40):
    ends.append(socket.socket(socket.AF_UNIX))
    ends[-1].connect(path)
    head = "POST /v1/load HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\n"
    ends[-1].sendall(f"{head}Content-Length: {len(body)}\\r\\n\\r\\n".encode() + body)
    if len(ends) == 1:
        sys.stdin.readline()
print("sent", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hanging(place):
    """A file system that hangs once its script is opened, and the program that serves it."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.xfail("no program can serve a file system on this host, and so no peer's")
    folder = place / "hanging"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.daemon.hanging", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as program:
        try:
            assert program.stdout.readline() == b"mounted\n"
            yield folder, program
        finally:
            program.kill()
            subprocess.run(["umount", "--lazy", folder], check=True)


@ROOT_ONLY
def test_a_folder_of_a_peer_that_never_answers_holds_up_neither_the_owner_nor_the_end(
    started, place, hanging
):
    """However many ask for what is in it: the owner is served, and the daemon ends and leaves no socket."""
    folder, program = hanging
    file = place / "daemon.yaml"
    file.write_text(
        json.dumps({"socket_access": "everyone", "peers": [{"uid": NOBODY, "folders": [str(folder)]}]})
    )
    daemon = started("--config", file)
    command = ["/usr/bin/env", "python3", "-c", MANY, daemon.socket, folder / "flow.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
        assert program.stdout.readline() == b"hangs\n"
        peer.stdin.write(b"\n")
        peer.stdin.flush()
        assert peer.stdout.readline() == b"sent\n"
        daemon.catch_up()
        large = f"1/0 #{'a' * bodies.LARGE}"
        assert daemon.post("load", text=large).json["status"] == "script_failed"
        daemon.process.send_signal(signal.SIGTERM)
        daemon.until(lambda: daemon.logged("ending"))
        assert daemon.end() == 0
        peer.stdin.close()
    assert not daemon.socket.exists()
    assert daemon.logged("ended")


HANDED = """
import os, socket, sys
mode, path, *command = sys.argv[1:]
end = socket.socket(socket.AF_UNIX)
end.bind(path)
os.chmod(path, int(mode, 8))
end.listen()
os.dup2(end.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(command[0], command)
"""


@pytest.fixture
def activated(started, place):
    """A callable: a daemon to which a socket with that mode is handed over, as systemd does it."""

    def make(mode):
        (place / "run").mkdir(mode=0o755)
        return started(prefix=[sys.executable, "-c", HANDED, mode, str(place / "run" / "api.sock")])

    return make


def test_a_socket_that_was_handed_over_is_served(activated):
    """And left where it is, for the manager to listen on."""
    daemon = activated("600")
    assert daemon.post("load", text="1/0").json["status"] == "script_failed"
    assert daemon.end() == 0
    assert daemon.socket.exists()


@ROOT_ONLY
def test_a_socket_that_lets_others_in_grants_them_nothing(activated):
    """Who connects is asked of the kernel, whatever the mode of the socket."""
    daemon = activated("666")
    assert as_nobody(daemon, "GET", "/v1/health/live")[0] == 200
    assert as_nobody(daemon, "POST", "/v1/load", text="1/0")[0] == 403


MOVED = """
import runpy, sys, time
file, _, _, *sys.argv = sys.argv[1:]
wall = time.time_ns

def moved():
    with open(file) as opened:
        return wall() + int(opened.read()) * 10**9

time.time_ns, time.time = moved, lambda: moved() / 1e9
runpy.run_module("loader", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("seconds", [-100_000, 100_000])
def test_a_clock_that_is_moved_changes_no_answer(started, place, gate, seconds):
    """Neither deadlines nor what is kept go by it."""
    clock, path = place / "clock", place / "flows" / "flow.py"
    clock.write_text("0")
    path.parent.mkdir()
    path.write_text(FLOW.format(name="first"))
    daemon = started(prefix=[sys.executable, "-c", MOVED, str(clock)])
    load = lambda: daemon.post("load", location=str(path), wait=60).json  # noqa: E731
    daemon.until(lambda: load()["kept"])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(daemon.post, "load", **gate.asked(), wait=60)
        gate.until_waiting()
        clock.write_text(str(seconds))
        time.sleep(1.5)
        daemon.catch_up()
        gate.open()
        assert answer.result().json["status"] == "loaded"
    assert (load()["status"], load()["kept"]) == ("loaded", True)
    path.write_text(FLOW.format(name="second"))
    assert load()["flows"][0]["name"] == "second"
