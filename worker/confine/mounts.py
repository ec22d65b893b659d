"""Takes away the sight of every file but the interpreter's, the system libraries' and the script's own.

Runs beside foreign code, and only before it. The broker, which sees the host, opens each readable tree
as a detached read-only mount. The zygote attaches them below a root of its own; each worker attaches
copies below a root that is private to it, then the folder of its one script, and lets go of the rest.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
import sysconfig
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Tuple

from ..protocol import Policy
from . import kernel

SYSTEM = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/usr/share/ca-certificates",
    "/usr/share/mime",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls",
    "/etc/pki/ca-trust/extracted",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/os-release",
)
"""Where libraries, time zones, locales and certificates lie; what a host lacks is left out."""

RESOLVER = ("/etc/resolv.conf", "/etc/hosts", "/etc/gai.conf")
"""What looking up a host's name needs, for profiles that allow connections."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SHARED_PREFIXES = ("/", "/usr", "/usr/local")
"""Prefixes that hold more than an interpreter: of these only the libraries are shown."""

OWN_SIZE, OWN_INODES = 1 << 20, 4096
SHARED_MEMORY = 16 << 20
SCRATCH_INODES = 16384
STAGE = "/.root"
SCRATCH, OTHER_SCRATCH, SHARED = "/tmp", "/var/tmp", "/dev/shm"


@dataclass(frozen=True)
class Tree:
    """One readable tree: where it is, and a descriptor of it (a detached mount, or the folder itself)."""

    path: str
    descriptor: int


KNOWN = 32
"""User namespaces that are held for mounts to come; a mount keeps its own."""


class Owners:
    """User namespaces that map the owner of a closed folder to the worker's own identity.

    Only a broker that is really root can make them, and only such a broker needs them.
    """

    def __init__(self, uid: int, gid: int) -> None:
        self.uid, self.gid = uid, gid
        self.known: Dict[Tuple[int, int], int] = {}

    def namespace(self, owner: int, group: int) -> int:
        """Descriptor of the namespace for files of ``owner`` and ``group``. Raises StepFailed."""
        key = (owner, group)
        self.known[key] = self.known.pop(key) if key in self.known else self.make(owner, group)
        while len(self.known) > KNOWN:
            os.close(self.known.pop(next(iter(self.known))))
        return self.known[key]

    def make(self, owner: int, group: int) -> int:
        """A new namespace with this one mapping, kept alive by its descriptor alone. Raises StepFailed."""
        ready, go = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(go[1])
                kernel.unshare(kernel.CLONE_NEWUSER, "idmap: namespace")
                os.write(ready[1], b"1")
                os.read(go[0], 1)
            finally:
                os._exit(0)
        os.close(ready[1])
        os.close(go[0])
        try:
            if not os.read(ready[0], 1):
                raise kernel.StepFailed("idmap: namespace", 0)
            for name, line in (("uid_map", f"{owner} {self.uid} 1"), ("gid_map", f"{group} {self.gid} 1")):
                kernel.write_file(f"/proc/{child}/{name}", line, f"idmap: {name}")
            return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(ready[0])
            os.close(go[1])
            os.waitpid(child, 0)


def interpreter_paths() -> List[str]:
    """Where this interpreter and its installed packages lie."""
    paths: List[str] = []
    for prefix in (sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix):
        if prefix in SHARED_PREFIXES:
            paths += [os.path.join(prefix, "lib"), os.path.join(prefix, "lib64")]
        else:
            paths.append(prefix)
    paths += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += sys.path
    paths += [os.path.dirname(library) for library in loaded_libraries()]
    return [path for path in paths if os.path.isabs(path) and os.path.exists(path)]


def loaded_libraries() -> List[str]:
    """Shared libraries in this process's memory: some interpreters keep theirs in odd places."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        found = {line.split(None, 5)[5].strip() for line in maps if line.count("/") and ".so" in line}
    return sorted(path for path in found if os.path.exists(path))


def lies_in(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def apart(place: str, paths: Iterable[str]) -> bool:
    """Whether none of ``paths`` is ``place``, or lies below or above it."""
    return not any(lies_in(path, place) or lies_in(place, path) for path in paths)


def plain(path: str) -> str:
    """An absolute path as it is compared; Python keeps two slashes that begin it, Linux has them as one."""
    return os.path.normpath(path).replace("//", "/")


def outermost(paths: Iterable[str]) -> List[str]:
    """``paths`` without those that lie below another of them, or twice in the list."""
    kept: List[str] = []
    for path in sorted(map(plain, paths)):
        if not any(lies_in(path, other) for other in kept):
            kept.append(path)
    return kept


def plan(policy: Policy, read: Iterable[str] = ()) -> List[str]:
    """The paths of the host that every worker of ``policy`` may read, before any script is known.

    ``read`` are those that the policy names, as they were found.
    """
    wanted = [*SYSTEM, *interpreter_paths()]
    if policy.outbound:
        wanted += RESOLVER
    targets = [os.path.realpath(path) for path in wanted if os.path.islink(path)]
    return outermost([*filter(os.path.exists, [*wanted, *targets]), *read])


def links(paths: Iterable[str]) -> List[Tuple[str, str]]:
    """Those of ``paths`` that are symbolic links on the host: name, target."""
    return [(path, os.readlink(path)) for path in paths if os.path.islink(path)]


def is_system(path: str) -> bool:
    """Whether ``path`` belongs to the host itself, whose owner need not be mapped: all may read it."""
    return any(lies_in(path, item) for item in (*SYSTEM, *RESOLVER, *DEVICES))


def is_open(status: os.stat_result) -> bool:
    """Whether everybody may look into a folder, or read a file."""
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else 0)
    return status.st_mode & needed == needed


def open_tree(
    path: str,
    owners: Optional[Owners],
    at: Optional[str] = None,
    whose: Optional[Tuple[int, int]] = None,
    *,
    recursive: bool = True,
) -> Tree:
    """``path`` as a detached read-only mount; with ``owners``, its owner's files belong to the worker.

    Or those of ``whose``, an owner and a group, also in what is mounted below; without that a file system
    that cannot map identities gives the plain mount, if others may enter it. ``at`` is where it is found, if
    not there; what is mounted below is shown if it is ``recursive``. Raises StepFailed.
    """
    mount = kernel.clone_tree(at or path, f"mount: open {path}", recursive=recursive)
    try:
        attributes = kernel.MOUNT_RDONLY | kernel.MOUNT_NOSUID
        if path not in DEVICES:
            attributes |= kernel.MOUNT_NODEV
        kernel.restrict_mount(mount, attributes, f"mount: make {path} read-only")
        if owners is not None and (whose is not None or not is_system(path)):
            status = os.fstat(mount)
            try:
                mapping = owners.namespace(*(whose or (status.st_uid, status.st_gid)))
                step, below = f"mount: map the owner of {path}", whose is not None
                kernel.restrict_mount(mount, kernel.MOUNT_IDMAP, step, recursive=below, userns=mapping)
            except kernel.StepFailed:
                if whose is not None or not is_open(status):
                    raise
    except BaseException:
        os.close(mount)
        raise
    return Tree(path, mount)


def place(mount: int, root: str, path: str) -> None:
    """Attach ``mount`` at ``path`` below ``root``, making what it needs to stand on."""
    target = root + path
    try:
        if stat.S_ISDIR(os.fstat(mount).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise kernel.StepFailed(f"mount: make room for {path}", error.errno or 0) from error
    kernel.attach(mount, target, f"mount: attach {path}")


def private_root(inodes: int) -> int:
    """A small, empty file system to build a root in, detached. Raises StepFailed."""
    return kernel.tmpfs(OWN_SIZE, inodes, "755", kernel.MOUNT_NODEV, "mount: private root")


def accounts(uid: int, gid: int) -> Dict[str, str]:
    """The few files of ``/etc`` that say who this is and how names are looked up."""
    home = SCRATCH
    return {
        "/etc/passwd": f"worker:x:{uid}:{gid}:worker:{home}:/nonexistent\n",
        "/etc/group": f"worker:x:{gid}:\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    }


def build_stage(trees: List[Tree], uid: int, gid: int, symlinks: List[Tuple[str, str]]) -> List[str]:
    """In the zygote: make a root that holds every tree, enter it, and forget the host.

    Returns the paths that each worker is shown. Raises StepFailed.
    """
    root = private_root(OWN_INODES)
    kernel.attach(root, "/", "mount: attach the private root")
    os.fchdir(root)
    own = ["/etc", "/dev"]
    for path in own:
        part = kernel.tmpfs(OWN_SIZE, OWN_INODES, "755", 0, f"mount: {path}")
        place(part, ".", path)
        os.close(part)
    for tree in trees:
        place(tree.descriptor, ".", tree.path)
        os.close(tree.descriptor)
    for name, content in accounts(uid, gid).items():
        if not os.path.exists("." + name):
            with open("." + name, "w", encoding="utf-8") as file:
                file.write(content)
    os.makedirs("." + SHARED, exist_ok=True)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, "./dev/" + name)
    for name, target in symlinks:
        os.makedirs("." + os.path.dirname(name), exist_ok=True)
        if not os.path.lexists("." + name):
            os.symlink(target, "." + name)
    os.mkdir("." + STAGE)
    # A proc mount may only be made where a whole one is in sight, so this one stays for the workers' sake.
    os.mkdir("./proc")
    processes = kernel.procfs({}, "mount: proc of the zygote")
    kernel.attach(processes, "./proc", "mount: attach proc of the zygote")
    os.close(processes)
    kernel.enter_root(root, "mount: private root")
    os.close(root)
    return own + [tree.path for tree in trees]


def scratch_place(shown: List[str]) -> str:
    """Where the scratch space is: at its usual place, unless something that is shown is in the way."""
    others = (f"/scratch{number}" for number in itertools.count())
    places = itertools.chain((SCRATCH, OTHER_SCRATCH), others)
    return next(place for place in places if apart(place, shown))


def place_space(path: str, size: int) -> None:
    """Mount an empty place to write of ``size`` bytes at ``path`` below the root that is being built."""
    attributes = kernel.MOUNT_NODEV | kernel.MOUNT_NOEXEC
    space = kernel.tmpfs(size, SCRATCH_INODES, "1777", attributes, f"mount: {path}")
    place(space, ".", path)
    os.close(space)


def build_private(
    shown: List[str], processes: int, scratch: int, symlinks: List[Tuple[str, str]]
) -> List[str]:
    """In a worker, in mount namespace of its own: enter a root that nobody shares.

    Returns the places to write, the scratch space first. None of what is shown lies below them: the right
    to write to them holds for all that does, and no read-only mount protects a pipe. Raises StepFailed.
    """
    root = private_root(OWN_INODES)
    kernel.attach(root, STAGE, "mount: attach the worker's root")
    os.fchdir(root)
    for piece in outermost(shown):
        copy = kernel.clone_tree(piece, f"mount: copy {piece}")
        place(copy, ".", piece)
        if piece in ("/etc", "/dev"):
            kernel.restrict_mount(
                copy, kernel.MOUNT_RDONLY, f"mount: make {piece} read-only", recursive=False
            )
        os.close(copy)
    spaces = {scratch_place(shown): scratch} if scratch else {}
    if scratch and apart(SHARED, set(shown) - {"/dev"}):
        spaces[SHARED] = min(scratch, SHARED_MEMORY)
    for path, size in spaces.items():
        place_space(path, size)
    place(processes, ".", "/proc")
    os.close(processes)
    for name, target in symlinks:
        if not os.path.lexists("." + name):
            os.makedirs("." + os.path.dirname(name), exist_ok=True)
            os.symlink(target, "." + name)
    kernel.enter_root(root, "mount: worker's root")
    os.close(root)
    return list(spaces)


def give_way(spaces: List[str], shown: List[str], folder: str) -> List[str]:
    """Take the places to write out of the way of ``folder``; returns those there are then.

    Shared memory has no other place, and makes room for one where nobody may write.
    """
    left = []
    for space in spaces:
        if apart(space, [folder]):
            left.append(space)
            continue
        if space == SHARED:
            kernel.detach(space, f"mount: detach {space}")
            moved, to = private_root(OWN_INODES), space
        else:
            moved, to = os.open(space, os.O_PATH | os.O_CLOEXEC), scratch_place([*shown, folder])
            left.append(to)
        place(moved, "", to)
        os.close(moved)
    return left


def finish(shown: List[str], spaces: List[str], folder: Optional[Tree]) -> List[str]:
    """Show the script's ``folder`` at its own path, freeze the root; returns the places to write."""
    left = spaces
    if folder is not None:
        # What is shown already may hold links that lead into one of the places.
        left = give_way(spaces, shown, os.path.realpath(folder.path))
        place(folder.descriptor, "", folder.path)
        os.close(folder.descriptor)
    frozen = ["/", SHARED] if SHARED in spaces and SHARED not in left else ["/"]
    for path in frozen:
        root = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            kernel.restrict_mount(root, kernel.MOUNT_RDONLY, f"mount: make {path} read-only", recursive=False)
        finally:
            os.close(root)
    return left
