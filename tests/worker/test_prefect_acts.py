"""What acts in an installed Prefect: a script that has a server within reach does not reach it."""

import socket

import pytest

from loader import FlowLoader

START = """\
import asyncio
from prefect import flow, task
@flow
def f(): ...
@task
def t(x=1): raise SystemExit(3)
URL = {url!r}
PORT = int(URL.split(':')[2].split('/')[0])
"""
ACTING = {
    "task worker": """\
from prefect.task_worker import TaskWorker, serve
serve(t)  # told
async def main():
    await TaskWorker(t).start()  # told
    async with TaskWorker(t):  # told
        pass
asyncio.run(main())
""",
    "task runner": """\
from prefect.task_runners import ThreadPoolTaskRunner
with ThreadPoolTaskRunner() as runner:
    runner.submit(t, {'x': 5})  # told
    runner.map(task=t, parameters={'x': [1]})  # told
""",
    "task engine": """\
from prefect.task_engine import run_task, run_task_sync
run_task(t)  # told
run_task_sync(task=t)  # told
@task
async def later(): raise SystemExit(3)
async def main():
    assert await run_task(later) is None  # told
asyncio.run(main())
""",
    "events": """\
from prefect.events.worker import EventsWorker
held = EventsWorker.instance()  # told
held.send(None)  # told
""",
    "limits": """\
from prefect.concurrency.v1.sync import concurrency
with concurrency('a', None):  # told
    pass
""",
    "processes": """\
from prefect.task_runners import ProcessPoolTaskRunner
with ProcessPoolTaskRunner() as runner:  # told
    runner.submit(t, {'x': 5})  # told
""",
    "inputs": """\
import uuid
from prefect.input import RunInput, read_flow_run_input, receive_input
from prefect.task_runs import TaskRunWaiter
run = uuid.uuid4()
assert list(receive_input(int, flow_run_id=run, timeout=None)) == []  # told
assert list(RunInput.receive(flow_run_id=run)) == []  # told
assert read_flow_run_input('k', flow_run_id=run) is None  # told
async def main():
    assert [one async for one in receive_input(int, flow_run_id=run)] == []  # told
    assert [one async for one in RunInput.receive(flow_run_id=run)] == []  # told
    assert await read_flow_run_input('k', flow_run_id=run) is None  # told
    assert await TaskRunWaiter.wait_for_task_run(run) is None  # told
asyncio.run(main())
""",
    "results": """\
from prefect.results import ResultStore, get_default_result_storage
get_default_result_storage()  # told
ResultStore().write(1, key='a')  # told
""",
    "web server": """\
from prefect.runner import Runner
from prefect.runner.server import start_webserver
start_webserver(Runner())  # told
""",
    "redis": """\
from prefect.blocks.redis import RedisStorageContainer
held = RedisStorageContainer.from_host(host='127.0.0.1', port=PORT)
held.write_path('a', b'x')  # told
assert held.read_path('a') is None  # told
""",
    "worker": """\
from prefect.workers.process import ProcessWorker
async def main():
    worker = ProcessWorker('pool')
    await worker.setup()  # told
    await worker.start()  # told
asyncio.run(main())
""",
}
ENTERED = """\
from prefect.events.clients import PrefectEventsClient, get_events_client, get_events_subscriber
async def use():
    async with get_events_client() as events:  # told
        await events.emit(None)  # told
    async with PrefectEventsClient(api_url=URL) as events:  # told
        await events.emit(None)  # told
    async with get_events_subscriber() as heard:  # told
        assert [one async for one in heard] == []
asyncio.run(use())
"""
BLOCKS = """\
from prefect.blocks.notifications import CustomWebhookNotificationBlock, MattermostWebhook
from prefect.blocks.webhook import Webhook
from prefect.filesystems import RemoteFileSystem
MattermostWebhook(hostname='127.0.0.1', port=PORT, token='a' * 24).notify('x')  # told
assert RemoteFileSystem(basepath=URL).read_path('a') is None  # told
async def use():
    assert await Webhook(url=URL).call({'a': 1}) is None  # told
    assert await CustomWebhookNotificationBlock(name='x', url=URL).notify('x') is None  # told
asyncio.run(use())
"""
FILES = """\
import os, tempfile
from prefect.deployments.steps import git_clone
from prefect.filesystems import LocalFileSystem
from prefect.runner.storage import GitRepository
folder = tempfile.mkdtemp()
files = LocalFileSystem(basepath=folder)
files.write_path('a', b'x')  # told
files.put_directory(local_path=folder, to_path='b')  # told
assert files.get_directory(local_path='c') is None  # told
assert files.read_path('a') is None  # told
git_clone(repository=URL)  # told
async def use():
    await files.write_path('a', b'x')  # told
    assert await files.read_path('a') is None  # told
    await GitRepository(url=URL).pull_code()  # told
    await getattr(files, 'awrite_path', files.write_path)('a', b'x')  # told
    assert await getattr(files, 'aread_path', files.read_path)('a') is None  # told
asyncio.run(use())
assert os.listdir(folder) == []
"""
TALKING = {
    "client": """\
from prefect.client.orchestration import SyncPrefectClient
SyncPrefectClient(api=URL).hello()  # told
""",
    "asynchronous client": """\
from prefect.client.orchestration import PrefectClient
asyncio.run(PrefectClient(api=URL).hello())  # told
""",
    "subscription": """\
from prefect.client.schemas import TaskRun
from prefect.client.subscriptions import Subscription
asyncio.run(Subscription(TaskRun, '/x', ['a']).__anext__())  # told
""",
    "connection": """\
from prefect.events.clients import PrefectEventsClient
asyncio.run(PrefectEventsClient(api_url=URL)._reconnect())  # told
""",
}


@pytest.fixture(params=["prefect2", "prefect3"])
def python(request):
    """An interpreter with each generation."""
    return request.getfixturevalue("prefect_python" if request.param == "prefect3" else "prefect2_python")


@pytest.fixture
def url():
    """Where a server would be that nobody may speak to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/api"
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture
def load(url, tmp_path, monkeypatch):
    """A callable: the outcomes of scripts that may reach the server, and the lines that must be told."""
    monkeypatch.setenv("PREFECT_API_URL", url)
    profile = tmp_path / "network.yaml"
    profile.write_text("extends: network\ndescription: x\nenvironment: {pass: [PREFECT_API_URL]}\n")

    def run(python, texts):
        with FlowLoader(str(profile), python=python) as loader:
            for text in texts:
                script = START.format(url=url) + text
                outcome = loader.load_text(script)
                lines = [number for number, line in enumerate(script.splitlines(), 1) if "# told" in line]
                yield outcome, lines

    return run


def told(outcome):
    """The lines of what was not done, each once."""
    found = [notice.line for notice in outcome.notices if notice.kind in ("not_done", "flow_called")]
    return sorted(set(found), key=found.index)


@pytest.mark.slow
def test_what_acts_without_a_flow_does_nothing(load, prefect_python):
    """Workers, runners, engines and events start nothing and wait for nothing; each call has its line."""
    for outcome, lines in load(prefect_python, ACTING.values()):
        assert (outcome.error, outcome.status) == (None, "loaded")
        assert told(outcome) == lines


@pytest.mark.slow
def test_clients_of_events_reach_no_server(load, python):
    """What is entered to send or to hear events can be used, and does nothing."""
    ((outcome, lines),) = load(python, [ENTERED])
    assert (outcome.error, outcome.status) == (None, "loaded")
    assert told(outcome) == lines


@pytest.mark.slow
def test_blocks_that_a_script_makes_send_nothing(load, python):
    """Nobody is notified and no hook is called, though the profile lets the script connect."""
    ((outcome, lines),) = load(python, [BLOCKS])
    assert (outcome.error, outcome.status) == (None, "loaded")
    assert told(outcome) == lines


@pytest.mark.slow
def test_storage_that_a_script_makes_reads_and_writes_nothing(load, python):
    """Also where the sandbox would let it: in the scratch space, and to whoever may be asked for code."""
    ((outcome, lines),) = load(python, [FILES])
    assert (outcome.error, outcome.status) == (None, "loaded")
    assert told(outcome) == lines


@pytest.mark.slow
def test_what_speaks_to_a_server_by_itself_is_refused_with_its_line(load, python):
    """Below each client and subscriber nothing is sent; the call fails at once, and its line is told."""
    for outcome, lines in load(python, TALKING.values()):
        assert "cannot reach Prefect's API while a script is loaded" in outcome.error.message
        assert told(outcome) == lines


def test_block_that_was_saved_may_be_a_flows_storage(python):
    """It is not saved, and the script goes on as it would."""
    with FlowLoader(python=python) as loader:
        outcome = loader.load_text(
            "from prefect import flow\nfrom prefect.filesystems import LocalFileSystem\n"
            "storage = LocalFileSystem(basepath='/tmp/x')\nstorage.save('s')\n"
            "@flow(result_storage=storage, persist_result=True)\ndef f(): ...\n"
        )
    assert (outcome.error, [flow.name for flow in outcome.flows]) == (None, ["f"])
    assert told(outcome) == [4]


def test_flow_of_the_running_script_is_found_without_its_libraries(python, tmp_path):
    """What Prefect imports only when it is used is not imported for it: that would open sockets."""
    path = tmp_path / "flow.py"
    path.write_text(
        "import sys\nfrom prefect import flow\n@flow\ndef f(): ...\n"
        "from prefect.deployments.runner import RunnerDeployment\n"
        "RunnerDeployment.from_entrypoint(__file__ + ':f', name='n')\n"
        "assert 'docker.api' not in sys.modules\n"
    )
    with FlowLoader(python=python) as loader:
        outcome = loader.load(path)
    assert (outcome.error, outcome.notices) == (None, ())
    assert [spec.name for spec in outcome.specs] == ["n"]


def test_deployment_from_storage_is_told_and_not_fetched(python):
    """What lies in a repository is not known; what was asked for is."""
    with FlowLoader(python=python) as loader:
        outcome = loader.load_text(
            "from prefect.deployments.runner import RunnerDeployment\n"
            "from prefect.runner.storage import GitRepository\n"
            "storage = GitRepository(url='https://example.org/r.git')\n"
            "made = RunnerDeployment.from_storage(storage=storage, entrypoint='flows/etl.py:etl',\n"
            "    name='remote', cron='0 1 * * *', tags=['a'])\n"
            "assert made.name == 'remote'\n"
        )
    assert outcome.error is None
    (spec,) = outcome.specs
    assert (spec.name, spec.flow_name, spec.tags) == ("remote", "etl", ("a",))
    assert (spec.flow_location, spec.line) == ("https://example.org/r.git", 4)
    assert told(outcome) == [4]
