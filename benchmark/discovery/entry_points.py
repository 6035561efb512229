"""The source modules of methods, scenarios and metrics: lifegen's own, and those of installed packages' entry points.

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
"""The kind of thing that each group of entry points registers."""
_METRICS = tuple(
    f"lifegen.benchmark.measuring.{name}"
    for name in ("bounds", "codes", "costs", "derived", "latents", "sample_metrics", "traces")
)


@dataclass(frozen=True)
class SourceModule:
    """A module that registers something when it is imported."""

    kind: str
    module: str
    provider: str = "lifegen"
    """The installed distribution that it belongs to."""
    version: str = ""
    """The distribution's version."""
    name: str = ""
    """The package's name for it, which also serves if the module can't be imported."""
    attribute: str = ""
    """A name that the module must have."""


def provided() -> list[SourceModule]:
    """List all modules that register something, lifegen's own first."""
    own = [SourceModule(KINDS[f"lifegen.{package}"], module, name=module.rpartition(".")[2].replace("_", "-"))
           for package in ("methods", "scenarios") for module in _modules(package)]  # fmt: skip
    return [*own, *(SourceModule("metric", module) for module in _METRICS), *_installed()]


def _installed() -> list[SourceModule]:
    """List the source modules of other packages, sorted by package; a package that is installed twice counts once."""
    modules = {_from(kind, point) for group, kind in KINDS.items() for point in entry_points(group=group)}
    return sorted(modules, key=lambda module: (module.provider, module.kind, module.name))


def _from(kind: str, point: EntryPoint) -> SourceModule:
    provider, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    # A broken distribution has no metadata.
    return SourceModule(kind, point.module, provider or "unknown", version or "unknown", point.name, point.attr)


def folder_of(package: str) -> Path:
    """Return the folder of one of lifegen's packages, such as "methods"."""
    spec = find_spec(f"lifegen.{package}")
    if spec is None or spec.origin is None:
        raise ImportError(f"lifegen.{package} isn't installed; run `pip install -e .` in the project's folder")
    return Path(spec.origin).parent


def _modules(package: str) -> list[str]:
    """List a package's modules that may register something: those without a leading underscore."""
    return [f"lifegen.{package}.{file.stem}" for file in sorted(folder_of(package).glob("[!_]*.py"))]


def digest_of(modules: Sequence[SourceModule]) -> str:
    """Hash everything that decides what modules register, without importing it."""
    benchmark = folder_of("benchmark")
    folders = [benchmark / name for name in ("contracts", "discovery", "measuring", "training")]
    folders += [folder_of(package) for package in ("methods", "scenarios")]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    digest = hashlib.sha256("\n".join(map(repr, modules)).encode())
    for file in files:
        digest.update(file.read_bytes())
    for package in sorted({module.module.partition(".")[0] for module in modules} - {"lifegen"}):
        for file in _files(package):  # sizes and times only: a research repository may be large
            status = file.stat()
            digest.update(f"{file} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _files(package: str) -> Iterator[Path]:
    """List the Python files of an installed package, or of a module that is one file."""
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
