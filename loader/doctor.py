"""What this host can enforce: each mechanism tried in a child, each built-in profile by a real load.

What is reported was seen to happen; no version number is taken for an answer.
"""

from __future__ import annotations

import os
import platform
import sys

from loader import host, process
from loader.flow_loader import FlowLoader
from loader.models import Guarantee, Model, Outcome, Status
from loader.profiles import builtin_names
from worker.protocol import FULL, Probed

HARMLESS = "from prefect import flow\n\n@flow\ndef harmless():\n    pass\n"
DEFAULT = "strict"
PURPOSES = {
    "user-namespace": "gives up the caller's rights and makes the other namespaces possible",
    "mount-namespace": "hides every file that the profile does not name",
    "pid-namespace": "hides every other process, and ends with all it started",
    "network-namespace": "has no network interface",
    "ipc-namespace": "shares no memory or queues with other processes",
    "uts-namespace": "has a host name of its own",
    "identity-mapped-mounts": "shows folders that only their owner may enter, when root loads",
    "landlock": "refuses files, ports and signals by rule, without any namespace",
    "seccomp": "allows listed system calls only",
    "rlimits": "bounds memory, processor time, files and threads",
    "no_new_privs": "no program that is started gains rights",
}
"""What each mechanism is for."""


class Mechanism(Model):
    """What came of trying one mechanism. The last four are null when it works."""

    name: str
    purpose: str | None
    works: bool
    detail: str
    step: str | None = None
    error: str | None = None
    cause: str | None = None
    remedy: str | None = None


class ProfileHere(Model):
    """Whether one profile can be given, and which of its guarantees hold less than fully."""

    name: str
    available: bool
    weaker: tuple[Guarantee, ...] = ()
    message: str | None = None
    remedy: str | None = None


class Host(Model):
    """Where this was found out."""

    kernel: str
    machine: str
    python: str
    root: bool


class Report(Model):
    """Everything that the doctor found."""

    host: Host
    mechanisms: tuple[Mechanism, ...]
    profiles: tuple[ProfileHere, ...]
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the default profile can be given."""
        return any(profile.name == DEFAULT and profile.available for profile in self.profiles)


def examine(python: str = sys.executable) -> Report:
    """Try everything; takes some seconds. ``problem`` says why the mechanisms could not be tried."""
    known = host.facts()
    system = os.uname()
    found: list[Probed] = []
    problem = None
    try:
        found = process.probe(python)
    except process.HostFailure as failure:
        words = host.explain(failure.step, failure.errno, known)
        problem = f"cannot try the mechanisms: {failure.step}: {words.cause}; {words.remedy}"
    return Report(
        host=Host(
            kernel=system.release, machine=system.machine, python=platform.python_version(), root=known.root
        ),
        mechanisms=tuple(mechanism(probed, known) for probed in found),
        profiles=tuple(judged(name, harmless_load(name, python)) for name in builtin_names()),
        problem=problem,
    )


def mechanism(probed: Probed, known: host.HostFacts) -> Mechanism:
    """A probe's answer with its cause and remedy."""
    purpose = PURPOSES.get(probed.mechanism)
    if probed.works:
        return Mechanism(name=probed.mechanism, purpose=purpose, works=True, detail=probed.detail)
    words = host.explain(probed.step, probed.errno, known)
    return Mechanism(
        name=probed.mechanism,
        purpose=purpose,
        works=False,
        detail=probed.detail,
        step=probed.step,
        error=host.errno_name(probed.errno),
        cause=words.cause,
        remedy=words.remedy,
    )


def harmless_load(profile: str, python: str) -> Outcome:
    """A load of a script that does nothing, under one profile."""
    with FlowLoader(profile, python=python, dialect="orion") as loader:
        return loader.load_text(HARMLESS, name="<harmless>")


def judged(name: str, outcome: Outcome) -> ProfileHere:
    """What a harmless load says of its profile."""
    if outcome.status is Status.LOADED:
        weaker = tuple(item for item in outcome.sandbox.guarantees if item.level != FULL)
        return ProfileHere(name=name, available=True, weaker=weaker)
    error = outcome.error
    message = error.message if error else f"cannot load a harmless script: {outcome.status.value}"
    return ProfileHere(name=name, available=False, message=message, remedy=error.hint if error else None)
