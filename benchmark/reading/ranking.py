"""Ranks of methods, with intervals that cover: at most 5 % of tables say anything wrong about the order of two methods.

Pairs are compared by Welch's t test and corrected for their number by Holm's method, so that a table's statements hold
together. Few seeds say little about each method's spread, so from ten methods on their variances are moderated by
each other. ``docs/leaderboard.md`` has simulated error rates and powers, which a test repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import polygamma, psi, stdtr, stdtrit

from .statistics import LEVEL, Estimate, holm

_FEWEST = 10
"""Methods below which variances aren't moderated."""
_FEWEST_TO_CORRELATE = 4
"""Methods below which a rank correlation says nothing."""
_MOST_FREE = 3.0
"""Limit of the degrees of freedom that methods give each other. With more, simulated errors exceed 5 %."""

Groups = Sequence[np.ndarray]
"""One array of runs per scenario."""


class Rank(NamedTuple):
    """A method's place among its competitors."""

    rank: int
    """1 is the best; equal means share the better rank."""
    low: int | None
    """1 + the number of methods shown to be better. None where most methods have one seed."""
    high: int | None
    """The number of competitors − the number of methods shown to be worse."""
    ties: tuple[str, ...] = ()
    """Methods that aren't told apart from it, best first."""


def ranks(
    values: Mapping[str, Groups],
    lower_is_better: bool = True,
    level: float = LEVEL,
    scales: np.ndarray | None = None,
) -> dict[str, Rank]:
    """Compute ranks with intervals that hold for all methods at once, best first.

    A method with one seed has no rank where most methods have several: one seed says nothing about another. Where most
    have one, all have ranks, by their means alone.

    Args:
        values: each method's runs by scenario; methods are compared by the mean of their means in the scenarios.
        lower_is_better: whether the lowest ranks first.
        level: probability that no statement of a table is wrong, if values are about normal.
        scales: the spread of each scenario's scale, as in :func:`told_apart`.
    """
    alike: dict[tuple[bytes, ...], list[str]] = {}  # methods with equal runs are one competitor
    for name in sorted(values):
        alike.setdefault(tuple(np.asarray(runs, float).tobytes() for runs in values[name]), []).append(name)
    groups = {names[0]: values[names[0]] for names in alike.values()}
    several = {name: runs for name, runs in groups.items() if min(map(len, runs)) > 1}
    has_intervals = 2 * len(several) > len(groups)
    groups = several if has_intervals else groups
    sign = 1 if lower_is_better else -1
    means = {name: sign * _mean(runs) for name, runs in groups.items()}
    order = sorted(groups, key=lambda name: (means[name], name))
    better = told_apart([groups[name] for name in order], level, scales)
    found: dict[str, Rank] = {}
    copies = {names[0]: names for names in alike.values()}
    for i, name in enumerate(order):
        place = 1 + sum(means[other] < means[name] for other in order)
        if not has_intervals:
            rank = Rank(place, None, None)
        else:
            ties = [other for j, other in enumerate(order) if j != i and not better[min(i, j), max(i, j)]]
            low, high = 1 + int(better[:, i].sum()), len(order) - int(better[i].sum())
            rank = Rank(place, low, high, tuple(tie for other in ties for tie in copies[other]))
        found |= dict.fromkeys(copies[name], rank)
    return found


def told_apart(groups: Sequence[Groups], level: float = LEVEL, scales: np.ndarray | None = None) -> np.ndarray:
    """Test all pairs of methods.

    Args:
        groups: each method's runs by scenario, in the order of their means.
        level: as in :func:`ranks`.
        scales: relative variances of the length of each scenario's scale, with their degrees of freedom, (scenarios,
            parts, 2): they add to the variance of each difference that is measured on it.

    Returns:
        (methods, methods), bool: whether method i is shown to come before method j, for i < j; else False.
    """
    shown = np.zeros((len(groups), len(groups)), dtype=bool)
    tested = [i for i, one in enumerate(groups) if min(map(len, one)) > 1]
    if len(tested) < 2:
        return shown
    scenarios = len(groups[0])
    parts = np.stack([_variance_parts([groups[i][k] for i in tested]) for k in range(scenarios)], axis=1)
    means = np.array([_mean(groups[i]) for i in tested])
    first, second = np.triu_indices(len(tested), 1)
    differences = np.abs(means[first] - means[second])
    of_pairs = [parts[first], parts[second]]
    if scales is not None:
        in_scenario = np.array([[np.mean(runs) for runs in groups[i]] for i in tested])
        squares = (in_scenario[first] - in_scenario[second]) ** 2
        of_pairs += [np.stack([squares * part[:, 0], np.broadcast_to(part[:, 1], squares.shape)], axis=2)
                     for part in np.moveaxis(scales, 1, 0)]  # fmt: skip
    variances, free = _summed(np.concatenate(of_pairs, axis=1))
    varies = variances > 0
    p_values = (differences == 0).astype(float)  # where nothing varies
    statistic = differences[varies] * scenarios / np.sqrt(variances[varies])
    p_values[varies] = 2 * stdtr(free[varies], -statistic)
    places = np.array(tested)
    shown[places[first], places[second]] = np.array(holm(list(p_values))) <= 1 - level
    return shown


def mean_of_means(groups: Groups, level: float = LEVEL, others: np.ndarray | None = None) -> Estimate:
    """The mean of the means in several scenarios, with Student's t interval at Satterthwaite's degrees of freedom.

    Args:
        groups: runs by scenario; n is the smallest number of runs in one.
        level: confidence.
        others: further parts of the variance of each scenario's mean, with their degrees of freedom, (parts, 2).
    """
    n, mean = min(map(len, groups)), _mean(groups)
    if n == 1:
        return Estimate(n, mean, None, None)
    parts = np.array([[np.var(runs, ddof=1) / len(runs), len(runs) - 1] for runs in groups])
    variance, free = _summed(parts if others is None else np.concatenate([parts, others]))
    half = float(stdtrit(free, (1 + level) / 2) * np.sqrt(variance)) / len(groups) if variance else 0.0
    return Estimate(n, mean, mean - half, mean + half)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Compute Kendall's τ of two orders of the same methods; None of fewer than four, or where all share one rank.

    Args:
        first: ranks, one per method.
        second: ranks by something else, in the same order.
    """
    if len(first) < _FEWEST_TO_CORRELATE:
        return None
    from scipy.stats import kendalltau  # slow to import

    tau = float(kendalltau(first, second).statistic)
    return None if np.isnan(tau) else tau


def moderated(variances: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, float]:
    """Moderate variances by each other, by empirical Bayes (Smyth 2004, Statistical Applications in Genetics and
    Molecular Biology 3:3, sections 3 and 6.2): log variances are fitted by their moments, which gives a prior variance
    s₀² and its degrees of freedom d₀, at most 3.

    Args:
        variances: s², above 0.
        free: their degrees of freedom d.

    Returns:
        (d₀ s₀² + d s²) / (d₀ + d), and d₀; the variances as they are, and 0, if there are fewer than ten.
    """
    if len(variances) < _FEWEST:
        return variances, 0.0
    logs = np.log(variances) - psi(free / 2) + np.log(free / 2)
    excess = np.var(logs, ddof=1) - polygamma(1, free / 2).mean()
    prior_free = _MOST_FREE
    if excess > polygamma(1, _MOST_FREE / 2):
        from scipy.optimize import brentq  # a tenth of a second

        prior_free = 2 * brentq(lambda half: polygamma(1, half) - excess, 1e-6, _MOST_FREE / 2)
    prior = np.exp(logs.mean() + psi(prior_free / 2) - np.log(prior_free / 2))
    return (prior_free * prior + free * variances) / (prior_free + free), prior_free


def _variance_parts(runs: Sequence[np.ndarray]) -> np.ndarray:
    """The variance of each method's mean in one scenario, and its degrees of freedom, (methods, 2). A method without
    spread, such as a count, has none and gives none to others."""
    numbers = np.array([len(one) for one in runs], dtype=float)
    variances, free = np.array([np.var(one, ddof=1) for one in runs]), numbers - 1
    # Equal values needn't have a variance of exactly 0, and the squares of tiny differences are 0.
    varies = np.array([np.ptp(one) > 0 for one in runs]) & (variances > 0)
    variances[~varies] = 0
    variances[varies], prior_free = moderated(variances[varies], free[varies])
    free[varies] += prior_free / 4  # with all of d₀, simulated errors exceed 5 % at three seeds
    return np.stack([variances / numbers, free], axis=1)


def _summed(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of variances, and their degrees of freedom by Satterthwaite; 0 and 1 where nothing varies.

    Args:
        parts: variances with their degrees of freedom, (..., parts, 2).
    """
    variances, free = parts[..., 0], parts[..., 1]
    total, squares = variances.sum(axis=-1), (variances**2 / free).sum(axis=-1)
    return total, np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)


def _mean(groups: Groups) -> float:
    return float(np.mean([np.mean(runs) for runs in groups]))
