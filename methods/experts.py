"""One VAE for each distribution: memory grows with the stream, and nothing is forgotten. Its memory is the upper
reference of what a method may keep.

The mixture of all experts is one model: an image's bound sums over them, with their prior weights charged. A
distribution that comes back goes to the expert with the lowest negative ELBO of it, since a method isn't told which
distribution it is. If that is another distribution's expert, it is trained on images that aren't its own.

Reference: the mixture of experts without sharing that Ye and Bors compare with (``growing_mixture``), and DEGM-2 of
their arXiv 2203.13503. Memory: all experts, frozen but one.
"""

from __future__ import annotations

import math

from avalanche.core import SupervisedPlugin

from lifegen.benchmark import GenerativeModel, Seeds, Stream, register_method

from .growing_mixture import GrowingPlugin, MixtureMethod
from .models.mixture import VAEMixture


@register_method(
    "experts", version=2, uses=("boundaries",), look={"colour": "#000000", "marker": "*", "dash": "dashed"}
)
class Experts(MixtureMethod):
    """One VAE for each distribution, evaluated as their mixture."""

    def model(self, stream: Stream, seeds: Seeds) -> GenerativeModel:
        return VAEMixture(**self.mixture(stream, seeds, share=False))

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        growing = GrowingPlugin(seeds, math.inf, trust_boundaries=True)
        return [*super().plugins(stream, seeds), growing]
