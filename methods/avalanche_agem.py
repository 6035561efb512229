"""Avalanche's own A-GEM plugin as a method. Its sizes mean what Avalanche's documentation says.

Reference: Chaudhry et al., Efficient lifelong learning with A-GEM (arXiv 1812.00420), equation 11.
Memory: real images of each interval.
"""

from __future__ import annotations

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import AGEMPlugin
from pydantic import PositiveInt

from lifegen.benchmark import register_method

from .models.stock import StockMethod


@register_method(
    "avalanche-agem",
    version=2,
    uses=("boundaries", "past-data"),
    restarts="its plugin holds a live iterator over its memory",
    look={"colour": "#332288", "marker": "X", "dash": "dashed"},
)
class AvalancheAGEM(StockMethod):
    """Avalanche's A-GEM: gradients that would raise the loss on remembered real images are projected."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 100
        """Real images kept of each interval."""
        sample_size: PositiveInt = 100
        """Remembered images that each step compares its gradient with, beside its batch."""

    def plugin(self) -> SupervisedPlugin:
        return AGEMPlugin(self.config.images_per_interval, self.config.sample_size)
