"""Progress of running cells: live rows on a terminal, elsewhere a line for each interval and cell; in a notebook only
one for each cell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path
from threading import RLock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..cells.cell import Cell
from ..environment import in_notebook
from ..errors import one_line, visible
from ..reading.expected import Timings
from ..reporting.terminal import elided
from ..running.executor import Event
from .say import say
from .time_left import TimeLeft


@contextmanager
def shown(cells: Sequence[Cell], store: Path) -> Iterator[Callable[[Event], None]]:
    """Give a function that shows events until the context ends.

    Args:
        cells: the cells to run.
        store: the folder of the store, whose finished cells and neighbours tell the time left.
    """
    if sys.stdout.isatty() and not in_notebook():  # which shows live rows as a heap of lines
        with Display(cells, Timings.of(store)) as display:
            yield display.show
    else:
        yield _Lines(len(cells), not in_notebook()).show


class _Lines:
    def __init__(self, total: int, with_intervals: bool) -> None:
        self._total = total
        self._with_intervals = with_intervals
        self._finished = 0
        self._intervals: dict[str, int] = {}
        self._notes = _Notes()

    def show(self, event: Event) -> None:
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        for line in self._notes.new(event):
            say(f"{now} {line}")
        is_new = event.intervals > self._intervals.get(event.cell.name, 0)
        if self._with_intervals and is_new and event.kind in ("interval", "done"):
            self._intervals[event.cell.name] = event.intervals
            say(f"{now} {event.cell}: interval {event.intervals} of {event.of}{_value(event)}")
        if event.kind in ("done", "failed", "busy"):
            self._finished += 1
            say(f"{now} [{self._finished}/{self._total}] {summary(event)}")


class Display:
    """Live rows: a heading per scenario, a row per running cell, and a row for all cells."""

    def __init__(self, cells: Sequence[Cell], timings: Timings, console: Console | None = None) -> None:
        self._total = len(cells)
        self._finished = 0
        self._left = TimeLeft(cells, timings)
        self._began = self._left.clock()
        self._running: dict[str, Event] = {}
        self._notes = _Notes()
        self._lock = RLock()  # rows are drawn in another thread
        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, get_renderable=self.rows, refresh_per_second=4)

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        for line in self._notes.new(event):
            self._print(line)
        is_over = event.kind not in ("started", "interval")
        with self._lock:
            self._left.see(event)
            if is_over:
                self._running.pop(event.cell.name, None)
                self._finished += 1
            else:
                self._running[event.cell.name] = event
        if is_over:
            self._print(summary(event))

    def _print(self, line: str) -> None:
        self._console.print(Text(visible(line)))

    def rows(self) -> RenderableType:
        """The rows as they are now."""
        with self._lock:
            return self._rows()

    def _rows(self) -> RenderableType:
        width = self._console.width
        shape = _Shape.fitting(width, self._total)
        events = sorted(self._running.values(), key=lambda event: event.cell.scenario.label)
        most = max(1, self._console.height - 4)
        parts: list[RenderableType] = []
        for scenario, group in groupby(events[:most], lambda event: event.cell.scenario.label):
            table = shape.table()
            for event in group:
                name = event.cell.name
                label = f"{event.cell.method.label} seed {event.cell.seed}"
                shape.add(table, label, event.doing, event.intervals, event.of, event.share, self._left.elapsed(name),
                          self._left.of_cell(name))  # fmt: skip
            parts += [Text(elided(one_line(scenario), width), "bold", no_wrap=True), table]
        if len(events) > most:
            parts.append(Text(f"and {len(events) - most} more"))
        everything = shape.table()
        partly = sum((event.intervals + event.share) / event.of for event in events if event.of)
        shape.add(everything, "all cells", "", self._finished, self._total, partly, self._left.clock() - self._began,
                  self._left.of_all())  # fmt: skip
        return Group(*parts, everything)


class _Shape:
    """Widths of the columns: label, words, count, bar, elapsed time, time left."""

    _TIME = 8
    """Characters of a time, such as 12:34:56"""
    _WORDS = 19
    """Characters of the longest words, such as "step 1,000 of 3,000" """

    def __init__(self, label: int, words: int, count: int, bar: int) -> None:
        self._label, self._words, self._count, self._bar = label, words, count, bar

    @staticmethod
    def fitting(width: int, total: int) -> _Shape:
        count = max(5, 2 * len(str(total)) + 1)
        bar = 10 if width < 100 else 20
        words = _Shape._WORDS if width >= 80 else 0
        gaps = 5 if words else 4
        fixed = words + count + bar + 2 * (_Shape._TIME + 1) - 1 + gaps
        return _Shape(max(8, width - fixed), words, count, bar)

    def table(self) -> Table:
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=self._label, no_wrap=True)
        if self._words:
            table.add_column(width=self._words, no_wrap=True, style="dim")
        table.add_column(width=self._count, no_wrap=True, justify="right")
        table.add_column(width=self._bar)
        table.add_column(width=self._TIME, no_wrap=True, justify="right")
        table.add_column(width=self._TIME + 1, no_wrap=True, justify="right")
        return table

    def add(
        self, table: Table, label: str, words: str, done: int, of: int, share: float, elapsed: float, left: float | None
    ) -> None:
        cells: list[RenderableType] = [Text(elided(one_line(label), self._label))]
        if self._words:
            cells.append(Text(elided(words, self._words)))
        cells.append(Text(f"{done}/{of or '–'}"))
        cells.append(ProgressBar(total=max(1, of), completed=min(done + share, max(1, of)), width=self._bar))
        cells += [Text(_clock(elapsed)), Text(f"-{_clock(left)}" if left else "")]
        table.add_row(*cells)


def _clock(seconds: float) -> str:
    """A time as h:mm:ss, or in days from 100 hours on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours / 24:.1f} d"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
