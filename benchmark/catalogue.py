"""What is registered, known without importing it.

Importing a method imports torch and Avalanche: ten seconds that ``list``, ``leaderboard`` and the checking of arguments
must not cost. So a subprocess imports the modules once and writes down what they register; the result is kept in the
user's cache folder until one of the files changes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs

from .errors import unknown
from .registry import METHODS, METRICS, SCENARIOS, Entry

METRIC_MODULES = ("lifegen.benchmark.measures", "lifegen.benchmark.derived")


@dataclass(frozen=True)
class Description:
    """A registered thing as tables, checks and the command line see it."""

    kind: str
    name: str
    version: int
    summary: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    """JSON schema of the ``Config``'s fields, by name, each with its default."""
    facts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """Why the module that should register it can't be imported; the other fields are then guesses."""


def describe(kind: str) -> dict[str, Description]:
    """Everything of one kind ("method", "scenario", "metric"), in the order of registration, by name."""
    return {entry.name: entry for entry in _catalogue() if entry.kind == kind}


def base_name(label: str) -> str:
    """A method's name from its label: without options and precision."""
    return label.partition(":")[0].partition(" ")[0]


def shown(label: str) -> str:
    """A method's label as tables and figures have it: a reconstruction says that it is one."""
    known = describe("method").get(base_name(label))
    return f"{label} (reconstruction)" if known and known.facts.get("reconstruction") else label


def describe_one(kind: str, name: str) -> Description:
    """One usable thing by name.

    Raises:
        InputError: it doesn't exist, or its module can't be imported.
    """
    from .errors import InputError

    known = describe(kind)
    if name not in known:
        raise unknown(kind, name, (entry.name for entry in known.values() if not entry.error))
    if error := known[name].error:
        raise InputError(f"{kind} {name!r} can't be used: importing {known[name].module} fails: {error}")
    return known[name]


@cache
def _catalogue() -> tuple[Description, ...]:
    modules = [*_modules("methods"), *_modules("scenarios"), *METRIC_MODULES]
    digest = _digest(modules)
    # One file an installation: two environments on one machine don't overwrite each other's.
    place = hashlib.sha256(str(_folder("benchmark")).encode()).hexdigest()[:12]
    file = platformdirs.user_cache_path("lifegen") / f"catalogue-{place}.json"
    try:
        cached = json.loads(file.read_text())
        if cached["digest"] == digest:
            return tuple(Description(**entry) for entry in cached["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no cache, or one of another version: made anew below
    entries = _describe_in_subprocess(modules)
    if any(entry.get("error") for entry in entries):  # its cause may be mended where the digest doesn't look
        return tuple(Description(**entry) for entry in entries)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as temporary:
            json.dump({"digest": digest, "entries": entries}, temporary)
        os.replace(temporary.name, file)
    except OSError:
        pass  # a read-only home only costs the time of describing again
    return tuple(Description(**entry) for entry in entries)


def _folder(package: str) -> Path:
    spec = find_spec(f"lifegen.{package}")
    if spec is None or spec.origin is None:
        raise ImportError(f"lifegen.{package} isn't installed; run `pip install -e .` in the project's folder")
    return Path(spec.origin).parent


def _modules(package: str) -> list[str]:
    """The modules of a package in which a file may register something: those whose name has no leading underscore."""
    files = sorted(_folder(package).glob("[!_]*.py"))
    return [f"lifegen.{package}.{file.stem}" for file in files]


def _digest(modules: Iterable[str]) -> str:
    """A hash of every file whose change may change a description."""
    benchmark = _folder("benchmark")
    metrics = [name.rpartition(".")[2] for name in METRIC_MODULES]
    names = ["catalogue", "registry", "options", "method", "stream", *metrics]
    files = [benchmark / f"{name}.py" for name in names]
    for package in ("methods", "scenarios"):
        files += sorted(_folder(package).rglob("*.py"))
    digest = hashlib.sha256("\n".join(modules).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _describe_in_subprocess(modules: list[str]) -> list[dict[str, Any]]:
    # The answer comes back in a file, since a module may print while it is imported.
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "entries.json")
        # -P: a torch.py in the current folder must not stand in for the library.
        command = [sys.executable, "-P", "-W", "ignore", "-m", __name__, str(answer), *modules]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"describing the registered methods failed:\n{done.stderr}")
        entries: list[dict[str, Any]] = json.loads(answer.read_text())
        return entries


def _describe_here(modules: Iterable[str]) -> list[Description]:
    """Import the modules and describe what they register. Runs in the subprocess."""
    failed = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken plug-in is a row in the list, never a crash
            package, _, name = module.rpartition(".")
            kind = {"lifegen.methods": "method", "lifegen.scenarios": "scenario"}.get(package, "metric")
            reason = f"{type(error).__name__}: {error}"
            failed.append(Description(kind, name.replace("_", "-"), 0, "", module, error=reason))
    registered = [_describe_entry(entry) for registry in (METHODS, SCENARIOS, METRICS) for entry in registry]
    return registered + failed


def _describe_entry(entry: Entry) -> Description:
    options = {} if entry.config is None else entry.config.model_json_schema()["properties"]
    return Description(
        entry.kind, entry.name, entry.version, entry.summary, entry.target.__module__, options, dict(entry.facts)
    )


if __name__ == "__main__":
    # As __main__ this file is a second copy of the module: the registries live in the imported one.
    Path(sys.argv[1]).write_text(json.dumps([asdict(entry) for entry in _describe_here(sys.argv[2:])]))
