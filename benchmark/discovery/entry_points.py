"""Who provides methods, scenarios and metrics: lifegen itself, and installed packages by their entry points. No torch.

A package names, in its ``pyproject.toml``, the modules whose import registers something:

    [project.entry-points."lifegen.methods"]
    my-method = "my_package.my_method"
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

KINDS = {"lifegen.methods": "method", "lifegen.scenarios": "scenario", "lifegen.metrics": "metric"}
"""What the modules of each group of entry points register."""
_METRICS = tuple(f"lifegen.benchmark.measuring.{name}" for name in ("bounds", "codes", "costs", "derived"))


@dataclass(frozen=True)
class SourceModule:
    """A module that registers something when it is imported."""

    kind: str
    module: str
    provider: str = "lifegen"
    """The installed distribution that it comes with."""
    version: str = ""
    """The distribution's."""
    name: str = ""
    """What the package calls it: all that is known of a module that can't be imported."""
    attribute: str = ""
    """What is to be in the module."""


def provided() -> list[SourceModule]:
    """All modules that register something: lifegen's own first."""
    own = [SourceModule(KINDS[f"lifegen.{package}"], module, name=module.rpartition(".")[2].replace("_", "-"))
           for package in ("methods", "scenarios") for module in _modules(package)]  # fmt: skip
    return [*own, *(SourceModule("metric", module) for module in _METRICS), *_installed()]


def _installed() -> list[SourceModule]:
    """What other packages provide, in the order of their names."""
    found = [_from(kind, point) for group, kind in KINDS.items() for point in entry_points(group=group)]
    return sorted(set(found), key=lambda one: (one.provider, one.kind, one.name))  # once, however often it is installed


def _from(kind: str, point: EntryPoint) -> SourceModule:
    provider, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    # A distribution may be broken, and have no metadata.
    return SourceModule(kind, point.module, provider or "unknown", version or "unknown", point.name, point.attr)


def folder_of(package: str) -> Path:
    """The folder of one of lifegen's packages, such as "methods"."""
    spec = find_spec(f"lifegen.{package}")
    if spec is None or spec.origin is None:
        raise ImportError(f"lifegen.{package} isn't installed; run `pip install -e .` in the project's folder")
    return Path(spec.origin).parent


def _modules(package: str) -> list[str]:
    """The modules of a package in which a file may register something: those whose name has no leading underscore."""
    return [f"lifegen.{package}.{file.stem}" for file in sorted(folder_of(package).glob("[!_]*.py"))]


def digest_of(modules: Sequence[SourceModule]) -> str:
    """A hash of all whose change may change what modules register. None of them is imported."""
    benchmark = folder_of("benchmark")
    folders = [benchmark / name for name in ("contracts", "discovery", "measuring", "training")]
    folders += [folder_of(package) for package in ("methods", "scenarios")]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    digest = hashlib.sha256("\n".join(map(repr, modules)).encode())
    for file in files:
        digest.update(file.read_bytes())
    for package in sorted({one.module.partition(".")[0] for one in modules} - {"lifegen"}):
        for file in _files(package):  # a research repository may be large: not what is in them
            status = file.stat()
            digest.update(f"{file} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _files(package: str) -> Iterator[Path]:
    """The Python files of an installed package, or of a module that is one file."""
    try:
        spec: ModuleSpec | None = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return
    for folder in spec.submodule_search_locations or ():
        yield from sorted(Path(folder).rglob("*.py"))
    if spec.origin and spec.submodule_search_locations is None:
        yield Path(spec.origin)
