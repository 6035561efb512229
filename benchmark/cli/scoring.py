"""The command ``score``: metrics of samples for images from anywhere."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import click

from ..folders import data_folder
from . import completion
from .options import DATA_ROOT
from .say import say


@click.command()
@click.argument("images", type=click.Path(path_type=Path), metavar="FOLDER|FILE.npz")
@click.option("-s", "--scenario", required=True, metavar="NAME[:OPTION=VALUE,...]",
              shell_complete=completion.SCENARIOS,
              help="The scenario whose test images they are compared with.")  # fmt: skip
@DATA_ROOT
@click.option("--inception", type=click.Path(path_type=Path), metavar="FILE",
              help="Your TorchScript file of the Inception network, for papers' Fréchet distance.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(images: Path, scenario: str, data_root: Path | None, inception: Path | None, as_json: bool) -> None:
    """Score anybody's samples as lifegen scores its own.

    Compare PNG files of a FOLDER, or one array in a FILE, with test images of a scenario; show the same metrics of real
    training images beside them.
    """
    warnings.simplefilter("ignore")  # of libraries
    import torch

    from ..reporting.tables import print_scored
    from ..running.scoring import score as make

    torch.set_num_threads(1)  # sums of several threads are rounded otherwise
    scored = make(images, scenario, data_folder(data_root), inception)
    if as_json:
        content = scored._asdict() | {"metrics": [metric._asdict() for metric in scored.metrics]}
        say(json.dumps(content, indent=1))
    else:
        lines = [(one.metric, one.value, one.floor) for one in scored.metrics]
        print_scored(
            f"{images}: {scored.images} of {scored.given} images beside test images of {scored.scenario}, "
            f"as the expert {scored.expert} sees them",
            lines,
        )
        if scored.inception_images:
            say(f"inception_frechet_distance: {scored.inception_images} images of each kind")


COMMANDS = (score,)
