"""Elastic weight consolidation for the VAE: weights that mattered to the past are held near what they were.

Reference: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks (arXiv 1612.00796), equation 3; the
online form is that of Schwarz et al., Progress & Compress (arXiv 1805.06370), section 4. Public EWC code for VAEs
squares the gradient of a batch's mean, which shrinks the Fisher information about as much as the batch is large;
``avalanche-ewc`` is such an estimate. Here each image has its own gradient. The strengths of different conventions
can't be compared.

Memory: two numbers a weight, however many intervals; no replay, no real image. Its cost is the per-sample gradients at
an interval's end: for 2,000 images and the default networks for 28 × 28 pixels about 10 seconds of one core, for the
convolutional ones minutes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lifegen.benchmark import Options, Seeds, Stream, images_of, register_method, searched, to_unit

from .models.method import VAEMethod, acts
from .models.plugins import options_of
from .models.quadratic_penalty import QuadraticPenalty
from .models.vae import CodeStyleVAE, TrainingNoise

_GRADIENTS = {"cpu": 2**24, "cuda": 2**28}
"""Numbers in one batch of per-sample gradients: few more than a CPU's cache holds, enough to be fast on a GPU."""


class EWCOptions(Options):
    """Options of the penalty."""

    strength: Annotated[NonNegativeFloat, searched(1, 1e4)] = 10.0
    """g, weight of the penalty. Published grid, suite ewc-grid: 1, 10, 100, 1000, 10000."""
    mode: Literal["offline", "online"] = "offline"
    """One anchor per interval, or one anchor in all with a decaying Fisher information."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.9
    """online: share of the Fisher information that remains at each interval's end."""
    fisher_samples: PositiveInt = 2000
    """Training images of an interval, at most, that the Fisher information is estimated on."""
    fisher_draws: PositiveInt = 1
    """Latent draws whose mean is each image's value."""

    @model_validator(mode="after")
    def _acts(self) -> Self:
        return acts(self, self.mode == "online", "mode=online", "decay")


class EWCPlugin(QuadraticPenalty):
    """Adds the gradient of g/2 Σ_t Σ_i F_ti (θ_i − θ_ti)², with θ_t the weights at the end of interval t.

    The quadratics of all intervals add up to one, g/2 Σ_i H_i (θ_i − c_i)² + constant, with H = Σ_t F_t and c the mean
    of the θ_t weighted by F_t: neither cost nor memory grows with the stream. The trace ``loss_ewc`` has no constant.
    """

    name = "ewc"

    def __init__(self, seeds: Seeds, options: EWCOptions | None = None, **named: Any) -> None:
        """Make the plugin.

        Args:
            seeds: where the latent noise of the Fisher information comes from.
            options: all options, such as a method's ``Config``.
            named: single options by their names, instead; the others have their defaults.
        """
        self.options = options_of(EWCOptions, options, named)
        super().__init__(self.options.strength)
        self._seeds = seeds

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        interval = strategy.clock.train_exp_counter
        pixels = self._seeds.generator("fisher", interval, "pixels")
        images = images_of(strategy.experience.dataset, self.options.fisher_samples, pixels).to(strategy.device)
        noise = self._seeds.generator("fisher", interval, device=strategy.device)
        fisher = fisher_information(strategy.model, images, self.options.fisher_draws, noise)
        now = [parameter.detach().clone() for parameter in strategy.model.parameters()]
        if not self.importance:
            self.importance, self.centre = fisher, now
        elif self.options.mode == "online":
            self.importance = [self.options.decay * old + new for old, new in zip(self.importance, fisher, strict=True)]
            self.centre = now
        else:
            for importance, centre, new, weights in zip(self.importance, self.centre, fisher, now, strict=True):
                importance += new
                # A weighted mean, updated: where no image has had a gradient yet, any centre will do.
                centre += (new / importance).nan_to_num(0.0) * (weights - centre)


def fisher_information(model: CodeStyleVAE, images: Tensor, draws: int, noise: torch.Generator) -> list[Tensor]:
    """Diagonal of the empirical Fisher information: the mean over images of the squared gradient of each image's own
    negative ELBO, which is a mean over latent draws. Batch norm normalises by its running statistics.

    Args:
        model: the model at the interval's end.
        images: uint8, (n, channels, height, width).
        draws: latent draws of each image, with the relaxed code of training.
        noise: source of the draws.

    Returns:
        a tensor for each parameter, of its shape, nats² per unit of weight².
    """
    value = _Value(model)
    parameters = {name: parameter.detach() for name, parameter in value.named_parameters()}
    buffers = dict(value.named_buffers())

    def of_one(parameters: dict[str, Tensor], x: Tensor, style: Tensor, code: Tensor) -> Tensor:
        batch = x.expand(draws, *x.shape)
        result: Tensor = functional_call(value, (parameters, buffers), (batch, TrainingNoise(style, code)))
        return result

    gradients = vmap(grad(of_one), in_dims=(None, 0, 0, 0))
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    mode, generator = model.training, model.generator
    model.eval()
    model.generator = noise
    numbers = sum(parameter.numel() for parameter in parameters.values())
    for x in images.split(max(1, _GRADIENTS.get(images.device.type, 2**24) // numbers)):
        drawn = model.training_noise(len(x) * draws)
        if not model.latent_noise:
            drawn = TrainingNoise(*map(torch.zeros_like, drawn))
        style, code = (part.unflatten(0, (len(x), draws)) for part in drawn)
        for name, each in gradients(parameters, to_unit(x), style, code).items():
            sums[name] += each.square_().sum(0)
    model.train(mode)
    model.generator = generator
    return [total / len(images) for total in sums.values()]


class _Value(nn.Module):
    """The mean negative ELBO as a module, since ``functional_call`` calls ``forward`` only."""

    def __init__(self, model: CodeStyleVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, noise: TrainingNoise) -> Tensor:
        return self.model.forward_given(x, noise).negative_elbo().mean()


@register_method("ewc", version=2, uses=("boundaries",), look={"colour": "#6b3d00", "marker": "v"})
class EWC(VAEMethod):
    """Elastic weight consolidation with a Fisher information of per-sample gradients; no replay."""

    class Config(EWCOptions, VAEMethod.Config):
        pass

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), EWCPlugin(seeds, self.config)]
