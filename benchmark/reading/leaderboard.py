"""The leaderboard: each metric's mean over seeds and each method's rank, with their intervals, per scenario or across
scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from ..errors import InputError, unknown
from ..store.store import Store
from .anchors import Anchored, anchored
from .compare import held_fixed, over_scenarios
from .current import Current, SeedCount
from .labels import label_of
from .one_scale import on_one_scale
from .ranking import Rank, mean_of_means, rank_correlation, ranks
from .scores import Scores, scores_of
from .statistics import Estimate, mean_interval

ACROSS = "across scenarios"
"""The scenario's label in a table across scenarios."""


@dataclass(frozen=True)
class Column:
    """One column of the printed table."""

    metric: str | None
    """None stands for the metric that ranks."""
    title: str
    digits: int = 1
    thousands: bool = False
    """Whether to print thousands (k) or millions (M)."""
    zero: bool = True
    """Whether the column is shown even if all its values are 0."""
    what: Literal["estimate", "rank", "n"] = "estimate"


COLUMNS = (
    Column(None, "rank", what="rank"),
    Column(None, "seeds", what="n"),
    Column("negative_elbo", "negative\nELBO"),
    Column("iwae_nll", "importance-\nweighted"),
    Column("frechet_distance", "Fréchet\ndistance"),
    Column("coverage", "coverage", 2),
    Column("classes_covered", "classes\ncovered"),
    Column("posterior_consistency_past", "consistency\npast", 2),
    Column("code_perplexity", "code\nperplexity"),
    Column("forgetting", "forgetting"),
    Column("optimizer_steps", "optimiser\nsteps", 0, thousands=True),
    Column("real_samples", "real\nsamples", 0, thousands=True),
    Column("synthetic_samples", "synthetic\nsamples", 0, thousands=True),
    Column("stored_parameters", "stored\nnumbers", 0, thousands=True),
    Column("stored_samples", "stored\nimages", 0, thousands=True, zero=False),
    Column("train_cpu_seconds", "CPU\nseconds", 0),
    Column("train_seconds", "train\nseconds", 0),
)
"""The printed table, in this order; the first metric ranks. A new column is one entry here."""
_MOST_PAIRS = 2
"""Pairs of methods that a note names."""


@dataclass(frozen=True)
class Board:
    """A leaderboard."""

    table: pd.DataFrame
    """scenario, method, metric, n, mean, low, high, rank, rank_low, rank_high, ties (the methods that it isn't told
    apart from, joined by "; "); within a scenario: the upper reference, competitors from the best on, the lower
    reference, then methods without a rank: with a failed seed, custom options, or too few seeds. References and metrics
    without a better direction have no rank either. Of metrics that depend on the machine's load, mean is the median,
    without interval."""
    metrics: tuple[str, ...]
    """metrics in the given order; the first one ranks"""
    scores: Scores
    """the scores of the leaderboard"""
    notes: tuple[str, ...] = field(default=())
    """notes on intervals, and on values that are left out"""
    anchors: tuple[Anchored, ...] = ()
    """published numbers of its scenarios, with ours beside"""

    def seeds(self, scenario: str, method: str) -> SeedCount | None:
        """Count the planned and failed seeds, of all scenarios in a table across them; None if all seeds are done."""
        if scenario != ACROSS:
            return self.scores.seeds.get((scenario, method))
        values = self.scores.numbers
        done = values[values["method"] == method].groupby("scenario")["seed"].nunique()
        counts = [self.scores.seeds.get((label, method), SeedCount(number, 0)) for label, number in done.items()]
        total = SeedCount(sum(count.asked for count in counts), sum(count.failed for count in counts))
        return None if total == SeedCount(int(done.sum()), 0) else total


def leaderboard(
    source: Store | Current | Scores,
    metrics: Sequence[str] | None = None,
    scenarios: Sequence[str] = (),
    across: bool = False,
    rank_custom: bool = False,
    methods: Sequence[str] = (),
    sort: str | None = None,
) -> Board:
    """Make a leaderboard.

    Args:
        source: the store or its scores; unfinished cells are listed as left out.
        metrics: the metrics to show; the printed table's by default, or the negative ELBO across scenarios. The first
            one ranks.
        scenarios: labels of the scenarios to show; all by default.
        across: whether to combine scenarios, each metric on the scale from the lower reference (0) to the upper (1).
        rank_custom: whether to rank methods with custom options, too.
        methods: labels of the methods to show; all by default. Ranks are those among all methods.
        sort: the metric whose order lines have, best first, references among them; by default references frame the
            others.

    Raises:
        InputError: there is nothing to rank, or a metric, scenario or method is missing.
    """
    scores = source if isinstance(source, Scores) else scores_of(source)
    if metrics:
        scores.check_metrics(metrics)
    if scenarios:
        scores = replace(
            scores, numbers=pd.concat([scores.scenario(label) for label in scores.scenario_labels(scenarios)])
        )
    values = scores.numbers.dropna(subset="value")
    measured = set(values["metric"].unique())
    nonzero = set(values.loc[values["value"] != 0, "metric"].unique())
    shown = [column.metric for column in COLUMNS if column.metric in (measured if column.zero else nonzero)]
    default = ["negative_elbo"] if across else [metric for metric in shown if metric]
    chosen = tuple(dict.fromkeys(metrics or default))
    values = values[values["metric"].isin(chosen)]
    unranked = {*scores.references, *scores.not_ranked} | (set() if rank_custom else scores.custom)
    make = _across if across else _per_scenario
    rows, notes = make(scores, values, unranked, chosen[0])
    if not rows:
        raise InputError(" ".join(notes) or f"no cell has a value of {', '.join(chosen)} in these scenarios")
    # Floats even where all intervals are missing, so that a missing one is always NaN.
    table = pd.DataFrame(rows, columns=_FIELDS).astype(dict.fromkeys(_FIELDS[4:-1], float))
    if across:
        chosen = tuple(dict.fromkeys(name for metric in chosen for name in table["metric"].unique()
                                     if name == metric or name.startswith(in_scenario(metric, ""))))  # fmt: skip
    methods = [label_of("method", method, set(table["method"]), "in this table") for method in methods]
    if methods:
        notes.append(f"Shown are {len(set(methods))} of {table['method'].nunique()} methods; ranks are among all.")
        table = table[table["method"].isin(methods)]
    missing = [metric for metric in metrics or () if metric not in set(table["metric"])]
    notes += [f"{metric}: no cell has a number of it." for metric in missing]
    chosen = tuple(metric for metric in chosen if metric not in missing)
    table = _ordered(table, chosen, scores, unranked, across)
    if sort is not None:
        if sort not in chosen:
            raise unknown("metric of this table", sort, chosen)
        table = _sorted(table, sort, "higher" if across else scores.better(sort))
    return Board(
        table,
        chosen,
        scores,
        (*notes, *scores.notes),
        tuple(anchored(scores)),
    )


_FIELDS = ["scenario", "method", "metric", "n", "mean", "low", "high", "rank", "rank_low", "rank_high", "ties"]
_Row = tuple[str | float | None, ...]


def _row(scenario: object, method: str, metric: object, estimate: Estimate, place: Rank | None) -> _Row:
    places = (place.rank, place.low, place.high, "; ".join(place.ties)) if place else (None, None, None, "")
    return str(scenario), method, str(metric), *estimate, *places


def _per_scenario(
    scores: Scores, values: pd.DataFrame, unranked: set[str], ranking: str
) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    singles: list[str] = []
    found: dict[tuple[str, str], dict[str, Rank]] = {}
    for (scenario, metric), group in values.groupby(["scenario", "metric"]):
        by_method = {str(method): [runs.to_numpy()] for method, runs in group.groupby("method")["value"]}
        better, most = scores.better(metric), scores.most(metric)
        estimates = {method: mean_interval(groups[0].tolist()) for method, groups in by_method.items()}
        if scores.is_timed(str(metric)):
            medians = {method: float(np.median(groups[0])) for method, groups in by_method.items()}
            estimates = {method: Estimate(estimates[method].n, value, None, None) for method, value in medians.items()}
            by_method = {method: [np.array([value])] for method, value in medians.items()}
        resting = unranked | scores.failing([scenario])
        places = {} if better is None else ranks(
            {method: [np.minimum(runs, most) for runs in groups] for method, groups in by_method.items()
             if method not in resting}, lower_is_better=better == "lower",
        )  # fmt: skip
        found[str(scenario), str(metric)] = places
        rows += [_row(scenario, method, metric, one, places.get(method)) for method, one in estimates.items()]
        if metric == ranking and better and (few := sorted(by_method.keys() - resting - places.keys())):
            singles.append(f"{scenario}: {', '.join(few)}: not ranked, with one seed where most have several.")
    if not rows:
        return [], []
    what = "Intervals of means are Student's t over seeds; several seeds without one have equal values."
    notes = [f"{what} {held_fixed(list(values['scenario'].unique()))}", *_notes_on_ranks(rows, ranking), *singles]
    labels = sorted({label for label, _ in found})
    orders = (note(label, found) for label in labels for note in (_of_bounds, _of_samples))
    return rows, [*notes, *filter(None, orders)]


def _of_bounds(scenario: str, found: Mapping[tuple[str, str], dict[str, Rank]]) -> str:
    """Say which methods the plain and the importance-weighted bound order differently: mixtures sum their components
    exactly, others have one posterior each, which the plain bound charges more."""
    both, turned = _turned(*(found.get((scenario, metric), {}) for metric in ("negative_elbo", "iwae_nll")))
    if both < 2:
        return ""
    differs = f"shows {', '.join(turned)}, and the plain one the opposite" if turned else "shows no other order"
    return f"{scenario}: the importance-weighted bound {differs}."


def _of_samples(scenario: str, found: Mapping[tuple[str, str], dict[str, Rank]]) -> str:
    """Say how far the order by samples is that by likelihood, where enough methods have both."""
    likelihood, samples = (found.get((scenario, metric), {}) for metric in ("negative_elbo", "frechet_distance"))
    both = [method for method in likelihood if method in samples]
    tau = rank_correlation([likelihood[method].rank for method in both], [samples[method].rank for method in both])
    if tau is None:
        return ""
    text = (
        f"{scenario}: the orders by negative ELBO and by Fréchet distance of samples have a rank correlation of "
        f"{tau:.2f} (Kendall's τ of {len(both)} methods)."
    )
    _, turned = _turned(likelihood, samples)
    if turned:
        more = f", and {len(turned) - _MOST_PAIRS} more such pairs" if len(turned) > _MOST_PAIRS else ""
        text += f" The distance shows {'; '.join(turned[:_MOST_PAIRS])}{more}; the likelihood shows the opposite."
    return text


def _turned(first: Mapping[str, Rank], second: Mapping[str, Rank]) -> tuple[int, list[str]]:
    """Count the methods that are compared by two metrics, and name the pairs of which the second one shows the opposite
    of what the first one shows."""
    both = [method for method in first if method in second and first[method].low and second[method].low]
    turned = [
        f"{other} before {method}"
        for method in both
        for other in both
        if _shows(first, method, other) and _shows(second, other, method)
    ]
    return len(both), turned


def _shows(places: Mapping[str, Rank], first: str, second: str) -> bool:
    """Whether a method is shown to be better than another one."""
    return places[first].rank < places[second].rank and second not in places[first].ties


def _across(scores: Scores, values: pd.DataFrame, unranked: set[str], ranking: str) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    notes: list[str] = []
    for metric, group in values.groupby("metric"):
        shared, more = on_one_scale(scores, str(metric), group)
        notes += more
        if shared is None:
            continue
        labels, scales, by_method = shared.scenarios, shared.scales, shared.runs
        resting = unranked | scores.failing() | shared.fewer
        competing = {method: groups for method, groups in by_method.items() if method not in resting}
        spreads = np.stack([one.spread for one in scales])
        places = ranks(competing, lower_is_better=False, scales=spreads)
        for method, groups in by_method.items():
            means = {label: float(runs.mean()) for label, runs in zip(labels, groups, strict=True)}
            parts = np.concatenate(
                [one.variance_parts(means[label]) for label, one in zip(labels, scales, strict=True)]
            )
            estimate = mean_of_means(groups, others=parts)
            if method in scores.references:  # a point of the scale
                estimate = estimate._replace(low=None, high=None)
            rows.append(_row(ACROSS, method, metric, estimate, places.get(method)))
            for label, mean in means.items():
                of_one = Estimate(estimate.n, mean, None, None)
                rows.append(_row(ACROSS, method, in_scenario(str(metric), label), of_one, None))
        notes.append(f"{metric}: {len(labels)} scenarios, {', '.join(labels)}.")
    if not rows:
        return rows, notes
    try:
        over_scenarios(scores)
    except ValueError as refused:
        notes.append(f"Negative ELBO isn't compared by ranks over scenarios: {refused}.")
    else:
        notes.append("`lifegen plot STORE critical_difference` compares mean ranks over scenarios.")
    notes.append(
        "A run's score is 0 at the mean of the lower reference and 1 at that of the upper one in its scenario. Shown "
        "is the mean of the scenarios' means, with Student's t interval, in which the references' spread counts too; n "
        "is the fewest seeds in a scenario. These scenarios are held fixed: nothing follows for others."
    )
    return rows, [*notes, *_notes_on_ranks(rows)]


def in_scenario(metric: str, scenario: str) -> str:
    """The name of the score of one scenario in a table across scenarios."""
    return f"{metric} of {scenario}"


def _notes_on_ranks(rows: list[_Row], ranking: str | None = None) -> list[str]:
    """Explain the intervals of ranks, if there are any, by one metric or by all."""
    rows = [row for row in rows if ranking in (None, row[2])]
    notes = []
    if any(row[8] is not None for row in rows):
        notes.append(
            "Rank intervals: from 1 + the number of methods shown to be better to the number of methods − those shown "
            "to be worse (Welch's test with moderated variances, corrected for all pairs by Holm): at most 5 % of "
            "tables say anything wrong about an order. Methods whose intervals overlap may still be told apart: CSV "
            "and JSON have each method's ties."
        )
    if any(row[3] == 1 and row[7] is not None and row[8] is None for row in rows):
        notes.append("Most methods have one seed, which says nothing about another: ranks are by means alone.")
    return notes


def _ordered(
    table: pd.DataFrame, metrics: Sequence[str], scores: Scores, unranked: set[str], across: bool
) -> pd.DataFrame:
    """Sort as in :class:`Board`; methods without a rank by the first metric's mean, best first, then by name."""
    places = {"upper": 0, "lower": 2}
    pairs = [(str(scenario), str(method)) for scenario, method in zip(table["scenario"], table["method"], strict=True)]
    failing = {scenario: scores.failing(None if across else [scenario]) for scenario, _ in set(pairs)}
    first = table[table["metric"] == metrics[0]].set_index(["scenario", "method"])
    has_ranks = first["rank"].notna().groupby("scenario").any()
    better = "higher" if across else scores.better(metrics[0])
    sign = {"lower": 1.0, "higher": -1.0}.get(str(better), 0.0)

    def block(scenario: str, method: str) -> int:
        if method in scores.references:
            return places[scores.references[method]]
        if method in failing[scenario]:
            return 3
        few_seeds = has_ranks.get(scenario, False) and np.isnan(first["rank"].get((scenario, method), 0))
        return 4 if method in unranked or few_seeds else 1

    columns = {
        "_block": [block(*pair) for pair in pairs],
        "_rank": [first["rank"].get(pair, np.inf) for pair in pairs],
        "_mean": [sign * first["mean"][pair] if pair in first.index else np.inf for pair in pairs],
        "_metric": table["metric"].map(list(metrics).index),
    }
    order = table.assign(**columns).sort_values(["scenario", "_block", "_rank", "_mean", "method", "_metric"])
    return order[_FIELDS].reset_index(drop=True)


def _sorted(table: pd.DataFrame, metric: str, better: str | None) -> pd.DataFrame:
    """Sort the methods of each scenario by a metric's mean, best first; those without one come last."""
    means = table[table["metric"] == metric].set_index(["scenario", "method"])["mean"]
    sign = -1 if better == "higher" else 1
    pairs = zip(table["scenario"], table["method"], strict=True)
    places = [sign * means.get(pair, np.inf * sign) for pair in pairs]
    # A stable order keeps the rows of a method together, as they were.
    return (
        table.assign(_place=places).sort_values(["scenario", "_place"], kind="stable")[_FIELDS].reset_index(drop=True)
    )
