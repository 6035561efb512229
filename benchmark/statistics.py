"""Statistics over seeds. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Estimate(NamedTuple):
    """A mean over seeds and its confidence interval."""

    n: int
    mean: float
    low: float | None
    """None where n = 1: one seed says nothing about the spread."""
    high: float | None


def mean_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean with Student's t interval, mean ± t(n − 1) · s / √n.

    Args:
        values: one per seed, at least one.
        level: confidence that the interval covers the mean over all seeds, if the values are about normal.
    """
    n = len(values)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(n, mean, None, None)
    half = float(stdtrit(n - 1, (1 + level) / 2) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(n, mean, mean - half, mean + half)
