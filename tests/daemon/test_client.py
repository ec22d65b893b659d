"""The client of the library and the command's `--daemon` say what they say without one."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loader import DaemonClient, DaemonError, ProfileError, SourceError, scanning
from loader.access import Access

SAMPLES = Path(__file__).parents[1] / "samples"
ROOT = Path(__file__).parents[2]
MANIFEST = f"{SAMPLES}/manifests/deployments.yaml"
COMMANDS = (
    ("load", "single_flow.py"),
    ("load", "deployments.py"),
    ("load", "failing/exits.py"),
    ("load", "no_such.py"),
    ("load", "single_flow.py", "--profile", "none"),
    ("load", "single_flow.py", "--timeout", "-1"),
    ("check", "single_flow.py:hello", "--parameters", '{"nmae": 1}'),
    ("check", "single_flow.py", "--flow", "nothing"),
    ("specs", "deployments.py"),
    ("specs", "manifests/deployments.yaml"),
    ("deploy", "manifests/deployments.yaml", "--dry-run"),
    ("scan", "manifests", "--jobs", "1"),
)


@pytest.fixture
def client(daemon):
    with DaemonClient(daemon.socket, cache=False, python=sys.executable) as made:
        yield made


def same(first, second):
    """Whether two outcomes differ in nothing but what they took."""
    keep = {"usage", "kept"}
    return first.model_dump(exclude=keep) == second.model_dump(exclude=keep)


@pytest.mark.parametrize("name", ["single_flow.py", "deployments.py", "failing/exits.py"])
def test_outcome_equals_the_library_s(client, loader, name):
    """Field by field, as the same models."""
    assert same(client.load(SAMPLES / name), loader.load(SAMPLES / name))


def test_text_of_any_bytes_is_handed_over(client, loader):
    """As it is, also where it is no UTF-8."""
    text = b"# coding: latin-1\nprint('\xe9')\n"
    assert same(client.load_text(text, name="x.py"), loader.load_text(text, name="x.py"))


def test_check_and_specs_and_deploy_equal_the_library_s(client, loader, tmp_path):
    """Verdicts and plans, too."""
    from loader import EmbeddedRegistry

    asked = {"parameters": {"nmae": "x"}}
    for location, more in (
        ("single_flow.py:hello", asked),
        ("single_flow.py", {"function": "hello", **asked}),
    ):
        verdicts = [one.check(f"{SAMPLES}/{location}", **more) for one in (client, loader)]
        assert verdicts[0].reasons
        assert verdicts[0].reasons == verdicts[1].reasons
        assert same(verdicts[0].outcome, verdicts[1].outcome)
    plans = [one.specs(MANIFEST) for one in (client, loader)]
    assert plans[0].data() == plans[1].data()
    with EmbeddedRegistry(tmp_path / "registry.db") as registry:
        made = [one.deploy(MANIFEST, client=registry) for one in (client, loader)]
    assert [plan.specs[0].result for plan in made] == ["created", "updated"]
    assert made[0].specs[0].id == made[1].specs[0].id


def test_relative_locations_are_the_caller_s(client, monkeypatch):
    """The daemon has another working directory."""
    monkeypatch.chdir(SAMPLES)
    assert client.load("single_flow.py").source.location == "single_flow.py"


def test_the_same_exceptions_are_raised(client):
    """For what the caller named."""
    with pytest.raises(SourceError, match="no such file"):
        client.load("/no/such.py")
    with pytest.raises(ProfileError, match="timeout"):
        client.load(SAMPLES / "single_flow.py", timeout=-1)
    with pytest.raises(ProfileError, match="interpreter"):
        DaemonClient("/no.sock", python="/no/python")


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:99999", "http://\u00fc/", "ftp://x"])
def test_an_address_that_is_none_is_said(address):
    """Before or when it is asked, as one kind of error."""
    with pytest.raises(DaemonError, match=r"^cannot (ask a daemon at|reach the daemon at) "):
        DaemonClient(address, token="t").load_text("")


# The library of the connections leaves a socket that did not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_daemon_is_said(tmp_path):
    """With what to do about it."""
    with (
        DaemonClient(tmp_path / "none.sock") as client,
        pytest.raises(DaemonError, match="flow-loader serve"),
    ):
        client.load(SAMPLES / "single_flow.py")


IMPOSTOR = """
import os, socket, sys
end = socket.socket(socket.AF_UNIX)
os.setegid(65534); os.seteuid(65534)
end.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o666); end.listen()
print("here", flush=True)
for _ in range(2):
    print(len(end.accept()[0].recv(9)), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("owner", [0, 65534])
def test_nothing_is_sent_to_another_user_s_daemon(place, owner):
    """Wherever it listens, but at a socket that was named and lies in a folder that is its alone."""
    folder = place / "run"
    folder.mkdir()
    folder.chmod(0o777 if owner == 0 else 0o755)
    os.chown(folder, owner, -1)
    path = folder / "api.sock"
    command = [sys.executable, "-c", IMPOSTOR, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        with DaemonClient(path) as client:
            if owner == 0:
                with pytest.raises(DaemonError, match="user 65534"):
                    client.load_text("x = 1")
                with pytest.raises(DaemonError, match="user 65534"):
                    asyncio.run(client.load_text_async("x = 1"))
                assert process.stdout.readline() + process.stdout.readline() == "0\n0\n"
            else:
                assert client.trust.trusted() == {0, 65534}
                client.trust.named = False
                assert client.trust.trusted() == {0}
        process.kill()


def test_a_usual_socket_that_cannot_be_looked_at_is_not_trusted(monkeypatch, tmp_path):
    """Only one that is not there at all is nobody's."""
    monkeypatch.delenv("FLOW_LOADER_DAEMON", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    DaemonClient().close()
    (tmp_path / "flow-loader").write_text("no folder")
    with pytest.raises(DaemonError, match="name it if you mean it"):
        DaemonClient()


def test_options_of_drivers_are_not_handed_over(client):
    """They hold keys."""
    with pytest.raises(SourceError, match="Access"):
        client.load(SAMPLES / "single_flow.py", access=Access(options={"s3": {"secret": "x"}}))


def test_twins_do_not_block(client, loader):
    """Each method has its own for event loops."""

    async def all_of_them():
        path = SAMPLES / "single_flow.py"
        return await asyncio.gather(
            client.load_async(path),
            client.load_text_async("x = 1"),
            client.check_async(path),
            client.specs_async(MANIFEST),
            client.deploy_async(MANIFEST, dry_run=True),
        )

    load, text, check, specs, deploy = asyncio.run(all_of_them())
    assert same(load, loader.load(SAMPLES / "single_flow.py"))
    assert (text.status, check.ok, len(specs.specs), deploy.specs[0].result) == (
        "script_failed",
        True,
        len(deploy.specs),
        "would create",
    )


def test_a_cancelled_load_ends_its_worker(client, daemon):
    """By the connection that is closed."""

    async def cancelled():
        task = asyncio.create_task(client.load_text_async("import time\ntime.sleep(50)\n", name="long"))
        busy = lambda: daemon.counted('flow_loader_workers{state="busy"}')  # noqa: E731
        await asyncio.to_thread(daemon.until, busy)
        task.cancel()

    asyncio.run(cancelled())
    daemon.until(lambda: not daemon.counted('flow_loader_workers{state="busy"}'))


def test_scan_equals_the_library_s(client, loader):
    """The folder is walked by the caller."""
    told = []
    for one in (client, loader):
        with one.scan(SAMPLES / "manifests") as scan:
            found = {item.location: (item.status, item.ok, [s.valid for s in item.specs]) for item in scan}
            told.append((found, scan.summary.ok, scan.summary.failed, scan.summary.complete))
    assert told[0] == told[1]


@pytest.mark.parametrize("name", ["flow.py", "deployments.yaml"])
def test_a_folder_that_is_exchanged_while_it_is_scanned_is_not_read(client, tmp_path, monkeypatch, name):
    """The daemon reads where the scan looked, and nowhere else."""
    for folder, flow in (("tree/a", "inside"), ("secret", "outside")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "flow.py").write_text(f"from prefect import flow\n@flow\ndef {flow}(): pass\n")
        if name != "flow.py":
            (tmp_path / folder / name).write_text(f"name: {flow}\nflow_location: ./flow.py\n")
    looked = scanning.mentions

    def exchange(suffix, content):
        if not (tmp_path / "tree" / "a").is_symlink():
            (tmp_path / "tree" / "a").rename(tmp_path / "away")
            (tmp_path / "tree" / "a").symlink_to(tmp_path / "secret")
        return looked(suffix, content)

    monkeypatch.setattr(scanning, "mentions", exchange)
    with client.scan(tmp_path / "tree", jobs=1) as scan:
        found = {os.path.basename(item.location): item for item in scan}
    assert found[name].status == "usage"
    assert "is another folder now" in found[name].problem or "exchanged" in found[name].problem


def command(daemon, *words):
    """What the command prints and its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "loader", *words],
        cwd=SAMPLES,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "80",
            "XDG_DATA_HOME": str(daemon.folder / "data"),
        },
        capture_output=True,
        text=True,
    )
    return (
        done.returncode,
        re.sub(r"[\d.]+ m?s\b|\"(usage|seconds|slowest)\": ({[^}]*}|\[[^]]*\]|[\d.]+)", "T", done.stdout),
        done.stderr,
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_command_prints_the_same(daemon, words, form):
    """And ends with the same exit code."""
    words = (*words, "--format", form)
    through = command(
        daemon, *words, "--daemon", str(daemon.socket), "--no-cache", "--python", sys.executable
    )
    without = command(daemon, *words, "--python", sys.executable)
    if words[0] == "scan":  # it lists the slowest first
        through, without = (
            (code, sorted(map(str.strip, told.split("\n"))), said) for code, told, said in (through, without)
        )
    assert through == without


@pytest.mark.slow
def test_the_command_says_that_there_is_no_daemon(daemon):
    """It is not done without it in silence."""
    code, printed, said = command(
        daemon, "load", "single_flow.py", "--daemon", "/no.sock", "--format", "json"
    )
    assert (code, '"status": "daemon_unavailable"' in printed) == (3, True)
    assert "cannot reach the daemon" in said


def test_the_loader_imports_nothing_of_the_daemon():
    """Neither do the commands without it: its libraries are extras."""
    code = "import sys; from loader import FlowLoader; import loader.cli.load, loader.cli.scan\n"
    code += "names = ('aiohttp', 'structlog', 'prometheus_client', 'loader.daemon')\n"
    code += "print([name for name in names if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
