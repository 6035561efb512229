"""Avalanche plugins as methods, stock ones and your own. Their memory is counted, and a plugin that can't work with a
generative model is refused before anything is trained.

    @register_method("my-agem", version=1, uses=("boundaries", "past-data"), restarts="it holds a live iterator")
    class Mine(StockMethod):
        def plugin(self):
            return AGEMPlugin(200, 64)
"""

from __future__ import annotations

from typing import Any

from avalanche.core import BasePlugin

from lifegen.benchmark import Seeds, Stream

from .counting import COUNTING
from .memory import MemoryPlugin
from .method import VAEMethod
from .refused import refuse_unusable


class StockMethod(VAEMethod):
    """A plugin of Avalanche's, or of your own, on the code/style VAE, whose code keeps its size."""

    def __init__(self, config: Any = None) -> None:
        """Make the method.

        Args:
            config: a ``Config``, a mapping of its fields, or None for the defaults.

        Raises:
            pydantic.ValidationError: an unknown field, or a value that its field can't take.
            InputError: its plugin can't work with a generative model.
        """
        super().__init__(config)
        refuse_unusable(self.plugin(), getattr(self.config, "norm", "none"))

    def plugin(self) -> BasePlugin[Any]:
        """A new plugin, with the method's options."""
        raise NotImplementedError

    def plugins(self, stream: Stream, seeds: Seeds) -> list[Any]:
        plugin = self.plugin()
        # The class that counts changes no arithmetic, and has the same layout: an object may change its class so.
        plugin.__class__ = COUNTING.get(type(plugin), type(plugin))
        return [*super().plugins(stream, seeds), plugin, MemoryPlugin(plugin, stream.image_shape)]
