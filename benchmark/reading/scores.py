"""Scores: one number per metric of each finished cell, from a store or from a published table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ..cells.cell import PRECISIONS
from ..discovery.index import base_name, describe
from ..errors import InputError, counted, unknown
from ..files import read
from ..store.record import ExtensionMetric
from ..store.store import Store
from .current import Current, CurrentCell, SeedCount, current_of, derived_problems
from .labels import label_of
from .metric_facts import MetricFacts, installed_metrics, metric_facts
from .summary import summarise
from .table import is_published, published_table

FACTS = "leaderboard.json"
"""The file with further facts on methods and cells, of a folder that an earlier lifegen published."""
_PRECISION = re.compile(rf" \(({'|'.join(PRECISIONS)})\)$")


@dataclass(frozen=True)
class Scores:
    """The numbers and facts behind leaderboards and comparisons."""

    name: str
    """name of the store or the file, for messages"""
    numbers: pd.DataFrame
    """scenario, method, seed, metric, value; NaN where a metric is undefined after a cell's last interval"""
    references: Mapping[str, str]
    """the references of tables: "upper" or "lower", by method"""
    uses: Mapping[str, tuple[str, ...]]
    """information that methods get beyond the images of the current interval"""
    custom: frozenset[str] = frozenset()
    """methods with custom options: neither the defaults nor a suite's variant; references never count"""
    tuned: Mapping[str, int] = field(default_factory=dict)
    """numbers of trials by which methods' options were tuned; the others have their defaults, or a suite's"""
    metrics: Mapping[str, MetricFacts] = field(default_factory=installed_metrics)
    """facts on metrics, by name"""
    extensions: Mapping[str, ExtensionMetric] = field(default_factory=dict)
    """extension metrics in the records"""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """cells without numbers here, each with the reason"""
    seeds: Mapping[tuple[str, str], SeedCount] = field(default_factory=dict)
    """planned and failed seeds by scenario and method, if not all are done"""
    notes: tuple[str, ...] = ()
    """remarks on the numbers"""
    not_ranked: Mapping[str, str] = field(default_factory=dict)
    """methods that a suite shows without a rank, each with the reason"""
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """values of metrics for real training images in place of samples, by scenario"""

    def scenario_labels(self, texts: Iterable[str]) -> list[str]:
        """Return the labels of scenarios that a user names; of all if none are named.

        Raises:
            InputError: there is no such scenario.
        """
        named = (label_of("scenario", text, self.scenarios, f"in {self.name}:") for text in texts)
        return list(dict.fromkeys(named)) or self.scenarios

    def scenario(self, label: str) -> pd.DataFrame:
        """Return the values of one scenario, by its label."""
        return self.numbers[self.numbers["scenario"] == label]

    def better(self, metric: str) -> str | None:
        """Return "lower" or "higher"; None if neither is better."""
        facts = self.metrics.get(metric)
        return facts.better if facts else None

    def most(self, metric: str) -> float:
        """Return the best value: higher ones rank as this one."""
        facts = self.metrics.get(metric)
        return float("inf") if facts is None or facts.most is None else facts.most

    def is_timed(self, metric: str) -> bool:
        """Return whether a metric depends on the machine's load: its median over seeds is shown, without interval."""
        facts = self.metrics.get(metric)
        return facts is not None and facts.over_seeds == "median"

    def failing(self, scenarios: Iterable[str] | None = None) -> frozenset[str]:
        """Return the methods with a failed seed in one of these scenarios. They aren't ranked, since the other seeds
        may be the easy ones.

        Args:
            scenarios: labels; all by default.
        """
        among = self.scenarios if scenarios is None else list(scenarios)
        return frozenset(method for (label, method), count in self.seeds.items() if count.failed and label in among)

    @property
    def scenarios(self) -> list[str]:
        return sorted(self.numbers["scenario"].unique())

    def check_metrics(self, metrics: Iterable[str]) -> None:
        """Check that metrics can be shown.

        Raises:
            InputError: a metric is missing, or none has a value.
        """
        measured = set(self.numbers["metric"])
        has_value = set(self.numbers.dropna()["metric"])
        names = ", ".join(sorted(has_value))
        metrics = list(metrics)
        for metric in metrics:
            if metric not in measured and metric not in self.metrics:
                raise unknown(f"metric in {self.name}:", metric, measured)
        if measured.isdisjoint(metrics):
            raise InputError(
                f"{metrics[0]}: no cell has a single number for it: it is a trace over steps, is undefined here, or "
                f"wasn't measured; there are {names}"
            )
        if has_value.isdisjoint(metrics):
            raise InputError(
                f"{', '.join(metrics)}: undefined after the last interval of every cell; there are {names}"
            )


def scores_of(source: Current | Store | Path | str) -> Scores:
    """Return the scores of a store, or of a published folder or table.

    Raises:
        InputError: nothing is there, or the store has no finished cell that can be read.
    """
    if isinstance(source, Path | str) and is_published(source):
        return published_scores(published_table(source), source)
    current = current_of(source).readable(lambda cell: cell.numbers)
    cells, path = current.cells, current.store.path
    left_out = {name: str(why) for name, why in current.left_out.items()}
    if not cells:
        first = next((f"{name}: {reason}" for name, reason in left_out.items()), None)
        why = f"; {len(left_out)} left out, the first, {first}" if first else ""
        raise InputError(f"{path} has no finished cell to show; finish it with `lifegen run ... --out {path}`{why}")
    numbers = [
        (cell.scenario, cell.method, cell.seed, metric, value)
        for cell in cells
        for metric, value in cell.numbers.items()
    ]
    methods = {cell.method: cell.facts.method for cell in cells}
    references = {method: facts.reference for method, facts in methods.items() if facts.reference}
    labels = {facts.label for facts in methods.values()} - current.named_by_suites
    custom = _custom(labels)
    return Scores(
        str(path),
        _frame(numbers),
        references,
        {method: tuple(facts.uses) for method, facts in methods.items()},
        frozenset(method for method, facts in methods.items() if facts.label in custom) - references.keys(),
        {cell.method: cell.facts.trials for cell in cells if cell.facts.trials},
        current.metrics,
        current.extensions,
        left_out,
        current.seeds,
        tuple(f"{problem}." for problem in derived_problems(cell for cell in cells if not cell.has_kept_numbers))
        + _on_experts(cells),
        {cell.method: cell.facts.not_ranked for cell in cells if cell.facts.not_ranked},
        {cell.scenario: cell.facts.samples.floor for cell in cells if cell.facts.samples and not cell.hidden},
    )


def _on_experts(cells: Iterable[CurrentCell]) -> tuple[str, ...]:
    """Write a note where several experts have seen the samples of a scenario's cells."""
    hidden = [cell for cell in cells if cell.hidden]
    if not hidden:
        return ()
    cells_are = counted(len(hidden), "cell", "has")
    return (f"Samples: {cells_are} metrics of another expert, which aren't shown: {hidden[0].name} among them.",)


class SeedRow(BaseModel):
    """A method's seeds in one scenario, in JSON."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    scenario: str
    method: str
    asked: int
    failed: int


class _Facts(BaseModel):
    """The part of ``leaderboard.json`` for readers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    references: dict[str, Literal["upper", "lower"]] = {}
    uses: dict[str, list[str]] = {}
    custom: list[str] = []
    metrics: dict[str, ExtensionMetric] = {}
    left_out: dict[str, str] = {}
    seeds: list[SeedRow] = []


def published_scores(table: pd.DataFrame, path: Path | str) -> Scores:
    """Return the scores of a published table.

    Args:
        table: the tidy table.
        path: the published folder, or the file.

    Raises:
        InputError: its ``leaderboard.json`` can't be read, or a seed occurs twice.
    """
    methods = list(table["method"].unique())
    facts = _facts(Path(path) / FACTS) or _facts_of_installed(methods)
    recorded = {name: fact for name, metric in facts.metrics.items() if (fact := metric_facts(metric.facts))}
    metrics = recorded | installed_metrics()
    over = {name: metric.over_intervals for name, metric in metrics.items()}
    values = []
    table = table[table["step"].isna()].astype(object).where(lambda cells: cells.notna(), None)
    for (scenario, method, seed, _), rows in table.groupby(["scenario", "method", "seed", "cell"]):
        numbers = summarise(rows[["interval", "distribution", "metric", "value"]].to_dict("records"), over)
        values += [(scenario, method, seed, metric, value) for metric, value in numbers.items()]
    frame = _frame(values)
    if (twice := frame.duplicated(["scenario", "method", "seed", "metric"])).any():
        row = frame[twice].iloc[0]
        raise InputError(f"{path} has two cells of {row['scenario']}, {row['method']} and seed {row['seed']}")
    return Scores(
        str(path),
        frame,
        facts.references,
        {method: tuple(facts.uses.get(method, ())) for method in methods},
        frozenset(facts.custom) - facts.references.keys(),
        {},
        metrics,
        facts.metrics,
        facts.left_out,
        {(row.scenario, row.method): SeedCount(row.asked, row.failed) for row in facts.seeds},
    )


def _facts(file: Path) -> _Facts | None:
    """Read a published folder's further facts; None if there is no such file."""
    try:
        return _Facts.model_validate_json(read(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{file} isn't what `lifegen publish` writes ({f'{place}: ' if place else ''}{first['msg']}); "
            "publish the store again"
        ) from None


def _facts_of_installed(methods: Iterable[str]) -> _Facts:
    """Make the facts on methods from their labels alone."""
    entries = describe("method")
    of = {method: entries[base].facts for method in methods if (base := base_name(method)) in entries}
    labels = {method: _PRECISION.sub("", method) for method in methods}
    custom = _custom(labels.values())
    return _Facts(
        references={method: fact["reference"] for method, fact in of.items() if fact.get("reference")},
        uses={method: fact.get("uses", ()) for method, fact in of.items()},
        custom=[method for method, label in labels.items() if label in custom],
    )


def _frame(values: list[tuple[str, str, int, str, float | None]]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["scenario", "method", "seed", "metric", "value"]).astype({"value": float})


def _custom(labels: Iterable[str]) -> frozenset[str]:
    """Return the labels with options that none of lifegen's suites names."""
    with_options = frozenset(label for label in labels if ":" in label)
    if not with_options:
        return frozenset()
    from ..cells.suite import named_variants  # it imports jsonschema, a third of a second

    return with_options - named_variants()
