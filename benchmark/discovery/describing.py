"""Importing modules and files in another process, to write down what they register.

Importing a method imports torch and Avalanche, which costs ten seconds, and a plug-in's import may do anything.
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
"""Seconds that importing everything may take: a machine may be busy, a plug-in may hang."""


class OwnError(Exception):
    """Some of lifegen's own modules can't be imported."""

    def __init__(self, kinds: Iterable[str], reason: str) -> None:
        super().__init__(reason)
        self.kinds = list(kinds)


def describe_file_elsewhere(file: PluginFile) -> list[dict[str, Any]]:
    from pebble import ProcessExpired

    from ..processes import pool  # its processes have imported torch, and run cells afterwards: that is done once

    try:
        with pool(1) as processes:
            described = processes.schedule(describe_file_here, args=[file], timeout=_PATIENCE)
            entries: list[dict[str, Any]] = described.result(2 * _PATIENCE)  # a process may never begin
    except (ProcessExpired, TimeoutError) as error:
        raise InputError(f"{file.name} ends Python, or never ends, when it is run: {error}") from None
    except (BrokenExecutor, OSError, EOFError) as error:
        reason = f"{type(error).__name__} {error}".strip()
        raise InputError(f"{file.name} can't be run: no process can be started for it ({reason})") from None
    return entries


def describe_file_here(file: PluginFile) -> list[dict[str, Any]]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # a file may print when it is run
            return [asdict(_describe_entry(entry)) for entry in file.load()]
    except (Exception, SystemExit) as error:  # what a library raises may not survive the way back to the command
        text = str(error) if isinstance(error, InputError) else f"{file.name}: {type(error).__name__}: {error}"
        raise InputError(text) from None


class _EndedError(RuntimeError):
    """The process that was to import modules has said nothing."""

    def __init__(self, reason: str, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


def describe_safely(modules: Sequence[SourceModule]) -> list[dict[str, Any]]:
    """What the modules register, also where importing one of another package's ends Python.

    Raises:
        OwnError: importing lifegen's own does.
    """
    usable = [module for module in modules if module.provider == "lifegen"]
    others = [module for module in modules if module.provider != "lifegen"]
    failed: list[dict[str, Any]] = []
    if others:
        with contextlib.suppress(_EndedError):
            return describe_in_subprocess(modules)
    for provider in dict.fromkeys(module.provider for module in others):
        its = [module for module in others if module.provider == provider]
        try:
            describe_in_subprocess(its)
            usable += its
        except _EndedError as error:
            reason = f"importing {', '.join(module.module for module in its)}: {error}"
            failed += [asdict(_failure(module, module.name, reason, error.passing)) for module in its]
    try:
        return describe_in_subprocess(usable) + failed
    except _EndedError as error:
        raise OwnError(REGISTRIES, str(error)) from None


def describe_in_subprocess(modules: Iterable[SourceModule]) -> list[dict[str, Any]]:
    # -P: a torch.py in the current folder must not stand in for the library.
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__]
    asked = json.dumps([asdict(module) for module in modules])
    try:
        done = subprocess.run(
            command,
            input=asked,
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
                found[module.kind, name] = replace(other, error=reason)  # neither of two packages is the right one
        except (Exception, SystemExit) as error:  # a broken plug-in is a row in the list, never a crash
            reason = f"importing {module.module} fails: {type(error).__name__}: {error}"
            passing = _may_pass(error)
        for registry in REGISTRIES.values():
            # What a module has registered before it failed can't be used; what it had imported by then, can.
            registry.forget_unfinished()
            for entry in registry:
                if (entry.kind, entry.name) not in found:
                    found[entry.kind, entry.name] = _described(entry, _home(entry, module, modules))
        provided = {kind for (kind, _), one in found.items() if one.provider == module.provider}
        if module.provider != "lifegen" and module.kind not in provided:
            reason = reason or f"{module.module} registers no {module.kind}"
        if reason:
            failed.append(_failure(module, name, reason, passing))
    return [*found.values(), *failed]


def _home(entry: Entry, imported: SourceModule, modules: Iterable[SourceModule]) -> SourceModule:
    """The module of the list that a registered thing belongs to: a package that imports another one's methods doesn't
    provide them."""

    def likeness(one: SourceModule) -> tuple[bool, bool]:
        return one.module == entry.module, one.module.partition(".")[0] == entry.module.partition(".")[0]

    return max([imported, *modules], key=likeness)  # the first of those that are as like


def _may_pass(error: BaseException | None) -> bool:
    """Whether an import that failed may succeed the next time, although no code has changed: for want of memory, of a
    thread, of a file."""
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
    """A registered thing of an installed package, or why it can't be described."""
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
        origin=entry.origin,
    )  # fmt: skip


if __name__ == "__main__":
    # The answer is all that stands on the output: modules may print while they are imported.
    answer = os.dup(1)
    os.dup2(2, 1)
    # As __main__ this file is a second copy of the module: the registries live in the imported one.
    asked = [SourceModule(**module) for module in json.load(sys.stdin)]
    with home_for_avalanche(), open(answer, "w") as output:
        json.dump([asdict(entry) for entry in describe_here(asked)], output)
