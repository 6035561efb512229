"""Base classes of methods: the options of the networks, and of the code/style VAE with its temperature."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from avalanche.core import SupervisedPlugin
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from lifegen.benchmark import Method, Options, Seeds, Stream, searched

from .networks import Activation, Norm
from .plugins import ResetOptimizerPlugin, TemperaturePlugin
from .vae import CodeStyleVAE

C = TypeVar("C", bound=Options)


def acts(config: C, switch: bool, on: str, *options: str) -> C:
    """Refuse options that are changed while they have no effect, since each would make a cell of its own.

    Args:
        config: the options of a method.
        switch: whether the named options have an effect.
        on: the switch, in words.
        options: names of fields.

    Returns:
        the config, as validators do.

    Raises:
        ValueError: a named option is changed, and the switch is off.
    """
    for name in () if switch else options:
        if getattr(config, name) != type(config).model_fields[name].default:
            raise ValueError(f"{name} has an effect with {on} only")
    return config


class NetworkMethod(Method):
    """A method whose model is made of lifegen's networks."""

    class Config(Method.Config):
        batch_size: Annotated[int, Field(ge=2)] = 100  # batch norm needs two
        """Images per optimiser step, real and synthetic together."""
        style: PositiveInt = 14
        """Size F of the style."""
        architecture: Literal["mlp", "conv"] = "mlp"
        """Two hidden layers each way, or the strided convolutional network for 32 × 32 images."""
        width: PositiveInt | None = None
        """Units per hidden layer; null: 512, or 128 for images below 16 × 16. conv: filters of the first layer, 32."""
        norm: Annotated[Norm, searched(among=["none", "group"])] = "none"
        """Normalisation everywhere but beside the latent variables and at the output."""
        activation: Activation = "elu"
        """Activation function of every hidden layer."""
        optimizer_state: Literal["keep", "reset"] = "keep"
        """Whether Adam's moments live on across intervals; resetting them uses the boundaries."""

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [ResetOptimizerPlugin()] if self.config.optimizer_state == "reset" else []

    def network(self, stream: Stream) -> dict[str, Any]:
        """Arguments of the models that describe their networks."""
        config = self.config
        _, height, width = stream.image_shape
        default_width = 32 if config.architecture == "conv" else 128 if height * width < 16 * 16 else 512
        return {
            "style": config.style,
            "width": config.width or default_width,
            "architecture": config.architecture,
            "norm": config.norm,
            "activation": config.activation,
            "track": stream.track,
        }


class VAEMethod(NetworkMethod):
    """A method whose model is the code/style VAE."""

    class Config(NetworkMethod.Config):
        codes: PositiveInt | None = None
        """Size J of the code at the start; null: the stream's number of distributions."""
        temperature_start: PositiveFloat = 1.0
        """Temperature of the relaxed code at the start of an interval."""
        temperature_floor: PositiveFloat = 0.5
        """Lowest temperature."""
        temperature_rate: NonNegativeFloat | None = None
        """Decay of the temperature per step (paper's code: 3e-5); null: floor at half of the interval's steps."""

        @model_validator(mode="after")
        def _falls(self) -> Self:
            if self.temperature_floor > self.temperature_start:
                raise ValueError("temperature_floor lies above temperature_start")
            return self

    restarts_temperature = False
    """Whether the temperature starts anew with each interval; only a method that is told of boundaries can do so."""

    def model(self, stream: Stream, seeds: Seeds) -> CodeStyleVAE:
        codes = self.config.codes or len(stream.distributions)
        init = seeds.generator("initialisation")
        return CodeStyleVAE(stream.image_shape, codes=codes, init=init, **self.network(stream))

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        config = self.config
        temperature = TemperaturePlugin(
            config.temperature_start,
            config.temperature_floor,
            config.temperature_rate,
            restart=self.restarts_temperature,
        )
        return [*super().plugins(stream, seeds), temperature]
