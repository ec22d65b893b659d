"""Whoever is killed, and whenever: nothing is left, and the next load is right."""

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from loader import FlowLoader, LoaderClosed
from loader.conversation import Conversation

ROOT = Path(__file__).parent.parent
GONE_SECONDS = 2.0
FLOW = "from prefect import flow\n@flow\ndef answer(): pass\n"
SLOW = FLOW + "import time\ntime.sleep(0.05)\n"
SUPERVISOR = f"""
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from loader import FlowLoader, LoaderClosed
held = FlowLoader().warm()
print("warm", flush=True)
def work():
    while True:
        held.load_text({SLOW!r})
for _ in range(4):
    threading.Thread(target=work).start()
"""

FILLS = (
    FLOW
    + """
import threading, time
until = time.monotonic() + 1.5
while time.monotonic() < until:
    try:
        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
    except RuntimeError:
        time.sleep(0.001)
"""
)
CROWDED = """
import resource, sys
from loader import FlowLoader
from worker.confine import limits
most = limits.tasks() + 40
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
with FlowLoader(profile=sys.argv[1]) as held:
    first = held.load_text(sys.argv[2])
    print(first.status, held.load_text(sys.argv[3]).status, held.load_text(sys.argv[3]).status)
"""


def children(pid):
    """Every process below ``pid``."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            below = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            found += [item for child in below for item in (int(child), *children(int(child)))]
    except OSError:
        pass  # It ended while we looked.
    return found


def runs(pid):
    """Whether a process is there and not a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_gone(pids, seconds=GONE_SECONDS):
    """Whether none of ``pids`` runs within ``seconds``."""
    until = time.monotonic() + seconds
    while any(map(runs, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def mounts():
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_process_and_no_mount():
    """SIGKILL of the supervisor at any moment under load: within two seconds nothing of ours is left."""
    chance = random.Random(1)
    before = mounts()
    for _ in range(15):
        with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE) as supervisor:
            supervisor.stdout.readline()
            time.sleep(chance.random() * 0.5)
            below = children(supervisor.pid)
            supervisor.kill()
        assert below
        assert all_gone(below)
    assert mounts() == before


@pytest.mark.slow
def test_a_supervisor_killed_while_it_starts_its_first_zygote_leaves_nothing():
    """There is no moment at which the zygote's processes do not depend on their supervisor."""
    for delay in (0.15, 0.25, 0.3, 0.35, 0.4, 0.45):
        with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.DEVNULL) as supervisor:
            time.sleep(delay)
            below = children(supervisor.pid)
            supervisor.kill()
        assert all_gone(below)


@pytest.mark.slow
def test_killed_brokers_and_zygotes_fail_loads_by_name_and_the_next_ones_work():
    """Fifty kills under load: a load is right or says that the host failed it, and nothing stays."""
    chance = random.Random(2)
    answers = Counter()
    stop = threading.Event()
    before = descriptors(), mounts()
    others = set(children(os.getpid()))
    with FlowLoader() as loader:
        loader.warm()

        def work():
            while not stop.is_set():
                outcome = loader.load_text(SLOW)
                names = [flow.name for flow in outcome.flows]
                answers[outcome.status.value, names == ["answer"]] += 1

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        killed = 0
        while killed < 50:
            time.sleep(chance.random() * 0.3)
            zygote = loader.supervisor.zygote
            if zygote is None:
                continue
            below = children(zygote.process.pid)
            victim = chance.choice([zygote.process.pid, *below[:1]])
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed += 1
        stop.set()
        for thread in threads:
            thread.join()
        assert loader.load_text(FLOW).status == "loaded"
    assert set(answers) <= {("loaded", True), ("sandbox_unavailable", False)}
    assert answers["loaded", True] > 50
    assert all_gone(set(children(os.getpid())) - others)
    assert (descriptors(), mounts()) == before


def test_a_killed_worker_is_reported_and_the_next_load_is_unaffected():
    """The worker of a running load dies: that load says so, another is right."""
    with FlowLoader() as loader:
        loader.warm()
        outcomes = []
        thread = threading.Thread(
            target=lambda: outcomes.append(loader.load_text(FLOW + "import time; time.sleep(20)"))
        )
        thread.start()
        time.sleep(0.5)
        zygote = children(loader.supervisor.zygote.process.pid)[0]
        for pid in children(zygote):
            with contextlib.suppress(ProcessLookupError):  # a namespace dies with its first process
                os.kill(pid, signal.SIGKILL)
        thread.join(10)
        assert outcomes[0].status == "crashed"
        assert outcomes[0].exit.signal == "SIGKILL"
        assert [flow.name for flow in outcomes[0].flows] == ["answer"]
        assert loader.load_text(FLOW).status == "loaded"


def test_a_zygote_that_dies_before_the_script_is_sent_is_replaced(monkeypatch):
    """Also at the moment when its worker is looked at: nothing was sent, so the load is tried again."""
    attest, killed = Conversation.attest, []

    def late(self):
        if not killed:
            killed.append(children(loader.supervisor.zygote.process.pid)[0])
            os.kill(killed[0], signal.SIGKILL)
            select.select([self.worker.pidfd], [], [], 10)
        attest(self)

    with FlowLoader() as loader:
        loader.warm()
        monkeypatch.setattr(Conversation, "attest", late)
        assert loader.load_text(FLOW).status == "loaded"
    assert killed


def test_closing_ends_every_process_and_returns_every_descriptor():
    """After ``close`` the process is as it was before."""
    before = descriptors()
    others = set(children(os.getpid()))
    loader = FlowLoader()
    loader.warm()
    below = set(children(os.getpid())) - others
    assert below
    loader.close()
    assert all_gone(below)
    assert descriptors() == before
    with pytest.raises(LoaderClosed):
        loader.load_text(FLOW)


def test_a_thousand_descriptors_of_the_caller_reach_no_worker(tmp_path):
    """A worker has its own few descriptors, however many the caller left inheritable."""
    held = [os.open(tmp_path, os.O_RDONLY) for _ in range(300)]
    for descriptor in held:
        os.set_inheritable(descriptor, True)
    script = FLOW + "import os\nprint(len(os.listdir('/proc/self/fd')))\n"
    try:
        with FlowLoader() as loader:
            assert int(loader.load_text(script).stdout.text) <= 8
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_what_a_trusted_script_started_ends_with_its_load():
    """Under ``development`` a script may start processes, and none outlives it, however it was detached."""
    script = FLOW + (
        "import subprocess\n"
        "process = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "again = subprocess.Popen(['sh', '-c', 'sleep 1000 & echo $!'], stdout=subprocess.PIPE)\n"
        "print(process.pid, again.stdout.readline().decode())\n"
    )
    with FlowLoader("development") as loader:
        outcome = loader.load_text(script)
        assert outcome.status == "loaded", outcome.error
        started = [int(pid) for pid in outcome.stdout.text.split()]
        assert len(started) == 2
        assert all_gone(started)
        assert loader.load_text(FLOW).status == "loaded"


def test_what_an_allowed_process_left_ends_with_its_load(tmp_path):
    """Where a profile allows processes and has no PID namespace, none outlives its load either."""
    profile = tmp_path / "own.yaml"
    profile.write_text(
        "description: test\nextends: no-namespaces\n"
        "processes:\n  hold: required\n  level: partial\n  count: 4\n"
    )
    script = FLOW + (
        "import os, time\n"
        "child = os.fork()\n"
        "if not child:\n    os.setsid()\n    time.sleep(100)\n"
        "print(child)\n"
    )
    with FlowLoader(str(profile)) as loader:
        outcome = loader.load_text(script)
        assert outcome.status == "loaded", outcome.error
        assert all_gone([int(outcome.stdout.text)])


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["strict", "no-namespaces"])
def test_a_script_that_takes_every_task_ends_nobody(open_python, open_code, profile):
    """Not the zygote, whose chores need one more, nor those who come after the script has let go of them."""
    identity = {"user": 65533, "group": 65533, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [open_python, "-B", "-c", CROWDED, profile, FILLS, FLOW],
        env={"PYTHONPATH": str(open_code), "LANG": "C.UTF-8"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    assert done.stdout.split() == ["loaded"] * 3, done.stderr
