"""Statistics: closed forms, independent references, and how often intervals cover what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lifegen.benchmark.reading.statistics import (
    critical_difference,
    holm,
    mean_interval,
    paired,
    t_test,
    wilcoxon,
    wilcoxon_needs,
)

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


# Means and their intervals


@given(st.lists(numbers, min_size=2, max_size=20).filter(lambda values: np.std(values) > 1e-6))
def test_the_interval_is_students(values):
    found = mean_interval(values, 0.9)
    low, high = stats.t.interval(0.9, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found == pytest.approx((len(values), np.mean(values), low, high))


def test_a_textbook_case():
    # t(0.975, 2) = 4.302653; s = 1; √3
    low, high = 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5
    assert mean_interval([1, 2, 3]) == pytest.approx((3, 2, low, high), abs=1e-6)


def test_one_seed_has_no_interval():
    assert mean_interval([5.0]) == (1, 5.0, None, None)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_interval_covers_the_mean_as_often_as_it_says(n):
    generator = np.random.default_rng(0)
    found = [mean_interval(list(values)) for values in generator.normal(7, 3, size=(4000, n))]
    share = np.mean([one.low <= 7 <= one.high for one in found])
    assert 0.93 <= share <= 0.97


# Pairs


def test_a_paired_difference_is_the_t_interval_of_the_differences():
    a, b = [3.0, 5.0, 4.0, 8.0], [1.0, 2.0, 5.0, 4.0]
    found = paired(a, b)
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(0.95)
    assert found.difference == pytest.approx((4, 2, low, high))
    assert t_test([2.0, 3.0, -1.0, 4.0]) == pytest.approx(test.pvalue)
    assert found.correlation == pytest.approx(stats.pearsonr(a, b).statistic)
    assert found.effect == pytest.approx(2 / np.std([2, 3, -1, 4], ddof=1) * (1 - 3 / 11))


def test_the_probability_of_improvement_counts_all_pairs_and_ties_half():
    a, b = [1.0, 4.0, 6.0], [2.0, 4.0, 9.0]
    u = stats.mannwhitneyu(a, b).statistic  # pairs in which a is larger, ties a half
    assert paired(a, b).probability == pytest.approx(1 - u / 9)
    assert paired([1, 1, 1], [2, 2, 2]).probability == 1
    assert paired([1, 2], [1, 2]).probability == 0.5


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_resolvable_difference_is_found_in_four_of_five_experiments(n):
    generator = np.random.default_rng(1)
    a, b = generator.standard_normal((2, n))
    spread = np.std(a - b, ddof=1)
    difference = paired(a, b).resolvable
    found = [t_test(list(one)) < 0.05 for one in generator.normal(difference, spread, (4000, n))]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_few_seeds_and_no_spread_say_less():
    one = paired([3.0], [1.0])
    assert one.difference == (1, 2.0, None, None)
    assert (one.correlation, one.effect, one.resolvable, one.unpaired) == (None, None, None, None)
    two = paired([1.0, 4.0], [5.0, 9.5])
    assert two.effect is None  # the correction for two seeds is 0
    assert two.resolvable > 0
    same = paired([1, 2, 4], [2, 3, 5])
    assert (same.effect, same.resolvable) == (None, None)
    assert t_test([2.0]) is None
    assert t_test([1.0, 1.0]) is None


def test_without_pairing_the_interval_is_that_of_two_samples():
    a, b = [3.0, 5.0, 4.0, 8.0], [1.0, 2.0, 5.0, 4.0]
    low, high = stats.ttest_ind(a, b).confidence_interval(0.95)
    assert paired(a, b).unpaired == pytest.approx((high - low) / 2)


# Tests


def test_wilcoxon_is_refused_where_it_can_not_reach_its_level():
    with pytest.raises(ValueError, match="n = 3: it needs 6"):
        wilcoxon([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="6 tests with n = 7: it needs 8"):
        wilcoxon([1.0] * 7, tests=6)
    for tests in (1, 3, 6, 10, 136):
        needed = wilcoxon_needs(tests)
        assert 2 / 2**needed <= 0.05 / tests < 2 / 2 ** (needed - 1)


def test_wilcoxon_is_exact():
    assert wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 2 / 2**6
    assert wilcoxon([0.0] * 6) == 1


def test_holms_correction_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_a_critical_difference_takes_enough_scenarios():
    with pytest.raises(ValueError, match="3 methods takes 7 scenarios.*3 pairs with fewer; there are 4"):
        critical_difference(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="three methods"):
        critical_difference(np.zeros((40, 2)))


def test_a_critical_difference_joins_methods_that_do_not_differ():
    generator = np.random.default_rng(0)
    level = generator.normal(0, 5, (12, 1))
    values = level + np.array([0.0, 0.05, 9.0]) + generator.normal(0, 0.5, (12, 3))
    found = critical_difference(values)
    assert found.mean_ranks[2] == 3
    assert found.cliques == ((0, 1),) or found.cliques == ((1, 0),)
    assert found.p_values[0, 2] == pytest.approx(holm([2 / 2**12] * 2 + [0.5])[0])
    assert found.friedman < 0.01
    assert np.array_equal(found.p_values, found.p_values.T)
