"""What ``import`` finds for a script: its own folder first, and nothing of ours; it runs beside foreign code.

The script's folder is first on the path. Each module found there keeps its plain name, and its relative
imports start in a package that stands for the folder, so ``import x`` and ``from . import x`` are one
module. A module of the folder may bear the name of one that is loaded already (``types.py``): the script
gets its own, and code from outside the folder goes on getting the original. That holds for the import
statement and while a module is being imported; ``importlib.import_module``, called later, does not say who
asks and gets the script's own.
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set

from worker.pristine import BUILTINS

__builtins__ = BUILTINS

FOLDER = "<folder>"
"""Name of the package that stands for the script's folder. No import statement can say it."""
OURS = ("worker", "loader")
"""Packages of this distribution: a script must not find them."""
CARRIED = (*OURS, "msgpack")
"""What leaves ``sys.modules``, so that the script finds its own or its environment's."""
INSTALLED = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STANDARD: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())

find_spec = PathFinder.find_spec
import_module = builtins.__import__
join, isfile, listdir = os.path.join, os.path.isfile, os.listdir
parent_of = ModuleSpec.__dict__["parent"].__get__


def top(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]


class FolderSpec(ModuleSpec):
    """The spec of a module of the script's folder: plain name, relative imports from the folder."""

    @property
    def parent(self) -> str:
        """The package in which relative imports start."""
        own = parent_of(self)
        return f"{FOLDER}.{own}" if own else FOLDER


class Alias(Loader):
    """Gives a module that is loaded already a second name."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - the protocol's signature
        """The module itself."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Put back what the import system has just overwritten."""
        module.__spec__ = self.spec


class FolderFinder:
    """First on ``sys.meta_path``: the script's folders, under plain and relative names.

    ``passes`` are the names for which it stands aside.
    """

    def __init__(self, folders: Sequence[str], script: str) -> None:
        self.folders = list(folders)
        self.script = script
        self.passes: Set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:  # noqa: ARG002
        """The spec of a module of the folders, None for every other; ours are not found at all."""
        if name == FOLDER:
            return self.package()
        if name.startswith(FOLDER + "."):
            return self.relative(name[len(FOLDER) + 1 :], name)
        if name in self.passes:
            return found_outside(name, self.folders)
        own = self.own(name, path)
        return found_outside(name, [INSTALLED]) if own is None and name in OURS else own

    def own(self, name: str, path: Any) -> Optional[ModuleSpec]:
        """The spec of a module of the folders by its plain name."""
        if path is None:
            spec = None if name in sys.builtin_module_names else find_spec(name, self.folders)
        else:
            package = sys.modules.get(name.rpartition(".")[0])
            inside = type(getattr(package, "__spec__", None)) is FolderSpec
            spec = find_spec(name, path) if inside else None
        if spec is None or not spec.has_location:
            return None
        spec.__class__ = FolderSpec
        return spec

    def relative(self, name: str, full_name: str) -> Optional[ModuleSpec]:
        """The module ``name`` of the folders under its name in the folder's package."""
        if top(name) != self.script and self.own(top(name), None) is None:
            return None
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                return None
            raise
        module = sys.modules[name]
        return ModuleSpec(full_name, Alias(module), is_package=hasattr(module, "__path__"))

    def package(self) -> ModuleSpec:
        """The package that stands for the folder; its ``__init__.py`` runs when there is one."""
        initial = join(self.folders[0], "__init__.py")
        loader = SourceFileLoader(FOLDER, initial) if isfile(initial) else None
        spec = ModuleSpec(FOLDER, loader, origin=initial if loader else None, is_package=True)
        spec.submodule_search_locations = list(self.folders)
        spec.has_location = loader is not None
        return spec


def found_outside(name: str, folders: Sequence[str]) -> ModuleSpec:
    """The spec of a module on the path but in none of ``folders``; raises ModuleNotFoundError."""
    spec = find_spec(name, [entry for entry in sys.path if entry not in folders])
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return spec


class Originals:
    """In place of ``__import__`` when the folder shadows loaded or standard modules.

    ``sys.modules`` holds the folder's own modules of those names, and the originals while anything that is
    not the folder's is being imported. The lock is held for the change only: a module may import in threads
    and wait for them.
    """

    def __init__(self, finder: FolderFinder, names: Set[str]) -> None:
        self.finder = finder
        self.names = names
        self.own: Dict[str, ModuleType] = {}
        self.originals = take_out(names)
        self.current = self.own
        self.active = 0
        self.lock = threading.Lock()

    def __call__(
        self,
        name: str,
        globals: Any = None,  # noqa: A002 - the builtin's signature
        locals: Any = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        """Import as the builtin does, on behalf of the module whose globals are given."""
        spec = globals.get("__spec__") if type(globals) is dict else None
        inside = spec is None or type(spec) is FolderSpec
        shadowed = top(name) in self.names
        if not (level or shadowed or fromlist) and name in sys.modules:
            return import_module(name, globals, locals, fromlist, level)
        with self.lock:
            before = self.current
            self.active += 1
            self.show(self.own if inside and (level or shadowed) else self.originals)
        try:
            return import_module(name, globals, locals, fromlist, level)
        finally:
            with self.lock:
                self.active -= 1
                self.show(before if self.active else self.own)

    def show(self, modules: Dict[str, ModuleType]) -> None:
        """Put one of the two sets into ``sys.modules``."""
        if modules is not self.current:
            self.current.clear()
            self.current.update(take_out(self.names))
            self.current = modules
            sys.modules.update(modules)
            self.finder.passes = self.names if modules is self.originals else set()


def take_out(names: Iterable[str]) -> Dict[str, ModuleType]:
    """Remove modules and their submodules from ``sys.modules``; returns them."""
    wanted = set(names)
    taken = [name for name in list(sys.modules) if name.partition(".")[0] in wanted]
    return {name: sys.modules.pop(name) for name in taken}


def shadowed(finder: FolderFinder, keep: Iterable[str]) -> Set[str]:
    """Names that the folder shadows: loaded or standard ones of which it has its own."""
    names = {finder.script}
    for folder in finder.folders:
        try:
            names.update(entry.partition(".")[0] for entry in listdir(folder))
        except OSError:
            continue
    taken = (name for name in names if name in sys.modules or name in STANDARD)
    untouched = {*keep, *OURS, *sys.builtin_module_names}
    return {
        name
        for name in taken
        if name not in untouched and (name == finder.script or finder.own(name, None) is not None)
    }


def folders_of(filename: str, root: str) -> List[str]:
    """The script's own folder, then the root when that is another."""
    own = os.path.dirname(filename) if os.path.isabs(filename) else root
    return [own] if own == root else [own, root]


def arrange(filename: str, root: str, module: str, keep: Iterable[str]) -> None:
    """Put the folders first and ours away. ``keep`` names modules that the folder must not replace."""
    finder = FolderFinder(folders_of(filename, root), module)
    names = shadowed(finder, keep)
    if names:
        builtins.__import__ = Originals(finder, names)
    take_out(CARRIED)
    sys.path[:] = [*finder.folders, *(entry for entry in sys.path if not carried_path(entry))]
    sys.meta_path.insert(0, finder)


def carried_path(entry: str) -> bool:
    """Whether a path entry is there only for our sake: our folder, unless it is an environment's own."""
    return not entry or (entry == INSTALLED and not INSTALLED.endswith(("site-packages", "dist-packages")))
