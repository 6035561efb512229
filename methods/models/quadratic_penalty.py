"""A quadratic penalty that holds weights near those of the past, as EWC and Synaptic Intelligence have it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor, nn

from lifegen.benchmark import trace_term


class QuadraticPenalty(SupervisedPlugin):
    """Adds the gradient of s/2 Σ_i H_i (θ_i − c_i)².

    The loss that Avalanche reports lacks the penalty, since its gradient is added directly; the trace ``loss_NAME`` has
    it.
    """

    capturable = True
    name: ClassVar[str]
    """What the trace is called."""

    def __init__(self, strength: float) -> None:
        """Make the plugin.

        Args:
            strength: s.
        """
        super().__init__()
        self.strength = strength
        self.importance: list[Tensor] = []
        """H of each parameter; empty while there is no past."""
        self.centre: list[Tensor] = []
        """c of each parameter."""

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers that importances and centres take."""
        return sum(tensor.numel() for tensor in (*self.importance, *self.centre))

    def penalty(self, model: nn.Module) -> Tensor:
        """The penalty at a model's weights, a scalar, nats."""
        of_all = zip(model.parameters(), self.importance, self.centre, strict=True)
        each = [(importance * (weights - centre).square()).sum() for weights, importance, centre in of_all]
        return self.strength / 2 * torch.stack(each).sum()

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.importance:
            trace_term(strategy, self.name, lambda: self.penalty(strategy.model))

    @torch.no_grad()
    def after_backward(self, strategy: Any, **_: Any) -> None:
        if not self.importance:
            return
        parameters = strategy.model.parameters()
        for parameter, importance, centre in zip(parameters, self.importance, self.centre, strict=True):
            parameter.grad.addcmul_(importance, parameter - centre, value=self.strength)
