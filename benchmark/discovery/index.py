"""What is registered, known without importing it.

Importing a method imports torch and Avalanche: ten seconds that ``list``, ``leaderboard`` and the checking of arguments
must not cost. So a subprocess imports the modules once and writes down what they register; the result is kept in the
user's cache folder until one of the files changes.
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
"""Seconds for which what can't be used isn't looked at again."""


def describe(kind: str) -> dict[str, IndexEntry]:
    """Everything of one kind ("method", "scenario", "metric", "data source") that is installed, by name, in the order
    of registration.

    Things of other packages that can't be used are last, and named after their package where a usable thing has their
    name.

    Raises:
        InputError: some of lifegen's own can't be imported. Nothing can be concluded from the others alone, and the
            reason may be gone a moment later.
    """
    found: dict[str, IndexEntry] = {}
    try:
        known = _index()
    except OwnError as error:
        broken = kind if kind in error.kinds else error.kinds[0]
        hint = "nothing of this is kept: the same command looks again"
        raise InputError(f"lifegen's own {broken}s can't be imported: {error}; {hint}") from None
    for entry in known:
        if entry.kind == kind:
            found[entry.name if entry.name not in found else f"{entry.name} ({entry.provider})"] = entry
    return found


def base_name(label: str) -> str:
    """A method's name from its label: without options and precision."""
    return label.partition(":")[0].partition(" ")[0]


def shown(label: str) -> str:
    """A method's label as tables and figures have it: a reconstruction says that it is one."""
    known = describe("method").get(base_name(label))
    return f"{label} (reconstruction)" if known and known.facts.get("reconstruction") else label


def resolve(kind: str, text: str) -> tuple[IndexEntry, str]:
    """What ``NAME:option=value,...`` or ``file.py[:Class]:option=value,...`` names, and the options as text.

    Raises:
        InputError: it doesn't exist, or can't be used.
    """
    if named := file_in(text):
        path, thing, rest = named
        return describe_file(PluginFile.read(path), kind, thing), rest
    name, _, rest = text.partition(":")
    return describe_one(kind, name), rest


def describe_one(kind: str, name: str) -> IndexEntry:
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


def source(name: str) -> Source:
    """A data source by name: one that is installed, or that a plug-in file has registered in this process.

    Raises:
        InputError: it doesn't exist, or can't be used.
    """
    registered = {entry.name: entry for entry in SOURCES}
    entry = registered[name] if name in registered else describe_one(SOURCES.kind, name).entry()
    found: Source = entry.target(name)
    return found


def describe_file(file: PluginFile, kind: str, thing: str | None = None) -> IndexEntry:
    """What a file registers.

    Args:
        file: the file.
        kind: "method", "scenario", "metric" or "data source".
        thing: the class or function, or the name that it is registered under; None if there is one only.

    Raises:
        InputError: the file can't be run, doesn't register such a thing, or has the name of what is installed.
    """
    found = _all_of(file)
    those = [entry for entry in found if entry.kind == kind]
    if not those:
        others = ", ".join(f"{entry.kind} {entry.name}" for entry in found) or "nothing"
        decorator = f"@register_{kind.split()[-1]}(...)"
        raise InputError(f"{file.name} registers no {kind}, but {others}; {decorator} above it does")
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
    for one in (entry, *(one for one in found if one.kind == SOURCES.kind)):  # which come with it
        if (installed := describe(one.kind).get(one.name)) and not installed.error:
            raise InputError(str(DuplicateError(one.kind, one.name, installed.origin, one.origin)))
    return entry


def describe_all(file: PluginFile, thing: str | None = None) -> list[IndexEntry]:
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


def _class_of(description: IndexEntry) -> str:
    """The class or function of a thing of a file."""
    return description.origin.rpartition(":")[2]


def extension_metrics(files: Iterable[PluginFile] = ()) -> tuple[IndexEntry, ...]:
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
    by_name: dict[str, IndexEntry] = {}
    for one in found:
        if (other := by_name.setdefault(one.name, one)) != one:
            raise InputError(str(DuplicateError("metric", one.name, other.origin, one.origin)))
    return tuple(found)


@cache
def _all_of(file: PluginFile) -> tuple[IndexEntry, ...]:
    """All that a file registers: its own cache keeps those of the newest files."""
    if file.is_loaded:
        return _of_file(file, describe_file_here(file))
    key = f"{file.digest} {_digest()}"
    known = kept("files")
    with contextlib.suppress(LookupError, TypeError):
        return _of_file(file, known[key])
    entries = describe_file_elsewhere(file)
    if entries:  # a file that registers nothing may lack a library that is installed later
        keep("files", dict([*known.items(), (key, entries)][-_FILES_KEPT:]))
    return _of_file(file, entries)


def _of_file(file: PluginFile, entries: Iterable[Mapping[str, Any]]) -> tuple[IndexEntry, ...]:
    known = {"file": file, "provider": file.name, "provider_version": file.digest}
    return tuple(IndexEntry(**{**entry, **known}) for entry in entries)


@cache
def _provided() -> tuple[SourceModule, ...]:
    return tuple(all_provided())


@cache
def _digest() -> str:
    return digest_of(_provided())


def forget_failures() -> None:
    """Look again at what couldn't be used when it was last looked at."""
    with contextlib.suppress(LookupError, TypeError, AttributeError):
        if any(entry.get("error") for entry in kept("catalogue")["entries"]):
            keep("catalogue", {})


@cache
def _index() -> tuple[IndexEntry, ...]:
    """All that is installed.

    Raises:
        OwnError: some of lifegen's own modules can't be imported.
    """
    digest = _digest()
    cached = kept("catalogue")
    with contextlib.suppress(LookupError, TypeError, AttributeError):  # no cache, or one of another version
        # What couldn't be used may be mended where the digest doesn't look, such as by a library that is installed.
        is_new = time.time() - cached["at"] < _FAILURES_KEPT
        if cached["digest"] == digest and (is_new or not any(entry.get("error") for entry in cached["entries"])):
            return tuple(IndexEntry(**entry) for entry in cached["entries"])
    entries = describe_safely(_provided())
    found = tuple(IndexEntry(**entry) for entry in entries)
    if broken := [one for one in found if one.error and one.provider == "lifegen"]:
        raise OwnError((one.kind for one in broken), str(broken[0].error))
    if not any(one.passing for one in found):
        keep("catalogue", {"digest": digest, "at": time.time(), "entries": entries})
    return found
