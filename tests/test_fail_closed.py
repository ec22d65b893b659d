"""A host that cannot give a required guarantee is refused by name, and the script is never sent.

Each host is made for real, in a process of its own: a seccomp filter as containers have it, or a user
namespace that may not make others.
"""

import json
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOW = "from prefect import flow\n@flow\ndef answer(): pass\n"

PRELUDE = f"""
import ctypes, json, os, struct, sys
sys.path.insert(0, {str(ROOT)!r})
from loader import FlowLoader
from worker.confine import kernel, seccomp
from worker.confine.syscalls import NUMBERS

def forbid(*names, errno=1):
    '''As a container's filter does: these calls answer with an error from here on.'''
    code = [(seccomp.LOAD, 0, 0, seccomp.NUMBER)]
    for name in names:
        code += [(seccomp.JUMP_EQ, 0, 1, NUMBERS[name]), (seccomp.RETURN, 0, 0, seccomp.ERRNO | errno)]
    code.append((seccomp.RETURN, 0, 0, seccomp.ALLOW))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, "test")
    seccomp.apply(b"".join(struct.pack("=HBBI", *step) for step in code), os.getpid())

def ordinary():
    if os.geteuid() == 0:
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1, "test")
"""


def outcome(host, python=sys.executable, profile="strict", script=FLOW):
    """The outcome of a load on a host that ``host`` makes of its process."""
    code = (
        PRELUDE
        + textwrap.dedent(host)
        + f"\nprint(FlowLoader({profile!r}).load_text({script!r}).model_dump_json())\n"
    )
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(found, guarantee, *words):
    """That an outcome is a refusal which names the guarantee, its cause and a remedy."""
    assert found["status"] == "sandbox_unavailable"
    assert found["exit"] == {"code": None, "signal": None}
    assert found["usage"]["wall_seconds"] == 0
    message = found["error"]["message"]
    assert message.startswith("cannot ")
    assert guarantee in message, message
    for word in words:
        assert word in message + found["error"]["hint"]


@pytest.mark.slow
def test_a_container_that_forbids_namespaces_is_refused():
    """As default container filters do; the remedy names the profile that needs none."""
    refused(outcome("forbid('unshare', 'clone3')"), "filesystem", "seccomp filter", "no-namespaces")


def test_a_kernel_without_landlock_is_refused():
    """No Landlock, no promise about files."""
    refused(outcome("forbid('landlock_create_ruleset', errno=38)"), "filesystem", "landlock")


@pytest.mark.slow
def test_a_kernel_without_landlock_at_boot_is_refused():
    """Built in but not enabled answers EOPNOTSUPP, and the boot parameter is the remedy."""
    refused(outcome("forbid('landlock_create_ruleset', errno=95)"), "filesystem", "boot", "lsm=")


def test_a_host_without_seccomp_filters_is_refused():
    """Without the filter nothing is promised of system calls, network and processes."""
    found = outcome("forbid('seccomp', errno=22)")
    refused(found, "syscalls", "CONFIG_SECCOMP_FILTER")
    assert "network" in found["error"]["message"]


@pytest.mark.slow
def test_a_host_that_lets_no_mount_be_made_is_refused():
    """A private root is what hides the host."""
    refused(outcome("forbid('open_tree', 'fsopen')"), "filesystem", "seccomp filter")


@pytest.mark.slow
def test_used_up_user_namespaces_are_refused(open_python, open_code):
    """The limit of namespaces is named, with the setting that raises it."""
    host = f"""
        sys.path.insert(0, {str(open_code)!r})
        ordinary()
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER, "test")
        kernel.map_identity(uid, gid)
        with open("/proc/sys/user/max_user_namespaces", "w") as setting:
            setting.write("0")
    """
    refused(outcome(host, open_python), "filesystem", "max_user_namespaces")


def test_a_script_that_could_not_be_confined_was_never_sent(tmp_path):
    """Had it run, even with a network, it would have called home."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        call = f"import socket\nsocket.create_connection({listener.getsockname()!r}, 2)\n"
        sent = outcome("", profile="network", script=FLOW + call)
        assert sent["status"] == "loaded"
        listener.accept()[0].close()
        refused(
            outcome("forbid('landlock_restrict_self')", profile="network", script=FLOW + call), "filesystem"
        )
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.slow
def test_best_effort_goes_on_and_says_so(tmp_path):
    """A guarantee that is not required may be missing; the outcome's facts show it."""
    profile = tmp_path / "own.yaml"
    profile.write_text(
        "description: test\nextends: no-namespaces\nfilesystem:\n  hold: best-effort\n  level: partial\n"
    )
    found = outcome("forbid('landlock_create_ruleset', errno=38)", profile=str(profile))
    assert found["status"] == "loaded"
    levels = {item["name"]: item["level"] for item in found["sandbox"]["guarantees"]}
    assert levels["filesystem"] == "none"
    assert levels["syscalls"] == "full"


@pytest.mark.sampled
@pytest.mark.parametrize("profile", ["strict", "no-namespaces", "network", "development"])
def test_every_profile_of_ours_holds_here(profile):
    """On this host each built-in profile gives every guarantee at the level it demands."""
    from loader.profiles import load_profile

    found = outcome("", profile=profile)
    assert found["status"] == "loaded", found["error"]
    levels = {item["name"]: item["level"] for item in found["sandbox"]["guarantees"]}
    rank = ("none", "partial", "full")
    policy = load_profile(profile)
    assert all(rank.index(levels[name]) >= rank.index(level) for name, level in policy.demands.items())
