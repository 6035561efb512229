"""Progress of running cells: live bars on a terminal, elsewhere one plain line per finished cell. A single cell also
gets a line per interval, for authors who try a method."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ..cells.cell import Cell
from ..errors import visible
from ..running.executor import Event
from .say import say


@contextmanager
def shown(cells: Sequence[Cell]) -> Iterator[Callable[[Event], None]]:
    """Give a function that shows events until the context ends."""
    if sys.stdout.isatty():
        with _Live(cells) as live:
            yield live.show
    else:
        lines = _Lines(len(cells))
        yield lines.show


class _Lines:
    def __init__(self, total: int) -> None:
        self._total = total
        self._finished = 0
        self._intervals = 0
        self._notes = _Notes()

    def show(self, event: Event) -> None:
        for line in self._notes.new(event):
            say(line)
        if self._total == 1 and event.intervals > self._intervals and event.kind in ("interval", "done"):
            self._intervals = event.intervals
            say(f"interval {event.intervals} of {event.of}{_value(event)}")
        if event.kind in ("done", "failed", "busy"):
            self._finished += 1
            say(f"[{self._finished}/{self._total}] {summary(event)}")


class _Live:
    def __init__(self, cells: Sequence[Cell]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # a description may hold brackets, in a list of options
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=Console(),
        )
        self._all = self._progress.add_task("all cells", total=len(cells), unit="cells")
        self._bars: dict[str, TaskID] = {}
        self._notes = _Notes()

    def __enter__(self) -> _Live:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        for line in self._notes.new(event):
            self._progress.console.print(visible(line), highlight=False, markup=False)
        name = event.cell.name
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(str(event.cell), total=None, unit="intervals")
        if event.kind in ("started", "interval"):
            self._progress.update(
                self._bars[name],
                completed=event.intervals,
                total=event.of or None,
                description=f"{event.cell}{_value(event)}",
            )
            return
        self._progress.remove_task(self._bars[name])
        self._progress.console.print(visible(summary(event)), highlight=False, markup=False)
        self._progress.advance(self._all)


class _Notes:
    """Shows each note of a cell once."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def new(self, event: Event) -> list[str]:
        name = event.cell.name
        lines = [f"{event.cell}: {note}" for note in event.notes if (name, note) not in self._said]
        self._said |= {(name, note) for note in event.notes}
        return lines


def summary(event: Event) -> str:
    """One line for a finished cell."""
    if event.kind == "done":
        return f"{event.cell}: done in {event.seconds:.0f} s{_value(event)}"
    if event.kind == "busy":
        return f"{event.cell}: skipped: another process is running it"
    return f"{event.cell}: failed, {event.error}"


def _value(event: Event) -> str:
    return "" if event.negative_elbo is None else f", negative ELBO {event.negative_elbo:.2f}"
