"""A stock Avalanche plugin as a method, here A-GEM (Chaudhry et al., arXiv 1812.00420).

    lifegen run -s split-digits -m naive -m docs/examples/agem_by_adapter.py

What the plugin keeps and draws is counted for it.
"""

from avalanche.training.plugins import AGEMPlugin
from pydantic import PositiveInt

from lifegen.benchmark import register_method
from lifegen.methods.models.stock import StockMethod


@register_method(
    "my-agem", version=1, uses=("boundaries", "past-data"), restarts="its plugin holds a live iterator over its memory"
)
class MyAGEM(StockMethod):
    """Gradients that would raise the loss on remembered images are projected."""

    class Config(StockMethod.Config):
        images_per_interval: PositiveInt = 200
        """Real images kept of each interval."""
        sample_size: PositiveInt = 64
        """Remembered images that each step compares its gradient with."""

    def plugin(self):
        return AGEMPlugin(self.config.images_per_interval, self.config.sample_size)
