"""Large answers to what is only looked at: made in threads, two at a time, in turns that are fair.

A thread that makes one is waited for also when whoever asked is gone, so that there are never more of them.
The owner has one of the two places to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from loader import waking
from loader.daemon.admission import Admission
from loader.daemon.peers import Caller, check_still
from loader.daemon.service import Service

PLACES = 2
"""Answers that are made at a time."""
WAITING = 1_000_000
"""The most that limits.connections can be: there can wait as many as there are."""
T = TypeVar("T")


class Making:
    """Makes answers. One event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.admission = Admission(concurrent=PLACES, waiting=WAITING, patience=0.0)
        self.executor = ThreadPoolExecutor(PLACES, thread_name_prefix="flow-loader-answers")

    async def made(self, caller: Caller, make: Callable[[], T], *, done: bool = False) -> T:
        """What ``make`` returns, once it is this caller's turn. Raises TooLate, and what ``make`` raises.

        Raises Problem if what the caller is granted was read again while it waited, unless what is told was
        ``done`` before.
        """
        self.admission.patience = self.service.config.limits.wait_seconds
        async with self.admission.turn(caller.name, owner=caller.owner):
            if not done:
                check_still(caller, self.service.config)
            return await waking.to_its_end(self.executor, make)
