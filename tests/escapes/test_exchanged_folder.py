"""Whoever may rename folders cannot have another one shown than the one that the script was read from."""

import ctypes
import os
import signal
import time
from collections import Counter

import pytest

from loader import FlowLoader, SourceError, sources

AT_FDCWD, RENAME_EXCHANGE = -100, 2
SCRIPT = """\
import os
from prefect import flow

@flow
def f():
    pass

print("seen" if os.path.exists("secret") else "hidden")
"""
LOADS = 150
PATIENCE = 60
"""Seconds in which who exchanges the folders has its turn at last."""


@pytest.fixture
def racing(tmp_path):
    """A script's folder that a process exchanges for a link to a secret one, all the time."""
    secret, own = tmp_path / "elsewhere", tmp_path / "own"
    for folder in (secret, own):
        folder.mkdir(mode=0o700)
    (secret / "secret").write_text("x")
    (own / "flow.py").write_text(SCRIPT)
    link = tmp_path / "link"
    link.symlink_to(secret)
    names = [os.fsencode(path) for path in (own, link)]
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None)
        while os.getppid() != 1:
            libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
        os._exit(0)
    yield own / "flow.py"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["strict", "no-namespaces"])
def test_an_exchanged_folder_is_never_shown(racing, profile):
    """Each load sees the folder that its script was read from, or is refused."""
    seen, until = Counter(), time.monotonic() + PATIENCE
    with FlowLoader(profile) as loader:
        while seen.total() < LOADS or (len(seen) < 2 and time.monotonic() < until):
            try:
                outcome = loader.load(racing)
            except SourceError:
                seen["unreadable"] += 1
                continue
            assert outcome.status in {"loaded", "sandbox_unavailable"}, outcome.error
            seen[outcome.stdout.text.strip() or "refused"] += 1
    assert seen["seen"] == 0
    assert len(seen) > 1, f"nothing was ever exchanged in time: {seen}"


@pytest.mark.parametrize("profile", ["strict", "no-namespaces"])
def test_a_refusal_does_not_tell_what_is_there_instead(tmp_path, profile):
    """Whoever may put a link in the place of the folder learns nothing of what it leads to."""
    own, kept = tmp_path / "own", tmp_path / "kept"
    own.mkdir()
    (own / "flow.py").write_text(SCRIPT)
    script = sources.read(own / "flow.py")
    own.rename(kept)
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0)
    told = set()
    with FlowLoader(profile) as loader:
        for target in ("closed", "file", "file/below", "none", "own", "/", "/proc"):
            own.symlink_to(target)
            told.add(loader.run(script).error.message)
            own.unlink()
    [message] = told
    assert "was exchanged while it was opened" in message


def test_a_root_that_leads_to_the_host_is_refused_by_what_it_is(tmp_path):
    """Not by how it is spelled: a link to the host's root is the host's root."""
    link = tmp_path / "link"
    link.symlink_to("/")
    script = tmp_path / "flow.py"
    script.write_text(SCRIPT)
    with FlowLoader() as loader:
        outcome = loader.load(f"{link}{script}", root=link)
    assert outcome.status == "sandbox_unavailable"
    assert "holds the host" in outcome.error.message


def test_a_script_that_links_out_of_its_root_is_not_read(tmp_path):
    """What it leads to may be the supervisor's own to read, and nobody else's."""
    (tmp_path / "private").write_text("token = 1\n")
    own = tmp_path / "own"
    own.mkdir()
    (own / "flow.py").symlink_to(tmp_path / "private")
    (own / "real.py").write_text(SCRIPT)
    (own / "inner.py").symlink_to("real.py")
    with FlowLoader() as loader:
        with pytest.raises(SourceError, match="leads out"):
            loader.load(own / "flow.py")
        assert loader.load(own / "inner.py").status == "loaded"
