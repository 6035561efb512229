"""How far a store is, and what is left: cells, time and bytes. No torch."""

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
    """One cell, as it stands."""

    name: str
    status: Status
    reason: str
    scenario: str = ""
    """Label"""
    method: str = ""
    """Label"""
    left: float = 0.0
    """Part of the work that is still to do, from 0 to 1"""


@dataclass(frozen=True)
class Overview:
    """How far a store is."""

    store: Store
    items: list[Item]
    unreadable: list[str]
    """Plans that can't be read, and why"""
    stored: Mapping[str, StoredCell] = field(default_factory=dict)
    """The cells that the store has, by name"""

    @property
    def counts(self) -> dict[str, int]:
        """Cells of each status that occurs, in the order of :class:`Status`."""
        numbers = {str(status): sum(item.status == status for item in self.items) for status in Status}
        return {status: number for status, number in numbers.items() if number}

    @cached_property
    def hours_left(self) -> float | None:
        """Hours of one cell at a time for all that is left, as long as those like it took; None before one is done."""
        return self._expected(_hours)

    @cached_property
    def bytes_now(self) -> int:
        """What all cells' folders take."""
        return sum(map(size_of, self.stored.values()))

    @cached_property
    def bytes_left(self) -> float | None:
        """What those that are left will add, as much as those like them take; None before one is done."""
        return self._expected(size_of)

    @cached_property
    def state_bytes(self) -> int:
        """The largest state of an interval boundary that is there now; each running cell comes to have one."""
        sizes = [0]
        for file in (self.store.path / "cells").glob("*/state.safetensors"):
            with suppress(FileNotFoundError):  # its cell is done
                sizes.append(file.stat().st_size)
        return max(sizes)

    def _expected(self, cost: Callable[[StoredCell], float]) -> float | None:
        """The summed cost of what is left, each cell at the mean of those like it that are done: of the same scenario
        and method, else of either, else of all."""
        known: dict[tuple[str, ...], list[float]] = {}
        for item in self.items:
            if item.status == Status.DONE:
                value = cost(self.stored[item.name])
                for key in _likeness(item):
                    known.setdefault(key, []).append(value)
        if not known:
            return None
        means = {key: fmean(values) for key, values in known.items()}
        return sum(item.left * next(means[key] for key in _likeness(item) if key in means) for item in self.items)


def _likeness(item: Item) -> list[tuple[str, ...]]:
    return [("both", item.scenario, item.method), ("method", item.method), ("scenario", item.scenario), ()]


def _hours(cell: StoredCell) -> float:
    return cell.facts.work_seconds / 3600 if isinstance(cell.facts, DoneRecord) else 0.0


def overview(source: Store | Current, cells: Iterable[Cell] | None = None) -> Overview:
    """How far a store is.

    Args:
        source: the store, which may be empty.
        cells: those to look at; all that the store has or was asked for by default.
    """
    current = current_of(source)
    stored = {cell.folder.name: cell for cell in current.stored}
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
    """Bytes of all files in a cell's folder."""
    total = 0
    with suppress(OSError):  # it is gone, or can't be read
        for file in cell.folder.iterdir():
            with suppress(OSError):  # it was a lock, or is being replaced
                total += file.stat().st_size
    return total
