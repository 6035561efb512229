"""A cell's arrays in npz files, read with care: a file may be missing, torn, changed, or say what isn't so."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import InputError
from .cell_folder import StoredCell
from .packed import member_of

_LARGEST = 2**30
"""Most bytes of one array."""


def compressed(**arrays: Any) -> bytes:
    """Return the content of an npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def arrays_in(cell: StoredCell, file: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read those of the named arrays that an npz file of a cell has.

    Raises:
        InputError: there is no such file, or it can't be read.
    """
    try:
        content = cell.kept(file)
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise ValueError("it isn't a whole npz file")
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            there = set(members.namelist())
            return {name: _array(members, name) for name in names if f"{name}.npy" in there}
    except FileNotFoundError:
        raise InputError(f"{file} is missing") from None
    except Exception as error:  # zip, zlib and numpy answer damaged bytes with errors of many classes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{file} can't be read: {reason}") from None


def _array(members: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array, after a look at its header, since numpy takes memory for what that says.

    Raises:
        ValueError: it isn't one, or is too large.
    """
    file = member_of(members, f"{name}.npy")
    with members.open(file) as member:
        try:
            version = np.lib.format.read_magic(member)
        except ValueError:
            raise ValueError(f"{name} are no array") from None
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(member)
        if (size := math.prod(shape) * kind.itemsize) > _LARGEST:
            raise ValueError(f"{name} has {size:,} bytes; at most {_LARGEST:,}")
    with members.open(file) as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return array
