"""Metrics that follow from the stored matrix of negative ELBOs alone. No torch.

R[t, j] is the negative ELBO on distribution j after interval t. A distribution counts from the interval at which it is
first met; T is the last interval. They don't exist for a cell of one interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import pandas as pd

from .registry import METRICS, register_metric


@register_metric("forgetting", version=1, unit="nats", better="lower", derived=True)
def forgetting(matrix: pd.DataFrame, first: Mapping[str, int]) -> float | None:
    """How far the last value lies above the best one: mean over j < T of R[T, j] − min_t R[t, j]."""
    last = matrix.index[-1]
    return _mean([matrix.at[last, j] - matrix[j].min() for j, met in first.items() if met < last])


@register_metric("backward_transfer", version=1, unit="nats", better="higher", derived=True)
def backward_transfer(matrix: pd.DataFrame, first: Mapping[str, int]) -> float | None:
    """What later intervals did to what was learned: mean over j < T of R[j, j] − R[T, j]."""
    last = matrix.index[-1]
    return _mean([matrix.at[met, j] - matrix.at[last, j] for j, met in first.items() if met < last])


@register_metric("forward_transfer", version=1, unit="nats", better="higher", derived=True)
def forward_transfer(matrix: pd.DataFrame, first: Mapping[str, int]) -> float | None:
    """What earlier intervals did for what was still to come: mean over j ≥ 1 of R[0, j] − R[j − 1, j]."""
    start = matrix.index[0]
    return _mean([matrix.at[start, j] - matrix.at[met - 1, j] for j, met in first.items() if met > start])


def derive(rows: pd.DataFrame, first: Mapping[str, int]) -> pd.DataFrame:
    """The derived metrics of one cell, as rows of its last interval.

    Args:
        rows: the cell's measured rows.
        first: the interval at which each distribution is first met.
    """
    entries = rows[(rows["metric"] == "negative_elbo") & rows["distribution"].notna()]
    matrix = entries.pivot(index="interval", columns="distribution", values="value")
    values = {
        entry.name: entry.target(matrix, first) for entry in METRICS if entry.facts["derived"] and len(matrix) > 1
    }
    defined = [(matrix.index[-1], name, value) for name, value in values.items() if value is not None]
    return pd.DataFrame(defined, columns=["interval", "metric", "value"])


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
