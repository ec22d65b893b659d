"""What one load has found so far: flows, specs and notices, from any thread; it runs beside foreign code."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from worker import extract, protocol
from worker.plain import text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

NOTICES = 200
"""Notices kept of one load."""
MESSAGE = 2_000
"""Characters kept of one notice."""

Emit = Callable[[protocol.Found], None]
Facts = Callable[[Any], Dict[str, Any]]
Specs = Tuple[Tuple[protocol.Spec, ...], Tuple[protocol.Detail, ...]]
main_thread, current_thread = threading.main_thread, threading.current_thread


class Record:
    """Everything found, in the order in which it was found; each thing is also emitted at once.

    Computing the facts of a flow or a spec never raises: what goes wrong becomes a notice.
    """

    def __init__(self, load: protocol.Load, emit: Emit) -> None:
        self.load = load
        self.emit = emit
        self.lock = threading.RLock()
        self.flows: List[Tuple[Any, Facts]] = []
        self.specs: List[Tuple[Any, Facts, Facts]] = []
        self.notices: List[protocol.Notice] = []
        self.seen: Set[protocol.Notice] = set()
        self.threaded = False

    def flow(self, found: Any, facts: Facts) -> None:
        """A flow was defined; ``facts`` gives what is known of it."""
        self.flows.append((found, facts))
        flow = self.flow_of(found, facts)
        if flow is not None:
            self.send(protocol.Found(flow=flow))

    def spec(self, found: Any, facts: Facts, detail: Facts) -> None:
        """A deployment spec was made; ``detail`` gives what is told of it only when that is asked for."""
        self.specs.append((found, facts, detail))
        self.threaded = self.threaded or current_thread() is not main_thread()
        spec = self.spec_of(found, facts)
        if spec is not None:
            self.send(protocol.Found(spec=spec))

    def notice(self, kind: str, message: str, file: Optional[str] = None, line: Optional[int] = None) -> None:
        """Tell the author something, once, and no more than ``NOTICES`` things in all."""
        notice = protocol.Notice(kind, text(message, MESSAGE), file, line)
        with self.lock:
            if notice in self.seen or len(self.notices) >= NOTICES:
                return
            self.seen.add(notice)
            self.notices.append(notice)
        self.send(protocol.Found(notice=notice))

    def flow_of(self, found: Any, facts: Facts) -> Optional[protocol.Flow]:
        """A flow made plain, or None and a notice."""
        try:
            return extract.flow(facts(found))
        except BaseException as error:  # what a script made may also end the process
            self.notice("flow", f"cannot read a flow: {text(error, MESSAGE)}")
            return None

    def spec_of(self, found: Any, facts: Facts) -> Optional[protocol.Spec]:
        """A spec made plain, or None and a notice."""
        try:
            return extract.spec(facts(found))
        except BaseException as error:  # what a script made may also end the process
            self.notice("spec", f"cannot read a deployment spec: {text(error, MESSAGE)}")
            return None

    def all_flows(self) -> Tuple[protocol.Flow, ...]:
        """Every flow that was defined, as it is now."""
        flows = [self.flow_of(found, facts) for found, facts in list(self.flows)]
        return tuple(flow for flow in flows if flow is not None)

    def detail_of(self, found: Any, detail: Facts) -> protocol.Detail:
        """What deploying a spec needs, made plain; of one that cannot be read its error."""
        try:
            return extract.detail(detail(found))
        except BaseException as error:  # what a script made may also end the process
            return protocol.Detail(problems=(f"cannot read the deployment spec: {text(error, MESSAGE)}",))

    def all_specs(self, *, details: bool = False) -> Specs:
        """Every spec that was made, as it is now, and if they are asked for the details of each.

        They are in order of file and line where threads made the order of their making chance.
        """
        read = [(self.spec_of(found, facts), found, detail) for found, facts, detail in list(self.specs)]
        specs = [(spec, found, detail) for spec, found, detail in read if spec is not None]
        if self.threaded:
            specs.sort(key=lambda item: (item[0].file or "", item[0].line or 0))
        told = tuple(self.detail_of(found, detail) for _, found, detail in specs) if details else ()
        return tuple(spec for spec, _, _ in specs), told

    def send(self, found: protocol.Found) -> None:
        """Emit one thing; a broken channel is the worker's concern and not the script's."""
        try:
            with self.lock:
                self.emit(found)
        except Exception:
            return
