"""What a method, scenario or metric has promised, and whether it keeps it: the checks behind ``lifegen check``.

Each is a generator of :class:`Finding`s, so that what is known can be shown while the rest is looked at.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ..registry import Entry


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


def of_documentation(entry: Entry) -> Iterator[Finding]:
    """Whether ``lifegen list`` has something to say of it."""
    promise = "it and its options are described"
    fields = entry.config.model_fields if entry.config else {}
    bare = [name for name, field in fields.items() if not field.description]
    if not entry.summary:
        yield Finding(promise, "broken", "a first line of its docstring", "it has none", entry.origin)
    elif bare:
        look = f'a line """...""" below each in {entry.origin}'
        yield Finding(promise, "broken", "a line of meaning for each option", f"none for {', '.join(bare)}", look)
    else:
        yield Finding(promise)


def at(error: BaseException, entry: Entry) -> str:
    """An error with the last line of the plug-in's own code, or else of any code, that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    home = getattr(sys.modules.get(entry.target.__module__), "__file__", None)
    frame = next((one for one in reversed(frames) if one.filename == home), frames[-1] if frames else None)
    where = f" ({frame.filename}, line {frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
