"""Statistics: closed forms, independent references, and how often intervals cover what they say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lifegen.benchmark.reading.statistics import (
    _places,
    bootstrap_interval,
    coverage,
    critical_difference,
    holm,
    interquartile_mean,
    mean_interval,
    normalised,
    paired,
    ranks,
    resampled,
    stretched_draws,
    t_test,
    wilcoxon,
    wilcoxon_needs,
)

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


def mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


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


# Interquartile mean and bootstrap


def test_the_interquartile_mean_is_scipys_trimmed_mean():
    for n in range(1, 14):
        values = np.random.default_rng(n).standard_normal((3, n))
        assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=1))


def test_the_estimate_is_of_all_data_and_the_interval_repeatable():
    groups = [np.array([1.0, 2.0, 6.0]), np.array([10.0, 11.0, 12.0, 40.0])]
    found = bootstrap_interval(groups, mean)
    assert found.mean == pytest.approx(np.concatenate(groups).mean())
    assert found.n == 3
    assert bootstrap_interval(groups, mean) == found
    assert found.low < found.mean < found.high


def test_runs_are_resampled_within_their_stratum():
    groups = [np.array([1.0, 2.0, 3.0]), np.array([100.0, 200.0])]
    first, second = resampled(groups, np.random.default_rng(0), draws=500)
    assert (first.shape, second.shape) == ((500, 3), (500, 2))
    assert set(first.ravel()) == {1, 2, 3}
    assert set(second.ravel()) == {100, 200}


def test_the_bootstrap_of_three_is_the_exact_one_stretched():
    """All 27 resamples of three values can be listed: the interval ends at their percentiles' distances, stretched."""
    values = np.array([0.0, 1.0, 5.0])
    every = np.sort([np.mean(one) for one in product(values, repeat=3)])
    low, high = every[0], every[-1]  # each extreme has probability 1/27 > 2.5 %
    wider = stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975) * np.sqrt(3 / 2)
    found = bootstrap_interval([values], mean)
    assert (found.low, found.high) == pytest.approx((2 + wider * (low - 2), 2 + wider * (high - 2)))


def test_degrees_of_freedom_are_those_of_the_strata_that_vary():
    """A stratum without spread adds none: the mean of it and another one is as wide as half of the other's alone."""
    varied = np.array([0.0, 1.0, 5.0])
    alone = stretched_draws([varied], mean, np.random.default_rng(0))
    beside = stretched_draws([varied, np.full(3, 7.0)], mean, np.random.default_rng(0))
    assert beside - 4.5 == pytest.approx((alone - 2) / 2)
    assert (stretched_draws([np.ones(3), np.ones(4)], mean, np.random.default_rng(0)) == 1).all()


def test_fewer_than_three_are_not_resampled():
    assert bootstrap_interval([np.array([1.0, 2.0]), np.arange(9.0)], mean)[2:] == (None, None)


@pytest.mark.parametrize("spreads", [(1,), (1, 1, 1)])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_bootstrap_covers_as_often_as_it_says(n, spreads):
    assert 0.93 <= coverage(n, spreads) <= 0.98


@pytest.mark.parametrize(("n", "least"), [(3, 0.88), (5, 0.93), (10, 0.93)])
def test_strata_of_unequal_spread_are_the_worst_case(n, least):
    assert least <= coverage(n, (1, 0.1, 0.1)) <= 0.98


def test_without_the_correction_it_would_not_cover(monkeypatch):
    monkeypatch.setattr("lifegen.benchmark.reading.statistics.stdtrit", lambda free, quantile: stats.norm.ppf(quantile))
    assert coverage(3) < 0.85


# Ranks


def groups_of(**values: list[float]) -> dict[str, list[np.ndarray]]:
    return {name: [np.array(runs)] for name, runs in values.items()}


def test_methods_far_apart_have_certain_ranks_and_groups_of_their_own():
    found = ranks(groups_of(c=[30, 31, 32], a=[1, 2, 3], b=[10, 11, 12]), mean)
    assert {name: tuple(one) for name, one in found.items()} == {
        "a": (1, 1, 1, 1),
        "b": (2, 2, 2, 2),
        "c": (3, 3, 3, 3),
    }
    assert list(ranks(groups_of(c=[30, 31, 32], a=[1, 2, 3]), mean, lower_is_better=False)) == ["c", "a"]


def test_equal_methods_share_rank_and_group():
    found = ranks(groups_of(a=[1, 2, 3], b=[1, 2, 3], c=[50, 51, 52]), mean)
    assert found["a"].rank == found["b"].rank == 1
    assert found["a"].group == found["b"].group == 1
    assert (found["c"].rank, found["c"].group) == (3, 2)
    assert found["a"].low == 1


def test_who_can_not_be_told_from_the_best_of_a_group_is_in_it():
    found = ranks(groups_of(best=[9.9, 10, 10.1], wide=[10, 14, 21], tight=[13, 13.1, 13.2]), mean)
    assert found["wide"].group == found["best"].group == 1  # its mean may be below 10
    assert found["tight"].rank == 2
    assert found["tight"].group == 2


def test_places_share_the_better_rank_where_values_are_equal():
    values = np.random.default_rng(0).integers(0, 5, (50, 7)).astype(float)
    assert np.array_equal(_places(values), stats.rankdata(values, method="min", axis=1))


def test_few_seeds_have_ranks_without_intervals():
    found = ranks(groups_of(a=[1, 2], b=[5, 6, 7]), mean)
    assert found["a"] == (1, None, None, None)
    assert found["b"] == (2, None, None, None)
    assert ranks({}, mean) == {}


@pytest.mark.parametrize("n", [3, 5])
def test_rank_intervals_cover_the_true_rank(n):
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(60):
        runs = {str(i): [generator.normal(i, 1, n)] for i in range(1, 7)}
        hits += [one.low <= int(name) <= one.high for name, one in ranks(runs, mean).items()]
    assert np.mean(hits) >= 0.95


@settings(max_examples=20)
@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_rank_lies_in_its_interval_and_groups_follow_the_order(runs):
    found = list(ranks({str(i): [np.array(one)] for i, one in enumerate(runs)}, mean).values())
    assert [one.rank for one in found] == sorted(one.rank for one in found)
    assert all(1 <= one.low <= one.high <= len(runs) for one in found)
    assert found[0].group == 1


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


# Scores


def test_references_are_zero_and_one_whichever_is_larger():
    lower, upper = np.array([50.0, 52.0, 54.0]), np.array([20.0, 21.0, 22.0])
    assert normalised(np.array([52.0, 21.0, 36.5]), lower, upper) == pytest.approx([0, 1, 0.5])
    assert normalised(np.array([36.5]), upper, lower) == pytest.approx([0.5])


def test_overlapping_references_are_no_scale():
    with pytest.raises(ValueError, match="overlap"):
        normalised(np.zeros(1), np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    with pytest.raises(ValueError, match="one seed"):
        normalised(np.zeros(1), np.array([1.0]), np.array([2.0, 3.0, 4.0]))
