"""Reading a cell's pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import arrays_in
from .cell_folder import PICTURES, StoredCell

_NAMES = ("samples", "originals", "reconstructions", "deviations", "samples_over_intervals", "replayed_over_intervals",
          "style_grid")  # fmt: skip
_SHAPE = "(rows, images, channels, height, width)"


def stored_pictures(cell: StoredCell, distributions: int) -> dict[str, np.ndarray]:
    """A cell's pictures by name, uint8, (rows, images, channels, height, width) each, as ``pictures`` describes them.

    Args:
        cell: the cell.
        distributions: the number of its distributions.

    Raises:
        InputError: the cell has no usable pictures.
    """
    pictures = arrays_in(cell, PICTURES, _NAMES)
    if problem := _problem(pictures, distributions):
        raise InputError(f"{PICTURES} isn't of this cell: {problem}")
    return pictures


def _problem(pictures: dict[str, Any], distributions: int) -> str | None:
    """Why figures can't use these arrays; None if they can."""
    for name, images in pictures.items():
        if images.dtype != np.uint8 or images.ndim != 5 or 0 in images.shape:
            return f"{name} are {images.dtype} of shape {images.shape}, not uint8 of shape {_SHAPE}"
    before, after = (getattr(pictures.get(name), "shape", None) for name in ("originals", "reconstructions"))
    if before != after or (before is not None and before[0] != distributions):
        return f"originals are of shape {before} and reconstructions of {after}, for {distributions} distributions"
    if "deviations" in pictures and pictures["deviations"].shape != after:
        return f"deviations are of shape {pictures['deviations'].shape} and reconstructions of {after}"
    if "style_grid" in pictures and math.isqrt(points := pictures["style_grid"].shape[1]) ** 2 != points:
        return f"style_grid has {points} images for each code, which make no square"
    return None
