"""The tidy table, with one measurement per row, of a store or a published folder."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import InputError, counted, one_line
from ..store.store import MARK, PUBLISHED
from .current import Current, CurrentCell, current_of, derived_problems

COLUMNS = [
    "scenario", "method", "seed", "interval", "distribution", "step", "metric", "value",
    "track", "precision", "device", "cell",
]  # fmt: skip


def load(path: Path | str, methods: Collection[str] | None = None) -> pd.DataFrame:
    """Read the tidy table, with one measurement per row, of a store or a published folder.

    Args:
        path: the store's folder, a published folder, or a published ``.parquet`` or ``.csv.gz`` file.
        methods: labels of the methods to read; all by default.

    Returns:
        columns scenario, method, seed, interval, distribution, step, metric, value, track, precision, device, cell;
        the rows of derived metrics belong to a cell's last interval. Unfinished, failed and stale cells have no rows.

    Raises:
        InputError: there is no store at this path.
    """
    if is_published(path):
        return published_table(path, methods)
    return table(current_of(path), methods)


def table(current: Current, methods: Collection[str] | None = None) -> pd.DataFrame:
    """Make the tidy table of a store, as :func:`load` returns it."""
    current = current.readable(lambda cell: cell.rows)
    if damaged := current.damaged:
        name, why = next(iter(damaged.items()))
        how_many = counted(len(damaged), "cell", "is")
        warnings.warn(f"{how_many} left out of the table, the first, {one_line(name)}: {one_line(why)}", stacklevel=2)
    cells = [cell for cell in current.cells if methods is None or cell.method in methods]
    for problem in derived_problems(cells):
        warnings.warn(one_line(problem), stacklevel=2)
    identities = [
        {
            "scenario": cell.scenario,
            "method": cell.method,
            "track": cell.facts.scenario.track,
            "precision": cell.facts.precision,
            "device": cell.facts.device,
            "seed": cell.seed,
            "cell": cell.name,
        }
        for cell in cells
    ]
    return rows_of(cells, identities)[COLUMNS] if cells else pd.DataFrame(columns=COLUMNS)


def rows_of(cells: Sequence[CurrentCell], identities: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Put the rows of several cells below each other.

    Args:
        cells: the cells, at least one.
        identities: more columns, the same in all rows of a cell, by cell.

    Raises:
        InputError: the rows of a cell can't be read.
    """
    tables = [cell.rows for cell in cells]
    cell_of_row = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    for name in identities[0]:
        frame[name] = pd.Series([identity[name] for identity in identities]).array.take(cell_of_row)
    return frame


def is_published(path: Path | str) -> bool:
    """Whether a path is that of a published table, or of a folder that an earlier lifegen published, with a table and
    without cells."""
    return _file_of(path).name.endswith((".parquet", ".csv", ".csv.gz"))


def published_table(path: Path | str, methods: Collection[str] | None = None) -> pd.DataFrame:
    """Read the tidy table of a published folder or file.

    Raises:
        InputError: the file isn't a published table.
    """
    file = _file_of(path)
    try:
        if file.suffix == ".parquet":
            rows = pd.read_parquet(file)
        else:  # only an empty field is missing: a distribution may be called "None"
            rows = pd.read_csv(file, dtype={"distribution": str}, keep_default_na=False, na_values=[""])
        rows = rows[COLUMNS]
        if not np.isfinite(rows.astype({"seed": int, "interval": int, "value": float})["value"]).all():
            raise ValueError("it has values that aren't finite")
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} isn't a published table: {error}") from None
    return rows if methods is None else rows[rows["method"].isin(methods)].reset_index(drop=True)


def _file_of(path: Path | str) -> Path:
    file = Path(path, PUBLISHED)
    return file if os.path.exists(file) and not os.path.exists(Path(path, MARK)) else Path(path)
