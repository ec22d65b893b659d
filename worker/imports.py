"""What ``import`` finds for a script: its own folder first, and nothing of ours; it runs beside foreign code.

The script's folder is first on the path. Each module found there keeps its plain name, and its relative
imports start in a package that stands for the folder, so ``import x`` and ``from . import x`` are one
module. A module of the folder may bear the name of a loaded or standard one (``types.py``): it is kept in
the folder's package only, the import statements of the folder's modules are led to it, and everyone else
goes on finding the original. ``importlib.import_module`` does not say who asks and gives the original.
"""

from __future__ import annotations

import builtins
import os
import sys
from functools import cache
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Iterable, List, Optional, Sequence, Set, Tuple

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
interpreters_import = builtins.__import__
join, isfile, listdir = os.path.join, os.path.isfile, os.listdir
parent_of = ModuleSpec.__dict__["parent"].__get__


def top(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]


class FolderSpec(ModuleSpec):
    """The spec of a module of the script's folder: relative imports start in the folder."""

    @property
    def parent(self) -> str:
        """The package in which relative imports start."""
        own = parent_of(self)
        return own if top(own) == FOLDER else f"{FOLDER}.{own}".rstrip(".")


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


class Sent(SourceFileLoader):
    """Runs a module's code as it was sent, whatever its file holds meanwhile."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the protocol's signature
        """The code."""
        return self.code


class FolderFinder:
    """First on ``sys.meta_path``: the script's folders, under plain and relative names.

    ``shadowed`` are the names that have a module here and another elsewhere. With ``code`` the script is
    the module of that file inside of its packages.
    """

    def __init__(self, folders: Sequence[str], script: str, code: Optional[CodeType] = None) -> None:
        self.folders = list(folders)
        self.script = script
        self.code = code
        self.shadowed: Set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:  # noqa: ARG002
        """The spec of a module of the folders, None for every other; ours are not found at all."""
        if name == FOLDER:
            return self.package()
        if top(name) == FOLDER:
            return self.relative(name[len(FOLDER) + 1 :], name, path)
        if name in self.shadowed:
            return found_outside(name, self.folders)
        own = self.own(name, path)
        return found_outside(name, [INSTALLED]) if own is None and name in OURS else own

    def own(self, name: str, path: Any = None) -> Optional[ModuleSpec]:
        """The spec of a module of the folders by its plain name."""
        if path is None:
            spec = None if name in sys.builtin_module_names else find_spec(name, self.folders)
        else:
            package = sys.modules.get(name.rpartition(".")[0])
            inside = type(getattr(package, "__spec__", None)) is FolderSpec
            spec = find_spec(name, path) if inside else None
        return self.of_folder(spec)

    def relative(self, name: str, full_name: str, path: Any) -> Optional[ModuleSpec]:
        """The module ``name`` of the folders under its name in the folder's package."""
        if top(name) in self.shadowed:
            return self.of_folder(find_spec(full_name, path))
        if top(name) != self.script and self.own(top(name)) is None:
            return None
        try:
            interpreters_import(name)
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
        spec = FolderSpec(FOLDER, loader, origin=initial if loader else None, is_package=True)
        spec.submodule_search_locations = list(self.folders)
        spec.has_location = loader is not None
        return spec

    def of_folder(self, spec: Optional[ModuleSpec]) -> Optional[ModuleSpec]:
        """A spec marked as the folder's; None for none and for a folder without ``__init__.py``."""
        if spec is None or not spec.has_location:
            return None
        spec.__class__ = FolderSpec
        if self.code is not None and spec.origin == self.code.co_filename:
            spec.loader = Sent(spec.name, spec.origin, self.code)
        return spec

    def shadow(self, keep: Iterable[str]) -> None:
        """Find out which names the folders shadow; those of ``keep`` they may not."""
        names = {self.script}
        for folder in self.folders:
            try:
                names.update(entry.partition(".")[0] for entry in listdir(folder))
            except OSError:
                continue
        taken = {name for name in names if name in sys.modules or name in STANDARD}
        taken -= {*keep, *OURS, *sys.builtin_module_names}
        self.shadowed = {name for name in taken if name == self.script or self.own(name) is not None}

    def import_here(
        self,
        name: str,
        globals: Any = None,  # noqa: A002 - the builtin's signature
        locals: Any = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        """In place of ``__import__``: the folder's modules get what the folder has under a shadowed name."""
        if level == 0 and top(name) in self.shadowed:
            spec = globals.get("__spec__") if type(globals) is dict else None
            if spec is None or type(spec) is FolderSpec:
                found = interpreters_import(f"{FOLDER}.{name}", globals, locals, fromlist or ("__name__",))
                return found if fromlist else sys.modules[f"{FOLDER}.{top(name)}"]
        return interpreters_import(name, globals, locals, fromlist, level)


def found_outside(name: str, folders: Sequence[str]) -> ModuleSpec:
    """The spec of a module on the path but in none of ``folders``; raises ModuleNotFoundError."""
    spec = find_spec(name, [entry for entry in sys.path if entry not in folders])
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return spec


def take_out(names: Iterable[str]) -> None:
    """Remove modules and their submodules from ``sys.modules``."""
    wanted = set(names)
    for name in list(sys.modules):
        if name.partition(".")[0] in wanted:
            del sys.modules[name]


@cache
def carried() -> Tuple[str, ...]:
    """Our own modules, all of which are loaded before the first script.

    They are remembered, for whoever looks at each name there is has a fork copy the pages of all of them.
    """
    return tuple(name for name in sys.modules if top(name) in CARRIED)


def folders_of(filename: str, root: str, paths: Sequence[str] = ()) -> List[str]:
    """Those of ``paths`` that are there; by default the script's own folder, then the root."""
    own = os.path.dirname(filename) if os.path.isabs(filename) else root
    return [path for path in paths if os.path.isdir(path)] or list(dict.fromkeys((own, root)))


def is_packaged(filename: str, folders: Sequence[str]) -> bool:
    """Whether a script is a module inside of packages: it lies right in none of the folders."""
    return os.path.isabs(filename) and os.path.dirname(filename) not in folders


def bring(name: str) -> ModuleType:
    """The module of that name, its packages imported first."""
    interpreters_import(name)
    return sys.modules[name]


def arrange(folders: Sequence[str], module: str, keep: Sequence[str], code: Optional[CodeType] = None) -> str:
    """Put the folders first and ours away. ``keep`` names modules that the folder must not replace.

    Returns the name under which the script's module can be found: ``module``, unless that is taken. With
    ``code``, its own, the script is to be imported inside of its packages.
    """
    name, module = module, module if code is None else top(module)
    finder = FolderFinder(folders, module, code)
    finder.shadow(keep)
    if finder.shadowed:
        builtins.__import__ = finder.import_here
    for own in carried():
        sys.modules.pop(own, None)
    sys.path[:] = [*finder.folders, *(entry for entry in sys.path if not carried_path(entry))]
    sys.meta_path.insert(0, finder)
    taken = module in finder.shadowed or module in sys.builtin_module_names or module in keep
    return f"{FOLDER}.{name}" if taken else name


def carried_path(entry: str) -> bool:
    """Whether a path entry is there only for our sake: our folder, unless it is an environment's own."""
    return not entry or (entry == INSTALLED and not INSTALLED.endswith(("site-packages", "dist-packages")))
