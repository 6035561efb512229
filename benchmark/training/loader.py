"""Batches for the training loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..contracts.images import Images, to_unit


class TensorLoader:
    """Batches from one uint8 tensor on the device: every batch full, every image once before any comes again."""

    def __init__(
        self, images: Images, batch_size: int, batches: int, generator: torch.Generator, device: torch.device | str
    ) -> None:
        """Make the loader.

        Args:
            images: the images to draw from.
            batch_size: images per batch.
            batches: length of one iteration. The next iteration continues where the last one stopped.
            generator: the source of the order, on the CPU.
            device: the device of the batches.
        """
        self._x = images.x.to(device)
        self._y = images.y.to(device)
        self._batch_size = batch_size
        self._batches = batches
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.int64, device=device)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[Tensor]]:
        for _ in range(self._batches):
            while len(self._order) < self._batch_size:
                again = torch.randperm(len(self._x), generator=self._generator)
                if self._order.is_cuda:  # pinned memory is copied without waiting
                    again = again.pin_memory()
                self._order = torch.cat([self._order, again.to(self._order.device, non_blocking=True)])
            chosen, self._order = self._order.split([self._batch_size, len(self._order) - self._batch_size])
            y = self._y[chosen]
            # A list of three: plugins take the last entry of a batch for the task labels.
            yield [to_unit(self._x[chosen]), y, torch.zeros_like(y)]
