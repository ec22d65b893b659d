"""What a scan comes to: counts, the slowest files, names that several files use. Bounded; pure."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from loader import sources
from loader.answers import Scanned, Slow, Summary, Twice
from loader.errors import SourceError
from loader.models import Flow, Outcome, Spec
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
Given = tuple[str, str, str, int | None]


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
        self.flows += len(outcome.flows)
        self.specs += len(item.specs)
        for given in given_by(item.location, outcome.flows, [judged.spec for judged in item.specs]):
            self.name(*given)

    def name(self, kind: str, name: str, file: str, line: int | None) -> None:
        """Remember where a name is used, once for each file."""
        key = (kind, name)
        if key not in self.places and len(self.places) >= NAMES:
            return
        held = self.places.setdefault(key, {})
        if file not in held and len(held) < PLACES:
            held[file] = place_of(file, line)

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


def given_by(location: str, flows: Iterable[Flow], specs: Iterable[Spec]) -> Iterator[Given]:
    """The names that a file gives itself: each one's kind, the name, the file and the line."""
    try:
        own = sources.display(location)
    except SourceError:
        return
    for flow in flows:
        if flow.file == own:
            yield "flow", flow.name[:NAME], own, flow.line
    for spec in specs:
        if spec.name is not None and spec.file == own:
            name = f"{(spec.flow_name or '')[:NAME]}/{spec.name}"
            yield "deployment", name[:NAME], own, spec.line


def place_of(file: str, line: int | None) -> str:
    """Where a name is used."""
    return f"{file}:{line}" if line is not None else file
