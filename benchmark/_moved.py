"""Old import paths: stored plug-in texts and authors' files go on naming modules by where they once were.

A cell's record keeps the text of a plug-in file, which is run again on resume and by ``load_model``. So an old path is
data: it resolves to the *same* module object as the new one, or, where a module was split, to a module that has the
same names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WHOLE: Mapping[str, str] = {}
"""New path of each module that moved in one piece, by its old path."""

SPLIT: Mapping[str, Mapping[str, Sequence[str]]] = {}
"""Names by new path, of each module that was split, by its old path."""


class _Finder(MetaPathFinder):
    """Finds modules by the paths that they once had."""

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
        homes = {name: home for home, names in SPLIT[module.__name__].items() for name in names}

        def getter(name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(import_module(homes[name]), name)

        module.__dict__.update(__getattr__=getter, __all__=list(homes))


def install() -> None:
    """Let old paths be imported in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
