"""Cells as CSV, with one measurement per row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...reading.current import Current
from ...reading.table import table
from .points import folders_of


def export_csv(current: Current, target: Path) -> Iterator[Path]:
    """Write all rows into one file, if the target is called ``.csv`` or ``.csv.gz``, else a file per cell into a
    folder, and give the path of each."""
    if target.name.endswith((".csv", ".csv.gz")):
        files = {target: current}
    else:
        folders = folders_of([cell.facts for cell in current.cells])
        files = {
            target / folder.with_suffix(".csv"): replace(current, cells=(cell,))
            for cell, folder in zip(current.cells, folders, strict=True)
        }
    for file, part in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        table(part).to_csv(file, index=False)
        yield file
