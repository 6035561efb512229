"""Avalanche's own replay plugin as a method. Its size means what Avalanche's documentation says.

The plugin has a loader of its own: half of each batch is from memory, but for the last batch of an epoch, which is
short of new images.

Memory: real images.
"""

from __future__ import annotations

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import ReplayPlugin
from pydantic import PositiveInt

from lifegen.benchmark import register_method

from .models.stock import StockMethod


@register_method(
    "avalanche-replay",
    version=2,
    uses=("boundaries", "past-data"),
    look={"colour": "#56b4e9", "marker": "o", "dash": "dashed"},
)
class AvalancheReplay(StockMethod):
    """Avalanche's replay of real images: half of each batch, from a memory balanced over intervals."""

    class Config(StockMethod.Config):
        images: PositiveInt = 200
        """Real images in memory (mem_size)."""

    def plugin(self) -> SupervisedPlugin:
        half = self.config.batch_size // 2
        return ReplayPlugin(self.config.images, batch_size=self.config.batch_size - half, batch_size_mem=half)
