"""A cell as trackers of experiments see it: a run with a name, options, and points of its curves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...store.record import Record
from ..file_names import file_names


class Point(NamedTuple):
    """A point of a curve."""

    curve: str
    """METRIC, METRIC/DISTRIBUTION, or training/METRIC for a trace"""
    at: int
    """the interval; for a trace the step since the cell's beginning"""
    value: float


def folders_of(facts: Sequence[Record]) -> list[Path]:
    """The folder of each cell's run: scenario, method, seed, without characters that shells or file systems mind."""
    names = file_names(label for cell in facts for label in (cell.scenario.label, cell.method_label))
    return [Path(names[cell.scenario.label], names[cell.method_label], f"seed-{cell.seed}") for cell in facts]


def options_of(facts: Record) -> dict[str, str | int | float | bool]:
    """A cell's scenario, method, seed and all their options, with values that trackers show."""
    options: dict[str, Any] = {
        "scenario": facts.scenario.label,
        "method": facts.method_label,
        "seed": facts.seed,
        "precision": facts.precision,
        **{f"scenario.{name}": value for name, value in facts.scenario.config.items()},
        **{f"method.{name}": value for name, value in facts.method.config.items()},
    }
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in options.items()
    }


def points(rows: Iterable[Mapping[str, Any]], since: int = 0) -> Iterator[Point]:
    """The points of a cell's rows, interval by interval.

    Args:
        rows: interval, distribution, step, metric, value; of all intervals, since a trace's steps count on through
            them.
        since: the first interval whose points are wanted.
    """
    by_interval: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_interval.setdefault(row["interval"], []).append(row)
    begins = 0
    for interval in sorted(by_interval):
        for row in by_interval[interval] if interval >= since else ():
            metric, distribution, step, value = row["metric"], row["distribution"], row["step"], row["value"]
            if step is not None:
                yield Point(f"training/{metric}", begins + step, value)
            else:
                yield Point(metric if distribution is None else f"{metric}/{distribution}", interval, value)
        begins += sum(int(row["value"]) for row in by_interval[interval] if row["metric"] == "optimizer_steps")
