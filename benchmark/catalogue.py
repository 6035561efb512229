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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import platformdirs

from .errors import InputError, unknown
from .options import schemas_of
from .plugin_file import PluginFile, expanded
from .providers import Provided, digest_of, folder_of
from .providers import provided as all_provided
from .registry import REGISTRIES, DuplicateError, Entry

_END_OF_FILE = re.compile(r"\.py(?=:|\Z)")
_OPTION = re.compile(r":\s*[^\W\d]\w*\s*=")
_BEHIND_FILE = re.compile(
    rf"(:(?P<thing>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?<!\.py)(?=:|\Z))?((?={_OPTION.pattern}|:\Z):(?P<rest>.*))?", re.DOTALL
)
"""``:Class``, ``:option=value,...``, both, or neither"""
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
    passing: bool = False
    """Whether the error may be gone at the next look, as too little memory may."""
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
            InputError: its file can't be run, or its module can't be imported.
        """
        if self.file:
            return next(entry for entry in self.file.load() if (entry.kind, entry.name) == (self.kind, self.name))
        try:
            importlib.import_module(self.module)
        except Exception as error:
            reason = f"importing {self.module} fails: {type(error).__name__}: {error}"
            raise InputError(f"{self.kind} {self.name!r} can't be used: {reason}") from error
        return REGISTRIES[self.kind][self.name]


class _OwnError(Exception):
    """Some of lifegen's own modules can't be imported."""

    def __init__(self, kinds: Iterable[str], reason: str) -> None:
        super().__init__(reason)
        self.kinds = list(kinds)


def describe(kind: str) -> dict[str, Description]:
    """Everything of one kind ("method", "scenario", "metric") that is installed, in the order of registration, by name.

    Things of other packages that can't be used are last, and named after their package where a usable thing has their
    name.

    Raises:
        InputError: some of lifegen's own can't be imported. Nothing can be concluded from the others alone, and the
            reason may be gone a moment later.
    """
    found: dict[str, Description] = {}
    try:
        known = _catalogue()
    except _OwnError as error:
        broken = kind if kind in error.kinds else error.kinds[0]
        hint = "nothing of this is kept: the same command looks again"
        raise InputError(f"lifegen's own {broken}s can't be imported: {error}; {hint}") from None
    for entry in known:
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
    """File, class and options of ``file.py[:Class][:option=value,...]``; None if it names no file.

    The file's folders may have colons in their names, and an option's value may end in ".py".
    """
    option = _OPTION.search(text)
    ends = [match.end() for match in _END_OF_FILE.finditer(text)]
    existing = [end for end in ends if os.path.isfile(expanded(text[:end]))]
    # Behind an option's name there is its value, which may end like a file.
    possible = existing + [end for end in ends if not option or end < option.end()]
    for end in possible:
        if behind := _BEHIND_FILE.fullmatch(text, end):
            return text[:end], behind["thing"], behind["rest"] or ""
    return (text[: possible[0]], None, text[possible[0] + 1 :]) if possible else None


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
    found = _all_of(file)
    those = [entry for entry in found if entry.kind == kind]
    if not those:
        others = ", ".join(f"{entry.kind} {entry.name}" for entry in found) or "nothing"
        raise InputError(f"{file.name} registers no {kind}, but {others}; @register_{kind}(...) above it does")
    # A class that is registered twice, or a function that is made in a loop, doesn't say which one is meant.
    times = Counter(map(_class_of, those))
    ways = {
        _class_of(one) if times[_class_of(one)] == 1 and "<" not in _class_of(one) else one.name: one for one in those
    }
    names = ways | {one.name: one for one in those}
    if thing is not None and thing not in names:
        raise unknown(f"{kind} in {file.name}:", thing, names)
    if thing is None and len(those) > 1:
        which = ", ".join(f"{file.name}:{way}" for way in ways)
        raise InputError(f"{file.name} registers {len(those)} {kind}s: say which, {which}")
    entry = those[0] if thing is None else names[thing]
    if (installed := describe(kind).get(entry.name)) and not installed.error:
        raise InputError(str(DuplicateError(kind, entry.name, installed.origin, entry.origin)))
    return entry


def describe_all(file: PluginFile, thing: str | None = None) -> list[Description]:
    """Everything that a file registers, or what has one name or class.

    Raises:
        InputError: the file can't be run, or registers no such thing.
    """
    those = [one for one in _all_of(file) if thing in (None, one.name, _class_of(one))]
    if not those and thing is None:
        raise InputError(f"{file.name} registers nothing; @register_method(...) above a class does, for example")
    if not those:
        raise unknown(f"thing in {file.name}:", str(thing), (one.name for one in _all_of(file)))
    return those


def _class_of(description: Description) -> str:
    """The class or function of a thing of a file."""
    return description.origin.rpartition(":")[2]


def plug_in_metrics(files: Iterable[PluginFile] = ()) -> tuple[Description, ...]:
    """The metrics that aren't lifegen's own: those of installed packages, and all of some files.

    Raises:
        InputError: a file can't be run, registers none, or has the name of what is installed.
    """
    found = [one for one in describe("metric").values() if one.provider != "lifegen" and not one.error]
    for file in dict.fromkeys(files):
        if derived := [one.name for one in _all_of(file) if one.kind == "metric" and one.facts["derived"]]:
            raise InputError(
                f"{file.name}: {', '.join(derived)} is derived from stored numbers whenever they are read: that takes"
                " an installed package (`lifegen new-metric NAME --package`)"
            )
        names = [one.name for one in _all_of(file) if one.kind == "metric"]
        found += [describe_file(file, "metric", name) for name in names] or [describe_file(file, "metric")]
    by_name: dict[str, Description] = {}
    for one in found:
        if (other := by_name.setdefault(one.name, one)) != one:
            raise InputError(str(DuplicateError("metric", one.name, other.origin, one.origin)))
    return tuple(found)


@cache
def _all_of(file: PluginFile) -> tuple[Description, ...]:
    """All that a file registers: its own cache keeps those of the newest files."""
    if file.is_loaded:
        return _of_file(file, _describe_file_here(file))
    key = f"{file.digest} {_digest()}"
    known = _kept("files")
    with contextlib.suppress(LookupError, TypeError):
        return _of_file(file, known[key])
    entries = _describe_file_elsewhere(file)
    if entries:  # a file that registers nothing may lack a library that is installed later
        _keep("files", dict([*known.items(), (key, entries)][-_FILES_KEPT:]))
    return _of_file(file, entries)


def _describe_file_elsewhere(file: PluginFile) -> list[dict[str, Any]]:
    from pebble import ProcessExpired

    from .pool import pool  # its processes have imported torch, and run cells afterwards: that is done once

    try:
        with pool(1) as processes:
            described = processes.schedule(_describe_file_here, args=[file], timeout=_PATIENCE)
            entries: list[dict[str, Any]] = described.result(2 * _PATIENCE)  # a process may never begin
    except (ProcessExpired, TimeoutError) as error:
        raise InputError(f"{file.name} ends Python, or never ends, when it is run: {error}") from None
    except (BrokenExecutor, OSError, EOFError) as error:
        reason = f"{type(error).__name__} {error}".strip()
        raise InputError(f"{file.name} can't be run: no process can be started for it ({reason})") from None
    return entries


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
    with contextlib.suppress(LookupError, TypeError, AttributeError):
        if any(entry.get("error") for entry in _kept("catalogue")["entries"]):
            _keep("catalogue", {})


@cache
def _catalogue() -> tuple[Description, ...]:
    """All that is installed.

    Raises:
        _OwnError: some of lifegen's own modules can't be imported.
    """
    digest = _digest()
    kept = _kept("catalogue")
    with contextlib.suppress(LookupError, TypeError, AttributeError):  # no cache, or one of another version
        # What couldn't be used may be mended where the digest doesn't look, such as by a library that is installed.
        is_new = time.time() - kept["at"] < _FAILURES_KEPT
        if kept["digest"] == digest and (is_new or not any(entry.get("error") for entry in kept["entries"])):
            return tuple(Description(**entry) for entry in kept["entries"])
    entries = _describe_safely(_provided())
    found = tuple(Description(**entry) for entry in entries)
    if broken := [one for one in found if one.error and one.provider == "lifegen"]:
        raise _OwnError((one.kind for one in broken), str(broken[0].error))
    if not any(one.passing for one in found):
        _keep("catalogue", {"digest": digest, "at": time.time(), "entries": entries})
    return found


def _cache_file(name: str) -> Path:
    # One file an installation: two environments on one machine don't overwrite each other's.
    place = hashlib.sha256(f"{folder_of('benchmark')} {sys.prefix}".encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("lifegen") / f"{name}-{place}.json"


def _kept(name: str) -> dict[str, Any]:
    """What a cache file says; nothing where there is none."""
    with contextlib.suppress(OSError, ValueError):
        if isinstance(kept := json.loads(_cache_file(name).read_text()), dict):
            return kept
    return {}


def _keep(name: str, content: Mapping[str, Any]) -> None:
    """Replace a cache file; a read-only home only costs the time of describing again."""
    with contextlib.suppress(OSError):
        file = _cache_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as temporary:
            try:
                json.dump(content, temporary)
                temporary.flush()
                os.replace(temporary.name, file)
            except OSError:  # a full disk
                os.unlink(temporary.name)


class _EndedError(RuntimeError):
    """The process that was to import modules has said nothing."""

    def __init__(self, reason: str, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


def _describe_safely(modules: Sequence[Provided]) -> list[dict[str, Any]]:
    """What the modules register, also where importing one of another package's ends Python.

    Raises:
        _OwnError: importing lifegen's own does.
    """
    usable = [module for module in modules if module.provider == "lifegen"]
    others = [module for module in modules if module.provider != "lifegen"]
    failed: list[dict[str, Any]] = []
    if others:
        with contextlib.suppress(_EndedError):
            return _describe_in_subprocess(modules)
    for provider in dict.fromkeys(module.provider for module in others):
        its = [module for module in others if module.provider == provider]
        try:
            _describe_in_subprocess(its)
            usable += its
        except _EndedError as error:
            reason = f"importing {', '.join(module.module for module in its)}: {error}"
            failed += [asdict(_failure(module, module.name, reason, error.passing)) for module in its]
    try:
        return _describe_in_subprocess(usable) + failed
    except _EndedError as error:
        raise _OwnError(REGISTRIES, str(error)) from None


def _describe_in_subprocess(modules: Iterable[Provided]) -> list[dict[str, Any]]:
    # -P: a torch.py in the current folder must not stand in for the library.
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__]
    asked = json.dumps([asdict(module) for module in modules])
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, check=False, timeout=_PATIENCE, errors="replace"
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


def _describe_here(modules: Sequence[Provided]) -> list[Description]:
    """Import the modules and describe what they register. Runs in the subprocess."""
    found: dict[tuple[str, str], Description] = {}
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


def _home(entry: Entry, imported: Provided, modules: Iterable[Provided]) -> Provided:
    """The module of the list that a registered thing belongs to: a package that imports another one's methods doesn't
    provide them."""

    def likeness(one: Provided) -> tuple[bool, bool]:
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


def _failure(module: Provided, name: str, reason: str, passing: bool = False) -> Description:
    return Description(
        module.kind, name, 0, "", module.module, error=reason, passing=passing, origin=module.module,
        provider=module.provider, provider_version=module.version,
    )  # fmt: skip


def _described(entry: Entry, home: Provided) -> Description:
    """A registered thing of an installed package, or why it can't be described."""
    try:
        description = _describe_entry(entry)
    except Exception as error:
        reason = f"the options of {entry.origin} can't be described: {type(error).__name__}: {error}"
        description = replace(_failure(home, entry.name, reason), kind=entry.kind, origin=entry.origin)
    return replace(description, provider=home.provider, provider_version=home.version)


def _describe_entry(entry: Entry) -> Description:
    options = {} if entry.config is None else schemas_of(entry.config)
    return Description(
        entry.kind, entry.name, entry.version, entry.summary, entry.module, options, dict(entry.facts),
        origin=entry.origin,
    )  # fmt: skip


if __name__ == "__main__":
    # The answer is all that stands on the output: modules may print while they are imported.
    answer = os.dup(1)
    os.dup2(2, 1)
    # As __main__ this file is a second copy of the module: the registries live in the imported one.
    asked = [Provided(**module) for module in json.load(sys.stdin)]
    with open(answer, "w") as output:
        json.dump([asdict(entry) for entry in _describe_here(asked)], output)
