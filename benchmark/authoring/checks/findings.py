"""Findings: the results of checking promises."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, NoReturn

from ...contracts.registry import Entry


class Finding(NamedTuple):
    """The result of checking one promise."""

    promise: str
    """In words, as if it were kept: "the same seed gives the same weights"."""
    status: Literal["kept", "broken", "note", "skipped"] = "kept"
    """note: worth knowing, no failure. skipped: it couldn't be checked, and ``seen`` says why."""
    expected: str = ""
    """The expected result, for a broken promise."""
    seen: str = ""
    """The result seen instead; or the note, or the measured number."""
    look: str = ""
    """Where the author finds the cause of a broken promise, and what usually mends it."""


class Stopped(Exception):  # noqa: N818  (not our error: the thing that is checked ends the check)
    """A promise is broken, and nothing else can be checked."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.promise)
        self.finding = finding


def verdict(promise: str, is_kept: bool, expected: str, seen: str, look: str) -> Finding:
    """The finding of a promise that is kept, or broken with these texts."""
    return Finding(promise) if is_kept else Finding(promise, "broken", expected, seen, look)


def broken(promise: str, expected: str, seen: str, look: str) -> Finding:
    """The finding of a broken promise."""
    return verdict(promise, False, expected, seen, look)


def raised(promise: str, error: BaseException, entry: Entry, hint: str = "") -> Finding:
    """The finding of an exception in an extension.

    Args:
        promise: the promise that it breaks.
        error: the exception.
        entry: the extension's entry.
        hint: what usually mends it.
    """
    return broken(promise, "no error", at(error, entry), hint or entry.origin)


def to_the_end(findings: Iterator[Finding], entry: Entry) -> Iterator[Finding]:
    """The findings of an extension; an error that it raises meanwhile, or its exit, is the last one."""
    try:
        with _exits_raised():
            yield from findings
    except Stopped as stopped:
        yield stopped.finding
    except (Exception, SystemExit) as error:
        yield raised("nothing raises an error", error, entry)


@contextmanager
def _exits_raised() -> Iterator[None]:
    """Make ``os._exit`` an error here, so that the check doesn't end without a word; processes forked from here keep
    it."""
    here, end = os.getpid(), os._exit

    def raise_here(status: int) -> NoReturn:
        if os.getpid() == here:
            raise SystemExit(f"os._exit({status})")
        end(status)

    os._exit = raise_here
    try:
        yield
    finally:
        os._exit = end


def of_documentation(entry: Entry) -> Finding:
    """Whether ``lifegen list`` has a description to show."""
    promise = "it and its options are described"
    fields = entry.config.model_fields if entry.config else {}
    bare = [name for name, field in fields.items() if not field.description]
    if not entry.summary:
        return broken(promise, "a first line of its docstring", "it has none", entry.origin)
    look = f'a line """...""" below each in {entry.origin}'
    return verdict(promise, not bare, "a line of meaning for each option", f"none for {', '.join(bare)}", look)


def at(error: BaseException, entry: Entry) -> str:
    """An error with the last line that it passed in the extension's own code, or else in any code."""
    frames = traceback.extract_tb(error.__traceback__)
    home = getattr(sys.modules.get(entry.target.__module__), "__file__", None)
    frame = next((frame for frame in reversed(frames) if frame.filename == home), frames[-1] if frames else None)
    where = f" ({frame.filename}, line {frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
