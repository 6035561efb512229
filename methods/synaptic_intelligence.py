"""Synaptic Intelligence for the VAE: weights along whose path the loss fell are held near what they became.

Reference: Zenke et al., Continual learning through synaptic intelligence (arXiv 1703.04200), equations 3 to 5. As in
the authors' public code, an importance that comes out below 0 is 0: the gradient of a batch is noisy, and a negative
one would reward a weight for leaving its place.

Avalanche's plugin isn't used. It takes the live weights for copies of them on a CPU, so that it does nothing there; its
importances have no lower bound, so that its penalty reaches −16,000 nats within 30 steps on MNIST; it caps them at
0.001, which losses in nats per image exceed for nearly every weight; and its paths follow the gradient of the penalty
as well. Version 2 of this method mended the first of these alone.

Memory: two numbers a weight between intervals, however many, and four more during training; no replay, no real image.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from lifegen.benchmark import Options, Seeds, Stream, register_method, searched

from .models.method import VAEMethod
from .models.plugins import options_of
from .models.quadratic_penalty import QuadraticPenalty


class SynapticIntelligenceOptions(Options):
    """Options of the penalty."""

    strength: Annotated[NonNegativeFloat, searched(1e-3, 10)] = 0.1
    """c, weight of the penalty: 1 would give back in it the fall of the past losses, were the paths exact."""
    damping: PositiveFloat = 1e-3
    """ξ, added to a weight's squared way through an interval, so that importances stay finite."""


class SynapticIntelligencePlugin(QuadraticPenalty):
    """Adds the gradient of c Σ_i Ω_i (θ_i − θ̃_i)², with θ̃ the weights at the end of the interval before."""

    name = "synaptic_intelligence"

    def __init__(self, options: SynapticIntelligenceOptions | None = None, **named: Any) -> None:
        """Make the plugin.

        Args:
            options: all options, such as a method's ``Config``.
            named: single options by their names, instead; the others have their defaults.
        """
        self.options = options_of(SynapticIntelligenceOptions, options, named)
        super().__init__(2 * self.options.strength)
        self.path: list[Tensor] = []
        """ω of each parameter: minus the sum over this interval's steps of gradient times change, nats."""
        self._begun: list[Tensor] = []
        self._gradient: list[Tensor] = []
        self._before: list[Tensor] = []

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        parameters = list(strategy.model.parameters())
        self._begun = _copies(parameters)
        self.path, self._gradient, self._before = ([torch.zeros_like(p) for p in parameters] for _ in range(3))

    @torch.no_grad()
    def after_backward(self, strategy: Any, **_: Any) -> None:
        for kept, parameter in zip(self._gradient, strategy.model.parameters(), strict=True):
            kept.copy_(parameter.grad)
        super().after_backward(strategy)

    @torch.no_grad()
    def before_update(self, strategy: Any, **_: Any) -> None:
        for kept, parameter in zip(self._before, strategy.model.parameters(), strict=True):
            kept.copy_(parameter)

    @torch.no_grad()
    def after_update(self, strategy: Any, **_: Any) -> None:
        parameters = strategy.model.parameters()
        for path, gradient, before, now in zip(self.path, self._gradient, self._before, parameters, strict=True):
            path.addcmul_(gradient, now - before, value=-1)

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        self.centre = _copies(strategy.model.parameters())
        each = zip(self.path, self._begun, self.centre, strict=True)
        new = [path / ((now - begun).square() + self.options.damping) for path, begun, now in each]
        old = self.importance or [torch.zeros_like(path) for path in self.path]
        self.importance = [(before + added).clamp(min=0) for before, added in zip(old, new, strict=True)]
        self.path, self._begun, self._gradient, self._before = [], [], [], []


def _copies(parameters: Any) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


@register_method(
    "synaptic-intelligence",
    version=3,
    uses=("boundaries",),
    look={"colour": "#6b3d00", "marker": "s", "dash": "dotted"},
)
class SynapticIntelligence(VAEMethod):
    """Synaptic Intelligence with importances of at least 0, from the gradients of the loss alone; no replay."""

    class Config(SynapticIntelligenceOptions, VAEMethod.Config):
        pass

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), SynapticIntelligencePlugin(self.config)]
