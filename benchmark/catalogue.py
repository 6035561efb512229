"""What is registered, known without importing it.

Importing a method imports torch and Avalanche: ten seconds that ``list``, ``leaderboard`` and the checking of arguments
must not cost. So a subprocess imports the modules once and writes down what they register; the result is kept in the
user's cache folder until one of the files changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from .errors import InputError, unknown
from .plugin_file import PluginFile
from .providers import Provided, digest_of, folder_of
from .providers import provided as all_provided
from .registry import REGISTRIES, DuplicateError, Entry

_FILE = re.compile(r"(?P<file>[^:]*\.py)(:(?P<thing>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?=:|$))?(:(?P<rest>.*))?", re.DOTALL)
"""``file.py``, ``file.py:Class``, and either with ``:option=value,...``"""
_FILES_KEPT = 50
_FAILURES_KEPT = 600
"""Seconds for which what can't be used isn't looked at again."""
_PATIENCE = 300
"""Seconds that importing everything may take: a machine may be busy, a plug-in may hang."""


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
    """Why it can't be used; the other fields are then guesses."""
    origin: str = ""
    """``package.module.Class``, or ``file.py:Class``"""
    provider: str = "lifegen"
    """The installed package that it comes with, or the name of its file."""
    provider_version: str = ""
    """The package's, or the digest of the file's text."""
    file: PluginFile | None = None
    """The file that it is, if it isn't installed."""

    def entry(self) -> Entry:
        """Import it, and return its entry in the registry.

        Raises:
            InputError: its file can't be run.
        """
        if self.file:
            return next(entry for entry in self.file.load() if (entry.kind, entry.name) == (self.kind, self.name))
        importlib.import_module(self.module)
        return REGISTRIES[self.kind][self.name]


def describe(kind: str) -> dict[str, Description]:
    """Everything of one kind ("method", "scenario", "metric") that is installed, in the order of registration, by name.

    What can't be used is last, and named after its package where a usable thing has its name.
    """
    found: dict[str, Description] = {}
    for entry in _catalogue():
        if entry.kind == kind:
            found[entry.name if entry.name not in found else f"{entry.name} ({entry.provider})"] = entry
    return found


_learned: dict[str, Description] = {}


def learn_metrics(told: Mapping[str, Any]) -> None:
    """Keep what the record of a cell, or a published folder, says of metrics that needn't be installed here.

    Args:
        told: by name, each with ``name`` and ``version`` of its provider, and ``facts``.
    """
    for name, one in told.items():
        facts = {key: one["facts"].get(key) for key in ("unit", "better", "over_intervals", "derived", "most")}
        known = Description(
            "metric", str(name), 0, "", "", facts=facts, provider=one["name"], provider_version=one["version"]
        )
        if (
            isinstance(facts["unit"], str)
            and facts["better"] in (None, "lower", "higher")
            and facts["over_intervals"] in ("last", "sum", "max")
            and (facts["most"] is None or isinstance(facts["most"], int | float))
        ):
            _learned[name] = known


def describe_metrics() -> dict[str, Description]:
    """The installed metrics, and those that :func:`learn_metrics` was told of: for whoever reads results."""
    installed = {name: one for name, one in describe("metric").items() if not one.error}
    return _learned | installed


@cache
def load_derived_metrics() -> None:
    """Import the derived metrics of other packages, for whoever derives them."""
    for one in describe("metric").values():
        if one.facts.get("derived") and one.provider != "lifegen" and not one.error:
            one.entry()


def base_name(label: str) -> str:
    """A method's name from its label: without options and precision."""
    return label.partition(":")[0].partition(" ")[0]


def shown(label: str) -> str:
    """A method's label as tables and figures have it: a reconstruction says that it is one."""
    known = describe("method").get(base_name(label))
    return f"{label} (reconstruction)" if known and known.facts.get("reconstruction") else label


def find(kind: str, text: str) -> tuple[Description, str]:
    """What ``NAME:option=value,...`` or ``file.py[:Class]:option=value,...`` names, and the options as text.

    Raises:
        InputError: it doesn't exist, or can't be used.
    """
    if named := file_in(text):
        path, thing, rest = named
        return describe_file(PluginFile.read(path), kind, thing), rest
    name, _, rest = text.partition(":")
    return describe_one(kind, name), rest


def file_in(text: str) -> tuple[str, str | None, str] | None:
    """File, class and options of ``file.py[:Class][:option=value,...]``; None if it names no file."""
    match = _FILE.fullmatch(text)
    return (match["file"], match["thing"], match["rest"] or "") if match else None


def describe_one(kind: str, name: str) -> Description:
    """One usable thing by name.

    Raises:
        InputError: it doesn't exist, or can't be used.
    """
    known = describe(kind)
    if name not in known:
        names = (entry.name for entry in known.values() if not entry.error)
        hint = f" A file of yours ends in .py: {name}.py" if os.path.isfile(f"{name}.py") else ""
        raise InputError(f"{unknown(kind, name, names)}{hint}")
    if error := known[name].error:
        raise InputError(f"{kind} {name!r} can't be used: {error}")
    return known[name]


def describe_file(file: PluginFile, kind: str, thing: str | None = None) -> Description:
    """What a file registers.

    Args:
        file: the file.
        kind: "method", "scenario" or "metric".
        thing: the class or function, or the name that it is registered under; None if there is one only.

    Raises:
        InputError: the file can't be run, doesn't register such a thing, or has the name of what is installed.
    """
    found = _described_file(file)
    those = [entry for entry in found if entry.kind == kind]
    if not those:
        others = ", ".join(f"{entry.kind} {entry.name}" for entry in found) or "nothing"
        raise InputError(f"{file.name} registers no {kind}, but {others}; @register_{kind}(...) above it does")
    names = {entry.origin.rpartition(":")[2]: entry for entry in those} | {entry.name: entry for entry in those}
    if thing is not None and thing not in names:
        raise unknown(f"{kind} in {file.name}:", thing, names)
    if thing is None and len(those) > 1:
        ways = ", ".join(f"{file.name}:{entry.origin.rpartition(':')[2]}" for entry in those)
        raise InputError(f"{file.name} registers {len(those)} {kind}s: say which, {ways}")
    entry = those[0] if thing is None else names[thing]
    if (installed := describe(kind).get(entry.name)) and not installed.error:
        raise InputError(str(DuplicateError(kind, entry.name, installed.origin, entry.origin)))
    return entry


def plug_in_metrics(files: Iterable[PluginFile] = ()) -> tuple[Description, ...]:
    """The metrics that aren't lifegen's own: those of installed packages, and all of some files.

    Raises:
        InputError: a file can't be run, registers none, or has the name of what is installed.
    """
    found = [one for one in describe("metric").values() if one.provider != "lifegen" and not one.error]
    for file in dict.fromkeys(files):
        if derived := [one.name for one in _described_file(file) if one.kind == "metric" and one.facts["derived"]]:
            raise InputError(
                f"{file.name}: {', '.join(derived)} is derived from stored numbers whenever they are read: that takes"
                " an installed package (`lifegen new-metric NAME --package`)"
            )
        names = [one.name for one in _described_file(file) if one.kind == "metric"]
        found += [describe_file(file, "metric", name) for name in names] or [describe_file(file, "metric")]
    by_name: dict[str, Description] = {}
    for one in found:
        if (other := by_name.setdefault(one.name, one)) != one:
            raise InputError(str(DuplicateError("metric", one.name, other.origin, one.origin)))
    return tuple(found)


@cache
def _described_file(file: PluginFile) -> tuple[Description, ...]:
    """All that a file registers: its own cache keeps those of the newest files."""
    if file.is_loaded:
        return _of_file(file, _describe_file_here(file))
    store = _cache_file("files")
    key = f"{file.digest} {_digest()}"
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(store.read_text())
    try:
        return _of_file(file, known[key])
    except (LookupError, TypeError):
        from pebble import ProcessExpired

        from .pool import pool  # its processes have imported torch, and run cells afterwards: that is done once

        with pool(1) as processes:
            try:
                entries = processes.schedule(_describe_file_here, args=[file], timeout=_PATIENCE).result()
            except (ProcessExpired, TimeoutError) as error:
                raise InputError(f"{file.name} ends Python, or never ends, when it is run: {error}") from None
        _keep(store, dict([*known.items(), (key, entries)][-_FILES_KEPT:]))
        return _of_file(file, entries)


def _of_file(file: PluginFile, entries: Iterable[Mapping[str, Any]]) -> tuple[Description, ...]:
    known = {"file": file, "provider": file.name, "provider_version": file.digest}
    return tuple(Description(**{**entry, **known}) for entry in entries)


def _describe_file_here(file: PluginFile) -> list[dict[str, Any]]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # a file may print when it is run
            return [asdict(_describe_entry(entry)) for entry in file.load()]
    except (Exception, SystemExit) as error:  # what a library raises may not survive the way back to the command
        text = str(error) if isinstance(error, InputError) else f"{file.name}: {type(error).__name__}: {error}"
        raise InputError(text) from None


@cache
def _provided() -> tuple[Provided, ...]:
    return tuple(all_provided())


@cache
def _digest() -> str:
    return digest_of(_provided())


def forget_failures() -> None:
    """Look again at what couldn't be used when it was last looked at."""
    file = _cache_file("catalogue")
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        if any(entry.get("error") for entry in json.loads(file.read_text())["entries"]):
            file.unlink()


@cache
def _catalogue() -> tuple[Description, ...]:
    digest = _digest()
    file = _cache_file("catalogue")
    try:
        cached = json.loads(file.read_text())
        # What couldn't be used may be mended where the digest doesn't look, such as by a library that is installed.
        is_new = time.time() - cached["at"] < _FAILURES_KEPT
        if cached["digest"] == digest and (is_new or not any(entry.get("error") for entry in cached["entries"])):
            return tuple(Description(**entry) for entry in cached["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no cache, or one of another version: made anew below
    entries = _describe_safely(_provided())
    _keep(file, {"digest": digest, "at": time.time(), "entries": entries})
    return tuple(Description(**entry) for entry in entries)


def _cache_file(name: str) -> Path:
    # One file an installation: two environments on one machine don't overwrite each other's.
    place = hashlib.sha256(f"{folder_of('benchmark')} {sys.prefix}".encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("lifegen") / f"{name}-{place}.json"


def _keep(file: Path, content: Mapping[str, Any]) -> None:
    """Replace a cache file; a read-only home only costs the time of describing again."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as temporary:
            json.dump(content, temporary)
        os.replace(temporary.name, file)


def _describe_safely(modules: Iterable[Provided]) -> list[dict[str, Any]]:
    """What the modules register, also where importing one of another package's ends Python."""
    try:
        return _describe_in_subprocess(modules)
    except RuntimeError:
        usable = [module for module in modules if module.provider == "lifegen"]
        others = [module for module in modules if module.provider != "lifegen"]
        if not others:
            raise
    failed = []
    for provider in dict.fromkeys(module.provider for module in others):
        its = [module for module in others if module.provider == provider]
        try:
            _describe_in_subprocess(its)
            usable += its
        except RuntimeError as error:
            failed += [asdict(_failure(module, module.name, f"importing {module.module}: {error}")) for module in its]
    return _describe_in_subprocess(usable) + failed


def _describe_in_subprocess(modules: Iterable[Provided]) -> list[dict[str, Any]]:
    # The answer comes back in a file, since a module may print while it is imported.
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "entries.json")
        asked = json.dumps([asdict(module) for module in modules])
        # -P: a torch.py in the current folder must not stand in for the library.
        command = [sys.executable, "-P", "-W", "ignore", "-m", __name__, str(answer), asked]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it takes more than {_PATIENCE} s") from None
        if done.returncode:
            raise RuntimeError(f"Python ended with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
        entries: list[dict[str, Any]] = json.loads(answer.read_text())
        return entries


def _describe_here(modules: Iterable[Provided]) -> list[Description]:
    """Import the modules and describe what they register. Runs in the subprocess."""
    found: dict[tuple[str, str], Description] = {}
    failed = []
    for module in modules:
        name, reason = module.name or module.module.rpartition(".")[2], ""
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
        for registry in REGISTRIES.values():
            # What a module has registered before it failed can't be used; what it had imported by then, can.
            registry.keep(entry.name for entry in registry if entry.target.__module__ in sys.modules)
            for entry in registry:
                if (entry.kind, entry.name) not in found:
                    found[entry.kind, entry.name] = replace(
                        _describe_entry(entry), provider=module.provider, provider_version=module.version
                    )
        provided = {kind for (kind, _), one in found.items() if one.provider == module.provider}
        if module.provider != "lifegen" and module.kind not in provided:
            reason = reason or f"{module.module} registers no {module.kind}"
        if reason:
            failed.append(_failure(module, name, reason))
    return [*found.values(), *failed]


def _failure(module: Provided, name: str, reason: str) -> Description:
    return Description(
        module.kind, name, 0, "", module.module, error=reason, origin=module.module,
        provider=module.provider, provider_version=module.version,
    )  # fmt: skip


def _describe_entry(entry: Entry) -> Description:
    options = {} if entry.config is None else entry.config.model_json_schema()["properties"]
    module = entry.target.__module__
    return Description(
        entry.kind, entry.name, entry.version, entry.summary, module, options, dict(entry.facts), origin=entry.origin
    )


if __name__ == "__main__":
    # As __main__ this file is a second copy of the module: the registries live in the imported one.
    asked = [Provided(**module) for module in json.loads(sys.argv[2])]
    Path(sys.argv[1]).write_text(json.dumps([asdict(entry) for entry in _describe_here(asked)]))
