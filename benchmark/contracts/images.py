"""Images and their labels, as tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Images(NamedTuple):
    """Images and their labels. The labels are for evaluation: no method may see them unless it declares so."""

    x: Tensor
    """uint8, (n, channels, height, width)"""
    y: Tensor
    """int64, (n,)"""

    def select(self, index: Tensor | slice) -> Images:
        """Select images by index, mask or slice."""
        return Images(self.x[index], self.y[index])

    def spread(self, n: int) -> Images:
        """Select n images at equal distances, since data sets such as MNIST aren't in random order. Some come twice if
        there are fewer than n."""
        return self.select(torch.arange(n) * len(self.x) // n)


def drawn(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw binary images from grey ones: each pixel is 1 with the probability of its grey level.

    The channels share their draws, so that grey stays grey.

    Args:
        x: images in [0, 1], (n, channels, height, width).
        generator: source of the draws, on the device of ``x``; None stands for torch's global generator.
    """
    n, _, height, width = x.shape
    return (torch.rand(n, 1, height, width, generator=generator, device=x.device) < x).to(x.dtype)


def to_unit(x: Tensor) -> Tensor:
    """Convert uint8 images to floats in [0, 1]. The argument isn't changed, even if it holds floats already."""
    return x.to(torch.float32, copy=True).div_(255)
