"""The lower reference of every table, plain fine-tuning: the same network learns one interval after another."""

from __future__ import annotations

from avalanche.core import SupervisedPlugin

from lifegen.benchmark import Seeds, Stream, register_method

from .models.method import VAEMethod
from .models.plugins import ResetOptimizerPlugin


@register_method("naive", version=1, reference="lower", look={"colour": "#949494", "marker": "v", "dash": "dotted"})
class Naive(VAEMethod):
    """Fine-tuning on each interval in turn, with nothing against forgetting."""

    class Config(VAEMethod.Config):
        keep_optimizer_state: bool = True
        """Whether Adam's moments live on across intervals; resetting them uses the boundaries."""

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        reset = [] if self.config.keep_optimizer_state else [ResetOptimizerPlugin()]
        return [*super().plugins(stream, seeds), *reset]
