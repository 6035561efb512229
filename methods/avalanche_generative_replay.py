"""Avalanche's own generative replay plugin as a method.

The plugin appends to the batch. Here its images replace the batch's second half, so that a step costs what it costs
other methods.

Reference: Shin et al., Continual learning with deep generative replay (arXiv 1705.08690).
Memory: a copy of the model.
"""

from __future__ import annotations

from typing import Any

from avalanche.core import SupervisedPlugin

from lifegen.benchmark import register_method

from .models.counting import CountingGenerativeReplay
from .models.stock import StockMethod


class _GenerativeReplay(CountingGenerativeReplay):
    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if not self.untrained_solver:
            # The plugin appends to the batch: make room for its images.
            strategy.mbatch = [part[: max(1, len(part) - self.replay_size)] for part in strategy.mbatch]
        super().before_training_iteration(strategy, **kwargs)


@register_method(
    "avalanche-generative-replay",
    version=2,
    uses=("boundaries",),
    look={"colour": "#de8f05", "marker": "D", "dash": "dotted"},
)
class AvalancheGenerativeReplay(StockMethod):
    """Avalanche's generative replay: half of each batch, however many distributions there were."""

    def plugin(self) -> SupervisedPlugin:
        return _GenerativeReplay(replay_size=self.config.batch_size // 2)
