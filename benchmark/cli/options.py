"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

from ..running.devices import check_device

STORE = click.argument("store", type=click.Path(path_type=Path))
DATA_ROOT = click.option("--data-root", type=click.Path(path_type=Path),
                         help="Folder of the data sets.  [default: LIFEGEN_DATA, else the user's cache]")  # fmt: skip


def checked_device(_context: object, _parameter: object, name: str | None) -> str | None:
    """Check the form of a device's name: the callback of an option."""
    if name is not None:
        check_device(name, "--device ")
    return name


DEVICE = click.option(
    "--device", default="auto", show_default=True, callback=checked_device, help="auto, cpu, cuda or cuda:N."
)
