"""What a script finds around it under ``strict``: ordinary libraries work, and every folder loads."""

import json
import os
import shutil
import ssl
import textwrap
from pathlib import Path

import pytest

from loader import FlowLoader, SourceError

FLOW = "from prefect import flow\n@flow\ndef answer(): pass\n"


@pytest.fixture(scope="module")
def loader():
    with FlowLoader() as held:
        yield held.warm()


def value(loader, code):
    """What ``code`` puts into ``found``, by the script's own words."""
    script = FLOW + textwrap.dedent(code) + "\nimport json\nprint(json.dumps(found))\n"
    outcome = loader.load_text(script)
    assert outcome.status == "loaded", outcome.error
    return json.loads(outcome.stdout.text)


ORDINARY = {
    "time zones": ("import zoneinfo\nfound = str(zoneinfo.ZoneInfo('Europe/Vienna'))", "Europe/Vienna"),
    "the locale": (
        "import locale, sys\nlocale.setlocale(locale.LC_ALL, '')\nfound = sys.getfilesystemencoding()",
        "utf-8",
    ),
    "its user": (
        "import getpass, os, pwd\nfound = getpass.getuser() == pwd.getpwuid(os.getuid()).pw_name",
        True,
    ),
    "processors": ("import os\nfound = os.cpu_count() == len(os.sched_getaffinity(0))", True),
    "a temporary folder": (
        "import os, shutil, tempfile\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    open(folder + '/a', 'w').write('x')\n"
        "    shutil.copy2(folder + '/a', folder + '/b')\n"
        "    found = sorted(os.listdir(folder))",
        ["a", "b"],
    ),
    "devices": (
        "import os\nopen('/dev/null', 'w').write('x')\n"
        "found = len(open('/dev/urandom', 'rb').read(4) + os.urandom(4))",
        8,
    ),
    "shared memory": ("open('/dev/shm/a', 'w').write('x')\nfound = open('/dev/shm/a').read()", "x"),
    "a lock of multiprocessing": ("import multiprocessing\nfound = multiprocessing.Lock().acquire()", True),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "found = list(ThreadPoolExecutor(4).map(abs, [-1, -2]))",
        [1, 2],
    ),
    "event loops": (
        "import asyncio\nasync def main():\n    await asyncio.sleep(0.01)\n    return 5\n"
        "found = asyncio.run(main())",
        5,
    ),
    "a database in memory": (
        "import sqlite3\nfound = sqlite3.connect(':memory:').execute('select 7').fetchone()[0]",
        7,
    ),
    "its collector": ("import gc\nfound = gc.isenabled()", True),
    "numpy": (
        "import numpy\nfound = float((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum())",
        300.0**3,
    ),
    "pandas": (
        "import pandas\nfound = pandas.DataFrame({'a': [1, 1, 2]}).groupby('a').size().tolist()",
        [2, 1],
    ),
    "pydantic": (
        "import pydantic\n"
        "class Node(pydantic.BaseModel):\n    child: 'Node | None' = None\n"
        "found = Node(child=Node()).model_dump()",
        {"child": {"child": None}},
    ),
}


@pytest.mark.parametrize("what", ORDINARY)
def test_a_script_finds(loader, what):
    """Ordinary libraries find what they expect, by the names of the table."""
    code, expected = ORDINARY[what]
    assert value(loader, code) == expected


def test_a_script_finds_the_hosts_certificates(loader, monkeypatch):
    """TLS libraries can verify what a flow will talk to, as they can outside."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    here = len(ssl.create_default_context().get_ca_certs())
    assert value(loader, "import ssl\nfound = len(ssl.create_default_context().get_ca_certs())") == here


def test_our_packages_cannot_be_imported(loader):
    """``worker`` and ``loader`` are the loader's own, not the script's."""
    for name in ("worker", "loader"):
        outcome = loader.load_text(f"{FLOW}import {name}\n")
        assert outcome.error.type == "ModuleNotFoundError"


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_folder_loads_with_its_siblings_however_closed(loader, tmp_path, mode):
    """A folder that only its owner may enter is shown to the worker all the same."""
    folder = tmp_path / "closed" / "project"
    folder.mkdir(parents=True)
    (folder / "helper.py").write_text("NUMBER = 4\n")
    (folder / "flows.py").write_text(
        "import helper\nfrom . import helper as same\nassert same is helper\n"
        + FLOW
        + "print(helper.NUMBER)\n"
    )
    folder.chmod(mode)
    folder.parent.chmod(mode)
    outcome = loader.load(folder / "flows.py")
    assert (outcome.status, outcome.stdout.text) == ("loaded", "4\n"), outcome.error


def test_a_folder_in_a_closed_one_loads_with_few_open_files(open_python, tmp_path):
    """Without mounts as well: its descriptor is put aside before the limit of the script's is set."""
    folder = tmp_path / "closed" / "project"
    folder.mkdir(parents=True)
    (folder / "flows.py").write_text(FLOW)
    folder.parent.chmod(0o700)
    profile = tmp_path / "few.yaml"
    profile.write_text(
        "description: few\nextends: no-namespaces\nopen_files: {hold: required, level: full, count: 64}\n"
    )
    with FlowLoader(profile=str(profile), python=open_python) as loader:
        outcome = loader.load(folder / "flows.py")
    assert outcome.status == "loaded", outcome.error


def test_a_script_right_below_the_temporary_folder_loads(loader):
    """Its folder is then where the scratch space would be, which moves out of the way."""
    path = Path("/tmp", f"flow-loader-test-{os.getpid()}.py")
    path.write_text(
        FLOW + "import tempfile\ntempfile.TemporaryFile().write(b'x')\nprint(tempfile.gettempdir())\n"
    )
    try:
        outcome = loader.load(path)
    finally:
        path.unlink()
    assert (outcome.status, outcome.stdout.text) == ("loaded", "/var/tmp\n"), outcome.error


def test_a_root_shows_more_than_the_scripts_folder(loader, tmp_path):
    """``root`` names what may be read; the script's own folder stays its working directory."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("found")
    (tmp_path / "flows").mkdir()
    script = tmp_path / "flows" / "a.py"
    script.write_text(FLOW + "print(open('../data/x.txt').read())\n")
    assert loader.load(script).status == "script_failed"
    assert loader.load(script, root=tmp_path).stdout.text == "found\n"
    with pytest.raises(SourceError, match="outside the root"):
        loader.load(script, root=tmp_path / "data")


@pytest.mark.parametrize("folder", ["/", "/proc", "/dev"])
def test_a_folder_that_is_the_host_is_refused(loader, tmp_path, folder):
    """No script may have the whole host, or the kernel's own trees, as what it may read."""
    path = Path("/tmp" if folder == "/" else folder)
    script = tmp_path / "a.py"
    script.write_text(FLOW)
    if folder == "/":
        outcome = loader.load(script, root="/")
        assert outcome.status == "sandbox_unavailable"
        assert "cannot" in outcome.error.message
        assert "--root" in outcome.error.hint
    else:
        with pytest.raises(SourceError):
            loader.load(script, root=path)


def test_what_is_sent_is_what_was_digested(loader, tmp_path):
    """A script that is exchanged on disk after it was read runs as it was read."""
    script = tmp_path / "a.py"
    script.write_text(FLOW + f"print(open({str(script)!r}).read().count('answer'))\n")
    first = loader.load(script)
    content = script.read_text()
    script.write_text(content + "# answer\n")
    assert first.source.digest != loader.load(script).source.digest


def test_nothing_is_written_beside_the_script(loader, tmp_path):
    """No byte code, no cache: a load leaves the folder as it was."""
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "a.py").write_text("import helper\n" + FLOW)
    assert loader.load(tmp_path / "a.py").status == "loaded"
    assert sorted(os.listdir(tmp_path)) == ["a.py", "helper.py"]


def test_a_profile_of_ones_own_shows_further_folders(tmp_path):
    """``filesystem.read`` adds what loading needs, and nothing else."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "x.txt").write_text("found")
    profile = tmp_path / "own.yaml"
    profile.write_text(
        f"description: test\nextends: strict\nfilesystem:\n  hold: required\n  read: [{data}]\n"
    )
    script = FLOW + f"print(open({str(data / 'x.txt')!r}).read())\n"
    with FlowLoader(str(profile)) as own:
        assert own.load_text(script).stdout.text == "found\n"
    with FlowLoader() as strict:
        outcome = strict.load_text(script)
    assert "filesystem.read" in outcome.error.hint
    shutil.rmtree(data)
