"""The summary of a finished cell: one number per metric. The record keeps it, so that a leaderboard reads no rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ..contracts.registry import METRICS
from ..measuring.derived import derive
from ..store.record import Numbers


def summarise(rows: Iterable[Mapping[str, Any]], over_intervals: Mapping[str, str]) -> Numbers:
    """Make a cell's one number of each metric from its rows without distribution: the last, the mean, the sum or the
    maximum over the intervals, as the metric says; None if it is undefined after the last interval. A trace over steps
    has none.

    Args:
        rows: all rows of the cell, measured and derived.
        over_intervals: "last", "mean", "sum" or "max", by metric; "last" for others.
    """
    rows = list(rows)
    last = max((row["interval"] for row in rows), default=0)
    numbers: Numbers = {}
    for_means: dict[str, list[float]] = {}
    for row in rows:
        if row.get("distribution") is not None or row.get("step") is not None:
            continue
        metric, value = row["metric"], row["value"]
        so_far = numbers.setdefault(metric, None)
        how = over_intervals.get(metric, "last")
        if how == "sum":
            numbers[metric] = value + (so_far or 0)
        elif how == "mean":
            for_means.setdefault(metric, []).append(value)
        elif how == "max":
            numbers[metric] = value if so_far is None else max(so_far, value)
        elif row["interval"] == last:  # if undefined there, it has no number rather than an older one
            numbers[metric] = value
    return numbers | {metric: fmean(values) for metric, values in for_means.items()}


def registered_summary(
    rows: Sequence[Mapping[str, Any]], visits: Sequence[Sequence[str]]
) -> tuple[Numbers | None, Mapping[str, str]]:
    """Summarise a finished cell by the metrics registered in this process.

    Returns:
        the numbers, or None if a metric with a number isn't registered or a derived metric fails: then readers make
        them, since they can show the reason; and why derived metrics fail, by metric.
    """
    how = {entry.name: entry.facts["over_intervals"] for entry in METRICS}
    if not all(row["metric"] in how or row["step"] is not None for row in rows):
        return None, {}
    derived = derive(rows, visits)
    return None if derived.problems else summarise([*rows, *derived.rows], how), derived.problems
