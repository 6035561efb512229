"""The methods, one file each. A new file that registers a method is on the leaderboard; no other file is edited."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import lifegen.benchmark  # noqa: F401  (lets old import paths be imported)


def __dir__() -> list[str]:
    return [module.name for module in iter_modules(__path__)]


def __getattr__(name: str) -> ModuleType:
    if name in __dir__():
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
