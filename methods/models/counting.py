"""Stock plugins that count the images that they pass through the model beside the batch, or put into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from avalanche.training import plugins as stock
from torch import Tensor

from lifegen.benchmark import GenerativeModel


class CountingAGEM(stock.AGEMPlugin):
    """A-GEM that counts the remembered images that it takes gradients of.

    A sample of one image, the remainder of the memory, is passed over: batch norm needs two.
    """

    extra_rows = 0

    def sample_from_memory(self) -> Any:
        batch = super().sample_from_memory()
        if len(batch[0]) < 2:
            batch = super().sample_from_memory()
        self.extra_rows += len(batch[0])
        return batch


class CountingGEM(stock.GEMPlugin):
    """GEM that counts the remembered images that it takes gradients of."""

    extra_rows = 0

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_iteration(strategy, **kwargs)
        self.extra_rows += sum(map(len, self.memory_x.values()))


class CountingGenerativeReplay(stock.GenerativeReplayPlugin):
    """Generative replay that counts the images that it draws, in the batch or beside it."""

    synthetic_samples = 0

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        before = len(strategy.mb_x)
        super().before_training_iteration(strategy, **kwargs)
        self.synthetic_samples += len(strategy.mb_x) - before

    def replayed(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Return n images of the kind that this interval replayed, by lifegen's models; None in the first interval."""
        teacher = getattr(self, "old_generator", None)
        return teacher.sample(n, generator=generator) if isinstance(teacher, GenerativeModel) else None

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        before, _ = strategy.counts
        super().before_backward(strategy, *args, **kwargs)
        self.synthetic_samples += strategy.counts[0] - before


COUNTING: Mapping[type, type] = {
    stock.AGEMPlugin: CountingAGEM,
    stock.GEMPlugin: CountingGEM,
    stock.GenerativeReplayPlugin: CountingGenerativeReplay,
}
"""The class that counts, by the class that ships. It changes no arithmetic."""
