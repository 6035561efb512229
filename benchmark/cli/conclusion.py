"""The end of ``lifegen run``: the leaderboard of the cells that it ran, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..cells.cell import Cell
from ..errors import InputError
from .say import say


def conclude(cells: Sequence[Cell], path: Path) -> None:
    """Print the leaderboard of those cells that are done, and the next commands; nothing where none is.

    Args:
        cells: the cells of the command.
        path: the folder of their store.
    """
    from ..reading.leaderboard import leaderboard
    from ..reading.scores import scores_of
    from ..reporting import tables

    wanted = {(cell.scenario.label, cell.method_label) for cell in cells}
    try:
        scores = scores_of(path)
        there = {(row.scenario, row.method) for row in scores.numbers[["scenario", "method"]].itertuples()}
        shown = sorted(wanted & there)
        if not shown:
            return
        scenarios, methods = (list(dict.fromkeys(pair[i] for pair in shown)) for i in (0, 1))
        are_all = shown == sorted(there)
        board = leaderboard(scores) if are_all else leaderboard(scores, scenarios=scenarios, methods=methods)
        say("")
        tables.print_board(board)
    except InputError:  # no cell is done, or the store has gone; the lines before said so
        return
    store = shlex.quote(str(path))
    say("")
    say("Next:")
    say(f"  lifegen plot {store}      figures into {path / 'figures'}")
    say(f"  lifegen report {store}    one page with everything, {path / 'report.html'}")
    by_rank = list(dict.fromkeys([*board.table.sort_values("rank")["method"], *methods]))  # without a rank: last
    if len(by_rank) > 1:
        first, second = map(shlex.quote, by_rank[:2])
        say(f"  lifegen compare {store} {first} {second}")
