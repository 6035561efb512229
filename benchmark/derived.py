"""Metrics that follow from the stored matrix of negative ELBOs alone. No torch.

R[t, j] is the negative ELBO on distribution j after interval t; T is the last interval. A distribution counts from the
interval at which it is first met, ``first[j]``. These metrics don't exist for a cell of one interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

import pandas as pd

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


def derive(rows: pd.DataFrame, first: Mapping[str, int]) -> pd.DataFrame:
    """The derived metrics of one cell, as rows of its last interval.

    Args:
        rows: the cell's measured rows.
        first: the interval at which each distribution is first met.
    """
    entries = rows[(rows["metric"] == "negative_elbo") & rows["distribution"].notna()]
    matrix = dict(zip(zip(entries["interval"], entries["distribution"], strict=True), entries["value"], strict=True))
    last = max((interval for interval, _ in matrix), default=0)
    values = [(last, entry.name, entry.target(matrix, first, last)) for entry in METRICS if entry.facts["derived"]]
    defined = [row for row in values if row[2] is not None and last > 0]
    return pd.DataFrame(defined, columns=["interval", "metric", "value"])


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return fmean(values) if values else None
