"""Long names in several lines."""

from __future__ import annotations

import textwrap

_LONG = 48
"""Characters of a line; named variants on boards have fewer."""


def folded(name: str) -> str:
    """A method's name with its options; one with many options takes several lines."""
    return name if len(name) <= _LONG else textwrap.fill(name.replace(":", ": ").replace(",", ", "), _LONG)
