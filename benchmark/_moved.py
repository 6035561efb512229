"""Old import paths: stored plug-in texts and authors' files go on naming modules by where they once were.

A cell's record keeps the text of a plug-in file, which is run again on resume and by ``load_model``. So an old path is
data: it resolves to the same module object as the new one, or, where a module was split, to a module that takes its
names from the modules that have them now.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WHOLE: Mapping[str, str] = {}
"""New path of each module that moved in one piece, by its old path."""

SPLIT: dict[str, Sequence[str]] = {}
"""Paths of the modules that have its names now, of each module that was split, by its old path."""


PACKAGES: dict[str, Sequence[str]] = {}
"""The same for modules whose old path is that of a package now."""


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in WHOLE:
            return ModuleSpec(name, _SameModule())
        if name in SPLIT:
            return ModuleSpec(name, _SplitModule())
        return None


class _SameModule(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(WHOLE[spec.name])
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the old path's in its place


class _SplitModule(Loader):
    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = partial(attribute, module.__name__)


def attribute(old: str, name: str) -> Any:
    """A name of a module that was split, or that is a package now.

    Raises:
        AttributeError: the module never had it.
    """
    for home in () if name.startswith("__") else map(import_module, (SPLIT | PACKAGES)[old]):
        if name in vars(home):
            return vars(home)[name]
    raise AttributeError(f"module {old!r} has no attribute {name!r}")


def install() -> None:
    """Let old paths be imported in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # first: below an old package the new one's files would be found again
