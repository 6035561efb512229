"""Intervals against an independent reference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lifegen.benchmark.statistics import mean_interval


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30).filter(lambda values: np.std(values) > 1e-3))
def test_the_interval_is_students(values):
    estimate = mean_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert estimate.n == len(values)
    assert estimate.mean == pytest.approx(np.mean(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_a_textbook_case():
    estimate = mean_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # t(0.975, 2), s = 1
    assert (estimate.low, estimate.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_one_seed_has_no_interval():
    assert mean_interval([3.5]) == (1, 3.5, None, None)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    samples = generator.normal(5, 2, size=(4000, 3))
    covered = [(e := mean_interval(row)).low <= 5 <= e.high for row in samples]
    assert 0.93 <= np.mean(covered) <= 0.97
