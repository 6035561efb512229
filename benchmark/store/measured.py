"""Rows of finished cells as tables of Arrow: thousands of cells are read at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, ReadOptions, read_json

from .row_check import LARGEST, rows_problem

COLUMNS = pa.schema(
    {
        "interval": pa.int64(),
        "distribution": pa.string(),
        "step": pa.int64(),
        "metric": pa.string(),
        "value": pa.float64(),
    }
)


def read_rows(content: bytes, visits: Sequence[Collection[str]], is_whole: bool) -> pa.Table:
    """Read the rows of a cell.

    Args:
        content: the file's content.
        visits: the distributions of each of its intervals.
        is_whole: whether the content fits the digest in the cell's record. Others are always read with care.

    Returns:
        the columns of :data:`COLUMNS`, a row each.

    Raises:
        ValueError: the content isn't the measurements of such a cell.
    """
    if is_whole and (table := _read_fast(content, visits)) is not None:
        return table
    lines = content.splitlines()
    rows: list[dict[str, Any]] = json.loads(b"[" + b",".join(lines) + b"]")
    if len(rows) != len(lines):
        raise ValueError(f"it has {len(rows)} rows in {len(lines)} lines")
    if problem := rows_problem(rows, visits):
        raise ValueError(problem)
    plain = [{name: row[name] for name in COLUMNS.names} | {"value": float(row["value"])} for row in rows]
    return pa.Table.from_pylist(plain, COLUMNS)


def _read_fast(content: bytes, visits: Sequence[Collection[str]]) -> pa.Table | None:
    """Read rows that are in order; None for others, in which the fault is then looked for."""
    lines = content.count(b"\n")
    # A line each, as a worker writes it, without objects in objects: Arrow may take others, or end the process.
    starts = content.startswith(b'{"') and content.count(b'\n{"') == lines - 1 and content.endswith(b"\n")
    if not starts or any(content.count(key) != lines for key in (b"{", b'"distribution": ', b'"step": ')):
        return None
    try:
        reading = ReadOptions(use_threads=False, block_size=max(len(content), 1))
        parsing = ParseOptions(explicit_schema=COLUMNS, unexpected_field_behavior="ignore")
        table = read_json(BytesIO(content), reading, parsing)
    except pa.ArrowInvalid:
        return None
    names = {name for visit in visits for name in visit}
    numbers = pc.min_max(table["interval"]).as_py()
    in_order = (
        len(table) == lines
        and not any(table[name].null_count for name in ("interval", "metric", "value"))
        and numbers["min"] >= 0
        and numbers["max"] < len(visits)
        and all(metric.isprintable() for metric in table["metric"].unique().to_pylist())
        and set(table["distribution"].unique().to_pylist()) <= {None, *names}
        and pc.all(pc.less(pc.abs(table["value"]), LARGEST)).as_py()  # false for NaN
        and _values_of_matrix(table) in (0, len(visits) * len(names))
    )
    return table if in_order else None


def of_matrices(table: pa.Table, metrics: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of some metrics' matrices: those on one distribution after one interval."""
    rows: list[dict[str, Any]] = table.filter(_is_of_matrices(table, metrics)).to_pylist()
    return rows


def _is_of_matrices(table: pa.Table, metrics: Collection[str]) -> pa.ChunkedArray:
    is_value = pc.and_(pc.is_valid(table["distribution"]), pc.is_null(table["step"]))
    return pc.and_(pc.is_in(table["metric"], pa.array(sorted(metrics), pa.string())), is_value)


def _values_of_matrix(table: pa.Table) -> int:
    """Count the values of the matrix of negative ELBOs; one that stands in several rows counts once."""
    places = table.select(["interval", "distribution"]).filter(_is_of_matrices(table, ["negative_elbo"]))
    return len(places.group_by(places.column_names, use_threads=False).aggregate([]))


def of_unions(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a whole interval: those of no single distribution or step."""
    whole = pc.and_(pc.is_null(table["distribution"]), pc.is_null(table["step"]))
    rows: list[dict[str, Any]] = table.filter(whole).to_pylist()
    return rows
