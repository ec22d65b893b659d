"""One load's state machine: what may be said when, what the clock does, and that it ends."""

import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from loader import gate
from loader import session as module
from loader.profiles import load_profile
from loader.session import LEGAL, Action, Session, State
from worker.protocol import (
    HEADER,
    Configure,
    Dialect,
    Error,
    Exited,
    Failed,
    Flow,
    Found,
    Loaded,
    Ready,
    Refused,
    encode,
)

FLOW = Flow("hello")
MESSAGES = {
    "Ready": Ready(()),
    "Refused": Refused(("network",), "seccomp: load filter", 1, "no"),
    "Found": Found(flow=FLOW),
    "Loaded": Loaded((FLOW,), (), (), Dialect("orion")),
    "Failed": Failed("script_failed", Error("run", "E", "m"), (), (), (), Dialect("orion")),
    "Configure": Configure(None),
}
STRICT = load_profile("strict")
EXITED = Exited(0, None, 0.1, 1 << 20)
NOW = 100.0


def started(state, policy=STRICT):
    """A session in `state`, brought there by what brings one there."""
    session = Session.begin(policy, NOW)
    if state is State.CONFINING:
        return session
    session.received(encode(MESSAGES["Ready"]), NOW)
    if state is not State.READY:
        session.send_script(NOW)
    if state is State.DUMPING:
        session.expired(session.deadline)
    elif state is State.REPLIED:
        session.received(encode(MESSAGES["Loaded"]), NOW)
    elif state is State.KILLED:
        session.kill(NOW)
    elif state is State.OVER:
        session.gone(EXITED, NOW)
    assert session.state is state
    return session


EXPECTED = {
    (State.CONFINING, "Ready"): (State.READY, [Action.ATTEST]),
    (State.CONFINING, "Refused"): (State.KILLED, [Action.KILL]),
    (State.LOADING, "Found"): (State.LOADING, []),
    (State.LOADING, "Loaded"): (State.REPLIED, []),
    (State.LOADING, "Failed"): (State.REPLIED, []),
    (State.DUMPING, "Found"): (State.DUMPING, []),
    (State.DUMPING, "Loaded"): (State.DUMPING, []),
    (State.DUMPING, "Failed"): (State.DUMPING, []),
}
DEAF = (State.REPLIED, State.KILLED, State.OVER)


@pytest.mark.parametrize(("state", "name"), list(itertools.product(State, MESSAGES)))
def test_a_message_is_legal_in_its_state_or_a_violation(state, name):
    """What the table does not list ends the session; what comes after the end is not even read."""
    session = started(state)
    actions = session.received(encode(MESSAGES[name]), NOW + 1)
    if state in DEAF:
        assert (session.state, actions, session.violation) == (state, [], None)
    elif (state, name) in EXPECTED:
        assert (session.state, actions) == EXPECTED[state, name]
        assert session.violation is None
    else:
        assert (session.state, actions) == (State.KILLED, [Action.KILL])
        assert name in session.violation


def test_the_table_names_every_state_and_nothing_more():
    """What may be said is one table, and the one that is tested here."""
    assert LEGAL.keys() == set(State)
    assert {(state, kind.__name__) for state, kinds in LEGAL.items() for kind in kinds} == EXPECTED.keys()


def test_what_was_said_is_kept():
    """Each message leaves what it says where the verdict finds it."""
    session = started(State.LOADING)
    assert session.ready == MESSAGES["Ready"]
    session.received(encode(MESSAGES["Found"]) * 2, NOW)
    assert session.found == [MESSAGES["Found"]] * 2
    session.received(encode(MESSAGES["Failed"]), NOW + 2)
    assert session.reply == MESSAGES["Failed"]
    refused = started(State.CONFINING)
    refused.received(encode(MESSAGES["Refused"]), NOW)
    assert refused.refused == MESSAGES["Refused"]
    assert not refused.sent


def test_the_first_last_word_wins():
    """What is said after it is not read, nor can it make a violation of it."""
    session = started(State.LOADING)
    assert session.received(encode(MESSAGES["Loaded"]) + encode(MESSAGES["Failed"]) + b"\xff" * 9, NOW) == []
    assert session.received(b"\xff" * 9, NOW) == []
    assert (session.reply, session.violation) == (MESSAGES["Loaded"], None)


@pytest.mark.parametrize("follows", [encode(MESSAGES["Ready"]), b"\xff" * 8, b"\0\0\0\1\xc1"])
def test_a_violation_right_behind_ready_keeps_the_script_at_home(follows):
    """Who breaks the protocol in one breath with its first word is not looked at, and gets no script."""
    session = started(State.CONFINING)
    assert session.received(encode(MESSAGES["Ready"]) + follows, NOW) == [Action.KILL]
    assert session.violation is not None
    assert not session.sent


def test_a_reply_that_comes_too_late_is_no_reply_and_no_violation():
    """Out of time is out of time, whatever the worker manages to say while it is asked where it hangs."""
    session = started(State.DUMPING)
    assert session.received(encode(MESSAGES["Found"]) + encode(MESSAGES["Loaded"]), NOW) == []
    assert (session.reply, session.found, session.violation, session.out_of_time) == (None, [], None, True)


def test_a_message_may_come_in_pieces():
    """What is not whole yet waits."""
    session = started(State.LOADING)
    data = encode(MESSAGES["Loaded"])
    for place in range(len(data)):
        assert session.state is State.LOADING
        session.received(data[place : place + 1], NOW)
    assert session.state is State.REPLIED


def test_a_frame_over_the_cap_is_a_violation_before_it_has_come(policy):
    """The cap is the policy's and a little more, for what an honest worker says around its result."""
    session = started(State.LOADING, policy(result=5000))
    assert session.received(HEADER.pack(5000 + 1024), NOW) == []
    session = started(State.LOADING, policy(result=5000))
    assert session.received(HEADER.pack(5000 + 1025), NOW) == [Action.KILL]
    assert "cannot read a frame of 6025 bytes" in session.violation


def test_what_is_found_without_end_is_cut(monkeypatch):
    """A script that defines flows for ever is not remembered for ever."""
    monkeypatch.setattr(module, "FOUND_CAP", 3)
    session = started(State.LOADING)
    session.received(encode(MESSAGES["Found"]) * 5, NOW)
    assert len(session.found) == 3
    assert session.state is State.LOADING


def test_a_worker_that_says_too_much_in_all_is_ended(policy):
    """Many frames below the cap are bounded by their sum, to which each adds a cost beside its own bytes."""
    session = started(State.LOADING, policy(result=5000))
    ready, data = (encode(MESSAGES[name]) for name in ("Ready", "Found"))
    cost = module.FRAME_COST + module.READ_COST - HEADER.size
    first, each = (len(frame) + cost for frame in (ready, data))
    times = (module.SAID_SHARE * 5000 - first) // each
    for _ in range(times):
        assert session.received(data, NOW) == []
    assert (len(session.found), session.overfull) == (times, False)
    actions = list(itertools.chain.from_iterable(session.received(data, NOW + 3) for _ in range(3)))
    assert actions == [Action.KILL]
    assert (session.overfull, session.violation) == (True, None)
    assert len(session.found) == times


def parts(name):
    """The lists and maps of a message."""
    return gate.weigh(encode(MESSAGES[name])[HEADER.size :])


def test_a_worker_that_says_too_many_parts_in_all_is_ended(monkeypatch):
    """Its frames have one budget of lists and maps; to spend it is too much, and no violation."""
    monkeypatch.setattr(gate, "PARTS", parts("Ready") + 3 * parts("Found"))
    session = started(State.LOADING)
    data = encode(MESSAGES["Found"])
    for _ in range(3):
        assert session.received(data, NOW) == []
    assert session.received(data * 2, NOW + 3) == [Action.KILL]
    assert (session.overfull, session.violation) == (True, None)
    assert len(session.found) == 3
    assert session.received(data, NOW + 4) == []


def test_each_worker_has_a_budget_of_its_own(monkeypatch):
    """What one says is not counted for another."""
    monkeypatch.setattr(gate, "PARTS", parts("Ready") + parts("Loaded"))
    for _ in range(3):
        session = started(State.REPLIED)
        assert (session.reply, session.overfull) == (MESSAGES["Loaded"], False)


def test_too_much_right_behind_ready_keeps_the_script_at_home(monkeypatch):
    """Who says too much in one breath with its first word is not looked at, and gets no script."""
    monkeypatch.setattr(gate, "PARTS", parts("Ready"))
    session = started(State.CONFINING)
    assert session.received(encode(MESSAGES["Ready"]) + encode(MESSAGES["Found"]), NOW) == [Action.KILL]
    assert (session.overfull, session.violation, session.sent) == (True, None, False)


DEADLINES = {
    State.CONFINING: (module.CONFINE_SECONDS, State.KILLED, [Action.KILL]),
    State.READY: (module.CONFINE_SECONDS, State.KILLED, [Action.KILL]),
    State.LOADING: (STRICT.wall, State.DUMPING, [Action.INTERRUPT]),
    State.DUMPING: (STRICT.wall + module.DUMP_SECONDS, State.KILLED, [Action.KILL]),
    State.REPLIED: (module.EXIT_SECONDS, State.KILLED, [Action.KILL]),
    State.KILLED: (module.REAP_SECONDS, State.OVER, []),
}


@pytest.mark.parametrize("state", DEADLINES, ids=lambda state: state.name)
def test_each_state_has_a_deadline_that_leads_on(state):
    """A script is asked where it hangs; all else is ended; a death that nobody reports is given up."""
    seconds, then, actions = DEADLINES[state]
    session = started(state)
    assert session.deadline == pytest.approx(NOW + seconds)
    late = session.deadline
    assert session.expired(late) == actions
    assert session.state is then
    assert session.out_of_time is (state in (State.LOADING, State.DUMPING))
    assert session.unresponsive is (state in (State.CONFINING, State.READY, State.KILLED))
    assert session.state is State.OVER or session.deadline > late


def test_a_session_that_is_over_stays_over():
    """Neither the clock, nor a wish to end it, nor a second word of its death changes anything."""
    session = started(State.OVER)
    assert session.expired(NOW + 99) == []
    assert session.kill(NOW + 99) == []
    session.gone(None, NOW + 99)
    assert (session.state, session.exited, session.ended) == (State.OVER, EXITED, NOW)


def test_a_worker_is_ended_once():
    """Ending it again does not put off the moment at which it is given up."""
    session = started(State.KILLED)
    before = session.deadline
    assert session.kill(NOW + 5) == []
    assert session.deadline == before


def test_time_counts_from_the_script_to_the_death_of_its_worker():
    """Not what confining took before; a last word does not stop the clock, for it is only a claim."""
    session = started(State.READY)
    session.send_script(NOW + 7)
    assert (session.started, session.deadline) == (NOW + 7, NOW + 7 + STRICT.wall)
    session.received(encode(MESSAGES["Loaded"]), NOW + 8)
    session.gone(EXITED, NOW + 8.4)
    assert (session.started, session.ended, session.exited) == (NOW + 7, NOW + 8.4, EXITED)


def test_who_dies_without_a_word_ends_at_its_death():
    """Without a reply the time ends with the process."""
    session = started(State.LOADING)
    session.gone(EXITED, NOW + 3)
    assert (session.state, session.ended) == (State.OVER, NOW + 3)


def test_the_time_of_a_worker_whose_death_nobody_reports_ends_when_it_is_given_up():
    """There is no better word of it."""
    session = started(State.KILLED)
    session.expired(NOW + 12)
    assert (session.state, session.ended) == (State.OVER, NOW + 12)


def test_a_dump_that_has_begun_shortens_the_wait_for_it():
    """The fault handler writes all it has at once."""
    session = started(State.DUMPING)
    whole, now = session.deadline, NOW + STRICT.wall + 0.01
    session.dumped(now)
    assert now < session.deadline < whole
    session.dumped(whole)
    assert session.deadline < whole


@pytest.mark.parametrize("state", set(State) - {State.DUMPING}, ids=lambda state: state.name)
def test_a_dump_that_nobody_asked_for_moves_no_deadline(state):
    """A script can write to that pipe whenever it likes."""
    session = started(state)
    before = session.deadline
    session.dumped(NOW)
    assert session.deadline == before


@pytest.mark.parametrize("state", set(State) - {State.READY}, ids=lambda state: state.name)
def test_a_script_is_sent_to_none_but_a_worker_that_is_ready(state):
    """Sending it otherwise is a mistake of ours, and not a way out of the end."""
    session = started(state)
    with pytest.raises(AssertionError):
        session.send_script(NOW)
    assert session.state is state


class AnySequence(RuleBasedStateMachine):
    """Whatever happens in whatever order: a killed worker stays killed, and all ends in a few deadlines."""

    @initialize()
    def begin(self):
        """A worker was told what it may read."""
        self.now = NOW
        self.session = Session.begin(STRICT, self.now)
        self.killed = 0

    def did(self, actions):
        """Note what the session wants done."""
        self.killed += actions.count(Action.KILL)
        if Action.ATTEST in actions:
            assert self.session.state is State.READY

    @rule(name=st.sampled_from(sorted(MESSAGES)), seconds=st.floats(0, 1))
    def says(self, name, seconds):
        """A well-formed message comes, legal or not."""
        self.now += seconds
        self.did(self.session.received(encode(MESSAGES[name]), self.now))

    @rule(data=st.binary(max_size=20))
    def says_anything(self, data):
        """Bytes come."""
        self.did(self.session.received(data, self.now))

    @rule()
    def expires(self):
        """The deadline passes."""
        self.now = max(self.now, self.session.deadline)
        self.did(self.session.expired(self.now))

    @precondition(lambda self: self.session.state is State.READY)
    @rule()
    def is_sent(self):
        """The supervisor agrees with what the worker said."""
        self.session.send_script(self.now)

    @rule()
    def is_cancelled(self):
        """Nobody wants the answer any more."""
        self.did(self.session.kill(self.now))

    @rule()
    def dumps(self):
        """The fault handler writes."""
        self.session.dumped(self.now)

    @rule(exited=st.sampled_from([EXITED, None]))
    def dies(self, exited):
        """The worker's death is reported, or its zygote's is."""
        self.session.gone(exited, self.now)

    @invariant()
    def killed_stays_killed(self):
        """Nothing brings a worker back that was ended."""
        assert self.killed <= 1
        if self.killed:
            assert self.session.state in (State.KILLED, State.OVER)
        if self.session.state is State.KILLED:
            assert self.killed

    @invariant()
    def the_deadline_is_armed(self):
        """There is always a moment at which something will be done."""
        assert self.session.deadline <= self.now + max(STRICT.wall, module.CONFINE_SECONDS)

    def teardown(self):
        """Whatever came before, a few deadlines end it."""
        if not hasattr(self, "session"):
            return
        expiries = 0
        while self.session.state is not State.OVER:
            self.expires()
            expiries += 1
        assert expiries <= 3


TestAnySequence = AnySequence.TestCase


def test_a_worker_that_speaks_byte_by_byte_is_ended(policy):
    """Each read costs its supervisor more than the byte in it."""
    session = started(State.LOADING, policy(result=5000))
    data = encode(MESSAGES["Found"])
    reads = 0
    while session.state is State.LOADING and reads < 5000:
        session.received(data[reads % len(data) :][:1], NOW)
        reads += 1
    assert session.overfull
    assert reads <= module.SAID_SHARE * 5000 / module.READ_COST + 1
