"""The library works wherever Python runs: each place is a real process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOW = "from prefect import flow\n@flow\ndef answer(): pass\n"
LOAD = f"FlowLoader().load_text({FLOW!r}).status.value"


def run(code, *options, stdin=""):
    """What a fresh interpreter prints for ``code``."""
    script = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + textwrap.dedent(code)
    arguments = ["-c", script] if not stdin else list(options)
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_script_without_a_main_guard_is_not_run_again(tmp_path):
    """No process of ours imports the caller's ``__main__``."""
    path = tmp_path / "caller.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from loader import FlowLoader\nprint('once')\nprint({LOAD})\n"
    )
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["once", "loaded"]


@pytest.mark.slow
def test_a_repl_can_load():
    """What is typed at a prompt has no file."""
    typed = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom loader import FlowLoader\nprint({LOAD})\n"
    assert run("", "-i", "-q", stdin=typed)[-1] == "loaded"


@pytest.mark.slow
def test_a_thread_that_ends_does_not_take_the_workers_with_it():
    """The zygote is started by one thread and used by others after it."""
    code = f"""
        import threading
        from loader import FlowLoader
        held = FlowLoader()
        thread = threading.Thread(target=held.warm)
        thread.start(); thread.join()
        print(held.load_text({FLOW!r}).status.value)
    """
    assert run(code) == ["loaded"]


@pytest.mark.sampled
@pytest.mark.parametrize("library", ["multiprocessing", "multiprocess"])
def test_a_daemonic_process_can_load(library):
    """Daemonic processes, such as a Dask worker's, may not have children of those libraries."""
    code = f"""
        import {library} as library
        from loader import FlowLoader
        def work(queue):
            queue.put({LOAD})
        if __name__ == "__main__":
            context = library.get_context("fork")
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,), daemon=True)
            process.start()
            print(queue.get(timeout=30)); process.join()
    """
    assert run(code) == ["loaded"]


@pytest.mark.slow
def test_a_forked_child_gets_a_zygote_of_its_own():
    """A loader that is used on both sides of a fork mixes up no answers and kills nothing of the parent's."""
    code = f"""
        import os
        from loader import FlowLoader
        held = FlowLoader().warm()
        child = os.fork()
        status = held.load_text({FLOW!r}).status.value
        if child == 0:
            held.close()
            os._exit(0 if status == "loaded" else 1)
        print(os.waitpid(child, 0)[1], status, held.load_text({FLOW!r}).status.value)
    """
    assert run(code) == ["0", "loaded", "loaded"]


@pytest.mark.slow
def test_closed_standard_streams_are_no_hindrance():
    """A daemon may have closed descriptors 0 to 2 before it loads."""
    code = f"""
        import os
        from loader import FlowLoader
        kept = os.dup(1)
        kept = os.dup2(kept, 50)
        for descriptor in range(3):
            os.close(descriptor)
        os.write(50, {LOAD}.encode())
    """
    assert run(code) == ["loaded"]


@pytest.mark.slow
def test_the_callers_folder_arguments_and_path_stay_as_they_were(tmp_path):
    """A load changes nothing of the caller's process."""
    (tmp_path / "flows.py").write_text(FLOW)
    code = f"""
        import os, sys, signal
        from loader import FlowLoader
        def state():
            handler = signal.getsignal(signal.SIGCHLD)
            return os.getcwd(), sys.argv[:], sys.path[:], dict(os.environ), handler
        before = state()
        with FlowLoader() as held:
            print(held.load({str(tmp_path / "flows.py")!r}).status.value)
        print(state() == before, "prefect" in sys.modules)
    """
    assert run(code) == ["loaded", "True", "False"]
