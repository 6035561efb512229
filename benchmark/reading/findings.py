"""Findings: the few sentences that a leaderboard's numbers allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from ..discovery.index import shown
from .compare import pairs
from .leaderboard import ACROSS, COLUMNS, Board
from .one_scale import on_scale, reference_names
from .ranking import mean_of_means, rank_correlation, ranks
from .scores import Scores
from .statistics import Estimate, Scale

_MOST_NAMES = 6
"""Methods that a sentence names; it counts the others."""
_MOST_GROUPS = 3
_SAMPLES = "frechet_distance"
_ALIKE = 0.8
"""Rank correlation from which two orders are said to agree."""


def findings(board: Board, scenario: str | None = None) -> list[str]:
    """Say in sentences what a leaderboard shows: the best method, ties, the references, how large a difference its
    seeds show, and whether samples agree with the likelihood. A sentence whose numbers are missing is left out.

    Args:
        board: a leaderboard within scenarios; a table across scenarios has no findings.
        scenario: the label of the only one; by default all, whose labels then begin the sentences if there are several.
    """
    labels = [str(label) for label in board.table["scenario"].unique() if label != ACROSS]
    return [
        sentence if scenario or len(labels) == 1 else f"{label}: {sentence}"
        for label in labels
        if scenario in (None, label)
        for sentence in _of_scenario(board, label)
    ]


def _of_scenario(board: Board, scenario: str) -> Iterator[str]:
    rows = board.table[board.table["scenario"] == scenario]
    metric = board.metrics[0]
    ranked = _ranked(rows, metric)
    values = board.scores.numbers[board.scores.numbers["scenario"] == scenario].dropna(subset="value")
    values = values[values["metric"] == metric]
    if board.scores.better(metric) is None:
        return
    if not ranked.empty:
        yield from _first(ranked, metric, board.scores)
        yield from _ties(ranked)
    if failing := sorted(board.scores.failing([scenario]) & set(rows["method"])):
        yield f"Not ranked, since some of their seeds failed: {_names(failing)}."
    yield from _references(rows, ranked, values, metric, board.scores)
    yield from _smallest_difference(list(ranked.index), values, board.scores, metric)
    if metric != _SAMPLES:
        yield from _samples(ranked, _ranked(rows, _SAMPLES), metric)


def _ranked(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The methods with a rank by a metric, best first, by name."""
    ranked = rows[(rows["metric"] == metric) & rows["rank"].notna()]
    return ranked.sort_values("rank", kind="stable").set_index("method")


# Best, and ties


def _first(ranked: pd.DataFrame, metric: str, scores: Scores) -> Iterator[str]:
    first = ranked[ranked["rank"] == 1]
    if first.empty:  # the table doesn't show it
        return
    best, verb = first.iloc[0], "is" if len(first) == 1 else "are"
    value = f"{_names(first.index)} {verb} first by {_called(metric)}, {_amount(best, metric, scores)}"
    others = [method for method in ranked.index if method not in first.index]
    tied = [method for method in others if _is_tie(ranked, str(best.name), method)]
    if not others:
        yield f"{value}."
    elif pd.isna(best["rank_low"]):
        yield f"{value}; most methods have one seed, which shows no order."
    elif tied:
        pronoun = "it" if len(first) == 1 else "them"
        yield f"{value}; these seeds don't tell {pronoun} apart from {_names(tied)}."
    elif len(others) == 1:
        yield f"{value}, and shown to be better than {_names(others)}."
    else:
        yield f"{value}, and shown to be better than each of the {len(others)} others that are ranked."


def _ties(ranked: pd.DataFrame) -> Iterator[str]:
    methods = [str(method) for method in ranked.index[ranked["rank_low"].notna()]]
    if len(methods) < 3:
        return
    every = list(combinations(methods, 2))
    apart = sum(not _is_tie(ranked, a, b) for a, b in every)
    text = f"{apart} of {len(every)} pairs of ranked methods are told apart."
    several = [group for group in _groups(ranked, methods) if len(group) > 1]
    largest = sorted(several, key=len, reverse=True)[:_MOST_GROUPS]
    # The sentence before has named a pair of the best method.
    if groups := [group for group in several if group in largest and not (len(group) == 2 and group[0] == methods[0])]:
        text += f" Not told apart among themselves: {'; '.join(map(_names, groups))}."
    yield text


def _groups(ranked: pd.DataFrame, methods: Sequence[str]) -> list[list[str]]:
    """Neighbours in rank, from the best on, each group as long as no two of it are told apart."""
    groups: list[list[str]] = []
    for method in methods:
        if groups and all(_is_tie(ranked, other, method) for other in groups[-1]):
            groups[-1].append(method)
        else:
            groups.append([method])
    return groups


def _is_tie(ranked: pd.DataFrame, a: str, b: str) -> bool:
    """Whether two methods aren't told apart; methods with equal runs aren't among each other's ties."""
    return b in ranked.loc[a, "ties"].split("; ") or ranked.loc[a, "rank"] == ranked.loc[b, "rank"]


# References


def _references(
    rows: pd.DataFrame, ranked: pd.DataFrame, values: pd.DataFrame, metric: str, scores: Scores
) -> Iterator[str]:
    """Say where the references lie, how much of the way between them methods close, and which methods lie outside."""
    of_metric = rows[rows["metric"] == metric].set_index("method")
    try:
        names = reference_names(of_metric.index, scores)
    except ValueError:
        return
    upper, lower = names["upper"], names["lower"]
    text = (
        f"{shown(upper)} ▲ is at {_amount(of_metric.loc[upper], metric, scores)}, {shown(lower)} ▼ at "
        f"{_amount(of_metric.loc[lower], metric, scores)}"
    )
    if of_metric.loc[[upper, lower], "low"].isna().any():
        yield f"{text}, without an interval."
        return
    try:
        scale, by_method = on_scale(values, scores, metric)
    except ValueError:
        yield f"{text}: these seeds don't show that the references differ as they should."
        return
    shares = [(method, _share(scale, by_method[method].to_numpy())) for method in ranked.index]
    if shares:
        (best, share), (last, least) = shares[0], shares[-1]
        text += f"; of the way from ▼ to ▲, {shown(best)} closes {_percent(share)}"
        text += f" and {shown(last)}, the last, {_percent(least)}" if len(shares) > 1 else ""
    yield f"{text}."
    yield from _beside_references(values, list(ranked.index), upper, lower, metric, scores)


def _share(scale: Scale, runs: np.ndarray) -> Estimate:
    return mean_of_means([runs], others=scale.variance_parts(float(runs.mean())))


def _percent(share: Estimate) -> str:
    text = f"{100 * share.mean:.0f} %"
    if share.low is None or share.high is None:
        return text
    return f"{text} ({100 * share.low:.0f} to {100 * share.high:.0f} %)".replace("-", "−")


def _beside_references(
    values: pd.DataFrame, methods: Sequence[str], upper: str, lower: str, metric: str, scores: Scores
) -> Iterator[str]:
    most = scores.most(metric)
    by_method = {str(method): np.minimum(runs.to_numpy(), most) for method, runs in values.groupby("method")["value"]}
    tested = [method for method in methods if len(by_method[method]) > 1]
    places = ranks(
        {method: [by_method[method]] for method in (*tested, upper, lower)}, scores.better(metric) == "lower"
    )
    parts = []
    if better := [name for name in tested if places[name].rank < places[upper].rank and name not in places[upper].ties]:
        parts.append(f"Better than {shown(upper)} is shown for {_names(better)}.")
    if tied := [name for name in tested if name in places[lower].ties]:
        parts.append(f"Not told apart from {shown(lower)}: {_names(tied)}.")
    if worse := [name for name in tested if places[name].rank > places[lower].rank and name not in tied]:
        parts.append(f"Worse than {shown(lower)} is shown for {_names(worse)}.")
    if parts:
        yield " ".join(parts)


# Differences, and samples


def _smallest_difference(methods: list[str], values: pd.DataFrame, scores: Scores, metric: str) -> Iterator[str]:
    table = pairs(Scores(scores.name, values[values["method"].isin(methods)], {}, {}), metric)
    table = table[table["resolvable"] > 0]
    if table.empty:
        return
    seeds, sizes = sorted(table["n"].unique()), table["resolvable"]
    number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    span = "" if len(table) == 1 else f" (median of the pairs; from {_rounded(sizes.min())} to {_rounded(sizes.max())})"
    yield (
        f"A true difference of about {_with_unit(_rounded(sizes.median()), metric, scores)}{span} between two methods "
        f"would be shown in four of five experiments with {number} seeds, by a paired test of these two alone; among "
        "many pairs it has to be larger."
    )


def _samples(ranked: pd.DataFrame, by_samples: pd.DataFrame, metric: str) -> Iterator[str]:
    both = [method for method in ranked.index if method in by_samples.index]
    tau = rank_correlation(ranked.loc[both, "rank"].tolist(), by_samples.loc[both, "rank"].tolist())
    if tau is None:
        return
    best = by_samples.index[by_samples["rank"] == 1]
    how = "agree" if tau >= _ALIKE else "differ"
    of_one = ", samples of one seed" if by_samples.loc[both, "n"].max() == 1 else ""
    yield (
        f"The orders by {_called(metric)} and by {_called(_SAMPLES)} of samples {how}: rank correlation {tau:.2f} "
        f"(Kendall's τ of {len(both)} methods{of_one}); by samples {_names(best)} "
        f"{'comes' if len(best) == 1 else 'come'} first."
    )


# Words


def _names(methods: Sequence[str]) -> str:
    names = [shown(str(method)) for method in methods]
    if len(names) > _MOST_NAMES:
        names = [*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _column(metric: str) -> tuple[str, int]:
    """The title of a metric's column in one line, and its digits."""
    found = next((column for column in COLUMNS if column.metric == metric), None)
    return (found.title.replace("-\n", "-").replace("\n", " "), found.digits) if found else (metric, 3)


def _called(metric: str) -> str:
    return _column(metric)[0].replace("_", " ")


def _amount(row: pd.Series, metric: str, scores: Scores) -> str:
    """A mean with half of its interval, and its unit."""
    digits = _column(metric)[1]
    half = (row["high"] - row["low"]) / 2
    return _with_unit(f"{row['mean']:.{digits}f}" + (f" ± {half:.{digits}f}" if half > 0 else ""), metric, scores)


def _with_unit(number: str, metric: str, scores: Scores) -> str:
    facts = scores.metrics.get(metric)
    return f"{number} {facts.unit}" if facts and facts.unit else number


def _rounded(number: float) -> str:
    """Two digits, but no powers of ten for large numbers."""
    return f"{number:.2g}" if number < 10 else f"{number:.0f}"
