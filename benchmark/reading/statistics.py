"""Statistics of seeds and of scenarios, on numpy and scipy. Ranks are in ``ranking``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

LEVEL = 0.95


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


def stratified(differences: Sequence[np.ndarray], level: float = LEVEL) -> Estimate:
    """The mean of paired differences of images, with its normal interval: images are drawn within their distribution.

    Args:
        differences: by distribution, one per image.
        level: of the interval.
    """
    sizes = np.array([len(one) for one in differences])
    n = int(sizes.sum())
    mean = float(np.concatenate(differences).mean())
    if sizes.min() < 2:
        return Estimate(n, mean, None, None)
    variances = np.array([np.var(one, ddof=1) for one in differences])
    half = float(ndtri((1 + level) / 2) * np.sqrt((sizes * variances).sum()) / n)
    return Estimate(n, mean, mean - half, mean + half)


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


class Scale(NamedTuple):
    """The scale with the lower reference's mean at 0 and the upper one's at 1."""

    lower: np.ndarray
    """The lower reference's values, one per seed."""
    upper: np.ndarray
    """The upper reference's values, one per seed."""

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Put values on the scale; any shape."""
        return np.asarray((values - self.lower.mean()) / self._length)

    def variance_parts(self, score: float) -> np.ndarray:
        """Return the variances that the two references' means add to a mean score, and their degrees of freedom,
        (2, 2); by the delta method."""
        return np.asarray(self.spread * [[(1 - score) ** 2, 1], [score**2, 1]])

    @property
    def spread(self) -> np.ndarray:
        """The variance of each reference's mean in units of the scale's length, and its degrees of freedom, (2, 2)."""
        parts = [(np.var(runs, ddof=1) / len(runs) / self._length**2, len(runs) - 1) for runs in self]
        return np.array(parts, dtype=float)

    @property
    def _length(self) -> float:
        return float(self.upper.mean() - self.lower.mean())


def scale(lower: np.ndarray, upper: np.ndarray) -> Scale:
    """Make a scale from the references' values, one per seed.

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
    return Scale(lower, upper)
