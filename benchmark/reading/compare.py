"""Comparison of methods, paired by seed: at the end, per interval, per distribution, and in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..store.store import Store
from ..store.stored_values import stored_values
from .current import Current, current_of
from .labels import label_of
from .scores import Scores, published_scores, scores_of
from .statistics import (
    LEVEL,
    CriticalDifference,
    Estimate,
    Paired,
    critical_difference,
    holm,
    paired,
    stratified,
    t_test,
    wilcoxon,
)
from .table import is_published, published_table, table


def held_fixed(scenarios: Sequence[str]) -> str:
    """Say what intervals over seeds say nothing about.

    Args:
        scenarios: labels.
    """
    order = "" if all("class_order=random" in label for label in scenarios) else " the order of the distributions,"
    return f"Held fixed: the test images,{order} and all options."


_NUMBERS = ("n", "difference", "low", "high", "p", "p_holm", "effect", "probability", "correlation", "resolvable")


@dataclass(frozen=True)
class Comparison:
    """Method a against method b."""

    a: str
    b: str
    metric: str
    table: pd.DataFrame
    """scenario; what: "end", "interval" or "distribution"; interval, distribution (null in other rows);
    mean_a, mean_b; n, difference (a − b), low, high; p of the t test, p_holm corrected within scenario and what;
    effect, probability (that a run of a has the lower value), correlation, resolvable as in :class:`statistics.Paired`
    """
    words: dict[str, tuple[str, ...]]
    """conclusions, by scenario"""


def compare(
    source: Current | Store | Path | str,
    a: str,
    b: str,
    metric: str = "negative_elbo",
    scenarios: Sequence[str] = (),
) -> Comparison:
    """Compare two methods on the seeds that both have.

    Args:
        source: a store or a published folder.
        a: label of the first method.
        b: label of the second.
        metric: the metric to compare.
        scenarios: labels; all that have both methods by default.

    Raises:
        InputError: a method, metric or scenario is missing, or no scenario has a seed of both.
    """
    scores, of_methods, images_of = _opened(source)
    scores.check_metrics([metric])
    if scores.is_timed(metric):
        raise InputError(f"{metric} depends on the machine's load; `lifegen leaderboard` shows its medians over seeds")
    methods = set(scores.numbers["method"])
    a, b = (label_of("method", label, methods, f"in {scores.name}:") for label in (a, b))
    if a == b:
        raise InputError(f"{a} can't be compared with itself; {scores.name} has {', '.join(sorted(methods))}")
    labels = scores.scenario_labels(scenarios)
    tidy = of_methods({a, b})
    tidy = tidy[(tidy["metric"] == metric) & tidy["step"].isna()]
    rows: list[dict[str, Any]] = []
    words: dict[str, tuple[str, ...]] = {}
    for scenario in labels:
        values = scores.scenario(scenario)
        values = values[values["metric"] == metric].dropna(subset="value")
        pair = _side_by_side(values, a, b)
        if pair.empty:
            words[scenario] = (f"There is no seed that both {a} and {b} have, with a value of {metric}.",)
            continue
        measured = tidy[tidy["scenario"] == scenario]
        lines = [_line(scenario, "end", pair), *_per_interval(scenario, measured, a, b),
                 *_per_distribution(scenario, measured, a, b)]  # fmt: skip
        _correct(lines)
        rows += lines
        conclusions = _in_words(a, b, values, pair, lines, scores.better(metric))
        over_images = images_of(a, b, scenario, list(pair.index)) if metric == "negative_elbo" else None
        words[scenario] = (
            *_failures(scores, scenario, (a, b)),
            *conclusions,
            *([_images_in_words(a, b, over_images, len(pair))] if over_images else []),
            held_fixed([scenario]),
        )
    if not rows:
        raise InputError(f"{scores.name} has no seed that both {a} and {b} have, with a value of {metric}")
    return Comparison(a, b, metric, pd.DataFrame(rows), words)


_OverImages = Callable[[str, str, str, Sequence[int]], Estimate | None]


def _opened(
    source: Current | Store | Path | str,
) -> tuple[Scores, Callable[[Collection[str]], pd.DataFrame], _OverImages]:
    """Return the scores, a function that makes the tidy table of some methods, and one that compares two methods over
    the test images of a scenario, for some seeds."""
    if isinstance(source, Path | str) and is_published(source):
        published = published_table(source)
        scores = published_scores(published, source)
        return scores, lambda methods: published[published["method"].isin(methods)], lambda *_: None
    current = current_of(source)
    return scores_of(current), lambda methods: table(current, methods), partial(_over_images, current)


def _over_images(current: Current, a: str, b: str, scenario: str, seeds: Sequence[int]) -> Estimate | None:
    """Compare two methods over test images, a − b, by the mean over seeds of each image; None where a cell has no
    values of its images, or those of others."""
    cells = {(cell.method, cell.seed): cell for cell in current.cells if cell.scenario == scenario}
    try:
        differences, data = [], set()
        for seed in seeds:
            first, second = cells[a, seed], cells[b, seed]
            data |= {first.facts.data, second.facts.data}
            values = [stored_values(cell.stored, len(cell.distributions)) for cell in (first, second)]
            if [len(one) for one in values[0]] != [len(one) for one in values[1]]:
                return None
            differences.append([one - other for one, other in zip(*values, strict=True)])
        if len(data) > 1:  # the images of another seed are others
            return None
        return stratified([np.mean(of_one, axis=0) for of_one in zip(*differences, strict=True)])
    except (InputError, KeyError, ValueError):  # a ValueError: arrays of several lengths
        return None


def _images_in_words(a: str, b: str, found: Estimate, seeds: int) -> str:
    n, difference, low, high = found
    if low is None or high is None:
        return f"Over the {n:,} test images, the mean difference of these models is {difference:.4g}."
    models = "these two models" if seeds == 1 else f"these {seeds} pairs of models"
    return (
        f"Over test images, for {models}: {a} − {b} is {difference:.4g}, 95 % interval {low:.4g} to {high:.4g} (paired "
        f"by image, {n:,} images, drawn within their distribution). It says nothing about other seeds."
    )


def _failures(scores: Scores, scenario: str, methods: Sequence[str]) -> list[str]:
    """Write a line for each method with failed seeds."""
    counts = {method: scores.seeds[scenario, method] for method in methods if (scenario, method) in scores.seeds}
    return [
        f"{count.failed} of {count.asked} seeds of {method} failed: the others may be the easy ones."
        for method, count in counts.items()
        if count.failed
    ]


def pairs(scores: Scores, metric: str = "negative_elbo") -> pd.DataFrame:
    """Compare every pair of methods, per scenario, on the seeds that both have.

    Returns:
        columns scenario, a, b, n, difference (a − b), low, high, p of the t test, p_holm corrected within the scenario,
        effect, probability (that a run of a has the lower value), correlation, resolvable; NaN where undefined.
    """
    columns = ["scenario", "a", "b", *_NUMBERS]
    rows: list[dict[str, Any]] = []
    values = scores.numbers[scores.numbers["metric"] == metric].dropna(subset="value")
    for scenario, group in values.groupby("scenario"):
        compared = []
        for a, b in combinations(sorted(group["method"].unique()), 2):
            pair = _side_by_side(group, a, b)
            if not pair.empty:
                compared.append({"scenario": str(scenario), "a": a, "b": b, **_numbers(pair)})
        _correct(compared)
        rows += compared
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(_NUMBERS[1:], float))


def over_scenarios(scores: Scores, metric: str = "negative_elbo") -> tuple[list[str], CriticalDifference]:
    """Compare the competitors that every scenario has over scenarios, by their means over seeds. References, custom
    methods and methods with a failed seed don't compete.

    Raises:
        ValueError: there are too few scenarios; the message says how many are needed.
    """
    values = scores.numbers[scores.numbers["metric"] == metric].dropna(subset="value")
    values = values[~values["method"].isin({*scores.references, *scores.custom, *scores.failing()})]
    means = values.pivot_table("value", "scenario", "method").dropna(axis="columns")
    sign = -1 if scores.better(metric) == "higher" else 1
    return list(means.columns), critical_difference(sign * means.to_numpy())


def _side_by_side(values: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Make columns a and b, with one row per seed that both have."""
    both = [values[values["method"] == label].set_index("seed")["value"] for label in (a, b)]
    return pd.concat(both, axis=1, keys=["a", "b"], join="inner").sort_index()


def _numbers(pair: pd.DataFrame) -> dict[str, Any]:
    result: Paired = paired(pair["a"].tolist(), pair["b"].tolist())
    n, difference, low, high = result.difference
    p_value = t_test((pair["a"] - pair["b"]).tolist())
    return {"n": n, "difference": difference, "low": low, "high": high, "p": p_value, "p_holm": None,
            "effect": result.effect, "probability": result.probability, "correlation": result.correlation,
            "resolvable": result.resolvable}  # fmt: skip


def _correct(rows: list[dict[str, Any]]) -> None:
    """Add p-values that are corrected for the number of tests of their kind."""
    for what in {row.get("what") for row in rows}:
        family = [row for row in rows if row.get("what") == what and row["p"] is not None]
        for row, corrected in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = corrected


def _line(scenario: str, what: str, pair: pd.DataFrame, interval: int | None = None,
          distribution: str | None = None) -> dict[str, Any]:  # fmt: skip
    means = {"mean_a": float(pair["a"].mean()), "mean_b": float(pair["b"].mean())}
    where = {"scenario": scenario, "what": what, "interval": interval, "distribution": distribution}
    return {**where, **means, **_numbers(pair)}


def _per_interval(scenario: str, measured: pd.DataFrame, a: str, b: str) -> list[dict[str, Any]]:
    """Compare after each interval but the last one, whose comparison is the planned one and isn't made again as one of
    many; nothing if one method has other intervals, as the batch VAE does."""
    last = measured.groupby("method")["interval"].max()
    if len(last) < 2 or last[a] != last[b]:
        return []
    unions = measured[measured["distribution"].isna() & (measured["interval"] < last[a])]
    lines = ((int(interval), _side_by_side(group, a, b)) for interval, group in unions.groupby("interval"))
    return [_line(scenario, "interval", pair, interval=interval) for interval, pair in lines if not pair.empty]


def _per_distribution(scenario: str, measured: pd.DataFrame, a: str, b: str) -> list[dict[str, Any]]:
    is_last = measured["interval"] == measured.groupby("cell")["interval"].transform("max")
    at_end = measured[is_last & measured["distribution"].notna()]
    lines = ((str(name), _side_by_side(group, a, b)) for name, group in at_end.groupby("distribution", sort=False))
    return [_line(scenario, "distribution", pair, distribution=name) for name, pair in lines if not pair.empty]


def _in_words(
    a: str, b: str, values: pd.DataFrame, pair: pd.DataFrame, rows: list[dict[str, Any]], better: str | None
) -> list[str]:
    result = paired(pair["a"].tolist(), pair["b"].tolist())
    n, difference, low, high = result.difference
    lines = []
    seeds = {label: set(values.loc[values["method"] == label, "seed"]) for label in (a, b)}
    for label, other in ((a, b), (b, a)):
        if alone := sorted(seeds[label] - seeds[other]):
            lines.append(f"Seeds {', '.join(map(str, alone))} exist for {label} only and aren't used.")
    if low is None or high is None or result.unpaired is None:
        lines.append(
            f"{a} − {b} is {difference:.4g} in the only common seed. Nothing can be concluded about other seeds."
        )
        return lines
    if result.resolvable is None:
        lines.append(f"{a} − {b} is {difference:.4g} in each of {n} seeds: without any spread there is no test.")
        return lines
    lines.append(f"{a} − {b}: {difference:.4g}, 95 % interval {low:.4g} to {high:.4g} (paired, n = {n} seeds).")
    if low > 0 or high < 0:
        lines.append(f"Can be concluded, as far as {n} seeds go: {_verdict(a, b, difference, better)}.")
    else:
        lines.append(
            "Can't be concluded: which of them is " + (f"better ({better} is better)" if better else "higher")
            + ", since the interval has 0 in it. That they are equal can't be concluded either."
        )  # fmt: skip
    lines.append(
        f"The smallest true difference that {n} seeds with this spread would show in four of five experiments is "
        f"{result.resolvable:.2g}."
    )
    wins = result.probability if better != "higher" else 1 - result.probability
    what = "higher" if better == "higher" else "lower"
    effect = "" if result.effect is None else f"; effect size (Hedges' g of the differences) {result.effect:.2f}"
    lines.append(f"A run of {a} is {what} than a run of {b} with probability {wins:.2f} (all pairs of runs){effect}.")
    half = (high - low) / 2
    helps = "narrower" if half < result.unpaired else "wider"
    correlation = "" if result.correlation is None else f" (correlation over seeds {result.correlation:.2f})"
    lines.append(
        f"Seeds share the data order{correlation}: pairing makes the interval {helps}, ± {half:.2g} instead of "
        f"± {result.unpaired:.2g}."
    )
    try:
        lines.append(f"Wilcoxon's signed-rank test over seeds: p = {wilcoxon((pair['a'] - pair['b']).tolist()):.3f}.")
    except ValueError as refused:
        lines.append(f"Not tested by ranks: {refused} seeds.")
    for what in ("interval", "distribution"):
        if family := [row for row in rows if row["what"] == what]:
            lines.append(_family_in_words(a, b, what, family, better))
    return lines


def _verdict(a: str, b: str, difference: float, better: str | None) -> str:
    if better is None:
        return f"{a} is {'higher' if difference > 0 else 'lower'} than {b}"
    first, second = (a, b) if (difference < 0) == (better == "lower") else (b, a)
    return f"{first} is better than {second}"


def _family_in_words(a: str, b: str, what: str, rows: list[dict[str, Any]], better: str | None) -> str:
    sides: dict[str, list[str]] = {}
    tests = 0
    for row in rows:
        p_value, difference = row["p_holm"], row["difference"]
        if p_value is None:
            verdict = "equal" if difference == 0 else "the same difference in every seed"
        else:
            tests += 1
            verdict = "undecided" if p_value > 1 - LEVEL else _verdict(a, b, difference, better)
        sides.setdefault(verdict, []).append(str(row[what]))
    parts = [f"{verdict} in {', '.join(names)}" for verdict, names in sides.items()]
    return f"By {what}, corrected for {tests} tests (Holm): {'; '.join(parts)}."
