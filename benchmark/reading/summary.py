"""One number per metric of a finished cell. It is kept in the cell's record, so that a leaderboard reads no rows.
No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..contracts.registry import METRICS
from ..measuring.derived import derive
from ..store.record import Numbers


def summarise(rows: Iterable[Mapping[str, Any]], over_intervals: Mapping[str, str]) -> Numbers:
    """A cell's number of each metric, from its rows without distribution: the last, the sum or the maximum over the
    intervals, as the metric says; None where it is undefined after the last one. A trace over steps has none.

    Args:
        rows: all of the cell's, measured and derived.
        over_intervals: "last", "sum" or "max", by metric; "last" for others.
    """
    rows = list(rows)
    last = max((row["interval"] for row in rows), default=0)
    numbers: Numbers = {}
    for row in rows:
        if row.get("distribution") is not None or row.get("step") is not None:
            continue
        metric, value = row["metric"], row["value"]
        known = numbers.setdefault(metric, None)
        how = over_intervals.get(metric, "last")
        if how == "sum":
            numbers[metric] = value + (known or 0)
        elif how == "max":
            numbers[metric] = value if known is None else max(known, value)
        elif row["interval"] == last:  # one that is undefined there has no number, not an older one
            numbers[metric] = value
    return numbers


def registered_summary(rows: Sequence[Mapping[str, Any]], visits: Sequence[Sequence[str]]) -> Numbers | None:
    """A finished cell's numbers by the metrics that are registered in this process; None if some of the rows' aren't,
    or if a derived metric fails: then they are made on reading, where there is a place to say so."""
    how = {entry.name: entry.facts["over_intervals"] for entry in METRICS}
    if not all(row["metric"] in how for row in rows):
        return None
    derived = derive(rows, visits)
    return None if derived.problems else summarise([*rows, *derived.rows], how)
