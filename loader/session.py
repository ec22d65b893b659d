"""One load as a sans-IO state machine: what a worker may say when, and what the clock does about it.

Bytes, ends and instants go in; actions come out. Instants are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from loader import gate
from worker.protocol import Exited, Failed, Found, Loaded, Policy, Reader, Ready, Refused, Violation

CONFINE_SECONDS = 20.0
"""Between ``Configure`` and ``Ready`` only trusted code runs; a host that needs longer is not working."""
DUMP_SECONDS = 0.3
"""Between asking a worker where it hangs and ending it."""
EXIT_SECONDS = 0.5
"""Between a worker's last word and its end; an honest one needs a thousandth of that."""
REAP_SECONDS = 10.0
"""Between a kill and the zygote's word that the worker is gone."""
FOUND_CAP = 10_000
"""``Found`` messages kept; a script that defines more flows is cut, not believed for ever."""
FRAME_COST = 64
"""Bytes that a frame counts for beside its own: the least of them still has to be taken in."""
READ_COST = 32
"""Bytes that a read counts for: a pipe can be made to give them up one by one."""
SAID_SHARE = 4
"""How many times the largest reply a worker may say in all: an honest one says everything at most twice."""


class State(Enum):
    """Where a load stands."""

    CONFINING = auto()
    READY = auto()
    LOADING = auto()
    DUMPING = auto()
    REPLIED = auto()
    KILLED = auto()
    OVER = auto()


class Action(Enum):
    """What the caller must do now."""

    ATTEST = auto()
    INTERRUPT = auto()
    KILL = auto()


@dataclass
class Session:
    """The state of one load and everything that was learnt in it. ``deadline`` is always armed."""

    policy: Policy
    deadline: float
    state: State = State.CONFINING
    ready: Ready | None = None
    refused: Refused | None = None
    found: list[Found] = field(default_factory=list)
    reply: Loaded | Failed | None = None
    violation: str | None = None
    said: int = 0
    overfull: bool = False
    out_of_time: bool = False
    unresponsive: bool = False
    exited: Exited | None = None
    started: float = 0.0
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.reader, self.gate = Reader(self.policy.result + 1024), gate.Gate()

    @classmethod
    def begin(cls, policy: Policy, now: float) -> Session:
        """A session whose worker was just sent ``Configure``."""
        return cls(policy, now + CONFINE_SECONDS)

    @property
    def sent(self) -> bool:
        """Whether the script was sent."""
        return self.started > 0.0

    def send_script(self, now: float) -> None:
        """The worker's word was checked and the script goes out now: the wall time starts."""
        assert self.state is State.READY, f"a script is sent to a worker that is {self.state.name.lower()}"
        self.state, self.started, self.deadline = State.LOADING, now, now + self.policy.wall

    def deaf(self) -> bool:
        """Whether nothing that the worker says counts any more."""
        return self.state in (State.REPLIED, State.KILLED, State.OVER)

    def received(self, data: bytes, now: float) -> list[Action]:
        """Bytes from the worker's channel. When they end the worker, nothing else in them is acted on."""
        if self.deaf():
            return []
        actions: list[Action] = []
        try:
            self.charge(READ_COST)
            for body in self.reader.feed(data):
                self.charge(len(body) + FRAME_COST)
                actions += self.take(self.gate.claim(body), now)
                if self.deaf():
                    break
        except gate.Excess:
            self.overfull = True
            return self.kill(now)
        except Violation as violation:
            return self.violated(str(violation), now)
        return actions

    def charge(self, cost: int) -> None:
        """Count what a worker says. Raises Excess when it is more than it may say."""
        self.said += cost
        if self.said > SAID_SHARE * self.policy.result:
            raise gate.Excess("cannot take more from a worker: it has said too much")

    def take(self, claim: gate.Claim, now: float) -> list[Action]:
        """One well-formed message, legal or not."""
        handler = LEGAL[self.state].get(type(claim))
        if handler is None:
            raise Violation(f"cannot take a {type(claim).__name__} while {self.state.name.lower()}")
        return handler(self, claim, now)

    def violated(self, reason: str, now: float) -> list[Action]:
        """The worker said what no honest one says: nothing more of it is read."""
        self.violation = reason
        return self.kill(now)

    def kill(self, now: float) -> list[Action]:
        """End the worker and wait for word of it; one that was ended before is not ended again."""
        if self.state in (State.KILLED, State.OVER):
            return []
        self.state, self.deadline = State.KILLED, now + REAP_SECONDS
        return [Action.KILL]

    def expired(self, now: float) -> list[Action]:
        """The deadline has passed: a script is asked where it hangs, any other worker is ended.

        A worker that was ended and whose death nobody reports is given up.
        """
        if self.state is State.LOADING:
            self.out_of_time = True
            self.state, self.deadline = State.DUMPING, now + DUMP_SECONDS
            return [Action.INTERRUPT]
        if self.state is State.KILLED:
            self.unresponsive, self.state, self.ended = True, State.OVER, now
        if self.state is State.OVER:
            return []
        self.unresponsive = self.state in (State.CONFINING, State.READY)
        return self.kill(now)

    def dumped(self, now: float) -> None:
        """The fault handler wrote something: little more is to come."""
        if self.state is State.DUMPING:
            self.deadline = min(self.deadline, now + DUMP_SECONDS / 6)

    def gone(self, exited: Exited | None, now: float) -> None:
        """The worker is dead: how, or None when the zygote that should say so is dead as well.

        The first word of it counts.
        """
        if self.state is State.OVER:
            return
        self.exited, self.state, self.ended = exited, State.OVER, now

    # --- handlers of the table ---

    def on_ready(self, claim: Ready, _now: float) -> list[Action]:
        """Confined: the supervisor looks for itself before anything is sent."""
        self.ready, self.state = claim, State.READY
        return [Action.ATTEST]

    def on_refused(self, claim: Refused, now: float) -> list[Action]:
        """A required guarantee does not hold."""
        self.refused = claim
        return self.kill(now)

    def on_found(self, claim: Found, _now: float) -> list[Action]:
        """Kept for the case that no last word comes."""
        if len(self.found) < FOUND_CAP:
            self.found.append(claim)
        return []

    def on_reply(self, claim: Loaded | Failed, now: float) -> list[Action]:
        """The last word. The worker ends by itself, or is ended."""
        self.reply = claim
        self.state, self.deadline = State.REPLIED, now + EXIT_SECONDS
        return []

    def on_late(self, _claim: Found | Loaded | Failed, _now: float) -> list[Action]:
        """A reply that comes while the worker is asked where it hangs: too late, and no violation."""
        return []


Handler = Callable[[Session, gate.Claim, float], list[Action]]
LEGAL: Mapping[State, Mapping[type, Handler]] = {
    State.CONFINING: {Ready: Session.on_ready, Refused: Session.on_refused},  # type: ignore[dict-item]
    State.READY: {},
    State.LOADING: {Found: Session.on_found, Loaded: Session.on_reply, Failed: Session.on_reply},  # type: ignore[dict-item]
    State.DUMPING: {Found: Session.on_late, Loaded: Session.on_late, Failed: Session.on_late},  # type: ignore[dict-item]
    State.REPLIED: {},
    State.KILLED: {},
    State.OVER: {},
}
"""What a worker may say when. The checker cannot see that a key is its handler's argument type."""
