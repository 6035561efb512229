"""Texts and tables that fit a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 120
"""Columns of a file or pipe."""


def console() -> Console:
    """The console of standard output: as wide as the terminal, or :data:`FILE_WIDTH`."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def elided(text: str, width: int) -> str:
    """A text with its middle left out, if it is wider than so many characters."""
    if len(text) <= width:
        return text
    before = (width - 1) // 2
    return f"{text[:before]}…{text[len(text) - (width - 1 - before) :]}"
