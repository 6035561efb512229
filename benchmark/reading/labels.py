"""Labels of methods and scenarios, which tables show, by what a user types."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from ..cells.spec import parse_spec
from ..errors import InputError, unknown


def label_of(kind: str, text: str, labels: Collection[str], where: str) -> str:
    """Return the label that a text names: itself, or one with its options in another order or without defaults.

    Args:
        kind: "method" or "scenario".
        text: what the user typed.
        labels: those that there are.
        where: their place, for the error, such as "in this table".

    Raises:
        InputError: there is no such label.
    """
    if text in labels:
        return text
    with suppress(InputError):  # a method that was computed elsewhere may be unknown here
        if (label := parse_spec(kind, text).label) in labels:
            return label
    raise unknown(f"{kind} {where}", text, labels)
