"""Reading a cell's pictures with care: the file may be missing, torn, changed, or say what isn't so."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np

from ..errors import InputError
from .cell_folder import PICTURES, StoredCell

_NAMES = ("samples", "originals", "reconstructions", "samples_over_intervals", "style_grid")
_SHAPE = "(rows, images, channels, height, width)"
_LARGEST = 2**30
"""Most bytes of one array."""


def stored_pictures(cell: StoredCell, distributions: int) -> dict[str, np.ndarray]:
    """A cell's pictures by name, uint8, (rows, images, channels, height, width) each, as ``pictures`` describes them.

    Args:
        cell: the cell.
        distributions: the number of its distributions.

    Raises:
        InputError: the cell has no usable pictures.
    """
    try:
        content = cell.kept(PICTURES)
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise ValueError("it isn't a whole npz file")
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            there = set(members.namelist())
            pictures = {name: _array(members, name) for name in _NAMES if f"{name}.npy" in there}
    except FileNotFoundError:
        raise InputError(f"{PICTURES} is missing") from None
    except Exception as error:  # zip, zlib and numpy answer damaged bytes with errors of many classes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{PICTURES} can't be read: {reason}") from None
    if problem := _problem(pictures, distributions):
        raise InputError(f"{PICTURES} isn't of this cell: {problem}")
    return pictures


def _array(members: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array, after a look at its header, since numpy takes memory for what that says.

    Raises:
        ValueError: it isn't one, or is too large.
    """
    with members.open(f"{name}.npy") as member:
        try:
            version = np.lib.format.read_magic(member)
        except ValueError:
            raise ValueError(f"{name} are no array") from None
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(member)
        if (size := math.prod(shape) * kind.itemsize) > _LARGEST:
            raise ValueError(f"{name} has {size:,} bytes; at most {_LARGEST:,}")
    with members.open(f"{name}.npy") as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _problem(pictures: dict[str, Any], distributions: int) -> str | None:
    """Why figures can't use these arrays; None if they can."""
    for name, images in pictures.items():
        if images.dtype != np.uint8 or images.ndim != 5 or 0 in images.shape:
            return f"{name} are {images.dtype} of shape {images.shape}, not uint8 of shape {_SHAPE}"
    before, after = (getattr(pictures.get(name), "shape", None) for name in ("originals", "reconstructions"))
    if before != after or (before is not None and before[0] != distributions):
        return f"originals are of shape {before} and reconstructions of {after}, for {distributions} distributions"
    if "style_grid" in pictures and math.isqrt(points := pictures["style_grid"].shape[1]) ** 2 != points:
        return f"style_grid has {points} images for each code, which make no square"
    return None
