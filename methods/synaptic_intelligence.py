"""Avalanche's Synaptic Intelligence as a method, repaired.

On a CPU the plugin that ships takes the live weights where it means a copy of them, so that every distance is 0 and it
does nothing at all. Here they are copies. The strength means what Avalanche's documentation says.

Reference: Zenke et al., Continual learning through synaptic intelligence (arXiv 1703.04200), equations 4 and 5.
Memory: seven numbers a weight.
"""

from __future__ import annotations

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import SynapticIntelligencePlugin
from pydantic import NonNegativeFloat

from lifegen.benchmark import register_method, searched

from .models.stock import StockMethod


class _SynapticIntelligence(SynapticIntelligencePlugin):
    @property
    def stored_parameters(self) -> int:
        return _numbers(*self.ewc_data, self.syn_data)

    # Avalanche's copy of the weights is on a CPU a view of them (avalanche-lib 0.6, extract_weights).

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_exp(strategy, **kwargs)
        _own(self.ewc_data[0])

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_iteration(strategy, **kwargs)
        _own(self.syn_data["old_theta"])


def _own(weights: dict[str, Any]) -> None:
    """Replace each of Avalanche's ``ParamData`` by a copy."""
    for weight in weights.values():
        weight.data = weight.data.clone()


def _numbers(*dictionaries: dict[Any, Any]) -> int:
    """Count the numbers in (nested) dictionaries of Avalanche's ``ParamData``."""
    values = [value for dictionary in dictionaries for value in dictionary.values()]
    return sum(_numbers(value) if isinstance(value, dict) else value.data.numel() for value in values)


@register_method(
    "synaptic-intelligence",
    version=2,
    uses=("boundaries",),
    look={"colour": "#6b3d00", "marker": "s", "dash": "dotted"},
)
class SynapticIntelligence(StockMethod):
    """Avalanche's Synaptic Intelligence, with its copies of weights made copies.

    It caps a weight's importance at 0.001, which losses in nats per image exceed for nearly every weight: what remains
    is about a squared distance to the weights of the interval before.
    """

    class Config(StockMethod.Config):
        strength: Annotated[NonNegativeFloat, searched(1, 1e4)] = 100.0
        """si_lambda, weight of the penalty."""

    def plugin(self) -> SupervisedPlugin:
        return _SynapticIntelligence(self.config.strength)
