"""Batches for the training loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..contracts.images import Images, drawn, to_unit


class TensorLoader:
    """Batches from one uint8 tensor on the device: every batch full, every image once before any comes again, unless
    they are drawn with replacement.

    Its length is a number of batches, or of images to train on. In the second case a plugin that replaces images of a
    batch hands them back, and they come again later: an image counts as seen when it is trained on.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        batches: int,
        generator: torch.Generator,
        device: torch.device | str,
        *,
        reads: int | None = None,
        replacement: bool = False,
        pixels: torch.Generator | None = None,
    ) -> None:
        """Make the loader.

        Args:
            images: the images to draw from.
            batch_size: images per batch.
            batches: length of one iteration. The next iteration continues where the last one stopped.
            generator: the source of the order, on the CPU.
            device: the device of the batches.
            reads: images to train on in one iteration, which decide its length instead of ``batches``: it ends before
                the batch that would exceed them.
            replacement: whether images are drawn with replacement.
            pixels: the source of pixels that are drawn at each read, on the device; None for images as they are.
        """
        self._x = images.x.to(device)
        self._y = images.y.to(device)
        self._batch_size = batch_size
        self._batches = batches
        self._generator = generator
        self._reads = reads
        self._replacement = replacement
        self._pixels = pixels
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._chosen = self._order
        self._unused = 0
        self._task_labels = torch.zeros(batch_size, dtype=self._y.dtype, device=device)

    def __len__(self) -> int:
        """Batches of one iteration; the fewest if plugins may hand images back."""
        return self._batches

    def __iter__(self) -> Iterator[list[Tensor]]:
        if self._reads is None:
            for _ in range(self._batches):
                yield self._next()
            return
        left, used = self._reads, min(self._batch_size, self._reads)
        while used <= left:
            yield self._next()
            used = self._batch_size - self._unused
            left -= used

    def hand_back(self, n: int) -> None:
        """Take back the last n images of the last batch, which aren't trained on, where trained images are counted."""
        if self._reads is not None and n:
            self._unused = n
            self._order = torch.cat([self._chosen[-n:], self._order])

    def _next(self) -> list[Tensor]:
        while len(self._order) < self._batch_size:
            n = len(self._x)
            again = (
                torch.randint(n, (n,), generator=self._generator)
                if self._replacement
                else torch.randperm(n, generator=self._generator)
            )
            if self._order.is_cuda:  # pinned memory is copied without waiting
                again = again.pin_memory()
            self._order = torch.cat([self._order, again.to(self._order.device, non_blocking=True)])
        self._chosen, self._order = self._order.split([self._batch_size, len(self._order) - self._batch_size])
        self._unused = 0
        x, y = to_unit(self._x[self._chosen]), self._y[self._chosen]
        # A list of three: plugins take the last entry of a batch for the task labels.
        return [x if self._pixels is None else drawn(x, self._pixels), y, self._task_labels]
