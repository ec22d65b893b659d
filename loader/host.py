"""Why this host cannot give something, and what to do about it: facts are read, then judged purely."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FILTERED = "2"


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What decides whether mechanisms work; None where the kernel does not say."""

    kernel: tuple[int, int]
    apparmor_restricts_userns: bool | None
    userns_clone: bool | None
    max_user_namespaces: int | None
    modules: tuple[str, ...] | None
    filtered: bool
    root: bool


@dataclass(frozen=True)
class Explanation:
    """A cause and its remedy, each a clause for the person who runs the host."""

    cause: str
    remedy: str


def setting(path: str) -> str | None:
    """A kernel setting's text, or None where it is not readable."""
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    return None


def flag(path: str) -> bool | None:
    """A kernel setting that is 0 or not."""
    value = setting(path)
    return None if value is None else value != "0"


def facts() -> HostFacts:
    """The facts of this host, for this process."""
    release = os.uname().release.split(".")
    modules = setting("/sys/kernel/security/lsm")
    spaces = setting("/proc/sys/user/max_user_namespaces")
    status = setting("/proc/self/status") or ""
    seccomp = next((line.split()[1] for line in status.splitlines() if line.startswith("Seccomp:")), "0")
    return HostFacts(
        kernel=(int(release[0]), int("".join(filter(str.isdigit, release[1])) or 0)),
        apparmor_restricts_userns=flag("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        userns_clone=flag("/proc/sys/kernel/unprivileged_userns_clone"),
        max_user_namespaces=int(spaces) if spaces and spaces.isdigit() else None,
        modules=tuple(modules.split(",")) if modules else None,
        filtered=seccomp == FILTERED,
        root=os.geteuid() == 0,
    )


ELSEWHERE = "or use --profile no-namespaces, which needs Landlock and seccomp only"
EXCHANGED = "was exchanged while it was opened"
"""How the step ends of what was another thing than the one that was found before."""
NO_EFFECT = "took no effect"
"""How the step of a mechanism ends that the kernel accepted and did not carry out."""


def errno_name(number: int) -> str | None:
    """``EPERM (Operation not permitted)`` for 1; None for 0."""
    if number == 0:
        return None
    return f"{errno.errorcode.get(number, number)} ({os.strerror(number)})"


def namespaces(number: int, host: HostFacts) -> Explanation:
    """Namespaces or mounts are refused."""
    for explain_it in (switched_off, too_old, in_container):
        words = explain_it(number, host)
        if words is not None:
            return Explanation(words.cause, f"{words.remedy}; {ELSEWHERE}")
    return Explanation(
        "a security module (SELinux, AppArmor) forbids it, or this process is in a chroot",
        "look for a denial in the kernel's log (dmesg), allow it there, or leave the chroot; " + ELSEWHERE,
    )


def switched_off(number: int, host: HostFacts) -> Explanation | None:
    """A setting of the kernel forbids or limits namespaces."""
    if host.apparmor_restricts_userns and not host.root:
        name = "kernel.apparmor_restrict_unprivileged_userns"
        return Explanation(
            f"AppArmor lets no ordinary user make namespaces ({name} is 1)",
            f"run 'sysctl -w {name}=0' as root, or give this Python an AppArmor profile with"
            " the rule 'userns,'",
        )
    if host.userns_clone is False and not host.root:
        name = "kernel.unprivileged_userns_clone"
        return Explanation(
            f"only root may make user namespaces ({name} is 0)", f"run 'sysctl -w {name}=1' as root"
        )
    name = "user.max_user_namespaces"
    if host.max_user_namespaces == 0:
        return Explanation(
            f"user namespaces are switched off ({name} is 0)", f"run 'sysctl -w {name}=15000' as root"
        )
    if number == errno.ENOSPC:
        return Explanation(
            "as many namespaces are in use as one user may have (sysctl user.max_*_namespaces),"
            " or they are nested too deeply",
            f"end what holds them, or raise the limits (as in 'sysctl -w {name}=15000') as root",
        )
    return None


def too_old(number: int, host: HostFacts) -> Explanation | None:
    """The kernel does not know what is asked."""
    if number not in (errno.ENOSYS, errno.EINVAL):
        return None
    if host.kernel < (5, 12):
        return Explanation(f"kernel {version(host)} is too old", "use Linux 5.12 or newer")
    if host.max_user_namespaces is None:
        return Explanation(
            "the kernel was built without user namespaces",
            "use a kernel with CONFIG_USER_NS and CONFIG_PID_NS",
        )
    return None


def in_container(number: int, host: HostFacts) -> Explanation | None:
    """A container's own protection is in the way."""
    if host.filtered and number in (errno.EPERM, errno.ENOSYS, errno.EACCES):
        return Explanation(
            "a seccomp filter is in force, as containers have it, and forbids namespaces or mounts",
            "start the container with --security-opt seccomp=unconfined, or with a filter that allows clone,"
            " unshare, setns, mount and pivot_root",
        )
    if number == errno.EACCES:
        return Explanation(
            "a security module forbids mounts, as AppArmor does in containers",
            "start the container with --security-opt apparmor=unconfined (SELinux: label=disable)",
        )
    return None


def version(host: HostFacts) -> str:
    """``5.4``."""
    return f"{host.kernel[0]}.{host.kernel[1]}"


def proc(number: int, host: HostFacts) -> Explanation:
    """A PID namespace's own /proc cannot be mounted."""
    if number == errno.EPERM and not host.filtered:
        return Explanation(
            "parts of /proc are covered, as containers have it, and the kernel then mounts no other /proc",
            "start the container with --security-opt systempaths=unconfined (Podman: unmask=ALL); "
            + ELSEWHERE,
        )
    return namespaces(number, host)


def landlock(number: int, host: HostFacts) -> Explanation:
    """Landlock is not there."""
    if host.kernel < (5, 13):
        return Explanation(
            f"kernel {version(host)} has no Landlock", "use Linux 5.13 or newer, 6.12 for all of it"
        )
    if number == errno.EOPNOTSUPP or (host.modules is not None and "landlock" not in host.modules):
        already = f"{','.join(host.modules)}" if host.modules else "…"
        return Explanation(
            "Landlock is in the kernel but was not enabled when it started",
            f"add landlock to the kernel's boot parameter lsm, as in lsm=landlock,{already}, and reboot",
        )
    if host.filtered:
        return Explanation(
            "a seccomp filter is in force, as containers have it, and forbids Landlock",
            "use a newer container engine, or a filter that allows landlock_create_ruleset,"
            " landlock_add_rule and landlock_restrict_self",
        )
    if number == errno.ENOSYS:
        return Explanation(
            "the kernel was built without Landlock", "use a kernel with CONFIG_SECURITY_LANDLOCK"
        )
    return Explanation(reason(number), "see which step failed; load again, and report it if it stays so")


def seccomp(number: int, host: HostFacts) -> Explanation:
    """Seccomp filters are not there."""
    machine = os.uname().machine
    if number == errno.ENOSYS:
        return Explanation(
            f"flow-loader has no table of system calls for this machine ({machine})", "use x86_64 or aarch64"
        )
    if host.filtered and number in (errno.EPERM, errno.EACCES):
        return Explanation(
            "a seccomp filter is in force, as containers have it, and forbids another one",
            "start the container with a filter that allows seccomp and prctl",
        )
    return Explanation("the kernel refuses seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER")


def identity(number: int, _host: HostFacts) -> Explanation:
    """Root cannot become nobody, or a process cannot give up its rights."""
    if number == errno.EINVAL:
        return Explanation(
            "this root has no user 65534 to become, as in a container or namespace that maps few users",
            "map users 0 to 65535 into the container, or run as an ordinary user",
        )
    return Explanation(
        "this root may not become an ordinary user: its container lacks the capabilities, or has one user",
        "give the container the capabilities SETUID, SETGID and SETPCAP, or run as an ordinary user",
    )


def folder(number: int, _host: HostFacts) -> Explanation:
    """The script's own folder cannot be shown."""
    if number in (errno.EACCES, errno.EPERM):
        return Explanation("this user may not enter the folder", "open it (chmod), or load as its owner")
    return Explanation(
        os.strerror(number) if number else "it is not a folder that holds just scripts",
        "put the script into a folder of its own, or name one with --root",
    )


def readable(number: int, _host: HostFacts) -> Explanation:
    """What every script of a profile may read cannot be shown."""
    if number:
        return Explanation(os.strerror(number), "let this user read it, or have the profile not name it")
    return Explanation(
        "it is the host's root or devices, or file systems of the kernel's, such as proc, lie at or below it",
        "name narrower folders under filesystem.read of the profile, another --python if it is the"
        " interpreter's, or unmount what lies there",
    )


def exchangeable(_number: int, _host: HostFacts) -> Explanation:
    """What every script of a profile may read is what others want it to be."""
    return Explanation(
        "they could have scripts read whatever they like",
        "name what the link leads to, or let nobody but this user and root write to the folder that holds it",
    )


def mapped(_number: int, _host: HostFacts) -> Explanation:
    """A closed folder on a file system without identity-mapped mounts."""
    return Explanation(
        "its file system, one that is mounted in it, or the kernel cannot show it to another user"
        " (identity-mapped mounts, Linux 5.12)",
        "load as the folder's owner, open it (chmod o+rx), or move it to ext4, xfs, btrfs or tmpfs",
    )


def attested(_number: int, _host: HostFacts) -> Explanation:
    """The kernel contradicts the worker."""
    return Explanation(
        "what /proc shows of the worker is not what the worker reports",
        "mount /proc without hidepid, run flow-loader doctor, and report this if it stays so",
    )


def interpreter(number: int, _host: HostFacts) -> Explanation:
    """A Python that cannot be started."""
    return Explanation(reason(number), "name a Python that this user can run")


def environment(_number: int, _host: HostFacts) -> Explanation:
    """What an interpreter brings along is not fit to be forked."""
    return Explanation(
        "something that it imports at its start left it", "look through its .pth files and sitecustomize"
    )


def ours(number: int, _host: HostFacts) -> Explanation:
    """A process of ours ended or gave no answer."""
    return Explanation(reason(number), "load again; if it stays so, run flow-loader doctor and report it")


def reason(number: int) -> str:
    """What the kernel says, if it said anything."""
    return os.strerror(number) if number else "it ended, or gave no answer in time"


CHAPTERS: tuple[tuple[str, Callable[[int, HostFacts], Explanation]], ...] = (
    ("mount: map the owner", mapped),
    ("idmap", mapped),
    ("identity-mapped", mapped),
    ("mount: make room", folder),
    ("folder", folder),
    ("filesystem.read by others", exchangeable),
    ("filesystem.read", readable),
    ("mount: proc", proc),
    ("mount", namespaces),
    ("namespaces", namespaces),
    ("worker: unshare", namespaces),
    *(
        (f"{kind}{joint}namespace", namespaces)
        for kind in ("user", "pid", "network", "ipc", "uts")
        for joint in " -"
    ),
    ("landlock", landlock),
    ("seccomp", seccomp),
    ("identity", identity),
    ("capabilities", identity),
    ("attest", attested),
    ("exec", interpreter),
    ("environment", environment),
)
"""How a failed step begins, and who explains it; the first that fits."""


def explain(step: str, number: int, host: HostFacts) -> Explanation:
    """The cause and remedy of a failed ``step`` with errno ``number``, 0 for none."""
    if step.endswith(EXCHANGED):
        return Explanation("somebody put something else in its place just then", "load again")
    if step.endswith(NO_EFFECT):
        return Explanation(
            "the kernel accepted it and did not carry it out, as kernels do that are only emulated",
            "use a host with a Linux kernel of its own",
        )
    for beginning, chapter in CHAPTERS:
        if step.startswith(beginning):
            return chapter(number, host)
    return ours(number, host)
