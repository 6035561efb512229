"""Findings: a promise that was looked at, and how it was found. No torch."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ...contracts.registry import Entry


class Finding(NamedTuple):
    """One promise that was looked at."""

    promise: str
    """In words, as if it were kept: "the same seed gives the same weights"."""
    status: Literal["kept", "broken", "note", "skipped"] = "kept"
    """note: worth knowing, no failure. skipped: it couldn't be looked at, and ``seen`` says why."""
    expected: str = ""
    """Of a broken promise: what should have been seen."""
    seen: str = ""
    """What was seen instead; or the note, or the measured number."""
    look: str = ""
    """Of a broken promise: where its author finds the cause, and what usually mends it."""


class Stopped(Exception):  # noqa: N818  (no error of ours: what is checked ends the check)
    """A broken promise after which nothing else can be looked at."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.promise)
        self.finding = finding


def verdict(promise: str, is_kept: bool, expected: str, seen: str, look: str) -> Finding:
    """A promise that is kept, or broken: then with what was expected, what was seen, and where to look."""
    return Finding(promise) if is_kept else Finding(promise, "broken", expected, seen, look)


def broken(promise: str, expected: str, seen: str, look: str) -> Finding:
    """A promise that is broken."""
    return verdict(promise, False, expected, seen, look)


def raised(promise: str, error: BaseException, entry: Entry, hint: str = "") -> Finding:
    """The finding of an exception in a plug-in.

    Args:
        promise: what couldn't be kept.
        error: the exception.
        entry: the plug-in's.
        hint: what usually mends it.
    """
    return broken(promise, "no error", at(error, entry), hint or entry.origin)


def to_the_end(findings: Iterator[Finding], entry: Entry) -> Iterator[Finding]:
    """The findings of a plug-in; an error that it raises meanwhile, or its exit, is the last one."""
    try:
        yield from findings
    except Stopped as stopped:
        yield stopped.finding
    except (Exception, SystemExit) as error:
        yield raised("nothing raises an error", error, entry)


def of_documentation(entry: Entry) -> Finding:
    """Whether ``lifegen list`` has something to say of it."""
    promise = "it and its options are described"
    fields = entry.config.model_fields if entry.config else {}
    bare = [name for name, field in fields.items() if not field.description]
    if not entry.summary:
        return broken(promise, "a first line of its docstring", "it has none", entry.origin)
    look = f'a line """...""" below each in {entry.origin}'
    return verdict(promise, not bare, "a line of meaning for each option", f"none for {', '.join(bare)}", look)


def at(error: BaseException, entry: Entry) -> str:
    """An error with the last line of the plug-in's own code, or else of any code, that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    home = getattr(sys.modules.get(entry.target.__module__), "__file__", None)
    frame = next((one for one in reversed(frames) if one.filename == home), frames[-1] if frames else None)
    where = f" ({frame.filename}, line {frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
