"""Leaderboards as text, CSV and JSON. No torch."""

from __future__ import annotations

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .catalogue import shown
from .leaderboard import COLUMNS, Board, Column

_REFERENCE = {"upper": "▲", "lower": "▼"}
_USES = {"past-data": ("●", "keeps real images of the past"), "labels": ("◆", "is told the labels")}


def print_board(board: Board) -> None:
    """Print one table per scenario: means over seeds ± half of the 95 % interval."""
    console = Console(highlight=False)
    for scenario, rows in board.table.groupby("scenario", sort=False):
        table = _table(rows, board)
        # Never narrower than its content: a terminal's own wrapping is easier to read than cut numbers.
        natural = Measurement.get(console, console.options.update(max_width=1000), table).maximum
        console.width = max(console.width, natural)
        console.print(Text(f"{scenario}: mean over seeds ± half of its 95 % interval", style="bold"))
        console.print(table)
        console.print()
    if board.references:
        console.print("▲ upper and ▼ lower reference: they frame the table and don't compete")
    for use, (mark, meaning) in _USES.items():
        if any(use in board.uses[method] for method in _competing(board)):
            console.print(f"{mark} {meaning}")
    for line in board.left_out:
        console.print(Text(f"left out: {line}", style="yellow"))


def _competing(board: Board) -> set[str]:
    return set(map(str, board.table["method"])) - set(board.references)


def _table(rows: pd.DataFrame, board: Board) -> Table:
    known = {column.metric: column for column in COLUMNS}
    there = set(rows["metric"])
    # A metric that the standard table doesn't have gets a plain column.
    columns = [known.get(name, Column(name, name.replace("_", "\n"), 3)) for name in board.metrics if name in there]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("method", no_wrap=True)
    table.add_column("seeds", justify="right")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for method, group in rows.groupby("method", sort=False):
        reference = board.references.get(str(method))
        by_metric = group.set_index("metric")
        seeds = int(group["n"].max())
        cells = [
            _number(by_metric.loc[column.metric], column, seeds) if column.metric in by_metric.index else "–"
            for column in columns
        ]
        told = [mark for use, (mark, _) in _USES.items() if use in board.uses[str(method)]]
        name = " ".join([shown(str(method)), *([_REFERENCE[reference]] if reference else told)])
        table.add_row(Text(name), str(seeds), *cells, style="dim" if reference else None)
    return table


def to_csv(board: Board) -> str:
    """Columns scenario, method, metric, n, mean, low, high; numbers in full."""
    return str(board.table.to_csv(index=False))


def to_json(board: Board) -> str:
    """The same as :func:`to_csv`, as a list of objects; null where there is no interval."""
    return str(board.table.to_json(orient="records", indent=1, double_precision=15))


def _number(row: pd.Series, column: Column, seeds: int) -> str:
    mean, half = row["mean"], (row["high"] - row["low"]) / 2
    unit = ""
    if column.thousands:
        unit, size = ("M", 1e6) if mean >= 1e6 else ("k", 1e3) if mean >= 1e3 else ("", 1)
        mean, half = mean / size, half / size
    digits = 1 if unit else column.digits
    text = f"{mean:.{digits}f}{unit}"
    if half > 0:  # NaN with one seed
        text += f" ± {half:.{digits}f}{unit}"
    return text if row["n"] == seeds else f"{text} (n = {row['n']})"
