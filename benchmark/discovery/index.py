"""The index: everything that is registered, without importing it in this process.

Importing a method imports torch and Avalanche: ten seconds that ``list``, ``leaderboard`` and the checking of arguments
must not cost. So a subprocess imports the modules once and lists what they register; the list is kept in the user's
cache folder until one of the files changes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..contracts.registry import SOURCES, DuplicateError
from ..errors import InputError, unknown
from .cache import keep, kept
from .describing import OwnError, describe_file_elsewhere, describe_file_here, describe_safely
from .entry_points import SourceModule, digest_of
from .entry_points import provided as all_provided
from .index_entry import IndexEntry
from .plugin_file import PluginFile, file_in

if TYPE_CHECKING:
    from ..contracts.data_sources import Source

_FILES_KEPT = 50
_FAILURES_KEPT = 600
"""Seconds before a broken extension is imported again."""


def describe(kind: str) -> dict[str, IndexEntry]:
    """Return the installed entries of one kind ("method", "scenario", "metric", "data source"), by name, in order of
    registration.

    Broken entries of other packages come last; if a usable entry has the same name, the package is added to theirs.

    Raises:
        InputError: some of lifegen's own modules can't be imported. The other entries alone would mislead, and the
            reason may be gone a moment later.
    """
    found: dict[str, IndexEntry] = {}
    try:
        entries = _index()
    except OwnError as error:
        broken = kind if kind in error.kinds else error.kinds[0]
        hint = "nothing of this is kept: the same command looks again"
        raise InputError(f"lifegen's own {broken}s can't be imported: {error}; {hint}") from None
    for entry in entries:
        if entry.kind == kind:
            found[entry.name if entry.name not in found else f"{entry.name} ({entry.provider})"] = entry
    return found


def known_names(kind: str) -> list[str]:
    """Return the names of the usable entries of one kind, as the last command found them: at once, without a look at
    what is installed now."""
    entries = kept("catalogue").get("entries", [])
    return [entry["name"] for entry in entries if entry["kind"] == kind and not entry.get("error")]


def base_name(label: str) -> str:
    """Strip options and precision from a method's label."""
    return label.partition(":")[0].partition(" ")[0]


def shown(label: str) -> str:
    """Return a method's label for tables and figures, with a mark if the method is a reconstruction."""
    entry = describe("method").get(base_name(label))
    return f"{label} (reconstruction)" if entry and entry.facts.get("reconstruction") else label


def resolve(kind: str, text: str) -> tuple[IndexEntry, str]:
    """Return the entry that ``NAME:option=value,...`` or ``file.py[:Class]:option=value,...`` names, and its options.

    Raises:
        InputError: there is no such entry, or it can't be used.
    """
    if named := file_in(text):
        path, thing, rest = named
        return describe_file(PluginFile.read(path), kind, thing), rest
    name, _, rest = text.partition(":")
    return describe_one(kind, name), rest


def describe_one(kind: str, name: str) -> IndexEntry:
    """Return one usable entry by name.

    Raises:
        InputError: there is no such entry, or it can't be used.
    """
    entries = describe(kind)
    if name not in entries:
        names = (entry.name for entry in entries.values() if not entry.error)
        hint = f" A file of yours ends in .py: {name}.py" if os.path.isfile(f"{name}.py") else ""
        raise InputError(f"{unknown(kind, name, names)}{hint}")
    if error := entries[name].error:
        raise InputError(f"{kind} {name!r} can't be used: {error}")
    return entries[name]


def source(name: str) -> Source:
    """Make a data source by name: an installed one, or one that an extension file has registered in this process.

    Raises:
        InputError: there is no such data source, or it can't be used.
    """
    registered = {entry.name: entry for entry in SOURCES}
    entry = registered[name] if name in registered else describe_one(SOURCES.kind, name).entry()
    data_source: Source = entry.target(name)
    return data_source


def describe_file(file: PluginFile, kind: str, thing: str | None = None) -> IndexEntry:
    """Return the entry of one thing that a file registers.

    Args:
        file: the file.
        kind: "method", "scenario", "metric" or "data source".
        thing: the class or function, or the name that it is registered under; None if there is only one.

    Raises:
        InputError: the file can't be run, registers no such thing, or uses the name of an installed thing.
    """
    entries = _all_of(file)
    of_kind = [entry for entry in entries if entry.kind == kind]
    if not of_kind:
        others = ", ".join(f"{entry.kind} {entry.name}" for entry in entries) or "nothing"
        decorator = f"@register_{kind.split()[-1]}(...)"
        raise InputError(
            f"{file.name} registers no {kind}, but {others}; put {decorator} above its definition to register a {kind}"
        )
    # A class registered twice, or a function made in a loop, can only be told apart by the registered name.
    times = Counter(map(_class_of, of_kind))
    ways = {
        _class_of(entry) if times[_class_of(entry)] == 1 and "<" not in _class_of(entry) else entry.name: entry
        for entry in of_kind
    }
    names = ways | {entry.name: entry for entry in of_kind}
    if thing is not None and thing not in names:
        raise unknown(f"{kind} in {file.name}:", thing, names)
    if thing is None and len(of_kind) > 1:
        which = ", ".join(f"{file.name}:{way}" for way in ways)
        raise InputError(f"{file.name} registers {len(of_kind)} {kind}s: say which, {which}")
    chosen = of_kind[0] if thing is None else names[thing]
    for entry in (chosen, *(entry for entry in entries if entry.kind == SOURCES.kind)):  # all data sources come with it
        if (installed := describe(entry.kind).get(entry.name)) and not installed.error:
            raise DuplicateError(entry.kind, entry.name, installed.origin, entry.origin)
    return chosen


def describe_all(file: PluginFile, thing: str | None = None) -> list[IndexEntry]:
    """Return the entries of everything that a file registers, or of one name or class.

    Raises:
        InputError: the file can't be run, or registers no such thing.
    """
    entries = [entry for entry in _all_of(file) if thing in (None, entry.name, _class_of(entry))]
    if not entries and thing is None:
        raise InputError(f"{file.name} registers nothing; put @register_method(...) above a class, for example")
    if not entries:
        raise unknown(f"thing in {file.name}:", str(thing), (entry.name for entry in _all_of(file)))
    return entries


def _class_of(description: IndexEntry) -> str:
    """The class or function of a file's entry."""
    return description.origin.rpartition(":")[2]


def extension_metrics(files: Iterable[PluginFile] = ()) -> tuple[IndexEntry, ...]:
    """Return the extension metrics: those of installed packages, and all of the given files.

    Raises:
        InputError: a file can't be run, registers no metric, or uses the name of an installed one.
    """
    metrics = [entry for entry in describe("metric").values() if entry.provider != "lifegen" and not entry.error]
    for file in dict.fromkeys(files):
        own = [entry for entry in _all_of(file) if entry.kind == "metric"]
        if derived := [entry.name for entry in own if entry.facts["derived"]]:
            raise InputError(
                f"{file.name}: {', '.join(derived)} is a derived metric and has to be installed as a package"
                " (`lifegen new-metric NAME --package`)"
            )
        metrics += [describe_file(file, "metric", entry.name) for entry in own] or [describe_file(file, "metric")]
    by_name: dict[str, IndexEntry] = {}
    for metric in metrics:
        if (other := by_name.setdefault(metric.name, metric)) != metric:
            raise DuplicateError("metric", metric.name, other.origin, metric.origin)
    return tuple(metrics)


@cache
def _all_of(file: PluginFile) -> tuple[IndexEntry, ...]:
    """Return the entries of a file; those of the newest files are cached."""
    if file.is_loaded:
        return _of_file(file, describe_file_here(file))
    key = f"{file.name} {file.digest} {_digest()}"  # their origins have the name
    cached = kept("files")
    with contextlib.suppress(LookupError, TypeError):
        return _of_file(file, cached[key])
    entries = describe_file_elsewhere(file)
    if entries:  # a file that registers nothing may lack a library that is installed later
        keep("files", dict([*cached.items(), (key, entries)][-_FILES_KEPT:]))
    return _of_file(file, entries)


def _of_file(file: PluginFile, entries: Iterable[Mapping[str, Any]]) -> tuple[IndexEntry, ...]:
    origin = {"file": file, "provider": file.name, "provider_version": file.digest}
    return tuple(IndexEntry(**{**entry, **origin}) for entry in entries)


@cache
def _provided() -> tuple[SourceModule, ...]:
    return tuple(all_provided())


@cache
def _digest() -> str:
    return digest_of(_provided())


def forget_failures() -> None:
    """Drop the cached index if it has broken entries, so that they are tried again."""
    with contextlib.suppress(LookupError, TypeError, AttributeError):
        if any(entry.get("error") for entry in kept("catalogue")["entries"]):
            keep("catalogue", {})


@cache
def _index() -> tuple[IndexEntry, ...]:
    """Return all installed entries.

    Raises:
        OwnError: some of lifegen's own modules can't be imported.
    """
    digest = _digest()
    cached = kept("catalogue")
    with contextlib.suppress(LookupError, TypeError, AttributeError):  # no cache, or one of another version
        # A broken extension may be mended without a change of the digest, such as by installing a library.
        is_new = abs(time.time() - cached["at"]) < _FAILURES_KEPT  # a clock may go back
        if cached["digest"] == digest and (is_new or not any(entry.get("error") for entry in cached["entries"])):
            return tuple(IndexEntry(**entry) for entry in cached["entries"])
    entries = describe_safely(_provided())
    index = tuple(IndexEntry(**entry) for entry in entries)
    if broken := [entry for entry in index if entry.error and entry.provider == "lifegen"]:
        raise OwnError((entry.kind for entry in broken), str(broken[0].error))
    if not any(entry.passing for entry in index):
        keep("catalogue", {"digest": digest, "at": time.time(), "entries": entries})
    return index
