"""Images and their labels, as tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Images(NamedTuple):
    """Images and their labels. The labels are for evaluation: no method may see them unless it declares so."""

    x: Tensor
    """uint8, (n, channels, height, width)"""
    y: Tensor
    """int64, (n,)"""

    def select(self, index: Tensor | slice) -> Images:
        """Some of them, by index, mask or slice."""
        return Images(self.x[index], self.y[index])


def to_unit(x: Tensor) -> Tensor:
    """uint8 images as floats in [0, 1]."""
    return x.float().div_(255)
