"""What deployment specs, schedules, flow runners and storage blocks are made of: each field, once.

Runs beside foreign code in a worker, and in the supervisor. Only names, kinds and defaults stand here: the
script's side makes of them the classes that scripts use, the trusted side its models; each has its checks.
Source: ``prefect`` 2.0b5, the modules that SCHEDULES, RUNNERS and BLOCKS are named after.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple

from .pristine import BUILTINS

__builtins__ = BUILTINS


class Declared(NamedTuple):
    """One field. ``kind`` names what it may hold; one that is not required and has no default may be None.

    A ``default`` that can be called makes a fresh value. ``secret`` fields are shown to nobody.
    """

    kind: str
    default: Any = None
    required: bool = False
    secret: bool = False
    choices: Tuple[str, ...] = ()

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return self.default is None and not self.required


Fields = Dict[str, Declared]


def typename(name: str) -> Declared:
    """The field that says which runner it is: it has one value."""
    return Declared("choice", name, choices=(name,))


SCHEDULES: Dict[str, Fields] = {
    "interval": {
        "interval": Declared("interval", required=True),
        "timezone": Declared("timezone"),
        "anchor_date": Declared("moment"),
    },
    "cron": {
        "cron": Declared("cron", required=True),
        "timezone": Declared("timezone"),
        "day_or": Declared("truth", True),
    },
    "rrule": {
        "rrule": Declared("rrule", required=True),
        "timezone": Declared("timezone", "UTC"),
    },
}
"""The kinds of schedule, by the field that tells them apart."""

PULL_POLICIES = ("IfNotPresent", "Always", "Never")
PULL_NAMES = ("IF_NOT_PRESENT", "ALWAYS", "NEVER")
UNIVERSAL: Fields = {
    "typename": typename("universal"),
    "env": Declared("string_mapping", dict),
}
RUNNERS: Dict[str, Fields] = {
    "universal": UNIVERSAL,
    "subprocess": {
        **UNIVERSAL,
        "typename": typename("subprocess"),
        "stream_output": Declared("truth", True),
        "condaenv": Declared("path"),
        "virtualenv": Declared("path"),
    },
    "docker": {
        **UNIVERSAL,
        "typename": typename("docker"),
        "image": Declared("string"),
        "image_pull_policy": Declared("choice", choices=PULL_POLICIES + PULL_NAMES),
        "networks": Declared("strings", list),
        "network_mode": Declared("string"),
        "labels": Declared("string_mapping"),
        "auto_remove": Declared("truth", False),
        "volumes": Declared("volumes", list),
        "stream_output": Declared("truth", True),
    },
    "kubernetes": {
        **UNIVERSAL,
        "typename": typename("kubernetes"),
        "image": Declared("string"),
        "namespace": Declared("string", "default"),
        "service_account_name": Declared("string"),
        "labels": Declared("string_mapping"),
        "image_pull_policy": Declared("choice", choices=PULL_POLICIES),
        "restart_policy": Declared("choice", "Never", choices=("Never", "OnFailure")),
        "stream_output": Declared("truth", True),
    },
}
"""The flow runners, by their ``typename``."""

BLOCKS: Dict[str, Fields] = {
    "File Storage": {
        "base_path": Declared("folder", required=True),
        "key_type": Declared("choice", "hash", choices=("hash", "uuid", "timestamp")),
        "options": Declared("mapping", dict, secret=True),
    },
    "S3 Storage": {
        "bucket": Declared("string", required=True),
        "aws_access_key_id": Declared("string", secret=True),
        "aws_secret_access_key": Declared("string", secret=True),
        "aws_session_token": Declared("string", secret=True),
        "profile_name": Declared("string"),
        "region_name": Declared("string"),
    },
    "Temporary Local Storage": {},
    "Local Storage": {
        "storage_path": Declared("path"),
    },
    "Google Cloud Storage": {
        "bucket": Declared("string", required=True),
        "project": Declared("string"),
        "service_account_info": Declared("string_mapping", secret=True),
    },
    "Azure Blob Storage": {
        "container": Declared("string", required=True),
        "connection_string": Declared("string", required=True, secret=True),
    },
    "KV Server Storage": {
        "api_address": Declared("string", required=True),
    },
}
"""The kinds of storage block, by the name under which they are registered."""

SETTINGS: Fields = {"type": Declared("string"), "config": Declared("mapping")}
"""A flow runner as its ``typename`` and its other fields."""

SPEC: Fields = {
    "name": Declared("name"),
    "flow": Declared("flow"),
    "flow_name": Declared("string"),
    "flow_location": Declared("location"),
    "flow_storage": Declared("flow_storage"),
    "parameters": Declared("mapping"),
    "schedule": Declared("schedule"),
    "tags": Declared("strings"),
    "flow_runner": Declared("flow_runner", "universal"),
}
"""A deployment spec. A flow runner may be given by its ``typename`` alone."""
