"""One number per metric of a finished cell. It is kept in the cell's record, so that a leaderboard reads no rows.
No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .catalogue import describe
from .derived import derive

Numbers = dict[str, float | None]


def summarise(rows: Iterable[Mapping[str, Any]], visits: Sequence[Sequence[str]]) -> Numbers:
    """A cell's number of each metric, from its rows without distribution: the last, the sum or the maximum over the
    intervals, as the metric says; None where it is undefined after the last one. A trace over steps has none.

    Args:
        rows: all that were measured.
        visits: the distributions of each interval.
    """
    rows = list(rows)
    last = max((row["interval"] for row in rows), default=0)
    facts = describe("metric")
    numbers: Numbers = {}
    for row in [*rows, *derive(rows, visits)]:
        if row.get("distribution") is not None or row.get("step") is not None:
            continue
        metric, value = row["metric"], row["value"]
        known = numbers.setdefault(metric, None)
        how = facts[metric].facts.get("over_intervals", "last") if metric in facts else "last"
        if how == "sum":
            numbers[metric] = value + (known or 0)
        elif how == "max":
            numbers[metric] = value if known is None else max(known, value)
        elif row["interval"] == last:  # one that is undefined there has no number, not an older one
            numbers[metric] = value
    return numbers


def is_current(metrics: Mapping[str, int]) -> bool:
    """Whether numbers that were made with these versions of metrics have every derived metric as it is now."""
    derived = (entry for entry in describe("metric").values() if entry.facts.get("derived"))
    return all(metrics.get(entry.name) == entry.version for entry in derived)
