"""lifegen compares lifelong generative models: ``lifegen.benchmark`` has what you need.

Installed, this file is the package ``lifegen`` itself, around the three folders.
"""

from importlib import import_module
from typing import Any

_FOLDERS = ("benchmark", "methods", "scenarios")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lifegen")
    if name in _FOLDERS:
        return import_module(f"lifegen.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", *_FOLDERS]
