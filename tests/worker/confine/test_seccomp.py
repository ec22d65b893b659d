"""The filter: compiled programs are run here, call by call, over what the kernel would show them."""

import errno
import os
import platform
import re
import struct
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.profiles import load_profile
from worker.confine import seccomp
from worker.confine.kernel import StepFailed
from worker.confine.syscalls import HIGHEST, MACHINES, NUMBERS, numbers

PID = 4711
X32 = 0x40000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}
KILL, ALLOW, PRETENDED = "kill", "allow", "pretended"


@dataclass(frozen=True)
class Filter:
    """A compiled program for one machine type, as a worker of process id `PID` loads it."""

    program: bytes
    machine: str

    def number(self, number, *arguments, architecture=None):
        """What becomes of a call by number: `allow`, `kill`, `pretended` or an errno's name."""
        architecture = ARCHITECTURES[architecture or self.machine]
        padded = [*arguments, *[0] * (6 - len(arguments))]
        data = struct.pack("=IIQ6Q", number, architecture, 0, *(item & (1 << 64) - 1 for item in padded))
        value = run(self.program, data)
        known = {0x7FFF0000: ALLOW, 0x80000000: KILL, 0x00050000: PRETENDED}
        if value in known:
            return known[value]
        assert value >> 16 == 0x0005
        return errno.errorcode[value & 0xFFFF]

    def __call__(self, name, *arguments):
        """What becomes of a call by name."""
        return self.number(numbers(self.machine)[name], *arguments)


def run(program, data):
    """Classic BPF, as far as our programs use it; reading outside or running off the end is an error."""
    steps = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        code, true, false, value = steps[at]
        at += 1
        if code == 0x20:
            assert value % 4 == 0
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            compare = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}
            at += true if compare[code] else false


def compiled(machine, profile="strict", **changes):
    """The filter of a policy."""
    policy = replace(load_profile(profile), **changes)
    program = seccomp.compiled(seccomp.rules(policy), machine)
    return Filter(program.replace(struct.pack("=I", seccomp.PID_SLOT), struct.pack("=I", PID)), machine)


@pytest.fixture(params=MACHINES)
def machine(request):
    """Each machine type that has a table."""
    return request.param


@pytest.fixture
def strict(machine):
    """The filter of the strict profile."""
    return compiled(machine)


PLAIN = """
read write close openat fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask pread64 pwrite64
getpid gettid getuid exit exit_group futex clock_gettime clock_nanosleep nanosleep epoll_create1 eventfd2
pipe2 ppoll getrandom statx newfstatat getdents64 mkdirat unlinkat renameat2 ftruncate fchmod fchmodat
utimensat truncate set_robust_list rseq sched_getaffinity sched_yield recvfrom shutdown wait4 timerfd_create
timer_create clock_getres
""".split()
NEVER = """
execve execveat ptrace process_vm_readv process_vm_writev socket connect bind listen accept accept4 sendmsg
recvmsg sendmmsg recvmmsg unshare setns mount umount2 pivot_root chroot memfd_create memfd_secret bpf
perf_event_open io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key request_key seccomp
landlock_create_ruleset landlock_restrict_self setuid setgid setresuid setgroups capset kexec_load reboot
init_module finit_module delete_module swapon sethostname settimeofday clock_settime adjtimex personality
open_by_handle_at name_to_handle_at fanotify_init inotify_init1 pidfd_open pidfd_getfd pidfd_send_signal
process_madvise move_mount open_tree fsopen fsmount fsconfig mount_setattr quotactl mknodat fchownat fchown
setpgid setsid setpriority sched_setaffinity sched_setscheduler ioprio_set mbind set_mempolicy tkill
rt_sigqueueinfo rt_tgsigqueueinfo shmget shmat msgget semget mq_open vmsplice splice tee setrlimit iopl
""".split()
OTHERS = """
accept 43 202; accept4 288 242; add_key 248 217; adjtimex 159 171; bind 49 200; bpf 321 280;
chroot 161 51; clock_settime 227 112; delete_module 176 106; fanotify_init 300 262; fchown 93 55;
fchownat 260 54; finit_module 313 273; init_module 175 105; inotify_init1 294 26;
io_uring_enter 426 426; io_uring_register 427 427; io_uring_setup 425 425; iopl 172 -;
ioprio_set 251 30; kexec_load 246 104; keyctl 250 219; listen 50 201; mbind 237 235;
memfd_create 319 279; memfd_secret 447 447; mknodat 259 33; mount 165 40; mq_open 240 180;
msgget 68 186; name_to_handle_at 303 264; open_by_handle_at 304 265; perf_event_open 298 241;
personality 135 92; pidfd_getfd 438 438; pidfd_open 434 434; pidfd_send_signal 424 424;
process_madvise 440 440; process_vm_readv 310 270; process_vm_writev 311 271; ptrace 101 117;
quotactl 179 60; reboot 169 142; request_key 249 218; rt_sigqueueinfo 129 138;
rt_tgsigqueueinfo 297 240; sched_setaffinity 203 122; sched_setscheduler 144 119; semget 64 190;
set_mempolicy 238 237; setgid 106 144; setgroups 116 159; sethostname 170 161; setns 308 268;
setpriority 141 140; setresuid 117 147; setrlimit 160 164; settimeofday 164 170; setuid 105 146;
shmat 30 196; shmget 29 194; splice 275 76; swapon 167 224; tee 276 77; tkill 200 130;
umount2 166 39; unshare 272 97; userfaultfd 323 282; vmsplice 278 75
"""
"""Calls that no table of ours needs, from the kernel's own: name, number on x86_64, on aarch64."""


def others(machine):
    """Name and number of the calls above."""
    rows = (row.split() for row in OTHERS.split(";"))
    column = 1 + list(MACHINES).index(machine)
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def test_computing_is_allowed(strict):
    """What a script needs that does nothing but compute."""
    assert {name: strict(name) for name in PLAIN} == dict.fromkeys(PLAIN, ALLOW)


def test_everything_else_is_refused(strict):
    """Processes, sockets, namespaces, mounts, tracing, keys, modules: none is there."""
    known = {**others(strict.machine), **numbers(strict.machine)}
    calls = {name: known[name] for name in NEVER if name in known}
    assert len(calls) >= len(NEVER) - 1, "iopl is x86's own"
    assert {name: strict.number(number) for name, number in calls.items()} == dict.fromkeys(calls, "EPERM")


@pytest.mark.parametrize("profile", ["strict", "no-namespaces", "network"])
def test_every_number_has_the_answer_that_its_name_has(machine, profile):
    """Only what the rules name is allowed or pretended: every other number of the table answers EPERM."""
    policy = load_profile(profile)
    rules, known = seccomp.rules(policy), numbers(machine)
    tried = compiled(machine, profile)
    names = {number: name for name, number in known.items()}
    for number in range(HIGHEST + 1):
        name = names.get(number)
        # All bits of all arguments are set, which meets no condition.
        answer = tried.number(number, *[(1 << 64) - 1] * 6)
        if name in rules.allowed:
            assert answer == ALLOW, name
        elif name in rules.errors:
            assert answer == (errno.errorcode[rules.errors[name]] if rules.errors[name] else PRETENDED), name
        else:
            assert answer == "EPERM", (name, number)


@pytest.mark.parametrize(
    "number", [HIGHEST + 1, 500, 1 << 20, X32, X32 | 39, X32 | 59, X32 | 520, (1 << 32) - 1]
)
def test_what_came_after_the_table_is_unknown(strict, number):
    """ENOSYS makes a C library fall back; the numbers of the x32 interface are no way round the list."""
    assert strict.number(number) == "ENOSYS"


@pytest.mark.parametrize("number", [0, 1, 11, 59, 102, HIGHEST + 1])
def test_calls_of_another_architecture_are_fatal(strict, number):
    """The same number means another call there."""
    for architecture in ARCHITECTURES.keys() - {strict.machine}:
        assert strict.number(number, architecture=architecture) == KILL


def test_a_c_library_is_told_that_clone3_is_not_there(strict):
    """Its arguments lie in memory, where no filter sees them."""
    assert strict("clone3") == "ENOSYS"


def test_extended_attributes_are_not_supported(strict):
    """Copying a file goes on without them, as it would not after EPERM."""
    names = [name for name in numbers(strict.machine) if name.endswith("xattr")]
    assert {strict(name) for name in names} == {"ENOTSUP"}
    assert len(names) == 12


THREAD = 0x003D0F00
"""The flags of a thread of the C library."""


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (THREAD, ALLOW),
        (THREAD | 17, ALLOW),
        (17, "EPERM"),
        (0, "EPERM"),
        (0x4100 | 17, "EPERM"),
        *((THREAD | 1 << bit, "EPERM") for bit in (17, 25, 26, 27, 28, 29, 30)),
    ],
)
def test_threads_are_started_and_nothing_else(strict, flags, answer):
    """A thread in no new namespace; not a process, however it would share memory."""
    assert strict("clone", flags) == answer


@pytest.mark.parametrize("number", [0, 1, PID - 1, PID + 1, -1, -PID])
def test_only_oneself_can_be_signalled(strict, number):
    """Not the group, not everyone, not a neighbour."""
    assert strict("kill", PID, 9) == ALLOW
    assert strict("tgkill", PID, 77, 9) == ALLOW
    assert strict("kill", number & 0xFFFFFFFF, 9) == "EPERM"
    assert strict("tgkill", number & 0xFFFFFFFF, 77, 9) == "EPERM"


def test_limits_are_read_of_oneself_and_not_set(strict):
    """A pointer to new limits is none in all of its 64 bits."""
    assert strict("prlimit64", 0, 7, 0, 0x1000) == ALLOW
    assert strict("prlimit64", PID, 7, 0, 0x1000) == ALLOW
    assert strict("prlimit64", 1, 7, 0, 0x1000) == "EPERM"
    for pointer in (1, 0x1000, 1 << 32, 1 << 63, (1 << 64) - 1):
        assert strict("prlimit64", 0, 7, pointer, 0) == "EPERM"


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        (
            "fcntl",
            (0, 1, 2, 3, 4, 5, 36, 1030, 1032, 1034),
            (8, 9, 10, 15, 35, 39, 1024, 1025, 1026, 1031, 1033),
        ),
        (
            "ioctl",
            (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451),
            (0x5412, 0x541C, 0x5404, 0x8904, 0x40049409),
        ),
    ],
)
def test_commands_of_a_descriptor_are_a_list(strict, name, allowed, refused):
    """Reading its state and who locks it; not typing into terminals, not owning, not leases, not seals."""
    assert {strict(name, 3, command) for command in allowed} == {ALLOW}
    assert {strict(name, 3, command) for command in refused} == {"EPERM"}


@pytest.mark.parametrize("profile", ["strict", "no-namespaces", "network"])
def test_locks_are_pretended(machine, profile):
    """Whoever locks a file is told that it was done; a file of the host is never held up by it."""
    tried = compiled(machine, profile)
    assert {tried("flock", 3, operation) for operation in (1, 2, 4, 6, 8, -1)} == {PRETENDED}
    for high in (0, 1, 0x80000000):
        assert {tried("fcntl", 3, high << 32 | command) for command in (6, 7, 37, 38)} == {PRETENDED}


READABLE = (2, 3, 4, 7, 8, 9, 20, 21, 30, 38, 39, 66, 67)
SETTABLE = (2, 9, 20, 21, 66, 67)
OPTIONS = [
    ("getsockopt", 1, READABLE),
    ("setsockopt", 1, SETTABLE),
    *((name, 6, (1, 4, 5, 6, 18)) for name in ("getsockopt", "setsockopt")),
    *((name, 41, (26,)) for name in ("getsockopt", "setsockopt")),
]


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["strict", "network"])
@pytest.mark.parametrize(("name", "level", "listed"), OPTIONS)
def test_options_of_a_socket_are_a_list(machine, profile, name, level, listed):
    """Time limits, keep-alives and what a library asks; no filter, no buffer, no lingering, no descriptor."""
    tried = compiled(machine, profile)
    answers = {option: tried(name, 3, level, option) for option in (*range(256), 0xFFFFFFFF)}
    assert {option for option, answer in answers.items() if answer == ALLOW} == set(listed)
    assert set(answers.values()) == {ALLOW, "EPERM"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["getsockopt", "setsockopt"])
@pytest.mark.parametrize("level", [0, 2, 17, 58, 132, 255, 263, 270, 279, 282, 0xFFFFFFFF])
def test_options_of_other_levels_are_refused(strict, name, level):
    """IP itself, UDP, packets, netlink, encryption in the kernel."""
    assert {strict(name, 3, level, option) for option in range(128)} == {"EPERM"}


SENDING = (0x40, 0x80, 0x4000, 0x8000)
RECEIVING = (0x02, 0x20, 0x40, 0x100, 0x4000, 0x10000, 0x40000000)
FLAGS = [
    ("strict", "sendto", 3, SENDING),
    ("strict", "recvfrom", 3, RECEIVING),
    ("network", "sendto", 3, SENDING),
    ("network", "sendmsg", 2, SENDING),
    ("network", "sendmmsg", 3, SENDING),
    ("network", "recvfrom", 3, RECEIVING),
    ("network", "recvmsg", 2, RECEIVING),
    ("network", "recvmmsg", 3, RECEIVING),
]


@pytest.mark.parametrize(("profile", "name", "index", "listed"), FLAGS)
def test_flags_of_a_message_are_a_list(machine, profile, name, index, listed):
    """Each alone and all together; none with one that is not listed, such as urgent data."""
    tried = compiled(machine, profile)

    def answer(flags):
        arguments = [3, 0, 0, 0]
        arguments[index] = flags
        return tried(name, *arguments)

    assert {bit for bit in range(32) if answer(1 << bit) == ALLOW} == {
        flag.bit_length() - 1 for flag in listed
    }
    assert answer(0) == answer(sum(listed)) == ALLOW
    others = {1 << bit for bit in range(32)} - set(listed)
    assert {answer(sum(listed) | other) for other in others} == {"EPERM"}


@pytest.mark.parametrize("name", ["clock_gettime", "clock_getres", "clock_nanosleep", "timer_create"])
def test_clocks_of_other_processes_are_not_read(strict, name):
    """The system's clocks and one's own; the number of another's is negative, and of a device's as well."""
    assert {strict(name, clock) for clock in range(12)} == {ALLOW}
    for pid in (0, 1, PID, 4_194_304):
        for kind in range(8):
            assert strict(name, (~pid << 3 | kind) & 0xFFFFFFFF) == "EPERM"
            assert strict(name, ~pid << 3 | kind) == "EPERM"


def test_a_process_changes_little_of_itself(strict):
    """Names of threads and of memory; not dumpability, not who dies with whom, not capabilities."""
    assert {strict("prctl", option) for option in (3, 15, 16, 23, 39, 0x53564D41)} == {ALLOW}
    assert {strict("prctl", option) for option in (1, 4, 8, 22, 24, 28, 35, 36, 38, 47, 0x59616D61)} == {
        "EPERM"
    }


def test_socket_pairs_are_streams_between_oneself(strict):
    """What asyncio needs: with any flags, of one family and one kind."""
    assert {strict("socketpair", 1, 1 | flags) for flags in (0, 0o4000, 0o2000000)} == {ALLOW}
    assert {strict("socketpair", *pair) for pair in ((1, 2), (1, 5), (2, 1), (16, 1), (0, 1))} == {"EPERM"}


def test_sending_names_no_address(strict):
    """A socket that is connected may be written to; an address is a pointer, in all of its 64 bits."""
    assert strict("sendto", 3, 1, 1, 0, 0, 0) == ALLOW
    for pointer in (1, 1 << 32, 1 << 63):
        assert strict("sendto", 3, 1, 1, 0, pointer, 16) == "EPERM"


NARROW = [
    ("clock_getres", 0, 1),
    ("clock_gettime", 0, 1),
    ("clock_nanosleep", 0, 1),
    ("clone", 0, THREAD),
    ("fcntl", 1, 1),
    ("getsockopt", 1, 1),
    ("getsockopt", 2, 3),
    ("ioctl", 1, 0x5401),
    ("kill", 0, PID),
    ("prctl", 0, 15),
    ("recvfrom", 3, 2),
    ("sendto", 3, 0x40),
    ("setsockopt", 1, 1),
    ("setsockopt", 2, 2),
    ("socketpair", 0, 1),
    ("socketpair", 1, 1),
    ("tgkill", 0, PID),
    ("timer_create", 0, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "index", "value"), NARROW)
@pytest.mark.parametrize("high", [1, 0xFFFFFFFF, 0x80000000])
def test_what_the_kernel_cuts_off_makes_no_difference(strict, name, index, value, high):
    """These arguments are 32 bits wide to the kernel, so that the upper half neither opens nor closes."""
    arguments = [1, 1, 2, 0, 0, 0]
    arguments[index] = value
    low = strict(name, *arguments)
    arguments[index] = high << 32 | value
    assert strict(name, *arguments) == low == ALLOW
    arguments[index] = high << 32 | 0x80007777
    assert strict(name, *arguments) == "EPERM"


def test_without_a_root_of_ones_own_nothing_is_changed_by_path(machine):
    """Where the host's files are in sight, Landlock does not cover modes, times and, before ABI 3, sizes."""
    names = "chmod fchmod fchmodat fchmodat2 futimesat truncate utime utimensat utimes".split()
    known = [name for name in names if name in numbers(machine)]
    assert {compiled(machine)(name) for name in known} == {ALLOW}
    assert {compiled(machine, "no-namespaces")(name) for name in known} == {"EPERM"}


def test_outbound_opens_connections_and_no_servers(machine):
    """TCP and UDP over IP; no raw, unix, netlink or packet sockets; nothing that listens."""
    network = compiled(machine, "network")
    for family, kind, protocol in ((2, 1, 0), (10, 1, 6), (2, 2, 17), (10, 2 | 0o4000, 0)):
        assert network("socket", family, kind, protocol) == ALLOW
        assert network("socket", 5 << 32 | family, 5 << 32 | kind, 5 << 32 | protocol) == ALLOW
    for family, kind, protocol in (
        (1, 1, 0),
        (16, 3, 0),
        (17, 3, 0),
        (40, 1, 0),
        (2, 3, 1),
        (2, 2, 1),
        (2, 5, 132),
    ):
        assert network("socket", family, kind, protocol) == "EPERM"
    assert {network(name) for name in ("connect", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg")} == {ALLOW}
    assert network("sendto", 3, 1, 1, 0, 0xFFFF, 16) == ALLOW
    unknown = others(machine)
    assert {network.number(unknown[name]) for name in ("bind", "listen", "accept", "accept4")} == {"EPERM"}
    assert network("execve") == "EPERM"


def test_processes_open_programs_and_no_namespaces(machine):
    """A child may be started and run a program; it is the worker's own child, in the worker's namespaces."""
    several = compiled(machine, processes=2)
    assert several("execve") == several("execveat") == ALLOW
    assert {several("clone", flags) for flags in (17, THREAD, 0x4100 | 17)} == {ALLOW}
    for bit in (15, 17, 25, 26, 27, 28, 29, 30):
        assert several("clone", 17 | 1 << bit) == "EPERM"
    assert several("clone3") == "ENOSYS"
    assert several("kill", 12, 9) == several("tgkill", 12, 12, 9) == ALLOW
    assert several("socket", 2, 1, 0) == "EPERM"
    if machine == "x86_64":
        assert several("fork") == several("vfork") == ALLOW
        assert compiled(machine)("fork") == compiled(machine)("vfork") == "EPERM"


def test_where_others_are_in_sight_children_cannot_be_signalled_by_number(machine):
    """Their numbers may be anybody's."""
    several = compiled(machine, "no-namespaces", processes=2)
    assert several("kill", PID, 9) == ALLOW
    assert several("kill", 12, 9) == several("tgkill", 12, 12, 9) == "EPERM"


@pytest.mark.parametrize("profile", ["strict", "no-namespaces", "network"])
@pytest.mark.parametrize("processes", [0, 3])
def test_a_program_is_one_that_the_kernel_takes(machine, profile, processes):
    """Short enough, no jump off its end, and the worker's id only where a value stands."""
    program = seccomp.compiled(seccomp.rules(replace(load_profile(profile), processes=processes)), machine)
    steps = list(struct.iter_unpack("=HBBI", program))
    assert len(steps) < 4096
    assert steps[-1][0] == 0x06
    for index, (code, true, false, _) in enumerate(steps):
        if code in (0x15, 0x25, 0x35):
            assert index + 1 + max(true, false) < len(steps)
    slot = struct.pack("=I", seccomp.PID_SLOT)
    places = [match.start() for match in re.finditer(re.escape(slot), program)]
    assert places
    assert all(place % 8 == 4 for place in places)
    assert all(steps[place // 8][0] == 0x15 for place in places)


@given(st.lists(st.integers(0, 500)))
def test_ranges_hold_exactly_their_numbers(values):
    """Neighbours are merged, and nothing beside them is let in."""
    merged = seccomp.ranges(values)
    assert sorted({value for low, high in merged for value in range(low, high + 1)}) == sorted(set(values))
    assert all(low <= high for low, high in merged)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(merged))


def test_a_condition_with_several_ways_needs_one_of_them():
    """Each way is a conjunction; what meets none is refused."""
    two = ((seccomp.Among(0, (1, 2)), seccomp.Null(1)), (seccomp.Among(2, (8,), 0xC),))
    rules = seccomp.Rules((), {"read": two}, {}, {})
    tried = Filter(seccomp.compiled(rules, "x86_64"), "x86_64")
    assert tried("read", 1, 0, 0) == tried("read", 2, 0, 0) == tried("read", 5, 5, 0xB) == ALLOW
    assert tried("read", 3, 0, 0) == tried("read", 1, 5, 0xC) == tried("read", 1, 1 << 40, 4) == "EPERM"


def test_a_condition_that_fails_ends_its_way():
    """What a pointer holds is never taken for the argument that the next condition is about."""
    rules = seccomp.Rules((), {"read": ((seccomp.Null(0), seccomp.Among(1, (5,))),)}, {}, {})
    tried = Filter(seccomp.compiled(rules, "x86_64"), "x86_64")
    assert tried("read", 0, 5) == ALLOW
    for pointer in (5, 5 << 32, 5 << 32 | 5):
        assert tried("read", pointer, 0) == tried("read", pointer, 5) == "EPERM"


def test_what_is_pretended_is_decided_before_what_is_allowed():
    """A call that meets both is not made; one that meets neither is refused."""
    allowed, pretended = ((seccomp.Among(0, (1, 2)),),), ((seccomp.Among(0, (2, 3)),),)
    rules = seccomp.Rules((), {"read": allowed}, {"read": pretended}, {"write": 0, "close": errno.EIO})
    tried = Filter(seccomp.compiled(rules, "x86_64"), "x86_64")
    assert [tried("read", value) for value in range(5)] == ["EPERM", ALLOW, PRETENDED, PRETENDED, "EPERM"]
    assert (tried("write", 1), tried("close", 1)) == (PRETENDED, "EIO")


def test_without_the_guarantee_there_is_no_filter(policy):
    """A profile that does not ask for system calls gets no program."""
    assert seccomp.plan(policy("development")) == b""


def test_a_machine_without_a_table_is_refused(monkeypatch, policy):
    """No table, no filter, and no script without one."""
    monkeypatch.setattr(seccomp, "MACHINE", "riscv64")
    with pytest.raises(StepFailed, match="machine type riscv64") as caught:
        seccomp.plan(policy())
    assert caught.value.errno == errno.ENOSYS
    assert numbers("riscv64") == {}


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="this machine type has no table")
def test_a_plan_is_for_this_machine(policy):
    """What is loaded is what was tested."""
    assert seccomp.plan(policy()) == seccomp.compiled(seccomp.rules(policy()), os.uname().machine)
    assert numbers(os.uname().machine) == NUMBERS


def test_every_call_that_is_named_has_a_number():
    """A name without a row would be refused without anybody's having meant it."""
    strict, several = (seccomp.rules(item) for item in policies())
    for rules in (strict, several):
        for name in (*rules.allowed, *rules.conditional, *rules.pretended, *rules.errors):
            assert name in numbers("x86_64"), name


def test_every_call_has_one_kind_of_answer():
    """What is pretended under a condition has conditions; nothing is both refused outright and allowed."""
    for rules in map(seccomp.rules, policies()):
        assert rules.pretended.keys() <= rules.conditional.keys()
        kinds = [*rules.allowed, *rules.conditional, *rules.errors]
        assert len(kinds) == len(set(kinds))


def policies():
    strict = load_profile("strict")
    return strict, replace(strict, processes=2, outbound=True)


def defined(path):
    """Names and numbers of a system header."""
    return {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s", path.read_text())
    }


HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}


KNOWN = {
    "x86_64": {"read": 0, "write": 1, "open": 2, "clone": 56, "fork": 57, "execve": 59, "openat": 257},
    "aarch64": {"openat": 56, "read": 63, "write": 64, "clone": 220, "execve": 221, "open": None},
}


def test_numbers_are_those_of_the_systems_headers(machine):
    """A few are known by heart; where the kernel's headers are installed, all that they name agree."""
    assert {name: numbers(machine).get(name) for name in KNOWN[machine]} == KNOWN[machine]
    header = next((path for path in HEADERS[machine] if path.exists()), None)
    if header is None:
        return
    theirs = defined(header)
    theirs.setdefault("newfstatat", theirs.get("fstatat"))
    ours = {**numbers(machine), **others(machine)}
    wrong = {
        name: (number, theirs[name]) for name, number in ours.items() if theirs.get(name, number) != number
    }
    assert wrong == {}
    missing = {name for name in ours if name not in theirs and ours[name] < 440}
    assert missing == set()
