"""``flow-loader profiles``: the built-in profiles, or what one profile means."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from loader.cli import formats
from loader.cli.arguments import UsageError
from loader.cli.terminal import Style, fields, of, wrapped
from loader.errors import ProfileError
from loader.escape import block
from loader.profiles import describe, descriptions, load_profile
from worker.protocol import GUARANTEES, Policy

FOLLOWS = "what follows for the script"


def run(values: argparse.Namespace) -> int:
    """List the profiles or explain one; returns the exit code. Raises UsageError."""
    formats.check(values.format)
    style = of(sys.stdout)
    if values.profile is None:
        return listed(values.format, style)
    try:
        policy = load_profile(values.profile)
    except ProfileError as error:
        raise UsageError(str(error)) from None
    text = "\n".join(explained(policy, style)) + "\n"
    return formats.write(values.format, plain(policy), text, 0)


def listed(form: str, style: Style) -> int:
    """Every built-in profile with its own line about itself."""
    known = descriptions()
    data = {"profiles": [{"name": name, "description": said} for name, said in known.items()]}
    return formats.write(form, data, "\n".join(fields(known.items(), style, "")) + "\n", 0)


def explained(policy: Policy, style: Style) -> list[str]:
    """One line for each guarantee, under a heading."""
    width = 32
    lines = [style.strong(f"{'guarantee':<12}{'holds':<12}{'level':<8}{FOLLOWS}")]
    for item in block(describe(policy)):
        first, *rest = wrapped(item[width:], style, indent=" " * width)
        lines += [item[:width] + first[width:], *rest]
    return lines


def plain(policy: Policy) -> dict[str, Any]:
    """The policy as data: for each guarantee what is asked of it, and every value."""
    values = asdict(policy)
    demands = values.pop("demands")
    required = values.pop("required")
    guarantees = [
        {
            "name": name,
            "hold": None if name not in demands else "required" if name in required else "best-effort",
            "level": demands.get(name),
        }
        for name in GUARANTEES
    ]
    return {"name": values.pop("profile"), "guarantees": guarantees, "values": values}
