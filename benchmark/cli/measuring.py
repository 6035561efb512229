"""The command ``measure``: metrics of finished cells from the models that they have kept."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import click

from ..errors import counted
from ..folders import data_folder
from .options import DATA_ROOT, DEVICE, STORE
from .say import say


@click.command()
@STORE
@DEVICE
@DATA_ROOT
def measure(store: Path, device: str, data_root: Path | None) -> None:
    """Measure metrics that finished cells lack, from their kept models.

    Nothing is trained. `run --keep-models` keeps models. Cells get the metrics, and versions of metrics, that a newer
    lifegen or an installed package has; of the last interval alone, and no metric that needs more than the model. They
    get pictures that a newer lifegen draws of the final model, too.
    """
    warnings.simplefilter("ignore")  # of libraries
    import torch

    from ..running.kept_models import measure_kept_models
    from ..store.store import Store

    torch.set_num_threads(1)  # sums of several threads are rounded otherwise
    outcomes = Counter[str]()
    for one in measure_kept_models(Store.open(store), data_folder(data_root), device):
        if one.left_out:
            outcomes[one.left_out] += 1
        elif one.metrics or one.has_new_pictures:
            outcomes["measured"] += 1
            new = [*one.metrics[:3], *([f"{more} more"] if (more := len(one.metrics) - 3) > 0 else [])]
            say(f"{one.cell}: {', '.join([*new, *(['pictures'] if one.has_new_pictures else [])])}")
    measured = outcomes.pop("measured", 0)
    say(f"{counted(measured, 'cell', 'has')} new metrics or pictures")
    for why, n in outcomes.items():
        say(f"left out: {counted(n, 'cell')}: {why}", error=True)
    if outcomes:
        raise SystemExit(1)


COMMANDS = (measure,)
