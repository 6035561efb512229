"""Checks that rows are measurements of their cell."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

LARGEST = 1e300
"""A limit of values, which are then finite."""


def odd_row(rows: Sequence[Any], visits: Sequence[Collection[str]]) -> str | None:
    """Describe the first row that can't be a measurement of a cell with these visits; None if there is none."""
    names = {name for visit in visits for name in visit}
    for number, row in enumerate(rows, 1):
        if problem := _row_problem(row, len(visits), names):
            return f"row {number} isn't a measurement of this cell: {problem}: {str(row)[:200]}"
    return None


def _row_problem(row: Any, intervals: int, distributions: Collection[str]) -> str:
    """Say why something can't be a row of a cell; empty if it can."""
    try:
        interval, distribution, step, metric = row["interval"], row["distribution"], row["step"], row["metric"]
        value = row["value"]
    except (LookupError, TypeError):
        return "it lacks one of interval, distribution, step, metric and value"
    if type(interval) is not int or not 0 <= interval < intervals:
        return f"its interval isn't one of 0 to {intervals - 1}"
    if not (distribution is None or (isinstance(distribution, str) and distribution in distributions)):
        return "its distribution isn't one of the cell's"
    if not (step is None or type(step) is int):
        return f"its step is a {type(step).__name__}, not a whole number"
    if step is not None and not -(2**63) <= step < 2**63:
        return "its step has more than 63 bits"
    if type(metric) is not str or not metric.isprintable():
        return "its metric isn't a name"
    if type(value) not in (int, float):
        return f"its value is a {type(value).__name__}, not a number"
    return "" if _is_number(value) else "its value isn't finite, or has more than 300 digits"


def rows_problem(rows: Sequence[Any], visits: Sequence[Collection[str]]) -> str | None:
    """Describe the first fault in the rows of a cell with these visits; None if there is none."""
    if problem := odd_row(rows, visits):
        return problem
    names = {name for visit in visits for name in visit}
    of_elbo = (row for row in rows if row["metric"] == "negative_elbo" and row["step"] is None)
    matrix = {(row["interval"], row["distribution"]) for row in of_elbo if row["distribution"] is not None}
    if matrix and (lacking := {(i, name) for i in range(len(visits)) for name in names} - matrix):
        interval, name = min(lacking)
        return f"there is no negative_elbo of {name!r} after interval {interval}"
    return None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST  # false for NaN
