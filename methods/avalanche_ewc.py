"""Avalanche's own EWC plugin as a method, beside lifegen's ``ewc``.

Reference: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks (arXiv 1612.00796), equation 3. The
strength means what Avalanche's documentation says.

Memory: two numbers a weight for each interval.
"""

from __future__ import annotations

from typing import Annotated

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EWCPlugin
from pydantic import NonNegativeFloat

from lifegen.benchmark import register_method, searched

from .models.stock import StockMethod


@register_method(
    "avalanche-ewc", version=2, uses=("boundaries",), look={"colour": "#6b3d00", "marker": "P", "dash": "dashed"}
)
class AvalancheEWC(StockMethod):
    """Avalanche's EWC: squared gradients of batch means, one penalty per interval."""

    class Config(StockMethod.Config):
        strength: Annotated[NonNegativeFloat, searched(1, 1e4)] = 100.0
        """ewc_lambda, weight of the penalty (without the factor ½ of ``ewc``)."""

    def plugin(self) -> SupervisedPlugin:
        return EWCPlugin(self.config.strength)
