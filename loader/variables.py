"""What processes of ours, and every script, find in their environment: little, and the same."""

from __future__ import annotations

from collections.abc import Mapping

from worker import protocol

FIXED_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "worker",
    "LOGNAME": "worker",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
"""What every script finds in its environment: sets in one order, no thread at import, none set aside."""


def environment(policy: protocol.Policy, caller: Mapping[str, str]) -> dict[str, str]:
    """What a zygote and its workers find in their environment: ours, and what the policy passes on."""
    return FIXED_ENVIRONMENT | {name: caller[name] for name in policy.environment if name in caller}
