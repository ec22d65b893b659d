"""What crosses between the supervisor, a zygote and a worker: framing and every type, defined once.

This is the one module that the trusted side shares with the code that runs beside foreign code.
A frame's body is msgpack: a two-element array of the message's tag and a map of its fields.

Who says what, in order:

=============  =========================  ====================================================
channel        from the trusted caller    from the other side
=============  =========================  ====================================================
broker         ``Launch``                 ``Refused``, if it fails
               ``OpenFolder``             ``FolderOpened`` (+ descriptor) | ``Refused``
zygote         nothing                    ``Preloading`` for each module, then ``Launched``
               ``Fork``                   ``Forked`` (+ descriptors) | ``Refused``
exit           nothing                    ``Exited``, once for each worker
worker         ``Configure``, ``Load``    ``Ready`` | ``Refused``, then ``Found``… and one of
                                          ``Loaded`` | ``Failed``
=============  =========================  ====================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Optional, Tuple, Type, TypeVar

from .claims import Denied as Denied
from .claims import Detail as Detail
from .claims import Dialect as Dialect
from .claims import Error as Error
from .claims import Flow as Flow
from .claims import Frame as Frame
from .claims import Json as Json
from .claims import Notice as Notice
from .claims import Spec as Spec
from .claims import brief as brief
from .fields import BLOCKS as BLOCKS
from .fields import RUNNERS as RUNNERS
from .fields import SCHEDULES as SCHEDULES
from .fields import SETTINGS as SETTINGS
from .fields import SPEC as SPEC
from .fields import Declared as Declared
from .fields import Fields as Fields
from .framing import CONTROL_CAP as CONTROL_CAP
from .framing import HEADER as HEADER
from .framing import Reader as Reader
from .framing import Violation as Violation
from .framing import encode as encode
from .framing import unpack

VERSION = 9
"""Both sides must agree on it; it changes when a message does."""

AUTO = "auto"
PREFECT = "prefect"
"""The dialect of a ``Load`` whose worker shall choose one."""
DIALECTS = ("orion", "prefect2", "prefect3")
"""The names of all dialects."""

FULL, PARTIAL, NONE = "full", "partial", "none"

GUARANTEES = tuple(
    "filesystem network processes memory cpu wall open_files output result environment identity"
    " visibility syscalls".split()
)
"""The words of a profile, in the order in which they are reported."""


# --- what the sandbox is: policy and report ------------------------------------------------------


@dataclass(frozen=True)
class Policy:
    """What must hold while a script runs; a profile with every value filled in.

    Sizes are bytes, times seconds. ``demands`` maps each guarantee that is asked for to its level, and
    ``required`` names those without which no script is sent.
    """

    profile: str
    demands: Dict[str, str] = field(hash=False)
    required: Tuple[str, ...]
    read: Tuple[str, ...]
    scratch: int
    outbound: bool
    processes: int
    threads: int
    memory: int
    cpu: int
    wall: float
    open_files: int
    file_size: int
    output: int
    result: int
    environment: Tuple[str, ...]
    preload: Tuple[str, ...] = ()

    def asks(self, guarantee: str, level: Optional[str] = None) -> bool:
        """Whether ``guarantee`` is asked for; with ``level``, at exactly that level."""
        demanded = self.demands.get(guarantee)
        return demanded is not None and (level is None or demanded == level)


@dataclass(frozen=True)
class Guarantee:
    """How far one guarantee holds, and by which mechanisms."""

    name: str
    level: str
    by: Tuple[str, ...] = ()


# --- messages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Launch:
    """First message to a broker: what its zygote shall enforce.

    ``dialect`` is what its loads will ask for: with ``orion`` no installed Prefect is imported. ``lent`` is
    whether its scripts are those of others. ``read`` is what the policy names under that word, as it was
    found.
    """

    version: int
    policy: Policy
    uid: int
    gid: int
    dialect: str = AUTO
    lent: bool = False
    read: Tuple[OpenFolder, ...] = ()


@dataclass(frozen=True)
class Preloading:
    """What is imported next: whatever goes wrong now is its doing.

    ``PREFECT`` comes first, then what the policy wants preloaded, then ``None``.
    """

    module: Optional[str]


@dataclass(frozen=True)
class Launched:
    """The zygote stands; ``python`` is its interpreter's version, ``threads`` what it counted of itself.

    ``prefect`` is the release that the interpreter has, ``trouble`` why the one it has cannot be imported,
    ``path`` where its modules and packages lie.
    """

    python: str
    threads: int
    prefect: Optional[str] = None
    trouble: Optional[str] = None
    path: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A step of ours failed.

    ``step`` reads like ``landlock: add rule: /usr``; ``errno`` is 0 if there is none.
    """

    guarantees: Tuple[str, ...]
    step: str
    errno: int
    reason: str


@dataclass(frozen=True)
class OpenFolder:
    """Ask the broker for one folder, which workers find at ``path``.

    It is opened at its ``real`` path, by no link. ``device`` and ``inode`` are those of the folder the
    supervisor looked at; another is refused. One that is ``temporary`` is removed when the supervisor dies
    before it could do so. ``owner`` and ``group`` are those whose files the worker may read as if they were
    its own, by default the folder's; if it is ``plain``, nobody's.
    """

    path: str
    real: bytes
    device: int
    inode: int
    temporary: bool = False
    owner: Optional[int] = None
    group: Optional[int] = None
    plain: bool = False


@dataclass(frozen=True)
class FolderOpened:
    """The folder travels beside this message: a detached mount, or the folder itself."""


@dataclass(frozen=True)
class Fork:
    """Ask for one more idle worker."""


@dataclass(frozen=True)
class Forked:
    """A worker was forked. Beside it travel seven descriptors: its pidfd, its channel, its standard output
    and error, the pipe of the fault handler, that of its answers, and that of its ``Exited``.
    """

    number: int


@dataclass(frozen=True)
class Exited:
    """How a worker ended, as its parent saw it. Seconds and bytes."""

    code: Optional[int]
    signal: Optional[int]
    cpu_seconds: float
    max_rss_bytes: int


@dataclass(frozen=True)
class Configure:
    """What this load may read; the folder's mount, if there is one, travels beside it."""

    root: Optional[str]


@dataclass(frozen=True)
class Ready:
    """The worker confined itself and says how far each guarantee holds."""

    guarantees: Tuple[Guarantee, ...]


@dataclass(frozen=True)
class Load:
    """The script. ``root`` becomes its working directory; without one it runs in its scratch space.

    ``dialect`` is ``auto``, or the one to read it with. ``details`` asks for what deploying its specs needs,
    ``trace`` for what it reads.
    ``paths`` are the folders in which its imports are looked for, the first one first, and by default its
    own: a script that lies right in none of them is the module of its name inside of its packages.
    """

    filename: str
    source: bytes
    module: str
    root: Optional[str]
    dialect: str
    details: bool = False
    paths: Tuple[str, ...] = ()
    trace: bool = False


@dataclass(frozen=True)
class Found:
    """A flow or a spec was just defined: kept in case the script never ends well."""

    flow: Optional[Flow] = None
    spec: Optional[Spec] = None
    notice: Optional[Notice] = None


@dataclass(frozen=True)
class Loaded:
    """The script ran to its end. ``details`` has one for each spec, in order, if they were asked for.

    ``sources`` are the files and folders that it read, below its root by their path in it; None if nobody
    asked, or that is not known in full.
    """

    flows: Tuple[Flow, ...]
    specs: Tuple[Spec, ...]
    notices: Tuple[Notice, ...]
    dialect: Dialect
    details: Tuple[Detail, ...] = ()
    sources: Optional[Tuple[str, ...]] = None


@dataclass(frozen=True)
class Failed:
    """The script did not load. ``status`` is ``script_failed``, ``out_of_memory`` or ``output_exceeded``."""

    status: str
    error: Error
    flows: Tuple[Flow, ...]
    specs: Tuple[Spec, ...]
    notices: Tuple[Notice, ...]
    dialect: Dialect
    sources: Optional[Tuple[str, ...]] = None


@dataclass(frozen=True)
class Probed:
    """What came of trying one mechanism of confinement. ``detail`` is the kernel's word, or a version."""

    mechanism: str
    works: bool
    step: str
    errno: int
    detail: str


MESSAGES: Tuple[Type[Any], ...] = (
    Launch,
    Preloading,
    Launched,
    Refused,
    OpenFolder,
    FolderOpened,
    Fork,
    Forked,
    Exited,
    Configure,
    Ready,
    Load,
    Found,
    Loaded,
    Failed,
    Probed,
)
BY_TAG = {message.__name__: message for message in MESSAGES}
M = TypeVar("M")


# --- reading -------------------------------------------------------------------------------------


def decode(body: bytes) -> Tuple[str, Dict[str, Any]]:
    """A frame's body as its tag and its raw fields, whatever the bytes. Raises Violation."""
    value = unpack(body)
    if type(value) is not list or len(value) != 2 or type(value[1]) is not dict:
        raise Violation("cannot read a frame: it is not a tag and a map")
    tag, values = value
    if type(tag) is not str or tag not in BY_TAG:
        raise Violation("cannot read a frame: its tag is unknown")
    if values.keys() != {item.name for item in fields(BY_TAG[tag])}:
        raise Violation(f"cannot read a frame: its fields are not those of {tag}")
    return tag, values


def trusted(kind: Type[M], raw: Tuple[str, Dict[str, Any]]) -> M:
    """The message of a peer that runs trusted code only; lists become tuples, nested types stay maps.

    Raises Violation when another message came.
    """
    tag, values = raw
    if BY_TAG[tag] is not kind:
        raise Violation(f"cannot use a {tag}: a {kind.__name__} is due")
    return kind(**{key: tuple(item) if type(item) is list else item for key, item in values.items()})


def policy(values: Any) -> Policy:
    """The policy inside a ``Launch``, which crosses as a map."""
    fields: Dict[str, Any] = {
        key: tuple(item) if type(item) is list else item for key, item in values.items()
    }
    return Policy(**fields)
