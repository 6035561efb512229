"""Replay of real images from a memory of fixed size, which shows the worth of keeping some data.

It is the strongest rival of a generative model's memory at equal bytes (spec of the lifelong VAE, section 6.5). By
default the images take as many bytes as the teacher of ``lifelong-vae``, a model of its own size. The embedded digits
are fewer than that, so that all of them are kept. The memory is a uniform sample of all images met (reservoir sampling:
Vitter, Random sampling with a reservoir, ACM TOMS 1985), or a fixed number of each distribution. A batch is shared as
in ``generative-replay``: one part in K distributions met, or half of it, is of the current one, the rest from memory.

Memory: the images, one byte a pixel and channel.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from avalanche.core import SupervisedPlugin
from pydantic import PositiveInt, model_validator
from torch import Tensor

from lifegen.benchmark import Seeds, Stream, count_state, images_of, register_method, to_unit

from .models.method import VAEMethod, acts
from .models.plugins import RealShare, parts_of, with_replay


class ExactReplayPlugin(SupervisedPlugin):
    """Replaces a batch's last images by real ones of the past.

    A distribution that comes back adds nothing to the memory, since its images have already had their chance.
    """

    capturable = True

    def __init__(
        self, seeds: Seeds, size: int | None, per_distribution: int | None = None, real_share: RealShare = "equal"
    ) -> None:
        """Make the plugin.

        Args:
            seeds: where memory and replay are drawn from.
            size: images in memory; None for a memory that grows by ``per_distribution``.
            per_distribution: images that each new distribution adds to it.
            real_share: images of the current interval in a batch.
        """
        super().__init__()
        self.memory: Tensor | None = None
        """uint8, (images, channels, height, width)"""
        self.distributions = 0
        """K. A distribution that comes back is counted once."""
        self._size = size
        self._per_distribution = per_distribution
        self._real_share: RealShare = real_share
        self._sampling = seeds.generator("memory")
        self._replay = seeds.late_generator("replay")
        self._keys = torch.empty(0, dtype=torch.float64)
        self._is_new = True

    @property
    def stored_samples(self) -> int:
        """Real images in memory."""
        return 0 if self.memory is None else len(self.memory)

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._is_new = getattr(strategy.experience, "is_new", True)
        self.distributions += self._is_new

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.memory is None:
            return
        batch, device = len(strategy.mb_x), self.memory.device
        real, replayed = parts_of(batch, self.distributions, self._real_share)
        chosen = torch.randint(len(self.memory), (replayed,), generator=self._replay.on(device), device=device)
        strategy.mbatch = with_replay(strategy, to_unit(self.memory[chosen]), real)

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        if not self._is_new:
            return
        images = images_of(strategy.experience.dataset, generator=self._sampling).to(strategy.device)
        # Each image gets a random key, once. Those with the highest keys so far are a uniform sample of all so far.
        keys = torch.rand(len(images), generator=self._sampling, dtype=torch.float64)
        images, keys = _highest(images, keys, self._per_distribution)
        if self.memory is not None:
            images, keys = torch.cat([self.memory, images]), torch.cat([self._keys, keys])
        self.memory, self._keys = _highest(images, keys, self._size)


def _highest(images: Tensor, keys: Tensor, n: int | None) -> tuple[Tensor, Tensor]:
    """The n images with the highest keys, and their keys; all if there are no more, or n is None."""
    if n is None or len(keys) <= n:
        return images, keys
    chosen = keys.topk(n).indices
    return images[chosen.to(images.device)], keys[chosen]


@register_method("exact-replay", version=2, uses=("boundaries", "past-data"), look={"colour": "#56b4e9", "marker": "X"})
class ExactReplay(VAEMethod):
    """Replay of real images kept in a memory, by default as large as the lifelong VAE's teacher."""

    class Config(VAEMethod.Config):
        images: PositiveInt | None = None
        """Images in memory; null: as many as take the bytes of the lifelong VAE's teacher."""
        per_distribution: PositiveInt | None = None
        """Images kept of each distribution, in place of a memory of fixed size; null: no such rule."""
        real_share: RealShare = "equal"
        """Images of the current interval in a batch: one part in the number of distributions met; half of it; or all of
        it, with as many replayed images added."""

        @model_validator(mode="after")
        def _acts(self) -> Self:
            return acts(self, self.per_distribution is None, "per_distribution=null", "images")

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        config = self.config
        size = config.images
        if size is None and config.per_distribution is None:
            size = max(1, 4 * count_state(self.model(stream, seeds)) // math.prod(stream.image_shape))
        return [
            *super().plugins(stream, seeds),
            ExactReplayPlugin(seeds, size, config.per_distribution, config.real_share),
        ]
