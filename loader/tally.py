"""What a scan comes to: counts, the slowest files, names that several files use. Bounded; pure."""

from __future__ import annotations

import heapq
import time
from collections import Counter

from loader import sources
from loader.answers import Scanned, Slow, Summary, Twice
from loader.errors import SourceError
from loader.models import Outcome
from loader.raising import holds_nothing

SLOWEST = 5
NAMES = 100_000
"""Names that are remembered."""
PLACES = 5
"""Places of one name that are told."""
TWICE = 100
"""Names used twice that are told."""
NAME = 200
"""Characters of a name by which it is remembered."""


class Tally:
    """Counts what a scan gives."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.statuses: Counter[str] = Counter()
        self.ok = self.failed = self.empty = self.flows = self.specs = 0
        self.slowest: list[tuple[float, str]] = []
        self.places: dict[tuple[str, str], dict[str, str]] = {}

    def add(self, item: Scanned) -> None:
        """Count one file."""
        self.statuses[item.status] += 1
        self.ok += item.ok
        self.failed += not item.ok
        heapq.heappush(self.slowest, (item.seconds, item.location))
        if len(self.slowest) > SLOWEST:
            heapq.heappop(self.slowest)
        if item.outcome is not None:
            self.empty += holds_nothing(item.outcome)
            self.names(item, item.outcome)

    def names(self, item: Scanned, outcome: Outcome) -> None:
        """Remember the names of one file: a flow that it has from another is that other's."""
        try:
            own = sources.display(item.location)
        except SourceError:
            return
        self.flows += len(outcome.flows)
        self.specs += len(item.specs)
        for flow in outcome.flows:
            if flow.file == own:
                self.name("flow", flow.name, own, flow.line)
        for judged in item.specs:
            if judged.spec.name is not None and judged.spec.file == own:
                name = f"{(judged.spec.flow_name or '')[:NAME]}/{judged.spec.name}"
                self.name("deployment", name, own, judged.spec.line)

    def name(self, kind: str, name: str, file: str, line: int | None) -> None:
        """Remember where a name is used, once for each file."""
        key = (kind, name[:NAME])
        if key not in self.places and len(self.places) >= NAMES:
            return
        held = self.places.setdefault(key, {})
        if file not in held and len(held) < PLACES:
            held[file] = f"{file}:{line}" if line is not None else file

    def summary(self, skipped: Counter[str], *, complete: bool) -> Summary:
        """All of it so far."""
        several = ((key, held) for key, held in sorted(self.places.items()) if len(held) > 1)
        twice = [
            Twice(kind=kind, name=name, places=tuple(sorted(held.values())))
            for _, ((kind, name), held) in zip(range(TWICE), several, strict=False)
        ]
        slowest = sorted(self.slowest, reverse=True)
        return Summary(
            complete=complete,
            ok=self.ok,
            failed=self.failed,
            empty=self.empty,
            statuses=dict(self.statuses),
            flows=self.flows,
            specs=self.specs,
            skipped=dict(skipped),
            slowest=tuple(Slow(location=location, seconds=seconds) for seconds, location in slowest),
            twice=tuple(twice),
            seconds=time.monotonic() - self.started,
        )
