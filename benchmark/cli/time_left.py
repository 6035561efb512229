"""The time that running and waiting cells still take, for the live display."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from ..cells.cell import Cell
from ..reading.expected import Timings, Work
from ..running.executor import Event

_SURE = 0.02
"""Share of a cell's work from whose time that of the rest follows."""


@dataclass
class _Running:
    began: float
    at_first: float | None = None
    """Share of the work that was done when training went on, which an earlier process did"""
    first_seen: float = 0.0
    share: float = 0.0


class TimeLeft:
    """Estimates from the events of cells."""

    def __init__(self, cells: Sequence[Cell], timings: Timings, clock: Callable[[], float] = monotonic) -> None:
        """Begin before the first cell.

        Args:
            cells: the cells to run.
            timings: what similar cells took.
            clock: returns seconds.
        """
        self._waiting = {cell.name: Work.of(cell) for cell in cells}
        self._works = dict(self._waiting)
        self._timings = timings
        self.clock = clock
        self._running: dict[str, _Running] = {}
        self._slots = 1

    def see(self, event: Event) -> None:
        """Take note of an event."""
        name, now = event.cell.name, self.clock()
        self._waiting.pop(name, None)
        if event.kind in ("started", "interval"):
            cell = self._running.setdefault(name, _Running(now))
            self._slots = max(self._slots, len(self._running))
            if event.of:
                cell.share = min(1.0, (event.intervals + event.share) / event.of)
                if cell.at_first is None:
                    cell.at_first, cell.first_seen = cell.share, now
        else:
            ended = self._running.pop(name, None)
            if event.kind == "done" and ended and not ended.at_first:
                self._timings.add_seconds(self._works[name], now - ended.began)

    def elapsed(self, name: str) -> float:
        """Seconds since a running cell started here."""
        return self.clock() - self._running[name].began

    def of_cell(self, name: str) -> float | None:
        """Seconds that a running cell still takes; None before anything is known."""
        cell, now = self._running[name], self.clock()
        if cell.at_first is not None and (gained := cell.share - cell.at_first) >= _SURE:
            return (now - cell.first_seen) * (1 - cell.share) / gained
        expected = self._timings.seconds(self._works[name])
        return None if expected is None else max(0.0, expected - (now - cell.began))

    def of_all(self) -> float | None:
        """Seconds until all cells are done; None before anything is known."""
        running = [self.of_cell(name) for name in self._running]
        sure = [left for left in running if left is not None]
        usual = [
            self.elapsed(name) + left for name, left in zip(self._running, running, strict=True) if left is not None
        ]
        total = 0.0
        for work, number in Counter(self._waiting.values()).items():  # seeds are alike
            expected = self._timings.seconds(work)
            if expected is None:  # no cell is like it: as those that run
                if not usual:
                    return None
                expected = sum(usual) / len(usual)
            total += number * expected
        if len(sure) < len(running) and not (sure or self._waiting):
            return None
        return max([*sure, (total + sum(sure)) / self._slots])
