"""Ranks: independent references, and simulated tables: how often they are wrong, and what they show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from lifegen.benchmark.reading.ranking import Rank, mean_of_means, moderated, ranks, told_apart
from lifegen.benchmark.reading.statistics import Scale, mean_interval, scale

from .simulated import FASHION, MNIST, coverage_across, equal, simulate

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


def groups_of(**values: list[float]) -> dict[str, list[np.ndarray]]:
    return {name: [np.array(runs, float)] for name, runs in values.items()}


def test_methods_far_apart_have_certain_ranks():
    found = ranks(groups_of(c=[30, 31, 32], a=[1, 2, 3], b=[10, 11, 12]))
    assert found == {"a": Rank(1, 1, 1), "b": Rank(2, 2, 2), "c": Rank(3, 3, 3)}
    assert list(found) == ["a", "b", "c"]
    assert list(ranks(groups_of(c=[30, 31, 32], a=[1, 2, 3]), lower_is_better=False)) == ["c", "a"]


def test_two_methods_are_compared_as_scipy_does():
    a, b = [1.0, 2.0, 4.0], [3.0, 9.0, 5.5, 4.0]
    p = stats.ttest_ind(a, b, equal_var=False).pvalue
    for level, is_shown in ((1 - p * 1.01, True), (1 - p * 0.99, False)):
        assert told_apart([[np.array(a)], [np.array(b)]], level)[0, 1] == is_shown


def test_pairs_are_corrected_together():
    """Three pairs with p-values of Welch's test: Holm multiplies the smallest by 3, the next by 2."""
    values = groups_of(a=[1, 2, 3], b=[3.5, 5, 6], c=[5, 9, 12])
    p = {
        pair: stats.ttest_ind(values[pair[0]][0], values[pair[1]][0], equal_var=False).pvalue
        for pair in ("ab", "bc", "ac")
    }
    smallest = min(p, key=p.get)
    level = 1 - 3 * p[smallest] * 1.01
    found = ranks(values, level=level)
    shown = {pair for pair in p if pair[1] not in found[pair[0]].ties}
    assert shown == {smallest}
    assert 1 - level > p[smallest]  # without correction it would be shown at a third of that


def test_ties_are_a_relation_and_no_groups():
    """The middle one isn't told from either neighbour, which are told from each other."""
    found = ranks(groups_of(a=[10, 11, 12], b=[12, 16, 15], c=[17, 18.5, 18]))
    assert found["a"] == Rank(1, 1, 2, ("b",))
    assert found["b"] == Rank(2, 1, 3, ("a", "c"))
    assert found["c"] == Rank(3, 2, 3, ("b",))


def test_equal_rows_are_one_competitor():
    found = ranks(groups_of(a=[1, 2, 3], copy=[1, 2, 3], c=[50, 51, 52], d=[51, 51.5, 52]))
    assert found["a"] == found["copy"] == Rank(1, 1, 1)
    assert (found["c"].rank, found["c"].high) == (2, 3)
    assert found["d"].ties == ("c",)


def test_a_method_with_one_seed_takes_no_part():
    """It has no rank, and the others' are as without it."""
    others = groups_of(b=[5, 6, 7], c=[50, 51, 52], d=[51, 51.5, 52])
    assert ranks(groups_of(a=[1]) | others) == ranks(others)
    assert ranks(groups_of(a=[1], b=[5], c=[5])) == {
        "a": Rank(1, None, None),
        "b": Rank(2, None, None),
        "c": Rank(2, None, None),
    }
    assert ranks({}) == {}


def test_values_without_spread_are_ordered_as_they_are():
    found = ranks(groups_of(a=[7, 7, 7], b=[8, 8, 8], c=[7, 8, 9]))
    assert found["b"].ties == ("c",)
    assert found["a"].ties == ("c",)
    assert (found["a"].low, found["a"].high) == (1, 2)


def test_moderated_variances_are_the_ones_that_generated_them():
    """Smyth's model: 1/σ² is s₀⁻² χ²(d₀)/d₀. With many methods the moments find d₀ and s₀²."""
    generator = np.random.default_rng(0)
    free, prior_free, prior = np.full(20_000, 4.0), 2.0, 3.0
    truth = prior * prior_free / generator.chisquare(prior_free, len(free))
    variances = truth * generator.chisquare(free) / free
    found, found_free = moderated(variances, free)
    assert found_free == pytest.approx(prior_free, rel=0.05)
    expected = (prior_free * prior + free * variances) / (prior_free + free)
    assert found == pytest.approx(expected, rel=0.1)


def test_moderation_stops_at_three_and_needs_ten():
    free = np.full(4000, 2.0)
    variances = np.random.default_rng(0).chisquare(2, 4000) / 2  # all of one variance: d₀ would be infinite
    found, prior_free = moderated(variances, free)
    assert prior_free == 3
    assert np.ptp(found) < np.ptp(variances)
    few, none = moderated(variances[:9], free[:9])
    assert none == 0
    assert (few == variances[:9]).all()


@settings(max_examples=40)
@example([[0.0, float(i)] for i in range(1, 12)] + [[0.0, 4.5e-175]])  # whose square is 0
@given(st.lists(st.lists(numbers, min_size=2, max_size=4), min_size=1, max_size=12))
def test_a_rank_lies_in_its_interval_and_ties_are_mutual(runs):
    found = ranks({str(i): [np.array(one)] for i, one in enumerate(runs)})
    assert [one.rank for one in found.values()] == sorted(one.rank for one in found.values())
    for name, one in found.items():
        assert 1 <= one.low <= one.rank <= one.high <= len(runs)
        assert all(name in found[other].ties for other in one.ties)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("board", [[(0.0, 1.0)] * 16, equal(16, FASHION), equal(6, MNIST), FASHION], ids=range(4))
def test_a_table_says_something_wrong_as_rarely_as_it_says(board, seeds):
    """At most 5 %, within what 300 tables can show."""
    found = simulate(board, seeds, 300)
    assert found.wrong <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 300)
    assert found.covered >= 1 - found.wrong


def test_a_table_shows_most_of_what_is_true():
    """An interval that is always 1 to k covers, too."""
    assert simulate(MNIST, 3, 100).told > 0.75
    assert simulate(FASHION, 3, 100).told > 0.5
    assert simulate(FASHION, 5, 100).told > 0.8


def test_without_holms_correction_tables_would_be_wrong(monkeypatch):
    monkeypatch.setattr("lifegen.benchmark.reading.ranking.holm", list)
    assert simulate([(0.0, 1.0)] * 16, 3, 100).wrong > 0.5


# Across scenarios


def test_one_scenario_has_students_interval():
    values = [3.0, 4.5, 7.0]
    assert mean_of_means([np.array(values)]) == pytest.approx(mean_interval(values))
    assert mean_of_means([np.array([3.0]), np.array([1.0, 2.0])])[:4] == (1, 2.25, None, None)


def test_two_scenarios_have_welchs_interval_of_a_sum():
    """The mean of two means is half of a difference, if the second one's sign is turned."""
    a, b = np.array([3.0, 4.5, 7.0]), np.array([10.0, 30.0, 12.0, 17.0])
    low, high = stats.ttest_ind(a, -b, equal_var=False).confidence_interval()
    assert mean_of_means([a, b]) == pytest.approx((3, (a.mean() + b.mean()) / 2, low / 2, high / 2))


def test_scores_are_zero_and_one_at_the_references_whichever_is_larger():
    lower, upper = np.array([50.0, 52.0, 54.0]), np.array([20.0, 21.0, 22.0])
    assert scale(lower, upper).scores(np.array([52.0, 21.0, 36.5])) == pytest.approx([0, 1, 0.5])
    assert scale(upper, lower).scores(np.array([36.5])) == pytest.approx([0.5])


def test_the_references_variance_is_that_of_simulated_scores():
    generator = np.random.default_rng(0)
    score, n = 0.3, 4
    drawn = [
        Scale(generator.normal(50, 2, n), generator.normal(20, 1, n)).scores(np.array(41.0)) for _ in range(20_000)
    ]
    parts = Scale(np.array([48.0, 50, 52]), np.array([19.0, 20, 21])).variance_parts(score)  # of spreads 2 and 1
    assert np.var(drawn) == pytest.approx(parts[:, 0].sum() * 3 / n, rel=0.05)
    assert parts[:, 1].tolist() == [2, 2]


def test_references_that_overlap_are_no_scale():
    with pytest.raises(ValueError, match="overlap"):
        scale(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    with pytest.raises(ValueError, match="one seed"):
        scale(np.array([1.0]), np.array([2.0, 3.0, 4.0]))


@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_across_scenarios_cover_with_boards_as_truth(seeds):
    assert 0.93 <= coverage_across(seeds, 150) <= 0.99


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_methods_that_are_equal_overall_are_told_apart_as_rarely_as_said(shift):
    """One is better in one scenario and the other one in the other: then the references' spread counts."""
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        scales = [Scale(generator.normal(120, 3.6, 3), generator.normal(0, 0.13, 3)) for _ in range(2)]
        runs = {}
        for name, sign in (("a", 1), ("b", -1)):
            means = (60 + sign * 120 * shift, 60 - sign * 120 * shift)
            runs[name] = [one.scores(generator.normal(mean, 1, 3)) for one, mean in zip(scales, means, strict=True)]
        found = ranks(runs, lower_is_better=False, scales=np.stack([one.spread for one in scales]))
        wrong += not found["a"].ties
    assert wrong / 400 <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 400)
