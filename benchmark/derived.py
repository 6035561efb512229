"""Metrics that follow from the stored matrix of negative ELBOs alone. No torch.

R[t, j] is the negative ELBO on distribution j after interval t; T is the last interval. A distribution counts from the
interval at which it is first met, ``first[j]``. These metrics don't exist for a cell of one interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from .registry import METRICS, register_metric

Matrix = Mapping[tuple[int, str], float]


@register_metric("forgetting", version=1, unit="nats", better="lower", derived=True)
def forgetting(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """How far the last value lies above the best one: mean over j < T of R[T, j] − min_t R[t, j]."""
    return _mean(R[T, j] - min(R[t, j] for t in range(T + 1)) for j in first if first[j] < T)


@register_metric("backward_transfer", version=1, unit="nats", better="higher", derived=True)
def backward_transfer(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """What later intervals did to what was learned: mean over j < T of R[j, j] − R[T, j]."""
    return _mean(R[first[j], j] - R[T, j] for j in first if first[j] < T)


@register_metric("forward_transfer", version=1, unit="nats", better="higher", derived=True)
def forward_transfer(R: Matrix, first: Mapping[str, int], T: int) -> float | None:
    """What earlier intervals did for what was still to come: mean over j ≥ 1 of R[0, j] − R[j − 1, j]."""
    return _mean(R[0, j] - R[first[j] - 1, j] for j in first if first[j] >= 1)


def derive(rows: Iterable[Mapping[str, Any]], visits: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The derived metrics of one cell, as rows of its last interval.

    Args:
        rows: the cell's measured rows.
        visits: the distributions of each interval.
    """
    first: dict[str, int] = {}
    for interval, distributions in enumerate(visits):
        for distribution in distributions:
            first.setdefault(distribution, interval)
    matrix = {
        (row["interval"], row["distribution"]): row["value"]
        for row in rows
        if row["metric"] == "negative_elbo" and row["distribution"] is not None
    }
    if not matrix:
        return []
    last = max(interval for interval, _ in matrix)
    values = {entry.name: entry.target(matrix, first, last) for entry in METRICS if entry.facts["derived"]}
    return [
        {"interval": last, "metric": name, "value": value}
        for name, value in values.items()
        if value is not None and last > 0
    ]


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return fmean(values) if values else None
