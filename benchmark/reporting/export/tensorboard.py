"""Cells as runs of TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...reading.current import CurrentCell
from ...store.record import Record
from .points import Point, folder_of, options_of, points


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        InputError: it isn't.
    """
    if find_spec("tensorboard") is None:
        raise InputError("TensorBoard isn't installed: pip install 'lifegen[tensorboard]'")


class TensorBoardRun:
    """Writes one cell. A run that the folder has of it already is replaced."""

    def __init__(self, folder: Path, facts: Record) -> None:
        """Begin the run.

        Args:
            folder: TensorBoard's log folder, for all runs.
            facts: the cell's record.
        """
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder / folder_of(facts)
        for file in self.folder.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer: Any = SummaryWriter(str(self.folder))
        self._options = options_of(facts)
        self._curves: set[str] = set()

    def add(self, new: Iterable[Point]) -> None:
        """Write points, which are in the files when this returns."""
        for point in new:
            self._writer.add_scalar(point.curve, point.value, point.at)
            self._curves.add(point.curve)
        self._writer.flush()

    def close(self) -> None:
        """End the run with its options, beside which TensorBoard shows the last value of each metric."""
        from torch.utils.tensorboard.summary import hparams

        metrics = dict.fromkeys(sorted(curve for curve in self._curves if "/" not in curve), 0.0)
        for summary in hparams(self._options, metrics):
            self._writer.file_writer.add_summary(summary)
        self._writer.close()


def export_tensorboard(cells: Sequence[CurrentCell], folder: Path) -> Iterator[Path]:
    """Write each cell as a run, and give the folder of each."""
    for cell in cells:
        run = TensorBoardRun(folder, cell.facts)
        run.add(points(cell.rows.to_pylist()))
        run.close()
        yield run.folder
