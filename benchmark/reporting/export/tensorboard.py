"""Cells as runs of TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import time
from typing import Any

from ...errors import InputError
from ...reading.current import CurrentCell
from ...store.record import Record
from .points import Point, folders_of, options_of, points


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        InputError: it isn't.
    """
    if find_spec("tensorboard") is None:
        raise InputError("TensorBoard isn't installed: pip install 'lifegen[tensorboard]'")


class TensorBoardRun:
    """Writes one cell, without torch, whose writer takes seconds to import. A run that is there already is replaced."""

    def __init__(self, folder: Path, facts: Record) -> None:
        """Begin the run, with the cell's options as its hyperparameters.

        Args:
            folder: the run's own folder.
            facts: the cell's record.
        """
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.folder = folder
        for file in self.folder.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer: Any = EventFileWriter(str(self.folder))
        self._write(0, hparams_pb(options_of(facts)))

    def add(self, new: Iterable[Point]) -> None:
        """Write points, which are in the file when this returns."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for point in new:
            self._write(point.at, Summary(value=[Summary.Value(tag=point.curve, simple_value=point.value)]))
        self._writer.flush()

    def close(self) -> None:
        """End the run."""
        self._writer.close()

    def _write(self, at: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time(), step=at, summary=summary))


def export_tensorboard(cells: Sequence[CurrentCell], folder: Path) -> Iterator[Path]:
    """Write each cell as a run, and give the folder of each."""
    for cell, own in zip(cells, folders_of([cell.facts for cell in cells]), strict=True):
        run = TensorBoardRun(folder / own, cell.facts)
        run.add(points(cell.rows.to_pylist()))
        run.close()
        yield run.folder
