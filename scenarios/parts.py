"""From a data set to the parts of one distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.images import Images
from lifegen.benchmark.stream import Parts

from .sources import LabelledData


def class_parts(data: LabelledData, group: Sequence[int], validation: float) -> Parts:
    """The distribution of some classes."""
    labels = torch.tensor(group)
    train, test = (images.select(torch.isin(images.y, labels)) for images in (data.train, data.test))
    return held_out(train, test, validation)


def held_out(train: Images, test: Images, validation: float) -> Parts:
    """A distribution whose last training images, in the data set's own order, are held out for validation.

    Raises:
        InputError: there are too few.
    """
    n = max(1, round(len(train.x) * validation))
    if n >= len(train.x):
        raise InputError(f"{len(train.x)} training images are too few to hold out {validation:.0%} of them")
    return Parts(train.select(slice(None, -n)), train.select(slice(-n, None)), test)
