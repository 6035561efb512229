"""Replay of real images from a memory that keeps those of each interval with the highest negative ELBO.

lifegen run -s split-digits -m naive -m exact-replay:images=200 -m docs/examples/hardest_replay.py
"""

import torch
from avalanche.core import SupervisedPlugin
from pydantic import PositiveInt

from lifegen.benchmark import images_of, negative_elbo, register_method, to_unit
from lifegen.methods.models.method import VAEMethod
from lifegen.methods.models.plugins import with_replay


class HardestReplayPlugin(SupervisedPlugin):
    """Replaces all but 1/K of each batch by remembered images, K intervals met."""

    def __init__(self, seeds, size):
        super().__init__()
        self.size = size
        self.memory = []  # uint8 tensors, one an interval, hardest image first: saved with the run, being tensors
        self.noise = seeds.generator("hardest-replay")

    @property
    def stored_samples(self):  # what it keeps counts as memory
        return sum(map(len, self.memory))

    def before_training_iteration(self, strategy, **kwargs):
        if self.stored_samples:
            batch, remembered = len(strategy.mb_x), torch.cat(self.memory)
            replayed = batch - max(1, batch // (len(self.memory) + 1))
            chosen = torch.randint(len(remembered), (replayed,), generator=self.noise)
            strategy.mbatch = with_replay(strategy, to_unit(remembered[chosen]).to(strategy.device))

    @torch.no_grad()
    def after_training_exp(self, strategy, **kwargs):
        images, model = images_of(strategy.experience.dataset, generator=self.noise), strategy.model.eval()
        noise = torch.Generator(strategy.device).manual_seed(self.noise.initial_seed())
        pieces = [to_unit(piece).to(strategy.device) for piece in images.split(500)]
        hardness = [negative_elbo(model.log_weights(x, 10, noise), model.log_prior).value for x in pieces]
        hardest = torch.cat(hardness).argsort(descending=True).cpu()
        share = self.size // (len(self.memory) + 1)
        self.memory = [kept[:share].clone() for kept in (*self.memory, images[hardest])]


@register_method("hardest-replay", version=1, uses=("boundaries", "past-data"))
class HardestReplay(VAEMethod):
    """Replay of the real images that the model finds hardest, equally many of each interval."""

    class Config(VAEMethod.Config):
        images: PositiveInt = 200
        """Real images in memory."""

    def plugins(self, stream, seeds):
        return [*super().plugins(stream, seeds), HardestReplayPlugin(seeds, self.config.images)]
