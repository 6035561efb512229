"""The interface of a method: a model, Avalanche plugins, and a view of the stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from ..contracts.model import GenerativeModel
from ..contracts.options import Options, later, searched
from ..contracts.stream import Interval, Stream
from ..seeds import Seeds
from .clipping import ClippingPlugin
from .template import GenerativeTemplate


class Method(ABC):
    """A lifelong generative method. Subclass it, register it with ``register_method``, and it is on the leaderboard.

    Its learning behaviour is in Avalanche plugins, which also work in a plain Avalanche script.
    """

    class Config(Options):
        """Options of every method."""

        batch_size: PositiveInt = 100
        """Images per optimiser step, real and synthetic together."""
        learning_rate: Annotated[PositiveFloat, searched(3e-4, 3e-3)] = 1e-3
        """Adam's step size."""
        weight_decay: Annotated[NonNegativeFloat, later()] = 0.0
        """Half the square of each weight, times this, is added to the loss (Adam's coupled weight decay)."""
        clip_gradient: Annotated[PositiveFloat | None, later()] = None
        """Largest absolute value of each element of the gradient; null: no clipping."""

    def __init__(self, config: Any = None) -> None:
        """Make the method.

        Args:
            config: a ``Config``, a mapping of its fields, or None for the defaults.

        Raises:
            pydantic.ValidationError: an unknown field, or a value that its field can't take.
        """
        self.config: Any = self.Config.model_validate({} if config is None else config)

    @abstractmethod
    def model(self, stream: Stream, seeds: Seeds) -> GenerativeModel:
        """Make the initial model."""

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        """Make the Avalanche plugins of the method; without any it is plain fine-tuning."""
        return []

    def view(self, stream: Stream) -> Sequence[Interval]:
        """Return the experiences to train on, in order."""
        return list(stream.train_stream)

    def strategy(self, stream: Stream, seeds: Seeds, device: torch.device | str = "cpu") -> GenerativeTemplate:
        """Put model and plugins into lifegen's template, ready for ``train``."""
        model = self.model(stream, seeds).to(device)
        model.generator = seeds.generator("latent-noise", device=device)
        clipping = [] if self.config.clip_gradient is None else [ClippingPlugin(self.config.clip_gradient)]
        return GenerativeTemplate(
            model=model,
            optimizer=torch.optim.Adam(
                model.parameters(),
                lr=self.config.learning_rate,
                weight_decay=self.config.weight_decay,
                fused=True,
                capturable=torch.device(device).type == "cuda",  # its step count is kept on the device
            ),
            plugins=[*self.plugins(stream, seeds), *clipping],  # the last to change the gradient
            train_mb_size=self.config.batch_size,
            device=device,
            seeds=seeds,
        )
