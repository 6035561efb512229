"""Whether rows are measurements of their cell. No torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


def odd_row(rows: Sequence[Any], visits: Sequence[Collection[str]]) -> str | None:
    """What is wrong with the first row that can't be a measurement of a cell of such visits, or None."""
    names = {name for visit in visits for name in visit}
    for number, row in enumerate(rows, 1):
        try:
            interval, distribution, step = row["interval"], row["distribution"], row["step"]
            is_whole = (
                type(interval) is int
                and 0 <= interval < len(visits)
                and (distribution is None or distribution in names)
                and (step is None or type(step) is int)
                and type(row["metric"]) is str
                and row["metric"].isprintable()
                and _is_number(row["value"])
            )
        except (LookupError, TypeError):
            is_whole = False
        if not is_whole:
            return f"row {number} isn't a measurement of this cell: {str(row)[:200]}"
    return None


def rows_problem(rows: Sequence[Any], visits: Sequence[Collection[str]]) -> str | None:
    """What is wrong with the rows of a cell of such visits, or None."""
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
    return type(value) in (int, float) and abs(value) < 1e300  # not a number: no comparison holds
