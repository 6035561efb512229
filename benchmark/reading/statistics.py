"""Statistics over seeds and over scenarios, on numpy and scipy.

Point estimates come from all the data, never from resampling. Resampling uses a generator with a fixed seed, so that
the same data give the same interval.

Resampling few seeds says too little about the spread: at three seeds a plain percentile interval of 95 % covers about
75 %. So deviations of resampled values from the estimate are stretched to the width that Student's t has at these
numbers of seeds (:func:`stretched_draws`), and :func:`coverage` measures the result. Below three seeds a
resampled interval is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

LEVEL = 0.95
DRAWS = 4000
FEWEST = 3
"""Seeds below which nothing is resampled."""

Groups = Sequence[np.ndarray]
"""One array of runs per stratum (scenario or method)."""


class Estimate(NamedTuple):
    """A number from all the data, and its confidence interval."""

    n: int
    mean: float
    low: float | None
    """None if n is too small to estimate the spread."""
    high: float | None


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Estimate:
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


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half of the values on the last axis; a quarter, rounded down, is cut at either end (Agarwal
    et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, section 4.3)."""
    cut = values.shape[-1] // 4
    middle: np.ndarray = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    return np.asarray(middle.mean(axis=-1))


Statistic = Callable[[np.ndarray], np.ndarray]
"""A function of the runs on the last axis."""


def resampled(groups: Groups, generator: np.random.Generator, draws: int = DRAWS) -> list[np.ndarray]:
    """Resample each stratum's runs with replacement, (draws, runs) each."""
    return [group[generator.integers(len(group), size=(draws, len(group)))] for group in groups]


def stretched_draws(
    groups: Groups, statistic: Statistic, generator: np.random.Generator, draws: int = DRAWS, level: float = LEVEL
) -> np.ndarray:
    """A statistic of data sets whose runs are resampled within their stratum, with its deviations from the estimate
    stretched by what few runs leave out: the variance with divisor n − 1 in place of n, and Student's t in place of the
    normal distribution. Its degrees of freedom are Welch and Satterthwaite's, from what each stratum alone adds to the
    variance of the statistic.

    Args:
        groups: runs by stratum.
        statistic: of all runs together.
        generator: numpy's.
        draws: number of resampled data sets.
        level: at which the percentiles will be taken.

    Returns:
        (draws,)
    """
    drawn = resampled(groups, generator, draws)
    point = statistic(np.concatenate(groups))
    values: np.ndarray = statistic(np.concatenate(drawn, axis=1))
    if len(groups) == 1:  # most tables; the only stratum has all the variance
        parts = np.array([np.var(values)])
    else:
        fixed = [np.broadcast_to(group, (draws, len(group))) for group in groups]
        alone = [[*fixed[:i], drawn[i], *fixed[i + 1 :]] for i in range(len(groups))]
        parts = np.array([np.var(statistic(np.concatenate(strata, axis=1))) for strata in alone])
    if parts.max() == 0:
        return values
    parts /= parts.max()  # only their ratios count
    sizes = np.array([len(group) for group in groups])
    free = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
    lost = (parts * sizes / (sizes - 1)).sum() / parts.sum()
    quantile = (1 + level) / 2
    stretch = stdtrit(free, quantile) / ndtri(quantile) * np.sqrt(lost)
    return np.asarray(point + stretch * (values - point))


def bootstrap_interval(
    groups: Groups,
    statistic: Statistic,
    level: float = LEVEL,
    draws: int = DRAWS,
    generator: np.random.Generator | None = None,
) -> Estimate:
    """A statistic of all runs with its stratified bootstrap interval, the percentiles of :func:`stretched_draws`.

    Args:
        groups: runs by stratum; n is the smallest number of runs in one.
        statistic: of all runs together.
        level: of the interval.
        draws: number of resampled data sets.
        generator: numpy's default one with seed 0.
    """
    n = min(map(len, groups))
    point = float(statistic(np.concatenate(groups)))
    if n < FEWEST:
        return Estimate(n, point, None, None)
    drawn = stretched_draws(groups, statistic, generator or np.random.default_rng(0), draws, level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(n, point, float(low), float(high))


@cache
def coverage(n: int, spreads: tuple[float, ...] = (1,), simulations: int = 1000, draws: int = 500) -> float:
    """Share of simulated data sets, normal with the same mean in every stratum, in which the 95 % bootstrap interval
    of the interquartile mean has that mean.

    Args:
        n: runs in each stratum.
        spreads: standard deviation in each stratum.
        simulations: data sets.
        draws: resampled data sets for each.
    """
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(simulations):
        groups = [generator.normal(0, spread, n) for spread in spreads]
        estimate = bootstrap_interval(groups, interquartile_mean, draws=draws, generator=generator)
        hits += estimate.low is not None and estimate.high is not None and estimate.low <= 0 <= estimate.high
    return hits / simulations


class Rank(NamedTuple):
    """A method's place among its competitors."""

    rank: int
    """1 is the best; equal estimates share the better rank."""
    low: int | None
    """Best and worst rank in the central 95 % of the resampled tables; None if a method has too few runs."""
    high: int | None
    group: int | None
    """Tie group, from 1: the best method that isn't in an earlier group, and all later ones that are at least as good
    as it in 2.5 % of the resampled tables or more."""


def ranks(
    values: Mapping[str, Groups],
    statistic: Statistic,
    lower_is_better: bool = True,
    level: float = LEVEL,
) -> dict[str, Rank]:
    """Compute ranks with intervals, and tie groups, best first.

    A resampled table has one of the :func:`stretched_draws` of each method: runs are resampled with replacement within
    their stratum and independently of other methods (only :func:`paired` uses that equal seeds are paired). Nothing is
    corrected for the number of methods.

    Args:
        values: each method's runs by stratum.
        statistic: of the runs on the last axis.
        lower_is_better: whether the lowest ranks first.
        level: of the rank intervals, and of the tie groups' comparisons.
    """
    sign = 1 if lower_is_better else -1
    points = {name: sign * float(statistic(np.concatenate(groups))) for name, groups in values.items()}
    order = sorted(points, key=lambda name: (points[name], name))
    place = {name: 1 + sum(other < points[name] for other in points.values()) for name in order}
    if min((len(group) for groups in values.values() for group in groups), default=0) < FEWEST:
        return {name: Rank(place[name], None, None, None) for name in order}
    generator = np.random.default_rng(0)
    drawn = sign * np.stack(
        [stretched_draws(values[name], statistic, generator, level=level) for name in order], axis=1
    )  # (draws, methods)
    tail = (1 - level) / 2
    low, high = np.quantile(_places(drawn), [tail, 1 - tail], axis=0, method="nearest")
    groups = np.zeros(len(order), dtype=int)
    while (rest := np.flatnonzero(groups == 0)).size:
        as_good = (drawn[:, rest] <= drawn[:, rest[:1]]).mean(axis=0) >= tail
        groups[rest[as_good]] = groups.max() + 1
    return {
        name: Rank(place[name], int(first), int(last), int(group))
        for name, first, last, group in zip(order, low, high, groups, strict=True)
    }


def _places(values: np.ndarray) -> np.ndarray:
    """Rank the values in each row from 1, the lowest first; equal values share the better rank."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    is_first = np.diff(ordered, axis=1, prepend=-np.inf) > 0
    ranked = np.maximum.accumulate(np.where(is_first, np.arange(values.shape[1]), 0), axis=1) + 1
    places = np.empty_like(order)
    np.put_along_axis(places, order, ranked, axis=1)
    return places


class Paired(NamedTuple):
    """Method a against method b on the seeds that both have."""

    difference: Estimate
    """a − b, its mean and t interval over the seeds"""
    correlation: float | None
    """Correlation of a and b over seeds: how much pairing helps. None below three seeds or without spread."""
    effect: float | None
    """Mean difference over the differences' standard deviation, with Hedges' correction for few seeds. None below
    three seeds, where the correction is 0, or without spread."""
    probability: float
    """Probability that a run of a has a lower value than a run of b, over all pairs of runs; ties count a half."""
    resolvable: float | None
    """The smallest true difference that the t test at 5 % would find in 80 % of experiments with this many seeds and
    this spread. None at one seed, or without spread."""
    unpaired: float | None
    """Half of the interval without pairing (equal variances, 2n − 2 degrees of freedom); pairing helps if the
    difference's is smaller. None at one seed."""


def paired(a: Sequence[float], b: Sequence[float], level: float = LEVEL, power: float = 0.8) -> Paired:
    """Compare two methods by the same seeds' values.

    Args:
        a: one value per seed.
        b: the other method's, in the same order.
        level: of the interval.
        power: power for the resolvable difference.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n = len(first)
    differences = first - second
    spread = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    correlation = effect = resolvable = unpaired = None
    if n >= 3 and np.std(first) > 0 and np.std(second) > 0:
        correlation = float(np.corrcoef(first, second)[0, 1])
    if n >= 3 and spread > 0:
        effect = float(np.mean(differences)) / spread * (1 - 3 / (4 * (n - 1) - 1))
    if n >= 2:
        both = np.var(first, ddof=1) + np.var(second, ddof=1)
        unpaired = float(stdtrit(2 * n - 2, (1 + level) / 2) * np.sqrt(both / n))
    if spread > 0:
        shift = nctdtrinc(n - 1, 1 - power, stdtrit(n - 1, (1 + level) / 2))  # noncentral t; its far tail is 0
        resolvable = float(shift * spread / np.sqrt(n))
    wins = float(np.sign(second[None, :] - first[:, None]).mean())
    estimate = mean_interval(differences.tolist(), level)
    return Paired(estimate, correlation, effect, (1 + wins) / 2, resolvable, unpaired)


def t_test(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Student's test for a mean difference of 0; None below two, or without spread."""
    n = len(differences)
    if n < 2 or (spread := float(np.std(differences, ddof=1))) == 0:
        return None
    return float(2 * stdtr(n - 1, -abs(np.mean(differences)) / (spread / np.sqrt(n))))


def wilcoxon_needs(tests: int = 1, level: float = LEVEL) -> int:
    """Return the fewest pairs with which Wilcoxon's signed-rank test can reach (1 − level) / tests; its smallest
    p-value is 2 / 2ⁿ."""
    return int(np.ceil(1 + np.log2(tests / (1 - level)) - 1e-9))


def wilcoxon(differences: Sequence[float], tests: int = 1, level: float = LEVEL) -> float:
    """Compute the two-sided p-value of Wilcoxon's signed-rank test, exact without ties.

    Args:
        differences: the pairs' differences.
        tests: number of such tests to correct for.
        level: the level that the test must be able to reach.

    Raises:
        ValueError: the test can't reach its level with so few pairs; the message says how many are needed.
    """
    needed = wilcoxon_needs(tests, level)
    if len(differences) < needed:
        together = f" after correction for {tests} tests" if tests > 1 else ""
        alpha = f"{100 * (1 - level):g} %"
        raise ValueError(
            f"Wilcoxon's test can't reach {alpha}{together} with n = {len(differences)}: it needs {needed}"
        )
    from scipy import stats  # half a second

    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979)."""
    order = np.argsort(p_values)
    remaining = len(p_values) - np.arange(len(p_values))
    corrected = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * remaining))
    return [float(corrected[place]) for place in np.argsort(order)]


class CriticalDifference(NamedTuple):
    """Methods compared over scenarios (Demšar 2006; Wilcoxon's test with Holm's correction: Benavoli et al. 2016)."""

    mean_ranks: np.ndarray
    """(methods,), 1 is the best"""
    friedman: float
    """p-value of Friedman's test that all methods are alike"""
    p_values: np.ndarray
    """(methods, methods), Wilcoxon's, corrected by Holm for all pairs; 1 on the diagonal"""
    cliques: tuple[tuple[int, ...], ...]
    """largest groups of neighbours in mean rank without a difference"""


def critical_difference(values: np.ndarray, level: float = LEVEL) -> CriticalDifference:
    """Compare methods over scenarios, one value each.

    Args:
        values: (scenarios, methods), lower is better.
        level: of the tests.

    Raises:
        ValueError: there are too few scenarios or methods for the tests to find anything.
    """
    scenarios, methods = values.shape
    pairs = methods * (methods - 1) // 2
    if methods < 3:
        raise ValueError("a critical-difference diagram takes three methods or more")
    if scenarios < (needed := wilcoxon_needs(pairs, level)):
        raise ValueError(
            f"a critical-difference diagram of {methods} methods takes {needed} scenarios, since Wilcoxon's test can't "
            f"reach {100 * (1 - level):g} % after correction for {pairs} pairs with fewer; there are {scenarios}"
        )
    from scipy import stats

    mean_ranks = stats.rankdata(values, axis=1).mean(axis=0)
    where = list(zip(*np.triu_indices(methods, 1), strict=True))
    corrected = holm([wilcoxon(list(values[:, i] - values[:, j]), pairs, level) for i, j in where])
    p_values = np.ones((methods, methods))
    for (i, j), p_value in zip(where, corrected, strict=True):
        p_values[i, j] = p_values[j, i] = p_value
    order = np.argsort(mean_ranks, kind="stable")
    alike = p_values[np.ix_(order, order)] > 1 - level
    cliques: list[tuple[int, ...]] = []
    end = 0
    for start in range(methods):
        stop = start + 1
        while stop < methods and alike[start : stop + 1, start : stop + 1].all():
            stop += 1
        if stop - start > 1 and stop > end:
            cliques.append(tuple(int(method) for method in order[start:stop]))
            end = stop
    return CriticalDifference(mean_ranks, float(stats.friedmanchisquare(*values.T).pvalue), p_values, tuple(cliques))


def normalised(values: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Put values on the scale with the lower reference's mean at 0 and the upper one's at 1.

    Args:
        values: any shape.
        lower: the lower reference's values, one per seed.
        upper: the upper reference's values, one per seed.

    Raises:
        ValueError: there is no scale: the references' 95 % intervals overlap, or one has a single seed.
    """
    low, high = mean_interval(lower.tolist()), mean_interval(upper.tolist())
    if low.low is None or low.high is None or high.low is None or high.high is None:
        raise ValueError("a reference has only one seed, so the references can't be told apart")
    if low.low <= high.high and high.low <= low.high:
        raise ValueError(
            f"the references overlap: {low.low:.4g} to {low.high:.4g} (lower), {high.low:.4g} to {high.high:.4g} "
            "(upper)"
        )
    return np.asarray((values - low.mean) / (high.mean - low.mean))
