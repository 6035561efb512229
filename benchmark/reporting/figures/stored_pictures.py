"""Reading a cell's pictures with care: the file may be missing, torn, or of another kind."""

from __future__ import annotations

import math
import zipfile
from typing import Any

import numpy as np

from ...errors import InputError
from ...files import open_to_read
from ...reading.current import CurrentCell

_NAMES = ("samples", "originals", "reconstructions", "samples_over_intervals", "style_grid")
_SHAPE = "(rows, images, channels, height, width)"


def stored_pictures(cell: CurrentCell) -> dict[str, np.ndarray]:
    """A cell's pictures by name, uint8, (rows, images, channels, height, width) each, as ``pictures`` describes them.

    Raises:
        InputError: the cell has no usable pictures.
    """
    file = cell.folder / "pictures.npz"
    try:
        with open_to_read(file) as opened:
            if not zipfile.is_zipfile(opened):
                raise ValueError("it isn't a whole npz file")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as arrays:
                pictures = {name: arrays[name] for name in _NAMES if name in arrays}
    except FileNotFoundError:
        raise InputError("pictures.npz is missing") from None
    except Exception as error:  # zip, zlib and numpy answer damaged bytes with errors of many classes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"pictures.npz can't be read: {reason}") from None
    if problem := _problem(pictures, len(cell.distributions)):
        raise InputError(f"pictures.npz isn't of this cell: {problem}")
    return pictures


def _problem(pictures: dict[str, Any], distributions: int) -> str | None:
    """Why figures can't use these arrays; None if they can."""
    for name, images in pictures.items():
        if not isinstance(images, np.ndarray):  # NumPy reads a member that isn't its own as bytes
            return f"{name} are no array"
        if images.dtype != np.uint8 or images.ndim != 5 or 0 in images.shape:
            return f"{name} are {images.dtype} of shape {images.shape}, not uint8 of shape {_SHAPE}"
    before, after = (getattr(pictures.get(name), "shape", None) for name in ("originals", "reconstructions"))
    if before != after or (before is not None and before[0] != distributions):
        return f"originals are of shape {before} and reconstructions of {after}, for {distributions} distributions"
    if "style_grid" in pictures and math.isqrt(points := pictures["style_grid"].shape[1]) ** 2 != points:
        return f"style_grid has {points} images for each code, which make no square"
    return None
