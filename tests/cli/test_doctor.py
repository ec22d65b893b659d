"""What the doctor says of this host, and of hosts that lack something."""

import subprocess

import pytest

from loader import doctor, host
from loader.cli.doctor import rendered
from loader.cli.terminal import Style
from loader.host import HostFacts
from loader.models import Error, Guarantee, Outcome, Sandbox, Source, Status
from worker.protocol import Probed

HOST = HostFacts(
    kernel=(6, 8),
    apparmor_restricts_userns=False,
    userns_clone=None,
    max_user_namespaces=1000,
    modules=("lockdown", "capability", "landlock"),
    filtered=False,
    root=False,
)


@pytest.mark.sampled
def test_everything_holds_here(anyone):
    """On the hosts where this suite runs, every profile can be given, as root and as anyone."""
    code, report = anyone.json("doctor")
    assert code == 0
    assert list(report) == ["host", "mechanisms", "profiles", "problem"]
    assert [item["name"] for item in report["mechanisms"] if not item["works"]] == []
    assert {item["name"]: item["available"] for item in report["profiles"]} == dict.fromkeys(
        ("development", "network", "no-namespaces", "strict"), True
    )
    assert next(item for item in report["profiles"] if item["name"] == "strict")["weaker"] == []


@pytest.mark.slow
def test_text_names_each_mechanism_and_profile(command):
    """A person sees what holds, and the verdict last."""
    done = command("doctor")
    assert done.returncode == 0
    for name in ("user-namespace", "landlock", "seccomp", "strict", "no-namespaces"):
        assert f"  ok  {name} " in done.stdout
    assert done.stdout.endswith("\nprofile strict can be given on this host\n")


@pytest.mark.slow
def test_report_fits_the_terminal():
    """Text is wrapped by us, below its own column; no mechanism is named without saying what it is for."""
    report = doctor.examine()
    assert all(mechanism.purpose for mechanism in report.mechanisms)
    for width in (60, 80, 120):
        assert max(map(len, rendered(report, Style(width=width)).splitlines())) <= width


@pytest.mark.slow
def test_host_without_user_namespaces(unprivileged):
    """Strict is refused before the script is sent, and the doctor says what to do."""
    off = "echo 0 > /proc/sys/user/max_user_namespaces && exec"
    unshare = ["unshare", "--map-current-user", "--keep-caps", "/bin/sh", "-c"]

    def there(*words):
        return subprocess.run(
            [*unshare, " ".join([off, *unprivileged.arguments(*words)])],
            cwd=unprivileged.folder,
            env=unprivileged.environment(),
            capture_output=True,
            text=True,
            **unprivileged.identity,
        )

    examined = there("doctor")
    assert examined.returncode == 3, examined
    assert "cause:  user namespaces are switched off (user.max_user_namespaces is 0)" in examined.stdout
    assert "remedy: run 'sysctl -w user.max_user_namespaces=15000' as root" in examined.stdout
    assert "\n  ok  no-namespaces " in examined.stdout
    assert examined.stdout.endswith("\nprofile strict cannot be given on this host\n")
    refused = there("load", "single_flow.py")
    assert refused.returncode == 3
    assert refused.stdout.startswith(
        "SandboxUnavailable: cannot give what profile strict requires (filesystem,"
    )
    assert "hint: run 'sysctl" in refused.stdout
    assert there("load", "single_flow.py", "--profile", "no-namespaces").returncode == 0


def test_mechanism_that_failed_has_step_error_cause_and_remedy():
    """The kernel's own word stands beside ours."""
    found = doctor.mechanism(
        Probed("landlock", False, "landlock: version", 95, "Operation not supported"), HOST
    )
    assert (found.works, found.step, found.error) == (False, "landlock: version", host.errno_name(95))
    assert "not enabled" in found.cause
    assert "lsm=" in found.remedy


def outcome(status, guarantees=(), error=None):
    return Outcome(
        status=status,
        source=Source(location="x", digest="sha256:0", size=0),
        sandbox=Sandbox(profile="strict", guarantees=guarantees),
        error=error,
    )


def test_profile_that_is_weaker_says_where():
    """What holds less than fully is listed."""
    weak, full = Guarantee("processes", "partial", ("seccomp",)), Guarantee("cpu", "full", ("rlimits",))
    found = doctor.judged("strict", outcome(Status.LOADED, (weak, full)))
    assert found.available
    assert found.weaker == (weak,)


def test_profile_that_cannot_be_given_says_why():
    """The harmless load's own error is the reason, whatever it was."""
    refused = outcome(
        Status.SANDBOX_UNAVAILABLE, error=Error("sandbox", "X", "cannot give it", hint="do this")
    )
    found = doctor.judged("strict", refused)
    assert (found.available, found.message, found.remedy) == (False, "cannot give it", "do this")
    assert not doctor.judged("strict", outcome(Status.TIMED_OUT)).available


def test_one_reason_is_told_once():
    """A cause that many mechanisms share is not repeated."""
    probed = [
        Probed(name, False, "user namespace: unshare", 1, "") for name in ("user-namespace", "pid-namespace")
    ]
    report = doctor.Report(
        host=doctor.Host(kernel="6.8", machine="x86_64", python="3.12", root=False),
        mechanisms=tuple(doctor.mechanism(item, HOST) for item in probed),
        profiles=(),
    )
    shown = rendered(report, Style())
    assert shown.count("cause:") == 1
    assert "for the same reason as user-namespace" in shown
    assert not report.healthy
