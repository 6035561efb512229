"""Compute a cell again and compare its numbers."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cells.cell import Cell
from ..errors import InputError
from ..store.cell_folder import PICTURES, StoredCell
from ..store.store import Store
from ..store.stored_pictures import stored_pictures
from .executor import Execution
from .local import prepare, run

TIMED = frozenset({"train_seconds", "train_cpu_seconds", "eval_seconds", "peak_memory_mb"})
"""Metrics that differ between equal runs."""
_CIRCUMSTANCES = ("device", "execution", "data", "versions", "machine")


@dataclass(frozen=True)
class Comparison:
    """Two runs of one cell."""

    numbers: int
    """Measurements compared, which excludes time and memory."""
    differing: dict[str, tuple[int, float]]
    """By metric, how many differ, and the largest difference; infinity where one run lacks the number."""
    pictures_differ: bool
    pictures_problem: str
    """Why the pictures can't be compared; empty if they were, or the first run kept none."""
    circumstances: list[tuple[str, Any, Any]]
    """Circumstances that changed: name, before and now."""

    @property
    def equal(self) -> bool:
        return not (self.differing or self.pictures_differ or self.pictures_problem)


def rerun(store: Store, cell: Cell, scratch: Path, data_root: Path, device: str | None = None) -> Comparison:
    """Compute a finished cell again, in another store.

    Args:
        store: the store that has the cell.
        cell: the cell to compute.
        scratch: the other store's folder.
        data_root: folder of the data sets.
        device: as for ``run``; by default the kind that the cell was computed on, a CPU or CUDA.

    Raises:
        InputError: the store's cell isn't done, or can't be read, or can't be computed here.
    """
    before = store.cell(cell.name)
    if before.status != "done":
        raise InputError(
            f"cell {cell.name} is {before.status}{f' ({before.reason})' if before.reason else ''}, not done"
        )
    before.measured()  # raises if its numbers can't be read
    device = device or ("cpu" if before.record["device"] == "cpu" else "cuda")
    prepare([cell], data_root, device)
    (event,) = run([cell], Store.create(scratch), Execution(data_root, device))
    if event.kind != "done":
        raise InputError(f"the cell can't be computed again here ({event.kind}): {event.error}")
    return compare_cells(before, Store(scratch).cell(cell.name))


def compare_cells(before: StoredCell, now: StoredCell) -> Comparison:
    """Compare two runs of one cell."""
    first, second = _numbers(before), _numbers(now)
    measured = {*before.record.get("metrics", ()), *(key[-1] for key in first)}  # a newer lifegen measures more
    second = {key: value for key, value in second.items() if key[-1] in measured}
    differing: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for key in first.keys() | second.keys():
        one, other = first.get(key), second.get(key)
        if one != other:
            metric = str(key[-1])
            gap = math.inf if one is None or other is None else abs(one - other)
            differing[metric] = differing[metric][0] + 1, max(differing[metric][1], gap)
    changed = [
        (name, one, other)
        for part in _CIRCUMSTANCES
        for name, one, other in _differences(part, before.record.get(part), now.record.get(part))
    ]
    differ, problem = False, ""
    if before.has(PICTURES):
        try:
            differ = _differ(before, now)
        except InputError as error:
            problem = str(error)
    return Comparison(len(first), dict(sorted(differing.items())), differ, problem, changed)


def _numbers(cell: StoredCell) -> dict[tuple[object, ...], float]:
    rows = [row for row in map(json.loads, cell.content("metrics.jsonl").splitlines()) if row["metric"] not in TIMED]
    return {(row["interval"], row["distribution"], row["step"], row["metric"]): row["value"] for row in rows}


def _differ(before: StoredCell, now: StoredCell) -> bool:
    """Whether two runs' pictures differ.

    Raises:
        InputError: they can't be read.
    """
    first, second = (stored_pictures(cell, len(cell.facts.distributions)) for cell in (before, now) if cell.facts)
    return any(name not in second or not np.array_equal(first[name], second[name]) for name in first)


def _differences(name: str, one: Any, other: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [change for key in one | other for change in _differences(f"{name} {key}", one.get(key), other.get(key))]
    return [] if one == other else [(name, one, other)]
