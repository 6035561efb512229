"""The command ``export``: a store's cells for other tools; and the option ``--log``, which does so during a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .options import STORE
from .say import say

if TYPE_CHECKING:
    from ..reporting.export.tensorboard import TensorBoardRun
    from ..running.executor import Event, Show
    from ..store.store import Store

_PATH = click.Path(path_type=Path)


@click.command()
@STORE
@click.option("--tensorboard", type=_PATH, metavar="DIR", help="Write a run of TensorBoard per cell.")
@click.option("--wandb", type=_PATH, metavar="DIR",
              help="Write a run of Weights & Biases per cell: offline, unless WANDB_MODE says otherwise.")  # fmt: skip
@click.option("--csv", type=_PATH, metavar="FILE|DIR", help="Write one table as FILE.csv, or one per cell into DIR.")
def export(store: Path, tensorboard: Path | None, wandb: Path | None, csv: Path | None) -> None:
    """Write a store's cells for TensorBoard, Weights & Biases or spreadsheets.

    Show traces of training against the step, all else against the interval, with all options of each cell. Print the
    path of each run or file.
    """
    from ..reading.current import current_of
    from ..reporting.export.csv import export_csv
    from ..reporting.export.tensorboard import check_tensorboard, export_tensorboard
    from ..reporting.export.wandb import check_wandb, export_wandb

    if not (tensorboard or wandb or csv):
        raise InputError("nothing to write: give --tensorboard DIR, --wandb DIR or --csv FILE")
    if tensorboard:
        check_tensorboard()
    if wandb:
        check_wandb()
    current = current_of(store).readable(lambda cell: cell.rows)
    for name, why in current.damaged.items():
        say(f"left out: {name}: {why}", error=True)
    if not current.cells:
        raise InputError(f"{store} has no finished cell yet; finish it with `lifegen run ... --out {store}`")
    written: list[Iterator[Path | str]] = []
    if tensorboard:
        written.append(export_tensorboard(current.cells, tensorboard))
    if wandb:
        written.append(export_wandb(current.cells, wandb))
    if csv:
        written.append(export_csv(current, csv))
    try:
        for place in chain(*written):
            say(place)
    except BrokenPipeError:  # of standard output
        raise
    except OSError as error:
        raise InputError(f"{error.filename} can't be written: {error.strerror or error}") from None


COMMANDS = (export,)


def _checked(_: click.Context, __: click.Parameter, target: str | None) -> str | None:
    if target:
        from ..reporting.export.tensorboard import check_tensorboard

        check_tensorboard()
    return target


LOG = click.option("--log", type=click.Choice(["tensorboard"]), callback=_checked,
                   help="Write curves while cells run, into STORE/tensorboard, after each interval.")  # fmt: skip


def logged(show: Show, store: Store, log: str | None) -> Show:
    """A function that shows events as ``show`` does, and logs what cells have written into the store by then."""
    if log is None:
        return show
    live = _Live(store)

    def show_and_log(event: Event) -> None:
        show(event)
        live.log(event)

    return show_and_log


class _Live:
    """The runs of TensorBoard of the cells that are running."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: dict[str, tuple[TensorBoardRun, int]] = {}
        """The run of each cell, and the intervals that are in it."""

    def log(self, event: Event) -> None:
        """Write the new intervals of a cell; all of them if they are fewer than before, since it has begun anew."""
        from ..reporting.export.points import folders_of, points
        from ..reporting.export.tensorboard import TensorBoardRun

        name, is_over = event.cell.name, event.kind in ("done", "failed", "busy")
        run, logged = self._runs.get(name, (None, 0))
        if event.kind != "busy" and event.intervals and event.intervals != logged:
            cell = self._store.cell(name)
            # The cell is being written or renamed, or the disk is full: the next event tries again.
            with suppress(OSError, ValueError):
                rows = [json.loads(line) for line in cell.content("metrics.jsonl").splitlines()]
                if cell.facts and (run is None or event.intervals < logged):
                    folder = self._store.path / "tensorboard" / folders_of([cell.facts])[0]
                    run, logged = TensorBoardRun(folder, cell.facts), 0
                # An interval's rows may be being written; its last one is that of eval_seconds.
                whole = 1 + max((row["interval"] for row in rows if row["metric"] == "eval_seconds"), default=-1)
                if run and whole > logged:
                    run.add(points([row for row in rows if row["interval"] < whole], since=logged))
                    self._runs[name] = run, whole
        if run and is_over:
            run.close()
            del self._runs[name]
