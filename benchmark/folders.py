"""Where lifegen keeps a user's files beside stores: the cache, and data sets. No torch."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from .errors import InputError

NOWHERE = Path(os.devnull, "no home folder: give --data-root FOLDER or set LIFEGEN_DATA")
"""Stands for a folder where there is none: nothing can be in it or below, and who tries is told what to do."""


def cache_folder() -> Path:
    """lifegen's folder in the user's cache; :data:`NOWHERE` for a user without a home, such as a container's."""
    try:
        folder = platformdirs.user_cache_path("lifegen")
    except RuntimeError:
        return NOWHERE
    return folder if folder.is_absolute() else NOWHERE


def data_folder(given: Path | None = None) -> Path:
    """Where data sets are: the folder that was given, else that in ``LIFEGEN_DATA``, else one in the user's cache.

    Raises:
        InputError: its ~ stands for nothing.
    """
    folder = given or Path(os.environ.get("LIFEGEN_DATA") or cache_folder() / "data")
    try:
        return folder.expanduser()
    except RuntimeError:
        raise InputError(
            f"data root {folder}: there is no such home folder; give --data-root, or LIFEGEN_DATA, a path without ~"
        ) from None
