"""The progress of a store, and the cells, time and bytes that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from ..cells.cell import Cell
from ..store.cell_folder import StoredCell
from ..store.record import DoneRecord, Status
from ..store.staleness import installed_versions, outdated
from ..store.store import Store
from .current import Current, LeftOut, current_of


@dataclass(frozen=True)
class Item:
    """One cell and its status."""

    name: str
    status: Status
    reason: str
    scenario: str = ""
    """The scenario's label"""
    method: str = ""
    """The method's label"""
    left: float = 0.0
    """Share of the work that is left, from 0 to 1"""


@dataclass(frozen=True)
class Overview:
    """The progress of a store."""

    store: Store
    items: list[Item]
    unreadable: list[str]
    """Plans that can't be read, and why"""
    stored: Mapping[str, StoredCell] = field(default_factory=dict)
    """The store's cells, by name"""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of cells by status, in the order of :class:`Status`."""
        numbers = {str(status): sum(item.status == status for item in self.items) for status in Status}
        return {status: number for status, number in numbers.items() if number}

    @cached_property
    def hours_left(self) -> float | None:
        """Hours for all work left, one cell at a time, estimated from similar cells; None before a cell is done."""
        return self._expected(_hours)

    @cached_property
    def bytes_now(self) -> int:
        """Bytes of all cells' folders."""
        return sum(map(size_of, self.stored.values()))

    @cached_property
    def bytes_left(self) -> float | None:
        """Bytes that the cells left will add, estimated from similar cells; None before a cell is done."""
        return self._expected(size_of)

    @cached_property
    def state_bytes(self) -> int:
        """Bytes of the largest saved state now; each running cell comes to have one."""
        sizes = [0]
        for file in (self.store.path / "cells").glob("*/state.safetensors"):
            with suppress(FileNotFoundError):  # its cell is done
                sizes.append(file.stat().st_size)
        return max(sizes)

    def _expected(self, cost: Callable[[StoredCell], float]) -> float | None:
        """Estimate the cost of all work left, each cell at the mean of similar finished cells: of the same scenario and
        method, else of the method, the scenario, or all."""
        costs: dict[tuple[str, ...], list[float]] = {}
        for item in self.items:
            if item.status == Status.DONE:
                value = cost(self.stored[item.name])
                for key in _likeness(item):
                    costs.setdefault(key, []).append(value)
        if not costs:
            return None
        means = {key: fmean(values) for key, values in costs.items()}
        return sum(item.left * next(means[key] for key in _likeness(item) if key in means) for item in self.items)


def _likeness(item: Item) -> list[tuple[str, ...]]:
    return [("both", item.scenario, item.method), ("method", item.method), ("scenario", item.scenario), ()]


def _hours(cell: StoredCell) -> float:
    return cell.facts.work_seconds / 3600 if isinstance(cell.facts, DoneRecord) else 0.0


def overview(source: Store | Current, cells: Iterable[Cell] | None = None) -> Overview:
    """Make the overview of a store.

    Args:
        source: the store, which may be empty.
        cells: the cells to list; all stored and planned cells by default.
    """
    current = current_of(source)
    stored = {cell.name: cell for cell in current.stored}
    unreadable: list[str] = []
    if cells is None:
        unreadable = list(current.plans.unreadable)
        planned = current.plans.newest()
        wanted = {name: (cell.facts.scenario.label, cell.facts.method.label) for name, cell in planned.items()}
        wanted |= {name: _labels(cell) for name, cell in stored.items()}
    else:
        wanted = {cell.name: (cell.scenario.label, cell.method.label) for cell in cells}
    installed = installed_versions() if current.left_out else {}
    items = [
        _item(name, labels, stored.get(name), current.left_out.get(name), installed) for name, labels in wanted.items()
    ]
    return Overview(current.store, items, unreadable, stored)


def _labels(cell: StoredCell) -> tuple[str, str]:
    return (cell.facts.scenario.label, cell.facts.method.label) if cell.facts else ("", "")


def _item(
    name: str, labels: tuple[str, str], cell: StoredCell | None, left_out: LeftOut | None, installed: Mapping[str, int]
) -> Item:
    if cell is None:
        return Item(name, Status.TO_DO, "", *labels, 1.0)
    status, reason = cell.judgement
    left = 0.0
    if status == Status.DONE and left_out:
        status, reason = left_out
        left = 1.0 if cell.facts and outdated(cell.facts, installed) else 0.0
    elif status in (Status.RUNNING, Status.INTERRUPTED):
        of = len(cell.facts.visits) if cell.facts else 0
        left = 1 - min(cell.intervals_done() / (of or 1), 1.0)
    elif status == Status.DAMAGED:
        left = 1.0
    return Item(name, status, reason, *labels, left)


def size_of(cell: StoredCell) -> int:
    """Add up the bytes of all files of a cell."""
    total = 0
    if cell.is_packed:
        with suppress(OSError):
            total = cell.found.stat().st_size
        return total
    with suppress(OSError):  # the folder is gone, or can't be read
        for file in cell.folder.iterdir():
            with suppress(OSError):  # the file was a lock, or is being replaced
                total += file.stat().st_size
    return total
