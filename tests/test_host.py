"""Why a host cannot give something, judged from constructed facts: cause and remedy of every failed step."""

import errno
from dataclasses import replace

import pytest

from loader import host
from loader.host import HostFacts, explain

CAPABLE = HostFacts(
    kernel=(6, 8),
    apparmor_restricts_userns=False,
    userns_clone=True,
    max_user_namespaces=60_000,
    modules=("lockdown", "capability", "landlock", "apparmor"),
    filtered=False,
    root=False,
)
UNSHARE = "user namespace: unshare"

CASES = {
    "apparmor": (
        {"apparmor_restricts_userns": True},
        (UNSHARE, errno.EACCES),
        "AppArmor lets no ordinary user make namespaces",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "apparmor, after the namespace was made": (
        {"apparmor_restricts_userns": True},
        ("mount namespace: make private", errno.EPERM),
        "AppArmor lets no ordinary user make namespaces",
        "the rule 'userns,'",
    ),
    "debian": (
        {"userns_clone": False},
        (UNSHARE, errno.EPERM),
        "only root may make user namespaces",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    "switched off": (
        {"max_user_namespaces": 0},
        (UNSHARE, errno.ENOSPC),
        "user namespaces are switched off (user.max_user_namespaces is 0)",
        "sysctl -w user.max_user_namespaces=15000",
    ),
    "used up": ({}, (UNSHARE, errno.ENOSPC), "as many namespaces are in use", "raise the limits"),
    "container": (
        {"filtered": True},
        (UNSHARE, errno.EPERM),
        "a seccomp filter is in force, as containers have it",
        "--security-opt seccomp=unconfined",
    ),
    "container as root": (
        {"filtered": True, "root": True, "apparmor_restricts_userns": True},
        ("mount: open /usr", errno.EPERM),
        "a seccomp filter is in force",
        "pivot_root",
    ),
    "container's apparmor": (
        {"root": True},
        ("mount: open /usr", errno.EACCES),
        "AppArmor does in containers",
        "--security-opt apparmor=unconfined",
    ),
    "covered proc": (
        {},
        ("mount: proc", errno.EPERM),
        "parts of /proc are covered",
        "systempaths=unconfined",
    ),
    "old kernel": (
        {"kernel": (5, 4)},
        ("mount: make / read-only", errno.ENOSYS),
        "kernel 5.4 is too old",
        "use Linux 5.12 or newer",
    ),
    "kernel without namespaces": (
        {"max_user_namespaces": None},
        (UNSHARE, errno.EINVAL),
        "built without user namespaces",
        "CONFIG_USER_NS",
    ),
    "security module": ({}, (UNSHARE, errno.EPERM), "SELinux", "dmesg"),
    "no landlock": (
        {"kernel": (5, 10)},
        ("landlock: version", errno.ENOSYS),
        "kernel 5.10 has no Landlock",
        "use Linux 5.13",
    ),
    "landlock not enabled": (
        {"modules": ("lockdown", "capability", "yama")},
        ("landlock: version", errno.EOPNOTSUPP),
        "was not enabled when it started",
        "lsm=landlock,lockdown,capability,yama",
    ),
    "landlock not enabled, unknown modules": (
        {"modules": None},
        ("landlock: create ruleset", errno.EOPNOTSUPP),
        "was not enabled when it started",
        "lsm=landlock,…",
    ),
    "landlock filtered": (
        {"filtered": True},
        ("landlock: version", errno.ENOSYS),
        "a seccomp filter is in force",
        "landlock_create_ruleset",
    ),
    "landlock not built": (
        {"modules": None},
        ("landlock: version", errno.ENOSYS),
        "built without Landlock",
        "CONFIG_SECURITY_LANDLOCK",
    ),
    "landlock, another step": (
        {},
        ("landlock: add rule: /x", errno.E2BIG),
        "Argument list too long",
        "load again",
    ),
    "machine": (
        {},
        ("seccomp: machine type riscv64", errno.ENOSYS),
        "no table of system calls",
        "use x86_64",
    ),
    "seccomp not built": (
        {},
        ("seccomp: load filter", errno.EINVAL),
        "refuses seccomp",
        "CONFIG_SECCOMP_FILTER",
    ),
    "seccomp filtered": (
        {"filtered": True},
        ("seccomp: load filter", errno.EPERM),
        "forbids another one",
        "allows seccomp and prctl",
    ),
    "no other user": (
        {"root": True},
        ("identity: setresuid 65534", errno.EINVAL),
        "no user 65534",
        "map users 0 to 65535",
    ),
    "no capabilities": (
        {"root": True},
        ("identity: setgroups", errno.EPERM),
        "may not become",
        "SETUID, SETGID",
    ),
    "bounding set": ({"root": True}, ("capabilities: drop bounding set", errno.EPERM), "may not", "SETPCAP"),
    "closed folder": ({}, ("folder: /x", errno.EACCES), "this user may not enter the folder", "chmod"),
    "folder is the host": ({}, ("folder: / holds the host, not a script", 0), "not a folder", "--root"),
    "read is the host": (
        {},
        ("filesystem.read: /srv/jail shows the host, by /srv/jail/proc/", 0),
        "such as proc",
        "narrower folders",
    ),
    "read is closed": (
        {},
        ("filesystem.read: open /srv", errno.EACCES),
        "Permission denied",
        "let this user",
    ),
    "read by others": (
        {},
        ("filesystem.read by others: /srv/x is a link that others may change", 0),
        "scripts read whatever they like",
        "nobody but this user and root",
    ),
    "exchanged": (
        {},
        ("folder: /srv/x was exchanged while it was opened", 0),
        "in its place just then",
        "load again",
    ),
    "closed folder of another": (
        {"root": True},
        ("mount: map the owner of /x", errno.EINVAL),
        "cannot show it to another user",
        "chmod o+rx",
    ),
    "attested": ({}, ("attest: it has capabilities", 0), "is not what the worker reports", "report this"),
    "interpreter": ({}, ("exec /usr/bin/python9", errno.ENOENT), "No such file", "name a Python"),
    "no effect": (
        {},
        ("landlock: took no effect", errno.ENOTSUP),
        "did not carry it out",
        "kernel of its own",
    ),
    "ours": ({}, ("zygote: ended before its Launched", 0), "gave no answer in time", "flow-loader doctor"),
}


@pytest.mark.parametrize("name", CASES)
def test_failed_step_is_explained(name):
    """The cause is what an operator can look up, the remedy what they can type."""
    changes, (step, number), cause, remedy = CASES[name]
    words = explain(step, number, replace(CAPABLE, **changes))
    assert cause in words.cause
    assert remedy in words.remedy


@pytest.mark.parametrize("kind", ["user", "mount", "pid", "network", "ipc", "uts"])
@pytest.mark.parametrize("step", ["{} namespace: unshare", "{}-namespace: ended with status 9"])
def test_every_namespace_is_explained_as_one(kind, step):
    """However the step is written, a namespace's failure offers the profile that needs none."""
    words = explain(step.format(kind), errno.EPERM, CAPABLE)
    assert "--profile no-namespaces" in words.remedy


@pytest.mark.parametrize("name", CASES)
def test_explanation_reads_as_part_of_a_sentence(name):
    """Causes and remedies are clauses: they stand after a colon and before a full stop."""
    changes, (step, number), _, _ = CASES[name]
    words = explain(step, number, replace(CAPABLE, **changes))
    for clause in (words.cause, words.remedy):
        assert clause == clause.strip()
        assert not clause.endswith((".", ","))


def test_root_is_not_told_of_what_restricts_others():
    """Settings for ordinary users do not stop root."""
    host_of_root = replace(CAPABLE, root=True, apparmor_restricts_userns=True, userns_clone=False)
    assert "restrict" not in explain(UNSHARE, errno.EPERM, host_of_root).cause
    assert "only root" not in explain(UNSHARE, errno.EPERM, host_of_root).cause


def test_facts_of_this_host_can_be_read():
    """Whatever the kernel does not say is None, and nothing is guessed."""
    facts = host.facts()
    assert facts.kernel >= (3, 0)
    assert isinstance(facts.filtered, bool)


def test_error_numbers_have_their_names():
    """An operator looks them up by name."""
    assert host.errno_name(errno.EPERM) == "EPERM (Operation not permitted)"
    assert host.errno_name(0) is None
    assert host.errno_name(99_999).startswith("99999")
