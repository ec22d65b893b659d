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


def namespaces(number: int, host: HostFacts) -> Explanation:
    """Namespaces or mounts are refused."""
    if host.apparmor_restricts_userns and not host.root:
        return Explanation(
            "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
            f"sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with 'userns', {ELSEWHERE}",
        )
    if host.userns_clone is False and not host.root:
        return Explanation(
            "user namespaces are for root only (kernel.unprivileged_userns_clone is 0)",
            f"sysctl kernel.unprivileged_userns_clone=1, {ELSEWHERE}",
        )
    if host.max_user_namespaces == 0 or number == errno.ENOSPC:
        return Explanation(
            "no more user namespaces may be made (user.max_user_namespaces is used up)",
            f"sysctl user.max_user_namespaces=15000, {ELSEWHERE}",
        )
    if host.filtered:
        return Explanation(
            "a seccomp filter is in force, as containers have it, and forbids namespaces and mounts",
            f"run the container with a filter that allows them (--security-opt seccomp=unconfined), {ELSEWHERE}",
        )
    if number in (errno.ENOSYS, errno.EINVAL) and host.kernel < (5, 12):
        return Explanation(f"kernel {host.kernel[0]}.{host.kernel[1]} is too old", f"use Linux 5.12, {ELSEWHERE}")
    return Explanation("the kernel or a security module refuses it", f"see flow-loader doctor, {ELSEWHERE}")


def landlock(number: int, host: HostFacts) -> Explanation:
    """Landlock is not there."""
    if host.kernel < (5, 13):
        cause = f"kernel {host.kernel[0]}.{host.kernel[1]} has no Landlock"
        return Explanation(cause, "use Linux 5.13 or newer, 6.12 for all of it")
    if number == errno.EOPNOTSUPP or (host.modules is not None and "landlock" not in host.modules):
        return Explanation(
            "Landlock is built in but not enabled at boot", "add landlock to the boot parameter lsm=, as in lsm=landlock,…"
        )
    if host.filtered:
        return Explanation(
            "a seccomp filter is in force, as containers have it, and forbids Landlock",
            "run the container with a newer engine or a filter that allows landlock_create_ruleset",
        )
    return Explanation("the kernel was built without Landlock", "use a kernel with CONFIG_SECURITY_LANDLOCK")


def seccomp(number: int, host: HostFacts) -> Explanation:
    """Seccomp filters are not there."""
    if "machine type" in os.strerror(number) or number == errno.ENOSYS:
        return Explanation("this machine type has no table of system calls here", "use x86_64 or aarch64")
    return Explanation("the kernel refuses seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER")


def identity(number: int, host: HostFacts) -> Explanation:
    """Root cannot become nobody."""
    return Explanation(
        "this root may not change to an ordinary user, as in a container without uid 65534",
        "run as an ordinary user, or give the container CAP_SETUID and CAP_SETGID",
    )


def folder(number: int, host: HostFacts) -> Explanation:
    """The script's own folder cannot be shown."""
    if number == errno.EACCES:
        return Explanation(
            "the folder is closed to the identity that workers run under",
            "use --profile strict, run as the folder's owner, or open it (chmod o+rx)",
        )
    return Explanation(
        os.strerror(number) if number else "it is not a folder of its own",
        "put the script into a folder of its own, or name one with --root",
    )


def mapped(number: int, host: HostFacts) -> Explanation:
    """A closed folder on a file system without identity-mapped mounts."""
    return Explanation(
        "the folder is closed to others and its file system has no identity-mapped mounts",
        "run as the folder's owner, or open it (chmod o+rx)",
    )


def attested(number: int, host: HostFacts) -> Explanation:
    """The kernel contradicts the worker."""
    return Explanation("the kernel does not confirm what the worker reports", "see flow-loader doctor; report this")


def ours(number: int, host: HostFacts) -> Explanation:
    """A process of ours ended or gave no answer."""
    reason = os.strerror(number) if number else "it ended, or gave no answer in time"
    return Explanation(reason, "load again; if it stays so, see flow-loader doctor")


CHAPTERS: tuple[tuple[str, Callable[[int, HostFacts], Explanation]], ...] = (
    ("mount: map the owner", mapped),
    ("idmap", mapped),
    ("mount: make room", folder),
    ("folder", folder),
    ("user namespace", namespaces),
    ("mount", namespaces),
    ("namespaces", namespaces),
    ("pid namespace", namespaces),
    ("uts namespace", namespaces),
    ("worker: unshare", namespaces),
    ("landlock", landlock),
    ("seccomp", seccomp),
    ("identity", identity),
    ("attest", attested),
)
"""How a failed step begins, and who explains it; the first that fits."""


def explain(step: str, number: int, host: HostFacts) -> Explanation:
    """The cause and remedy of a failed ``step`` with errno ``number``, 0 for none."""
    for beginning, chapter in CHAPTERS:
        if step.startswith(beginning):
            return chapter(number, host)
    return ours(number, host)
