"""One VAE for each distribution: nothing is forgotten, and memory grows with the stream. The upper reference in memory.

The mixture of all experts is one model: an image's bound sums over them, with their prior weights charged. A
distribution that comes back goes to the expert with the lowest negative ELBO of it, since a method isn't told which one
it is.

Memory: all experts, frozen but one.
"""

from __future__ import annotations

import math

from avalanche.core import SupervisedPlugin

from lifegen.benchmark.model import GenerativeModel
from lifegen.benchmark.registry import register_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream

from .growing_mixture import GrowingPlugin, MixtureMethod
from .models.mixture import VAEMixture
from .models.plugins import ResetOptimizerPlugin


@register_method("experts", version=1, uses=("boundaries",))
class Experts(MixtureMethod):
    """One VAE for each distribution, evaluated as their mixture."""

    def model(self, stream: Stream, seeds: Seeds) -> GenerativeModel:
        return VAEMixture(**self.mixture(stream, seeds, share=False))

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        growing = GrowingPlugin(seeds, math.inf, told=True)
        return [*super().plugins(stream, seeds), growing, ResetOptimizerPlugin()]
