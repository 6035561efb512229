"""The expected cost of a cell, from what similar finished cells took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any

from ..cells.cell import Cell
from ..errors import InputError
from ..store.record import Asked, DoneRecord
from ..store.store import MARK, Store


@dataclass(frozen=True)
class Work:
    """What a cell's cost depends on."""

    scenario: str = ""
    """The scenario's label"""
    method: str = ""
    """The method's label"""
    steps: float = 1.0
    """Optimiser steps of an interval"""

    @staticmethod
    def of(cell: Cell) -> Work:
        return Work(cell.scenario.label, cell.method.label, _steps(cell.scenario.config))

    @staticmethod
    def stored(facts: Asked) -> Work:
        return Work(facts.scenario.label, facts.method.label, _steps(facts.scenario.config))


def _steps(config: Any) -> float:
    steps = config.get("steps")  # absent from a plug-in's scenario that has a length of its own
    return float(steps) if isinstance(steps, int | float) and steps > 0 else 1.0


class Expected:
    """The costs of finished cells, and what they let one expect of others."""

    def __init__(self, grows: bool = False) -> None:
        """Begin without a cost.

        Args:
            grows: whether the cost grows with the steps of the intervals.
        """
        self._grows = grows
        self._costs: dict[tuple[str, ...], list[tuple[float, float]]] = {}

    def add(self, work: Work, cost: float) -> None:
        """Add the cost of a finished cell."""
        for key in _likeness(work):
            self._costs.setdefault(key, []).append((work.steps, cost))

    def cost(self, work: Work) -> float | None:
        """The mean cost of the most similar finished cells; None before a cell is added."""
        closest = self.closest(work)
        return closest and closest[1]

    def closest(self, work: Work) -> tuple[int, float] | None:
        """Find the most similar finished cells.

        Returns:
            (distance, mean cost); the distance is 0 for cells of the same scenario and method, 1 for those of the
            method in a scenario of the same name, 2 of the method, 3 of the scenario, 4 of all.
        """
        for distance, key in enumerate(_likeness(work)):
            if key in self._costs:
                return distance, self._at(work.steps, self._costs[key])
        return None

    def _at(self, steps: float, costs: list[tuple[float, float]]) -> float:
        """The cost at some number of steps: on the line through costs of several numbers, in proportion to one."""
        xs, ys = zip(*costs, strict=True)
        if not self._grows:
            return fmean(ys)
        if len(set(xs)) > 1:
            slope, start = linear_regression(xs, ys)
            if slope > 0 and start > 0:
                return start + slope * steps
        return steps * fmean(y / x for x, y in costs)


_SAME_METHOD = 2
"""Largest distance at which another store's cells say anything."""


def _likeness(work: Work) -> list[tuple[str, ...]]:
    name = work.scenario.partition(":")[0]
    return [
        ("same", work.scenario, work.method),
        ("alike", name, work.method),
        ("method", work.method),
        ("scenario", work.scenario),
        (),
    ]


class Timings:
    """The seconds that cells took: those of a store, and of others where theirs are more similar."""

    def __init__(self, path: Path, gpu: bool | None = None, like: Path | None = None) -> None:
        """Begin with the stores beside one.

        Args:
            path: the folder of the store.
            gpu: whether to take the times of GPUs, or those of processors; None for both.
            like: a further store whose times are taken, for methods that it doesn't have their mean.
        """
        self._own = Expected(grows=True)
        self._path = path
        self._gpu = gpu
        self._like = like

    @staticmethod
    def of(path: Path) -> Timings:
        """Read the timings of a store, which may be empty."""
        timings = Timings(path)
        for facts in _finished(Store(path)):
            timings.add(facts)
        return timings

    def add(self, facts: DoneRecord) -> None:
        """Add a finished cell of the store."""
        if self._takes(facts):
            self.add_seconds(Work.stored(facts), facts.work_seconds)

    def add_seconds(self, work: Work, seconds: float) -> None:
        """Add the seconds of a cell that has just been finished."""
        self._own.add(work, seconds)

    def _takes(self, facts: DoneRecord) -> bool:
        return self._gpu is None or self._gpu == (facts.device != "cpu")

    def seconds(self, work: Work) -> float | None:
        """Seconds that a cell may take; None if nothing like it was timed."""
        closest = self._closest(work)
        return closest and closest[1]

    def is_elsewhere(self, work: Work) -> bool:
        """Whether :meth:`seconds` is by cells of another store."""
        return self._closest(work) != self._own.closest(work)

    def _closest(self, work: Work) -> tuple[int, float] | None:
        own = self._own.closest(work)
        if own and own[0] == 0:
            return own
        other = self._beside.closest(work)
        if other is None or (other[0] > _SAME_METHOD and not self._like):
            return own
        return other if own is None or other[0] < own[0] else own

    @cached_property
    def _beside(self) -> Expected:
        timings = Expected(grows=True)
        further = [Store(self._like)] if self._like else []
        for store in [*_stores_beside(self._path), *further]:
            with suppress(InputError):  # it can't be read, which is no matter of this store's
                for facts in filter(self._takes, _finished(store)):
                    timings.add(Work.stored(facts), facts.work_seconds)
        return timings


def _finished(store: Store) -> Iterator[DoneRecord]:
    return (cell.facts for cell in store.cells() if isinstance(cell.facts, DoneRecord))


def _stores_beside(path: Path) -> list[Store]:
    """Return the stores in the same folder, and those published in ``results``, whose timings help where a store has
    none of its own."""
    found: dict[Path, Store] = {}
    for folder in (path.absolute().parent, Path("results").absolute()):
        with suppress(OSError):  # it doesn't exist, or can't be read
            for mark in sorted(folder.glob(f"*/{MARK}")):
                if mark.parent != path.absolute():
                    found[mark.parent] = Store(mark.parent)
    return list(found.values())
