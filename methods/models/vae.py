"""The code/style VAE: a discrete code zd and a continuous style zc (Ramapuram et al., Lifelong Generative Modeling)."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lifegen.benchmark import GenerativeModel, LogWeights

from .divergences import categorical_to_uniform, gaussian_to_standard
from .likelihoods import LIKELIHOODS, Likelihood
from .networks import BATCH_NORMS, NETWORKS, NORMS, Activation, Norm, linear, reinitialise


class Posterior(NamedTuple):
    """q(zc, zd | x) = N(zc; mean, diag std²) · Cat(zd; softmax code_logits)"""

    mean: Tensor
    """(n, style)"""
    std: Tensor
    """(n, style)"""
    code_logits: Tensor
    """(n, codes)"""


class VAEOutput(NamedTuple):
    """A training pass, with its input."""

    x: Tensor
    posterior: Posterior
    reconstruction: Tensor
    """−log p(x | zc, zd) for one relaxed draw, (n,)"""
    divergence: Tensor
    """KL[q(zc | x) ‖ N(0, I)] + KL[q(zd | x) ‖ uniform], (n,)"""
    code: Tensor
    """The relaxed draw of zd, (n, codes)"""
    parameters: Tensor
    """Parameters of the likelihood, (n, outputs)"""

    def negative_elbo(self) -> Tensor:
        return self.reconstruction + self.divergence


class TrainingNoise(NamedTuple):
    """Noise of one training pass."""

    style: Tensor
    """standard normal, (n, style)"""
    code: Tensor
    """standard Gumbel, (n, codes)"""


class Noise(NamedTuple):
    """Noise of sampled, hard latent variables. Its shape doesn't depend on the number of codes."""

    style: Tensor
    """standard normal, (draws, n, style)"""
    code: Tensor
    """uniform on [0, 1), (draws, n)"""


class CodeStyleVAE(GenerativeModel):
    """A VAE with q(zc, zd | x) and p(x | zc, zd).

    The prior is N(0, I) for the style and uniform for the code. Training relaxes the code by Gumbel-softmax;
    ``log_weights`` samples hard codes.
    """

    capturable = True
    _temperature: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: int,
        style: int = 14,
        width: int = 512,
        architecture: Literal["mlp", "conv"] = "mlp",
        norm: Norm = "batch",
        activation: Activation = "elu",
        track: str = "bernoulli-grey",
        init: torch.Generator | None = None,
    ) -> None:
        """Make the model.

        Args:
            image_shape: channels, height, width.
            codes: size J of zd.
            style: size F of zc.
            width: units in each of the two hidden layers of encoder and decoder, or filters of the first convolution.
            architecture: fully connected or convolutional.
            norm: normalisation everywhere but beside the latent variables and at the output.
            activation: of every hidden layer.
            track: names the likelihood of the pixels.
            init: source of the initial weights.
        """
        super().__init__()
        self.image_shape = image_shape
        self.codes = codes
        self.style = style
        self.likelihood: Likelihood = LIKELIHOODS[track]()
        self.track = track
        # The temperature lies on the device, so that a captured step sees it change; it is no part of the state.
        self.register_buffer("_temperature", torch.ones(()), persistent=False)
        self._made_of = {"width": width, "architecture": architecture, "norm": norm, "activation": activation}
        make = NETWORKS[architecture]
        network = make(image_shape, self.likelihood.parameters_per_pixel, width, norm, activation)
        self.encoder = network.encoder(init)
        # Rows: style means, style deviations, code logits. Codes are last, so that they can be appended.
        self.encoder_head = linear(network.features, 2 * style + codes, init)
        # Columns: style, codes.
        self.decoder_input = linear(style + codes, network.inputs, init)
        self.decoder = network.decoder(init)
        self._trunks = network.encoder_trunk, network.decoder_trunk

    @property
    def encoder_trunk(self) -> nn.Sequential:
        """The part of the encoder that a mixture's components may share."""
        return self.encoder[: self._trunks[0]]

    @property
    def decoder_trunk(self) -> nn.Sequential:
        """The part of the decoder that a mixture's components may share, after ``decoder_input``."""
        return self.decoder[: self._trunks[1]]

    @property
    def temperature(self) -> float:
        """Temperature of the relaxed code."""
        return float(self._temperature)

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._temperature.fill_(value)

    def recipe(self) -> dict[str, Any]:
        shape, sizes = list(self.image_shape), {"codes": self.codes, "style": self.style}
        return {"image_shape": shape, **sizes, **self._made_of, "track": self.track}

    def encode(self, x: Tensor) -> Posterior:
        """q(zc, zd | x) of images in [0, 1], (n, channels, height, width)."""
        # float: under bfloat16 a GPU's products are bfloat16
        heads = self.encoder_head(self.encoder(x)).float()
        mean, raw, logits = heads.split([self.style, self.style, self.codes], 1)
        return Posterior(mean, functional.softplus(raw) + 1e-6, logits)

    def decode(self, style: Tensor, code: Tensor) -> Tensor:
        """The likelihood's parameters, (n, outputs), of styles, (n, style), and (relaxed) one-hot codes, (n, codes)."""
        parameters: Tensor = self.decoder(self.decoder_input(torch.cat([style, code], 1)))
        return parameters.float()

    def forward(self, x: Tensor) -> VAEOutput:
        return self.forward_given(x, self.training_noise(len(x)) if self.latent_noise else None)

    def training_noise(self, n: int) -> TrainingNoise:
        """The noise of a training pass of n images, drawn from the model's generator."""
        empty = self.decoder_input.weight.new_empty
        style = torch.randn(n, self.style, generator=self.generator, device=self.decoder_input.weight.device)
        # −log of an exponential draw is a Gumbel draw
        return TrainingNoise(style, -empty(n, self.codes).exponential_(generator=self.generator).log())

    def forward_given(self, x: Tensor, noise: TrainingNoise | None) -> VAEOutput:
        """:meth:`forward` for given noise; None decodes the means."""
        posterior = self.encode(x)
        mean, std, logits = posterior
        style, relaxed = mean, logits
        if noise is not None:
            style, relaxed = mean + std * noise.style, logits + noise.code
        code = (relaxed / self._temperature).softmax(1)
        parameters = self.decode(style, code)
        divergence = gaussian_to_standard(mean, std) + categorical_to_uniform(logits.log_softmax(1))
        reconstruction = -self.likelihood.log_prob(x.flatten(1), parameters)
        return VAEOutput(x, posterior, reconstruction, divergence, code, parameters)

    def log_weights(self, x: Tensor, draws: int, generator: torch.Generator | None = None) -> LogWeights:
        style = torch.randn(draws, len(x), self.style, generator=generator, device=x.device)
        code = torch.rand(draws, len(x), generator=generator, device=x.device)
        return self.log_weights_given(x, Noise(style, code))

    def log_weights_given(self, x: Tensor, noise: Noise) -> LogWeights:
        """:meth:`log_weights` for given noise."""
        mean, std, logits = self.encode(x)
        log_q = logits.log_softmax(1)
        style = mean + std * noise.style
        # The code by its inverse distribution function: the first whose cumulative probability exceeds the draw. The
        # draw is scaled by the sum, which rounding leaves near 1: no code of probability 0 is ever chosen.
        cumulative = log_q.exp().cumsum(1)
        drawn = noise.code.T.contiguous() * cumulative[:, -1:]
        code = torch.searchsorted(cumulative, drawn, right=True).clamp(max=self.codes - 1)
        log_q_code = log_q.gather(1, code).T
        style_ratio = style_log_ratio(noise.style, style, std)
        one_hot = functional.one_hot(code.T, self.codes).to(style.dtype)
        parameters = self.decode(style.flatten(0, 1), one_hot.flatten(0, 1)).unflatten(0, noise.code.shape)
        likelihood = self.likelihood.log_prob(x.flatten(1), parameters)
        divergence = style_ratio - math.log(self.codes) - log_q_code
        return LogWeights(likelihood[:, None], divergence[:, None], log_q)

    def code_log_posterior(self, x: Tensor, weights: LogWeights | None = None) -> Tensor:
        if weights is not None and weights.code is not None:
            return weights.code
        return self.encode(x).code_logits.log_softmax(1)

    def sample(
        self,
        n: int,
        code: int | None = None,
        generator: torch.Generator | None = None,
        prior: Tensor | None = None,
        draw: bool = False,
    ) -> Tensor:
        """Images from the prior, or from one code of it, in [0, 1], (n, channels, height, width).

        Args:
            n: how many.
            code: the code to decode; by default, codes are drawn.
            generator: source of all draws.
            prior: probabilities of the codes, (codes,); uniform by default.
            draw: whether to draw from p(x | z) instead of taking its mean.
        """
        style, chosen = self.draw_prior(n, generator, prior)
        if code is not None:
            chosen.fill_(code)
        return self.decoded(style, chosen, generator, draw)

    def draw_prior(
        self, n: int, generator: torch.Generator | None = None, prior: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws of the latent variables; arguments as for :meth:`sample`.

        Returns:
            styles, (n, style), and codes, (n,).
        """
        device = self.decoder_input.weight.device
        style = torch.randn(n, self.style, generator=generator, device=device)
        if prior is None:
            return style, torch.randint(self.codes, (n,), generator=generator, device=device)
        # torch draws at least one
        return style, torch.multinomial(prior, max(n, 1), replacement=True, generator=generator)[:n]

    def decoded(self, style: Tensor, code: Tensor, generator: torch.Generator | None, draw: bool) -> Tensor:
        """Images of styles, (n, style), and codes, (n,): draws from p(x | z), or its means.

        Returns:
            in [0, 1], (n, channels, height, width).
        """
        return self.images_of(self.parameters_of(style, code), generator, draw)

    def parameters_of(self, style: Tensor, code: Tensor) -> Tensor:
        """The likelihood's parameters, (n, outputs), of styles, (n, style), and codes, (n,)."""
        return self.decode(style, one_hot(code, style, self.codes))

    def images_of(self, parameters: Tensor, generator: torch.Generator | None = None, draw: bool = False) -> Tensor:
        """Draws from p(x | parameters), or its means, in [0, 1], (n, channels, height, width)."""
        return self.image(self.likelihood.draw(parameters, generator) if draw else self.likelihood.mean(parameters))

    def reconstruct(self, x: Tensor) -> Tensor:
        mean, _, logits = self.encode(x)
        return self.decoded(mean, logits.argmax(1), None, draw=False)

    def image(self, pixels: Tensor) -> Tensor:
        """(n, pixels) as (n, channels, height, width)."""
        image: Tensor = pixels.unflatten(1, self.image_shape)
        return image

    def reconstruct_drawn(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, std, logits = self.encode(x)
        style = mean + std * torch.randn(mean.shape, generator=generator, device=x.device)
        code = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
        return self.decoded(style, code, None, draw=False)

    def draw_style(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, std, _ = self.encode(x)
        return mean + std * torch.randn(mean.shape, generator=generator, device=x.device)

    def style_grid(self, code: int, points: int) -> Tensor | None:
        if self.style != 2:
            return None
        style = style_points(points, self.decoder_input.weight.device)
        one_hot = functional.one_hot(torch.full((len(style),), code, device=style.device), self.codes)
        return self.image(self.likelihood.mean(self.decode(style, one_hot.to(style.dtype))))

    def grow(self, codes: int, init: torch.Generator | None = None, preserve: bool = False) -> None:
        """Append codes.

        Args:
            codes: how many.
            init: source of the new weights.
            preserve: whether the layers on either side of the latent variables keep their weights and only gain those
                of the new codes, instead of starting anew as a whole (paper, section 7.2.3).
        """
        if codes < 1:
            raise ValueError(f"grow appends at least one code, not {codes}")
        self.codes += codes
        old = self.encoder_head, self.decoder_input
        device = old[0].weight.device
        self.encoder_head = linear(old[0].in_features, 2 * self.style + self.codes, init).to(device)
        self.decoder_input = linear(self.style + self.codes, old[1].out_features, init).to(device)
        if preserve:
            with torch.no_grad():
                self.encoder_head.weight[:-codes] = old[0].weight
                self.encoder_head.bias[:-codes] = old[0].bias
                self.decoder_input.weight[:, :-codes] = old[1].weight
                self.decoder_input.bias.copy_(old[1].bias)

    @torch.no_grad()
    def copy_code(self, code: int, codes: int) -> None:
        """Give the last codes the weights of an earlier one, so that they decode alike and share its probability.

        Args:
            code: the earlier code.
            codes: how many of the last ones.
        """
        logits, columns = 2 * self.style + code, self.style + code
        self.encoder_head.weight[-codes:] = self.encoder_head.weight[logits]
        self.encoder_head.bias[-codes:] = self.encoder_head.bias[logits]
        self.decoder_input.weight[:, -codes:] = self.decoder_input.weight[:, columns, None]

    def reinitialise(self, init: torch.Generator | None = None) -> None:
        """Start every layer anew."""
        reinitialise(self, init)

    def reinitialise_first_layer(self, init: torch.Generator | None = None) -> None:
        """Start the encoder's first layer anew."""
        reinitialise(self.encoder[:2], init)  # it stands behind the reshaping

    def reset_norm(self, affine: bool = False) -> None:
        """Forget batch norm's running means and variances and, if asked to, every normalisation's scales and shifts."""
        for module in self.modules():
            if affine and isinstance(module, NORMS):
                module.reset_parameters()
            elif isinstance(module, BATCH_NORMS):
                module.reset_running_stats()


def one_hot(code: Tensor, style: Tensor, codes: int) -> Tensor:
    """Codes, (n,), as one-hot rows of the style's kind, (n, codes). torch's own function looks at their values, which a
    captured step mustn't."""
    return style.new_zeros(len(code), codes).scatter_(1, code[:, None], 1.0)


def style_log_ratio(noise: Tensor, style: Tensor, std: Tensor) -> Tensor:
    """log N(z; 0, I) − log N(z; mean, std²) of styles z = mean + std · noise, (draws, n): the constants cancel."""
    return (0.5 * (noise.square() - style.square()) + std.log()).sum(-1)


def style_points(points: int, device: torch.device) -> Tensor:
    """Styles of two dimensions on a grid over [−3, 3]², (points², 2), row by row from the top."""
    along = torch.linspace(-3, 3, points, device=device)
    return torch.cartesian_prod(along.flip(0), along).flip(1)
