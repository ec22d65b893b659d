"""Takes away root, every capability and every way to get one back.

Runs beside foreign code.
"""

from __future__ import annotations

import os

from . import kernel

CAPABILITIES = 64
"""More than any kernel knows; the first unknown one ends the walk."""
PR_CAP_AMBIENT_CLEAR_ALL = 4
EINVAL = 22


def become(uid: int, gid: int) -> None:
    """Change from root to an ordinary user for good. Raises StepFailed."""
    step = "identity: setgroups"
    try:
        os.setgroups([])
        step = f"identity: setresgid {gid}"
        os.setresgid(gid, gid, gid)
        step = f"identity: setresuid {uid}"
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise kernel.StepFailed(step, error.errno or 0) from error
    # Changing ids hid this process's own /proc files from it, and with them its identity maps.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1, "identity: dumpable")


def forget_bounding_set() -> None:
    """Empty the set that bounds what an executed file may gain; needs CAP_SETPCAP in this namespace."""
    for capability in range(CAPABILITIES):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability, "capabilities: drop bounding set")
        except kernel.StepFailed as error:
            if error.errno == EINVAL:
                return
            raise


def apply() -> None:
    """Keep no capability and gain none. Raises StepFailed."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, "no_new_privs: set")
    kernel.prctl(kernel.PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, "capabilities: clear ambient set")
    kernel.drop_capabilities()
