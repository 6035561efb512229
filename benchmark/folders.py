"""The folders of a user's files besides stores: the cache, and data sets."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from .errors import InputError

NOWHERE = Path(os.devnull, "no home folder: give --data-root FOLDER or set LIFEGEN_DATA")
"""Replaces a missing folder: nothing can exist in it, and error messages show its name, which says what to do."""


def cache_folder() -> Path:
    """Return lifegen's folder in the user's cache; :data:`NOWHERE` for a user without a home, as in a container."""
    try:
        folder = platformdirs.user_cache_path("lifegen")
    except RuntimeError:
        return NOWHERE
    return folder if folder.is_absolute() else NOWHERE


def data_folder(given: Path | None = None) -> Path:
    """Return the folder of data sets: the given one, else ``LIFEGEN_DATA``, else one in the user's cache.

    Raises:
        InputError: its ~ can't be resolved.
    """
    folder = given or Path(os.environ.get("LIFEGEN_DATA") or cache_folder() / "data")
    try:
        return folder.expanduser()
    except RuntimeError:
        raise InputError(
            f"data root {folder}: there is no such home folder; give --data-root, or LIFEGEN_DATA, a path without ~"
        ) from None
