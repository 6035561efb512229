"""One number per metric of each finished cell, from a store or from a published table: what is compared. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from .catalogue import base_name, describe, describe_metrics, learn_metrics
from .errors import InputError, unknown
from .store import Store, load
from .summary import described, summarise

FACTS = "leaderboard.json"
"""In a published folder: what its measurements don't say of methods and cells, as ``tables.to_json`` writes it."""


@dataclass(frozen=True)
class Runs:
    """What leaderboards and comparisons are made of."""

    name: str
    """of the store or the file, for messages"""
    numbers: pd.DataFrame
    """scenario, method, seed, metric, value; NaN where a metric is undefined after a cell's last interval"""
    references: Mapping[str, str]
    """"upper" or "lower", of the methods that frame a table"""
    uses: Mapping[str, tuple[str, ...]]
    """what methods are told beyond the images of the current interval"""
    custom: frozenset[str] = frozenset()
    """methods with options of the user's own: neither the defaults nor a suite's variant"""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """what is known of the metrics of plug-ins, as records have it"""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """cells that have no numbers here, each with the reason"""

    def scenario(self, label: str) -> pd.DataFrame:
        """The values of one scenario.

        Raises:
            InputError: there is none of this label.
        """
        found = self.numbers[self.numbers["scenario"] == label]
        if found.empty:
            raise unknown(f"scenario in {self.name}:", label, self.scenarios)
        return found

    def better(self, metric: str) -> str | None:
        """ "lower", "higher", or None where neither is better."""
        known = describe_metrics().get(metric)
        return known.facts.get("better") if known else None

    @property
    def scenarios(self) -> list[str]:
        return sorted(self.numbers["scenario"].unique())

    def check_metrics(self, metrics: Iterable[str]) -> None:
        """See whether any of these can be shown.

        Raises:
            InputError: one isn't there, or none has a value.
        """
        known = set(self.numbers["metric"])
        has_value = set(self.numbers.dropna()["metric"])
        there = ", ".join(sorted(has_value))
        for metric in metrics:
            if metric not in known and metric in describe_metrics():
                raise InputError(
                    f"{metric}: no cell has one number of it, since it is a trace over steps or wasn't measured; "
                    f"there are {there}"
                )
            if metric not in known:
                raise unknown(f"metric in {self.name}:", metric, known)
        if has_value.isdisjoint(metrics):
            raise InputError(
                f"{', '.join(metrics)}: undefined after the last interval of every cell; there are {there}"
            )


def runs_of(source: Store | Path | str) -> Runs:
    """The runs of a store, or of a published folder or table (as :func:`load` reads it).

    Raises:
        InputError: there is none, it has no finished cell, or one of its cells can't be read.
    """
    if not isinstance(source, Store):
        if not Path(source, "lifegen.json").exists():
            return _published(load(source), str(source))
        source = Store.open(source)
    cells, left_out = source.current()
    if not cells:
        first = next((f"{name}: {reason}" for name, reason in left_out.items()), None)
        why = f"; {len(left_out)} left out, the first, {first}" if first else ""
        raise InputError(
            f"{source.path} has no finished cell to show; `lifegen run --out {source.path}` goes on with it{why}"
        )
    found = [
        (cell.record["scenario"]["label"], cell.method, cell.record["seed"], metric, value)
        for cell in cells
        for metric, value in cell.numbers.items()
    ]
    facts = {cell.method: cell.record["method"] for cell in cells}
    from_suites = {cell.method for cell in cells if cell.record.get("suite")}
    return Runs(
        str(source.path),
        _frame(found),
        {method: fact["reference"] for method, fact in facts.items() if fact["reference"]},
        {method: tuple(fact.get("uses", ())) for method, fact in facts.items()},
        _custom(set(facts) - from_suites),
        {name: told for cell in cells for name, told in cell.record.get("plug-in metrics", {}).items()},
        left_out,
    )


def _published(table: pd.DataFrame, name: str) -> Runs:
    facts: dict[str, Any] = {}
    with suppress(OSError):
        facts = json.loads((Path(name) / FACTS).read_text())
        learn_metrics(facts.get("metrics", {}))
    over = described()
    found = []
    table = table[table["step"].isna()].astype(object).where(lambda values: values.notna(), None)
    for (scenario, method, seed, _), rows in table.groupby(["scenario", "method", "seed", "cell"]):
        numbers = summarise(rows[["interval", "distribution", "metric", "value"]].to_dict("records"), [], over)
        found += [(scenario, method, seed, metric, value) for metric, value in numbers.items()]
    if not facts:  # a single table
        known = describe("method")
        of = {method: known[base].facts for method in table["method"].unique() if (base := base_name(method)) in known}
        facts = {
            "references": {method: fact["reference"] for method, fact in of.items() if fact.get("reference")},
            "uses": {method: fact.get("uses", ()) for method, fact in of.items()},
            "custom": _custom(set(table["method"])),
            "left_out": {},
        }
    uses = {method: tuple(facts["uses"].get(method, ())) for method in table["method"].unique()}
    return Runs(name, _frame(found), facts["references"], uses, frozenset(facts["custom"]),
                facts.get("metrics", {}), facts["left_out"])  # fmt: skip


def _frame(found: list[tuple[str, str, int, str, float | None]]) -> pd.DataFrame:
    frame = pd.DataFrame(found, columns=["scenario", "method", "seed", "metric", "value"])
    assert not frame.duplicated(["scenario", "method", "seed", "metric"]).any(), "a seed counts once"
    return frame.astype({"value": float})


def _custom(methods: Iterable[str]) -> frozenset[str]:
    """Those with options that no suite names."""
    with_options = {method for method in methods if ":" in method}
    if not with_options:
        return frozenset()
    from .suite import named_variants  # it takes pydantic, a third of a second

    named = named_variants()
    return frozenset(method for method in with_options if method.partition(" ")[0] not in named)
