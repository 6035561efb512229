"""What a method, scenario or metric has promised, and whether it keeps it: the checks behind ``lifegen check``.

Each is a generator of :class:`Finding`s, so that what is known can be shown while the rest is looked at.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


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
