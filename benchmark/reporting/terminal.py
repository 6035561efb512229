"""Texts and tables that fit a terminal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_FILE_WIDTH = 120
"""Columns of a file or pipe."""


def console() -> Console:
    """The console of standard output: as wide as COLUMNS says, else as the terminal, else 120 columns."""
    from rich.console import Console

    return Console(highlight=False, width=shutil.get_terminal_size((_FILE_WIDTH, 24)).columns)


def elided(text: str, width: int) -> str:
    """A text with its middle left out, if it is wider than so many characters."""
    if len(text) <= width:
        return text
    before = (width - 1) // 2
    return f"{text[:before]}…{text[len(text) - (width - 1 - before) :]}"
