"""What an author can do about an error, in words that need no one else; it runs beside foreign code."""

from __future__ import annotations

from typing import Tuple

from worker import protocol
from worker.pristine import BUILTINS
from worker.record import Record

__builtins__ = BUILTINS


class NothingToLoad(Exception):
    """The script defines no flow and no spec."""


def nothing(filename: str, flows: Tuple[protocol.Flow, ...]) -> str:
    return f"cannot find a flow or a deployment spec in {filename}"


def explained(error: protocol.Error, raised: BaseException, record: Record) -> protocol.Error:
    return error
