"""Runs of several scenarios on one scale, between each scenario's references."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..discovery.index import base_name
from .scores import Scores
from .statistics import Scale, scale


@dataclass(frozen=True)
class OneScale:
    """A metric's runs in several scenarios, on the scale from each scenario's lower reference (0) to its upper (1)."""

    scenarios: list[str]
    """Those that have a scale, by name."""
    scales: list[Scale]
    runs: dict[str, list[np.ndarray]]
    """By method: an array per scenario, (seeds,), of the seeds that most methods have."""
    fewer: frozenset[str]
    """Methods that lack some of these seeds: they have no rank."""


def on_one_scale(scores: Scores, metric: str, values: pd.DataFrame) -> tuple[OneScale | None, list[str]]:
    """Put the runs of the methods that are in every scenario on one scale; None if no scenario has one.

    Args:
        scores: the scores, with the references.
        metric: its name.
        values: rows with the columns scenario, method, seed and value.

    Returns:
        the runs, and notes on what is left out.
    """
    scales: dict[str, Scale] = {}
    scaled: dict[str, dict[str, pd.Series]] = {}
    notes: list[str] = []
    for scenario, runs in values.groupby("scenario"):
        try:
            scales[str(scenario)], scaled[str(scenario)] = on_scale(runs, scores, metric)
        except ValueError as error:
            notes.append(f"{metric} of {scenario} is left out: {error}.")
    if not scaled:
        return None, notes
    everywhere = set.intersection(*map(set, scaled.values()))
    if absent := sorted(set().union(*scaled.values()) - everywhere):
        notes.append(f"{metric}: left out, since they aren't in every scenario: {', '.join(absent)}.")
    by_method: dict[str, list[np.ndarray]] = {method: [] for method in sorted(everywhere)}
    fewer: set[str] = set()
    for scenario in sorted(scaled):
        # Equal seeds for all, else a method would gain by more seeds where it does well.
        runs = pd.DataFrame({method: scaled[scenario][method] for method in by_method})
        usual = runs[runs.notna().mean(axis="columns") > 1 / 2]
        if len(usual) < len(runs):
            notes.append(f"{metric} of {scenario} uses the {len(usual)} of {len(runs)} seeds that most methods have.")
        fewer.update(usual.columns[usual.isna().any()])
        for method, groups in by_method.items():
            groups.append(usual[method].dropna().to_numpy())
    by_method = {method: groups for method, groups in by_method.items() if min(map(len, groups))}
    if few := sorted(fewer - scores.references.keys()):
        notes.append(f"{metric}: {', '.join(few)}: not ranked, since they lack seeds that most methods have.")
    if not by_method:
        return None, [*notes, f"{metric}: in one scenario no seed is common to most methods."]
    return OneScale(sorted(scaled), [scales[label] for label in sorted(scaled)], by_method, frozenset(fewer)), notes


def on_scale(values: pd.DataFrame, scores: Scores, metric: str) -> tuple[Scale, dict[str, pd.Series]]:
    """Put each method's values in one scenario on the references' scale, by seed.

    Raises:
        ValueError: there is no such scale; the message says why.
    """
    better, most = scores.better(metric), scores.most(metric)
    if better is None:
        raise ValueError("neither lower nor higher is better")
    if scores.is_timed(metric):
        raise ValueError("it depends on the machine's load")
    values = values.assign(value=values["value"].clip(upper=most))
    by_method = {str(method): runs.set_index("seed")["value"] for method, runs in values.groupby("method")}
    names = reference_names(by_method, scores)
    references = {which: by_method[method].to_numpy() for which, method in names.items()}
    if (references["upper"].mean() > references["lower"].mean()) != (better == "higher"):
        raise ValueError("the upper reference isn't better than the lower one")
    own = scale(references["lower"], references["upper"])
    return own, {method: pd.Series(own.scores(runs.to_numpy()), runs.index) for method, runs in by_method.items()}


def reference_names(methods: Iterable[str], scores: Scores) -> dict[str, str]:
    """Find the "lower" and the "upper" reference among some methods, those without options first.

    Raises:
        ValueError: there isn't exactly one of each.
    """
    found = {}
    for which in ("lower", "upper"):
        names = [method for method in methods if scores.references.get(method) == which]
        plain = [method for method in names if method == base_name(method)] or names
        if len(plain) != 1:
            name = {"lower": "naive", "upper": "batch"}[which]
            raise ValueError(f"needs exactly one {which} reference, such as {name}; {len(plain)} have a value")
        found[which] = plain[0]
    return found
