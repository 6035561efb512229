"""The progress of a store, and the cells, time and bytes that are left."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..cells.cell import Cell
from ..errors import InputError, brief
from ..store.cell_folder import StoredCell
from ..store.record import DoneRecord, Status
from ..store.staleness import installed_versions, outdated
from ..store.store import Store
from .current import Current, LeftOut, current_of
from .expected import Expected, Timings, Work


@dataclass(frozen=True)
class Item:
    """One cell and its status."""

    name: str
    status: Status
    reason: str
    left: float = 0.0
    """Share of the work that is left, from 0 to 1"""
    seed: int | None = None
    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class Overview:
    """The progress of a store."""

    store: Store
    items: list[Item]
    unreadable: list[str]
    """Plans that can't be read, and why"""
    stored: Mapping[str, StoredCell] = field(default_factory=dict)
    """The store's cells, by name"""
    gpu: bool | None = None
    """Whether times are those of GPUs, or of processors; None for both"""
    like: Path | None = None
    """A further store whose times are taken"""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of cells by status, in the order of :class:`Status`."""
        numbers = {str(status): sum(item.status == status for item in self.items) for status in Status}
        return {status: number for status, number in numbers.items() if number}

    @cached_property
    def hours_left(self) -> float | None:
        """Hours for all work left, one cell at a time; None if nothing like one of its cells was timed."""
        return self._sum(self.hours)

    @cached_property
    def bytes_now(self) -> int:
        """Bytes of all cells' folders."""
        return sum(map(size_of, self.stored.values()))

    @cached_property
    def bytes_left(self) -> float | None:
        """Bytes that the cells left will add; None before a cell is done."""
        return self._sum(self._sizes.cost)

    @cached_property
    def state_bytes(self) -> int:
        """Bytes of the largest saved state now; each running cell comes to have one."""
        sizes = [0]
        for file in (self.store.path / "cells").glob("*/state.safetensors"):
            with suppress(FileNotFoundError):  # its cell is done
                sizes.append(file.stat().st_size)
        return max(sizes)

    def hours(self, work: Work) -> float | None:
        """Hours that a cell may take; None if nothing like it was timed."""
        seconds = self.timings.seconds(work)
        return None if seconds is None else seconds / 3600

    @cached_property
    def timings(self) -> Timings:
        """The time that the cells took, and those of the stores beside."""
        timings = Timings(self.store.path, self.gpu, self.like)
        for item in self.items:
            if item.status == Status.DONE and isinstance(facts := self.stored[item.name].facts, DoneRecord):
                timings.add(facts)
        return timings

    def fitting(self, hours: float, jobs: int) -> list[Item]:
        """The cells that come to their end in some time.

        Args:
            hours: the time.
            jobs: cells at a time, which begin in the order of the cells.

        Raises:
            InputError: nothing like one of them was timed.
        """
        costs = {item.work: self.hours(item.work) for item in self.items if item.left}
        if unknown := sorted({work.method for work, cost in costs.items() if cost is None}):
            raise InputError(f"no time is known of {brief(', '.join(unknown))}; run a cell of each, with few steps, or"
                             " name a store whose cells are like these: --like STORE")  # fmt: skip
        ends = [0.0] * jobs
        fit = []
        for item in self.items:
            if item.left:
                end = heapq.heappop(ends) + item.left * (costs[item.work] or 0.0)
                heapq.heappush(ends, end)
                if end <= hours:
                    fit.append(item)
        return fit

    @cached_property
    def _sizes(self) -> Expected:
        sizes = Expected()
        for item in self.items:
            if item.status == Status.DONE:
                sizes.add(item.work, size_of(self.stored[item.name]))
        return sizes

    def _sum(self, cost: Callable[[Work], float | None]) -> float | None:
        """The cost of all work left; None if that of a cell isn't known."""
        costs = [(item.left, cost(item.work)) for item in self.items if item.left]
        if any(each is None for _, each in costs):
            return None
        return sum(left * (each or 0.0) for left, each in costs)


def overview(
    source: Store | Current, cells: Iterable[Cell] | None = None, gpu: bool | None = None, like: Path | None = None
) -> Overview:
    """Make the overview of a store.

    Args:
        source: the store, which may be empty.
        cells: the cells to list; all stored and planned cells by default.
        gpu: whether to take the times of GPUs, or those of processors; None for both.
        like: a further store whose times are taken.
    """
    current = current_of(source)
    stored = {cell.name: cell for cell in current.stored}
    unreadable: list[str] = []
    if cells is None:
        unreadable = list(current.plans.unreadable)
        planned = current.plans.newest()
        wanted: dict[str, tuple[Work, int | None]] = {
            name: (Work.stored(cell.facts), cell.facts.seed) for name, cell in planned.items()
        }
        wanted |= {name: _work(cell) for name, cell in stored.items()}
    else:
        wanted = {cell.name: (Work.of(cell), cell.seed) for cell in cells}
    installed = installed_versions() if current.left_out else {}
    items = [
        _item(name, *work, stored.get(name), current.left_out.get(name), installed) for name, work in wanted.items()
    ]
    return Overview(current.store, items, unreadable, stored, gpu, like)


def _work(cell: StoredCell) -> tuple[Work, int | None]:
    return (Work.stored(cell.facts), cell.facts.seed) if cell.facts else (Work(), None)


def _item(
    name: str,
    work: Work,
    seed: int | None,
    cell: StoredCell | None,
    left_out: LeftOut | None,
    installed: Mapping[str, int],
) -> Item:
    if cell is None:
        return Item(name, Status.TO_DO, "", 1.0, seed, work)
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
    return Item(name, status, reason, left, seed, work)


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
