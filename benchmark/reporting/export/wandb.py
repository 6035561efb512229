"""Cells as runs of Weights & Biases, offline unless the user has set WANDB_MODE."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ...errors import InputError
from ...files import digest
from ...reading.current import CurrentCell
from .points import folders_of, options_of, points


def check_wandb() -> None:
    """Check that Weights & Biases is installed.

    Raises:
        InputError: it isn't.
    """
    if find_spec("wandb") is None:
        raise InputError("Weights & Biases isn't installed: pip install 'lifegen[wandb]'")


def export_wandb(cells: Sequence[CurrentCell], folder: Path) -> Iterator[Path | str]:
    """Write each cell as a run, and give the folder of each, or its address where WANDB_MODE says online.

    Traces stand against ``step``, all else against ``interval``.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)  # wandb would choose another one
    mode: Literal["offline"] | None = None if "WANDB_MODE" in os.environ else "offline"
    quiet = wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True)
    for cell, own in zip(cells, folders_of([cell.facts for cell in cells]), strict=True):
        identity = digest(cell.name.encode())  # a second export is the same run, and replaces the first
        for earlier in folder.glob(f"wandb/offline-run-*-{identity}"):
            shutil.rmtree(earlier)
        by_place: dict[tuple[str, int], dict[str, float]] = {}
        for curve, at, value in points(cell.rows.to_pylist()):
            axis = "step" if curve.startswith("training/") else "interval"
            by_place.setdefault((axis, at), {})[curve] = value
        with wandb.init(
            project="lifegen",
            dir=str(folder),
            id=identity,
            name=" ".join(own.parts),
            group=cell.scenario,
            config=options_of(cell.facts),
            mode=mode,
            settings=quiet,
        ) as run:
            run.define_metric("*", step_metric="interval")
            run.define_metric("training/*", step_metric="step")
            for (axis, at), values in by_place.items():
                run.log({axis: at, **values})
            place = (None if run.offline else run.url) or Path(run.dir).parent
        yield place
