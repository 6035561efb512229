"""What the methods on the code/style VAE have in common: its options, how it is made, its temperature."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt
from avalanche.core import SupervisedPlugin

from lifegen.benchmark.method import Method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream

from .plugins import TemperaturePlugin
from .vae import CodeStyleVAE


class VAEMethod(Method):
    """A method whose model is the code/style VAE."""

    class Config(Method.Config):
        codes: Annotated[int, Gt(0)] | None = None
        """Size J of the code at the start; null: the stream's number of distributions."""
        style: Annotated[int, Gt(0)] = 14
        """Size F of the style."""
        width: Annotated[int, Gt(0)] | None = None
        """Units per hidden layer; null: 512, or 128 for images of less than 16 × 16 pixels."""
        temperature_start: Annotated[float, Gt(0)] = 1.0
        """Temperature of the relaxed code at the start of an interval."""
        temperature_floor: Annotated[float, Gt(0)] = 0.5
        """Lowest temperature."""
        temperature_rate: Annotated[float, Ge(0)] | None = None
        """Decay of the temperature per step (paper's code: 3e-5); null: floor at half of the interval's steps."""

    restarts_temperature = False
    """Whether the temperature starts anew with each interval: a method that isn't told of boundaries can't."""

    def model(self, stream: Stream, seeds: Seeds) -> CodeStyleVAE:
        config = self.config
        _, height, width = stream.image_shape
        return CodeStyleVAE(
            stream.image_shape,
            codes=config.codes or len(stream.distributions),
            style=config.style,
            width=config.width or (128 if height * width < 16 * 16 else 512),
            init=seeds.generator("initialisation"),
        )

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        config = self.config
        return [
            TemperaturePlugin(
                config.temperature_start,
                config.temperature_floor,
                config.temperature_rate,
                restart=self.restarts_temperature,
            )
        ]
