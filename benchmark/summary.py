"""One number per metric of a finished cell. It is kept in the cell's record, so that a leaderboard reads no rows.
No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from .catalogue import describe, describe_metrics
from .derived import derive
from .registry import METRICS

Numbers = dict[str, float | None]


def summarise(
    rows: Iterable[Mapping[str, Any]], visits: Sequence[Sequence[str]], over_intervals: Mapping[str, str]
) -> Numbers:
    """A cell's number of each metric, from its rows without distribution: the last, the sum or the maximum over the
    intervals, as the metric says; None where it is undefined after the last one. A trace over steps has none.

    Args:
        rows: all that were measured.
        visits: the distributions of each interval.
        over_intervals: "last", "sum" or "max", by metric; "last" for others.
    """
    rows = list(rows)
    last = max((row["interval"] for row in rows), default=0)
    numbers: Numbers = {}
    for row in [*rows, *derive(rows, visits)]:
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


def described() -> dict[str, str]:
    """How each metric is put together over intervals, without importing the metrics."""
    return {name: entry.facts.get("over_intervals", "last") for name, entry in describe_metrics().items()}


def registered_summary(rows: Sequence[Mapping[str, Any]], visits: Sequence[Sequence[str]]) -> Numbers | None:
    """:func:`summarise` by the metrics that are registered in this process; None if some of the rows' aren't."""
    how = {entry.name: entry.facts["over_intervals"] for entry in METRICS}
    return summarise(rows, visits, how) if all(row["metric"] in how for row in rows) else None


def is_current(metrics: Mapping[str, int]) -> bool:
    """Whether numbers that were made with these versions of metrics have every derived metric as it is now."""
    return all(metrics.get(name) == version for name, version in _derived_versions().items())


@cache
def _derived_versions() -> dict[str, int]:
    return {name: entry.version for name, entry in describe("metric").items() if entry.facts.get("derived")}
