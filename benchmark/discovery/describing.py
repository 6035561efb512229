"""Imports of modules and files in another process, which lists what they register.

Importing a method imports torch and Avalanche, which costs ten seconds, and an extension's import may do anything.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, replace
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

from ..contracts.options import schemas_of
from ..contracts.registry import REGISTRIES, DuplicateError, Entry
from ..environment import home_for_avalanche, own_environment
from ..errors import InputError
from .entry_points import SourceModule
from .index_entry import IndexEntry
from .plugin_file import PluginFile

_PATIENCE = 300
"""Seconds that importing everything may take: a machine may be busy, an extension may hang."""


class OwnError(Exception):
    """Some of lifegen's own modules can't be imported."""

    def __init__(self, kinds: Iterable[str], reason: str) -> None:
        super().__init__(reason)
        self.kinds = list(kinds)


def describe_file_elsewhere(file: PluginFile) -> list[dict[str, Any]]:
    from pebble import ProcessExpired

    from ..processes import pool  # its server imports torch once, also for the cells that run later

    try:
        with pool(1) as processes:
            described = processes.schedule(describe_file_here, file, timeout=_PATIENCE)
            entries: list[dict[str, Any]] = processes.result(described, 2 * _PATIENCE)
    except (ProcessExpired, TimeoutError) as error:
        raise InputError(f"{file.name} can't be run: it ends Python or takes too long: {error}") from None
    except (BrokenExecutor, OSError, EOFError) as error:
        reason = f"{type(error).__name__} {error}".strip()
        raise InputError(f"{file.name} can't be run: no process can be started for it ({reason})") from None
    return entries


def describe_file_here(file: PluginFile) -> list[dict[str, Any]]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # a file may print when it is run
            return [asdict(_describe_entry(entry)) for entry in file.load()]
    except (Exception, SystemExit) as error:  # a library's exception may not survive pickling
        text = str(error) if isinstance(error, InputError) else f"{file.name}: {type(error).__name__}: {error}"
        raise InputError(text) from None


class _EndedError(RuntimeError):
    """The process that imports modules ended without an answer."""

    def __init__(self, reason: str, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


def describe_safely(modules: Sequence[SourceModule]) -> list[dict[str, Any]]:
    """Describe what the modules register, even if the import of another package's module ends Python.

    Raises:
        OwnError: the import of lifegen's own modules ends Python.
    """
    usable = [module for module in modules if module.provider == "lifegen"]
    others = [module for module in modules if module.provider != "lifegen"]
    failed: list[dict[str, Any]] = []
    if others:
        with contextlib.suppress(_EndedError):
            return describe_in_subprocess(modules)
    for provider in dict.fromkeys(module.provider for module in others):
        own = [module for module in others if module.provider == provider]
        try:
            describe_in_subprocess(own)
            usable += own
        except _EndedError as error:
            reason = f"importing {', '.join(module.module for module in own)}: {error}"
            failed += [asdict(_failure(module, module.name, reason, error.passing)) for module in own]
    try:
        return describe_in_subprocess(usable) + failed
    except _EndedError as error:
        raise OwnError(REGISTRIES, str(error)) from None


def describe_in_subprocess(modules: Iterable[SourceModule]) -> list[dict[str, Any]]:
    # -P: a torch.py in the current folder must not stand in for the library.
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__]
    request = json.dumps([asdict(module) for module in modules])
    try:
        done = subprocess.run(
            command,
            input=request,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
            errors="replace",
            env=own_environment(),
        )
        if done.returncode:
            reason = f"Python ended with exit code {done.returncode}: {done.stderr.strip()[-2000:]}"
            raise _EndedError(reason, passing=done.returncode < 0)
        entries: list[dict[str, Any]] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise _EndedError(f"it takes more than {_PATIENCE} s", passing=False) from None
    except (OSError, ValueError) as error:
        raise _EndedError(f"{type(error).__name__}: {error}", passing=True) from None
    return entries


def describe_here(modules: Sequence[SourceModule]) -> list[IndexEntry]:
    """Import the modules and describe what they register. Runs in the subprocess."""
    found: dict[tuple[str, str], IndexEntry] = {}
    failed = []
    for module in modules:
        name, reason, passing = module.name or module.module.rpartition(".")[2], "", False
        try:
            imported = importlib.import_module(module.module)
            if module.attribute and not hasattr(imported, module.attribute):
                reason = f"{module.module} has no {module.attribute}"
        except DuplicateError as error:
            name, reason = error.name, str(error)
            if (other := found.get((module.kind, name))) and other.provider != "lifegen":
                found[module.kind, name] = replace(other, error=reason)  # neither of the two packages takes precedence
        except (Exception, SystemExit) as error:  # a broken extension is a row in the list, never a crash
            reason = f"importing {module.module} fails: {type(error).__name__}: {error}"
            passing = _may_pass(error)
        for registry in REGISTRIES.values():
            # A failed module's own entries can't be used; those of modules that it had imported can.
            registry.forget_unfinished()
            for entry in registry:
                if (entry.kind, entry.name) not in found:
                    found[entry.kind, entry.name] = _described(entry, _home(entry, module, modules))
        provided = {kind for (kind, _), entry in found.items() if entry.provider == module.provider}
        if module.provider != "lifegen" and module.kind not in provided:
            reason = reason or f"{module.module} registers no {module.kind}"
        if reason:
            failed.append(_failure(module, name, reason, passing))
    return [*found.values(), *failed]


def _home(entry: Entry, imported: SourceModule, modules: Iterable[SourceModule]) -> SourceModule:
    """Return the listed module that an entry belongs to: a package that imports another one's methods doesn't provide
    them."""

    def likeness(module: SourceModule) -> tuple[bool, bool]:
        return module.module == entry.module, module.module.partition(".")[0] == entry.module.partition(".")[0]

    return max([imported, *modules], key=likeness)  # the first of several with the same likeness


def _may_pass(error: BaseException | None) -> bool:
    """Whether a failed import may succeed next time with the same code: memory, a thread or a file was missing."""
    while error is not None:
        is_library = isinstance(error, ImportError) and str(error.path).endswith(tuple(EXTENSION_SUFFIXES))
        if is_library or isinstance(error, MemoryError | OSError) or type(error) is RuntimeError:
            return True
        error = error.__cause__ or error.__context__
    return False


def _failure(module: SourceModule, name: str, reason: str, passing: bool = False) -> IndexEntry:
    return IndexEntry(
        module.kind, name, 0, "", module.module, error=reason, passing=passing, origin=module.module,
        provider=module.provider, provider_version=module.version,
    )  # fmt: skip


def _described(entry: Entry, home: SourceModule) -> IndexEntry:
    """Describe an entry of an installed package, or say why that fails."""
    try:
        description = _describe_entry(entry)
    except Exception as error:
        reason = f"the options of {entry.origin} can't be described: {type(error).__name__}: {error}"
        description = replace(_failure(home, entry.name, reason), kind=entry.kind, origin=entry.origin)
    return replace(description, provider=home.provider, provider_version=home.version)


def _describe_entry(entry: Entry) -> IndexEntry:
    options = {} if entry.config is None else schemas_of(entry.config)
    return IndexEntry(
        entry.kind, entry.name, entry.version, entry.summary, entry.module, options, dict(entry.facts),
        origin=entry.origin, details=entry.details,
    )  # fmt: skip


if __name__ == "__main__":
    # Only the answer goes to the output: modules may print while they are imported.
    answer = os.dup(1)
    os.dup2(2, 1)
    # As __main__ this file is a second copy of the module: the registries live in the imported one.
    requested = [SourceModule(**module) for module in json.load(sys.stdin)]
    with home_for_avalanche(), open(answer, "w", encoding="utf-8") as output:
        json.dump([asdict(entry) for entry in describe_here(requested)], output)
