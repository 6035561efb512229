"""Reading the final negative ELBO of every test image of a cell."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arrays import arrays_in
from .cell_folder import IMAGE_VALUES, StoredCell


def stored_values(cell: StoredCell, distributions: int) -> list[np.ndarray]:
    """Return the negative ELBO of every test image after the last interval, nats, float64, (images,) by distribution.

    Args:
        cell: the cell.
        distributions: the number of its distributions.

    Raises:
        InputError: the cell has no usable values; cells made before they were kept have none.
    """
    names = [str(number) for number in range(distributions)]
    arrays = arrays_in(cell, IMAGE_VALUES, names)
    for name in names:
        array = arrays.get(name, np.empty(0))
        if array.ndim != 1 or array.dtype.kind != "f" or not array.size or not np.isfinite(array).all():
            raise InputError(f"{IMAGE_VALUES} has no numbers of the images of distribution {name}")
    return [arrays[name].astype(float) for name in names]
