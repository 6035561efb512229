"""The leaderboard: each metric's mean over seeds and each method's rank, with their intervals, per scenario or across
scenarios. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from .catalogue import describe
from .compare import over_scenarios
from .errors import InputError
from .runs import Runs, runs_of
from .statistics import (
    FEWEST,
    Estimate,
    Groups,
    bootstrap_interval,
    interquartile_mean,
    mean_interval,
    normalised,
    ranks,
)
from .store import Store

ACROSS = "across scenarios"
"""What stands for the scenario where runs of several are put together."""


@dataclass(frozen=True)
class Column:
    """One column of the printed table."""

    metric: str | None
    """None: the metric that ranks"""
    title: str
    digits: int = 1
    thousands: bool = False
    """Whether to print thousands (k) or millions (M)."""
    zero: bool = True
    """Whether it is shown where it is 0 for all."""
    what: Literal["estimate", "rank", "group", "n"] = "estimate"


COLUMNS = (
    Column(None, "rank", what="rank"),
    Column(None, "tie\ngroup", what="group"),
    Column(None, "seeds", what="n"),
    Column("negative_elbo", "negative\nELBO"),
    Column("posterior_consistency_past", "consistency\npast", 2),
    Column("code_perplexity", "code\nperplexity"),
    Column("forgetting", "forgetting"),
    Column("real_samples", "real\nsamples", 0, thousands=True),
    Column("synthetic_samples", "synthetic\nsamples", 0, thousands=True),
    Column("stored_parameters", "stored\nnumbers", 0, thousands=True),
    Column("stored_samples", "stored\nimages", 0, thousands=True, zero=False),
    Column("train_seconds", "train\nseconds", 0),
)
"""The printed table, in this order; the first metric ranks. A new column is one entry here."""


@dataclass(frozen=True)
class Board:
    """A leaderboard."""

    table: pd.DataFrame
    """scenario, method, metric, n, mean, low, high, rank, rank_low, rank_high, group; within a scenario: the upper
    reference, competitors from the best on, the lower reference, custom methods. References and custom methods have no
    rank, nor have metrics without a better direction."""
    metrics: tuple[str, ...]
    """in the order asked for; the first ranks"""
    runs: Runs
    """what it was made from"""
    notes: tuple[str, ...] = field(default=())
    """what was resampled, and what was refused"""


def leaderboard(
    source: Store | Runs,
    metrics: Sequence[str] | None = None,
    scenarios: Sequence[str] = (),
    across: bool = False,
    rank_custom: bool = False,
) -> Board:
    """Make a leaderboard.

    Args:
        source: its cells that are done; the others are listed as left out.
        metrics: which metrics; the printed table's by default, or the negative ELBO across scenarios. The first ranks.
        scenarios: labels of those to show; all by default.
        across: whether to put scenarios together, each metric on the scale from the lower reference (0) to the upper
            one (1).
        rank_custom: whether methods with options of the user's own are ranked, too.

    Raises:
        InputError: there is nothing to rank, or a metric or scenario isn't there.
    """
    runs = source if isinstance(source, Runs) else runs_of(source)
    wanted = pd.concat([runs.scenario(label) for label in scenarios]) if scenarios else runs.numbers
    if metrics:
        runs.check_metrics(metrics)
    values = wanted.dropna(subset="value")
    nonzero = set(values.loc[values["value"] != 0, "metric"])
    there = {one.metric for one in COLUMNS if one.metric in (set(values["metric"]) if one.zero else nonzero)}
    default = ["negative_elbo"] if across else [one.metric for one in COLUMNS if one.metric and one.metric in there]
    chosen = tuple(metrics or default)
    values = values[values["metric"].isin(chosen)]
    unranked = set(runs.references) | (set() if rank_custom else runs.custom)
    make = _across if across else _per_scenario
    rows, notes = make(runs, values, unranked)
    if not rows:
        raise InputError("; ".join(notes) or f"no cell has a value of {', '.join(chosen)} in these scenarios")
    # Floats even where all intervals are missing, so that a missing one is always NaN.
    table = pd.DataFrame(rows, columns=_FIELDS).astype(dict.fromkeys(_FIELDS[4:], float))
    return Board(_ordered(table, chosen, runs, unranked), chosen, runs, tuple(notes))


_FIELDS = ["scenario", "method", "metric", "n", "mean", "low", "high", "rank", "rank_low", "rank_high", "group"]
_Rows = list[tuple[str | float | None, ...]]


def _per_scenario(runs: Runs, values: pd.DataFrame, unranked: set[str]) -> tuple[_Rows, list[str]]:
    rows: _Rows = []
    few = False
    for (scenario, metric), group in values.groupby(["scenario", "metric"]):
        by_method = {str(method): [one.to_numpy()] for method, one in group.groupby("method")["value"]}
        rows += _rows(scenario, metric, by_method, _mean, lambda groups: mean_interval(groups[0].tolist()), unranked)
        few |= min(len(one[0]) for one in by_method.values()) < FEWEST
    notes = ["Intervals of means are Student's t over seeds."]
    if any(row[8] is not None for row in rows):
        notes.append(
            "Rank intervals: central 95 % of the ranks in 4,000 tables, in each of which every method's seeds are "
            "resampled with replacement (independently of the other methods') and deviations from its mean widened to "
            "Student's t. A tie group has its best method and all that are as good in 2.5 % of these tables or more."
        )
    if few:
        notes.append(f"No rank intervals and tie groups where a method has fewer than {FEWEST} seeds.")
    return rows, notes


def _across(runs: Runs, values: pd.DataFrame, unranked: set[str]) -> tuple[_Rows, list[str]]:
    rows: _Rows = []
    notes: list[str] = []
    for metric, group in values.groupby("metric"):
        scores: dict[str, dict[str, np.ndarray]] = {}
        for scenario, one in group.groupby("scenario"):
            try:
                scores[str(scenario)] = _scores(one, runs, str(metric))
            except ValueError as error:
                notes.append(f"{metric} of {scenario} isn't in it: {error}.")
        if not scores:
            continue
        everywhere = set.intersection(*map(set, scores.values()))
        if absent := sorted(set().union(*scores.values()) - everywhere):
            notes.append(f"{metric}: not in every scenario, so not in it: {', '.join(absent)}.")
        by_method = {method: [scores[scenario][method] for scenario in sorted(scores)] for method in sorted(everywhere)}
        statistic: Callable[[Groups], Estimate] = lambda groups: bootstrap_interval(groups, interquartile_mean)  # noqa: E731
        rows += _rows(ACROSS, metric, by_method, interquartile_mean, statistic, unranked, higher=True)
        notes.append(f"{metric}: {len(scores)} scenarios, {', '.join(sorted(scores))}.")
    if rows:
        try:
            over_scenarios(runs)
        except ValueError as refused:
            notes.append(f"Not compared by ranks over scenarios: {refused}.")
        notes += [
            "A run's score is 0 at the mean of the lower reference and 1 at that of the upper one in its scenario, "
            "both held fixed; shown is the interquartile mean over all runs, and n is the fewest seeds in a scenario.",
            "Intervals: runs are resampled with replacement within their scenario and method, 4,000 times, and "
            "deviations widened to Student's t; rank intervals and tie groups from the same.",
        ]
    return rows, notes


def _scores(values: pd.DataFrame, runs: Runs, metric: str) -> dict[str, np.ndarray]:
    """Each method's values in one scenario on the references' scale."""
    by_method = {str(method): one.to_numpy() for method, one in values.groupby("method")["value"]}
    found = {}
    for which in ("lower", "upper"):
        names = [method for method in by_method if runs.references.get(method) == which]
        plain = [method for method in names if ":" not in method and " " not in method] or names
        if len(plain) != 1:
            raise ValueError(f"it takes one {which} reference, and there are {len(plain)} with a value")
        found[which] = by_method[plain[0]]
    return {method: normalised(one, found["lower"], found["upper"]) for method, one in by_method.items()}


def _rows(
    scenario: str,
    metric: str,
    by_method: dict[str, list[np.ndarray]],
    statistic: Callable[[np.ndarray], np.ndarray],
    estimate: Callable[[Groups], Estimate],
    unranked: set[str],
    higher: bool | None = None,
) -> _Rows:
    """One row per method, with its rank among those that are ranked."""
    better, most = _direction(metric)
    higher = better == "higher" if higher is None else higher
    competing = {
        method: [np.minimum(group, most) for group in groups]
        for method, groups in by_method.items()
        if method not in unranked and better
    }
    places = ranks(competing, statistic, lower_is_better=not higher)
    return [
        (scenario, method, metric, *estimate(groups), *places.get(method, (None, None, None, None)))
        for method, groups in by_method.items()
    ]


def _direction(metric: str) -> tuple[str | None, float]:
    """ "lower", "higher" or None, and the value beyond which nothing is better."""
    known = describe("metric").get(metric)
    facts = known.facts if known else {"better": "lower"}
    most = facts.get("most")
    return facts["better"], float("inf") if most is None else float(most)


def _mean(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean(axis=-1))


def _ordered(table: pd.DataFrame, metrics: Sequence[str], runs: Runs, unranked: set[str]) -> pd.DataFrame:
    """As :class:`Board` says; methods without a rank by the first metric's mean, then by name."""
    block = {"upper": 0, "lower": 2}
    of_block = {
        method: block[runs.references[method]] if method in runs.references else 3 if method in unranked else 1
        for method in table["method"].unique()
    }
    first = table[table["metric"] == metrics[0]].set_index(["scenario", "method"])
    pairs = list(zip(table["scenario"], table["method"], strict=True))
    has_direction = _direction(metrics[0])[0]
    columns = {
        "_block": [of_block[method] for _, method in pairs],
        "_rank": [first["rank"].get(pair, np.inf) for pair in pairs],
        "_mean": [first["mean"].get(pair, np.inf) if has_direction else 0.0 for pair in pairs],
        "_metric": table["metric"].map(list(metrics).index),
    }
    order = table.assign(**columns).sort_values(["scenario", "_block", "_rank", "_mean", "method", "_metric"])
    return order[_FIELDS].reset_index(drop=True)
