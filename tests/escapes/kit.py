"""What the scripts of the attempts use; it lies beside each of them in the sandbox."""

import ctypes
import errno
import os
import platform
import resource
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
CALLS = {
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fork": (57, None),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "getpid": (39, 172),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mq_open": (240, 180),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "seccomp": (317, 277),
    "setns": (308, 268),
    "shmget": (29, 194),
    "socket": (41, 198),
    "swapon": (167, 224),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vfork": (58, None),
    "vmsplice": (278, 75),
}
"""System calls that the standard library does not offer, or not without checks of its own."""


FLOW_FIELDS = (
    "name",
    "function",
    "entrypoint",
    "version",
    "description",
    "parameters",
    "file",
    "line",
    "end_line",
    "is_async",
    "retries",
    "timeout_seconds",
    "task_runner",
    "tags",
    "is_generator",
    "retry_delay_seconds",
    "persist_result",
    "hooks",
    "variable",
    "validate_parameters",
)


def tried(function, *arguments, **options):
    """``allowed``, or the name of the errno or exception that came instead."""
    try:
        function(*arguments, **options)
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except BaseException as error:
        return type(error).__name__
    return "allowed"


def number(name):
    """A system call's number on this machine; None where it has none."""
    return CALLS[name][COLUMN]


def raw(call, *arguments):
    """One system call by number, with 64-bit arguments: its result, or a negative errno."""
    longs = [ctypes.c_ulong(item & (1 << 64) - 1) if isinstance(item, int) else item for item in arguments]
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(call), *longs)
    return result if result != -1 else -ctypes.get_errno()


def called(name, *arguments):
    """``allowed`` or the errno's name for one system call; a call that the machine lacks is ENOSYS."""
    known = number(name)
    if known is None:
        return "ENOSYS"
    result = raw(known, *arguments)
    return "allowed" if result >= 0 else errno.errorcode[-result]


def links():
    """What each open descriptor is, by number; asked of each, for there may be no /proc."""
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFDIR: "folder", stat.S_IFCHR: "device"}
    found = {}
    for number in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        try:
            found[number] = kinds.get(stat.S_IFMT(os.fstat(number).st_mode), "other")
        except OSError:
            continue  # It is not open.
    return found


def library():
    """The path of a shared library that a worker may read."""
    folders = [folder for folder in sys.path if folder.endswith("lib-dynload")]
    return next(
        os.path.join(folder, name) for folder in folders for name in os.listdir(folder) if ".so" in name
    )


OURS = 200
"""From this number on descriptors are the worker's own."""


def channel():
    """The descriptor on which this process answers its supervisor."""
    return min(number for number, kind in links().items() if kind == "pipe" and number >= OURS)


def faults():
    """The pipe that the fault handler writes to."""
    return sorted(number for number, kind in links().items() if kind == "pipe" and number >= OURS)[1]


def frame(tag, **fields):
    """A message as an honest worker would send it."""
    import msgpack

    body = msgpack.packb([tag, fields])
    return struct.pack(">I", len(body)) + body


def say(data):
    """Write bytes to the supervisor, as far as it takes them."""
    view = memoryview(data)
    while view:
        view = view[os.write(channel(), view) :]


DIALECT = {"name": "orion", "version": None, "reason": None}


def flow(**fields):
    """A well-formed flow of which nothing is known but ``fields``."""
    return {**dict.fromkeys(FLOW_FIELDS), "name": "forged", "tags": [], **fields}


def loaded(**fields):
    """A well-formed ``Loaded`` with nothing in it but ``fields``."""
    empty = {"flows": [], "specs": [], "notices": [], "dialect": DIALECT, "details": [], "sources": None}
    return frame("Loaded", **{**empty, **fields})
