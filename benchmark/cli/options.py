"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

STORE = click.argument("store", type=click.Path(path_type=Path))
DATA_ROOT = click.option("--data-root", type=click.Path(path_type=Path),
                         help="Folder of the data sets.  [default: LIFEGEN_DATA, else the user's cache]")  # fmt: skip
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
