"""The interface of executors, which run cells, with their settings and events.

A new executor is a class with the two methods of :class:`Executor`, and a choice of ``lifegen run --executor``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ..cells.cell import Cell
from ..store.store import Store

States = Literal["resume", "last", "all"]
"""Which saved states to keep when a cell is done: none, the last, or all."""


@dataclass(frozen=True)
class Execution:
    """How any executor runs cells. None of it changes a number."""

    data_root: Path
    """Folder of the data sets."""
    device: str = "auto"
    """ "auto", "cpu", "cuda" or "cuda:N"; each worker resolves "auto" itself."""
    time_limit: float | None = None
    """Seconds after which a cell is stopped and counts as failed."""
    keep_models: bool | Collection[str] = False
    """Whether a cell's folder gets its final model: for all cells, for none, or for those with these names."""
    states: States = "resume"
    fail_fast: bool = False
    """Whether the first failure stops all other cells; they can be continued later."""

    def keeps_model_of(self, cell: Cell) -> bool:
        """Whether a cell's final model is kept."""
        return self.keep_models if isinstance(self.keep_models, bool) else cell.name in self.keep_models

    def of(self, cell: Cell) -> Execution:
        """The same for one cell alone: the names of thousands needn't travel with each."""
        return replace(self, keep_models=self.keeps_model_of(cell))


@dataclass(frozen=True)
class Event:
    """Something to show while cells run."""

    cell: Cell
    kind: Literal["started", "interval", "done", "failed", "busy"]
    intervals: int = 0
    """Intervals measured so far."""
    of: int = 0
    """Intervals in all; 0 until it is known."""
    seconds: float = 0.0
    """Wall time since the cell started."""
    error: str = ""
    negative_elbo: float | None = None
    """On the full test after the last of these intervals, nats per image, where it is known."""
    doing: str = ""
    """What its worker does at the moment, in a few words; empty where that isn't known."""
    share: float = 0.0
    """Share of the next interval's training that is done."""
    notes: tuple[str, ...] = ()
    """Remarks about the cell for its user, in words."""


Show = Callable[[Event], None]


def unseen(event: Event) -> None:
    """Shows nothing."""


class Executor(Protocol):
    """Runs cells: in processes of this machine, on a cluster, or elsewhere."""

    def prepare(self, cells: Iterable[Cell], execution: Execution) -> None:
        """Find out before any training whether the cells can be run.

        Raises:
            InputError: something that they need is missing.
        """

    def run(self, cells: Iterable[Cell], store: Store, execution: Execution, show: Show = unseen) -> list[Event]:
        """Run the cells into the store, and show what happens.

        Returns:
            the last event of each cell that has come to an end: "done", "failed" or "busy".

        Raises:
            InputError: something that they need is missing.
        """
