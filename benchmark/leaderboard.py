"""The leaderboard of a store: per scenario and method, each metric's mean over seeds with its interval. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from .catalogue import describe
from .errors import InputError, unknown
from .statistics import mean_interval
from .store import Store


@dataclass(frozen=True)
class Column:
    """One column of the printed table."""

    metric: str
    title: str
    digits: int = 1
    thousands: bool = False
    """Whether to print thousands (k) or millions (M)."""
    zero: bool = True
    """Whether it is shown where it is 0 for all."""


COLUMNS = (
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
"""The printed table, in this order; the first column ranks. A new column is one entry here."""


@dataclass(frozen=True)
class Board:
    """A leaderboard."""

    table: pd.DataFrame
    """scenario, method, metric, n, mean, low, high; best first within a scenario"""
    metrics: tuple[str, ...]
    """in the order asked for; the first ranks"""
    references: dict[str, str]
    """"upper" or "lower", of the methods that frame the table"""
    uses: dict[str, tuple[str, ...]]
    """what methods are told beyond the images of the current interval"""
    left_out: tuple[str, ...] = field(default=())
    """cells that aren't in it, each with the reason"""


def leaderboard(store: Store, metrics: Sequence[str] | None = None) -> Board:
    """Make the leaderboard of a store.

    Args:
        store: its cells that are done; the others are listed as left out.
        metrics: which metrics, the printed table's by default. The first one ranks.

    Raises:
        InputError: there is nothing to rank, or a metric isn't in the store.
    """
    cells, left_out = store.current()
    if not cells:
        raise InputError(f"{store.path} has no finished cell yet; `lifegen run --out {store.path}` goes on with it")
    numbers = {cell.folder: cell.numbers for cell in cells}
    known = set().union(*numbers.values())
    has_value = {metric for values in numbers.values() for metric in values if values[metric] is not None}
    for metric in metrics or ():
        if metric not in known and metric in describe("metric"):
            raise InputError(
                f"{metric}: no cell has one number of it, since it is a trace over steps or wasn't measured; "
                f"there are {', '.join(sorted(has_value))}"
            )
        if metric not in known:
            raise unknown("metric in this store:", metric, known)
    if metrics and has_value.isdisjoint(metrics):
        raise InputError(
            f"{', '.join(metrics)}: undefined after the last interval of every cell; there are "
            f"{', '.join(sorted(has_value))}"
        )
    nonzero = {metric for values in numbers.values() for metric in has_value if values.get(metric)}
    chosen = list(metrics or (one.metric for one in COLUMNS if one.metric in (has_value if one.zero else nonzero)))
    found = [
        (cell.record["scenario"]["label"], cell.method, metric, value)
        for cell in cells
        for metric in chosen
        if (value := numbers[cell.folder].get(metric)) is not None
    ]
    per_cell = pd.DataFrame(found, columns=["scenario", "method", "metric", "value"])
    rows = [
        {"scenario": scenario, "method": method, "metric": metric, **mean_interval(list(group))._asdict()}
        for (scenario, method, metric), group in per_cell.groupby(["scenario", "method", "metric"])["value"]
    ]
    references = {cell.method: reference for cell in cells if (reference := cell.record["method"]["reference"])}
    uses = {cell.method: tuple(cell.record["method"].get("uses", ())) for cell in cells}
    reasons = tuple(f"{name}: {reason}" for name, reason in left_out.items())
    # Floats even where all intervals are missing, so that a missing one is always NaN.
    made = pd.DataFrame(rows).astype({"low": float, "high": float})
    return Board(_ranked(made, chosen), tuple(chosen), references, uses, reasons)


def _ranked(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Within a scenario: best first by the first metric, by name if that has no better direction; within a method:
    metrics in the order asked for."""
    facts = describe("metric").get(metrics[0])
    sign = {"lower": 1, "higher": -1}.get(facts.facts["better"] if facts else "lower", 0)
    first = table[table["metric"] == metrics[0]].set_index(["scenario", "method"])["mean"]
    pairs = zip(table["scenario"], table["method"], strict=True)
    if facts and (most := facts.facts.get("most")) is not None:
        first = first.clip(upper=most)
    position = [sign * first[pair] if pair in first else float("inf") for pair in pairs]
    order = table.assign(_rank=position, _metric=table["metric"].map(list(metrics).index))
    return order.sort_values(["scenario", "_rank", "method", "_metric"])[list(table.columns)].reset_index(drop=True)
