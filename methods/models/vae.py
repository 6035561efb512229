"""The code/style VAE: a discrete code zd and a continuous style zc (Ramapuram et al., Lifelong Generative Modeling)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lifegen.benchmark.model import GenerativeModel, LogWeights

from .divergences import categorical_to_uniform, gaussian_to_standard
from .likelihoods import BernoulliGrey, Likelihood


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

    def negative_elbo(self) -> Tensor:
        return self.reconstruction + self.divergence


class Noise(NamedTuple):
    """Noise of sampled, hard latent variables. Its shape doesn't depend on the number of codes."""

    style: Tensor
    """standard normal, (draws, n, style)"""
    code: Tensor
    """uniform on [0, 1), (draws, n)"""


class CodeStyleVAE(GenerativeModel):
    """A VAE with q(zc, zd | x) and p(x | zc, zd), fully connected, with batch norm and ELU.

    The prior is N(0, I) for the style and uniform for the code. Training relaxes the code by Gumbel-softmax;
    ``log_weights`` samples hard codes.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: int,
        style: int = 14,
        width: int = 512,
        likelihood: Likelihood | None = None,
        init: torch.Generator | None = None,
    ) -> None:
        """Make the model.

        Args:
            image_shape: channels, height, width.
            codes: size J of zd.
            style: size F of zc.
            width: units in each of the two hidden layers of encoder and decoder.
            likelihood: of the pixels, Bernoulli on grey levels by default.
            init: source of the initial weights.
        """
        super().__init__()
        self.image_shape = image_shape
        self.codes = codes
        self.style = style
        self.likelihood = likelihood or BernoulliGrey()
        self.track = self.likelihood.track
        self.temperature = 1.0
        pixels = math.prod(image_shape)
        self.encoder = nn.Sequential(
            _linear(pixels, width, init), *_norm(width), _linear(width, width, init), *_norm(width)
        )
        # Rows: style means, style deviations, code logits. Codes are last, so that they can be appended.
        self.encoder_head = _linear(width, 2 * style + codes, init)
        # Columns: style, codes.
        self.decoder_input = _linear(style + codes, width, init)
        outputs = pixels * self.likelihood.parameters_per_pixel
        self.decoder = nn.Sequential(
            *_norm(width), _linear(width, width, init), *_norm(width), _linear(width, outputs, init)
        )

    def encode(self, x: Tensor) -> Posterior:
        """q(zc, zd | x) of images in [0, 1], (n, channels, height, width)."""
        mean, raw, logits = self.encoder_head(self.encoder(x.flatten(1))).split([self.style, self.style, self.codes], 1)
        return Posterior(mean, functional.softplus(raw) + 1e-6, logits)

    def decode(self, style: Tensor, code: Tensor) -> Tensor:
        """The likelihood's parameters, (n, outputs), of styles, (n, style), and (relaxed) one-hot codes, (n, codes)."""
        parameters: Tensor = self.decoder(self.decoder_input(torch.cat([style, code], 1)))
        return parameters

    def forward(self, x: Tensor) -> VAEOutput:
        posterior = self.encode(x)
        mean, std, logits = posterior
        style = mean
        relaxed = logits
        if self.latent_noise:
            style = mean + std * torch.randn(mean.shape, generator=self.generator, device=x.device)
            # −log of an exponential draw is a Gumbel draw
            relaxed = logits - torch.empty_like(logits).exponential_(generator=self.generator).log()
        parameters = self.decode(style, (relaxed / self.temperature).softmax(1))
        divergence = gaussian_to_standard(mean, std) + categorical_to_uniform(logits.log_softmax(1))
        return VAEOutput(x, posterior, -self.likelihood.log_prob(x.flatten(1), parameters), divergence)

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
        # log N(zc; 0, I) − log N(zc; mean, std²), where the constants cancel
        style_ratio = (0.5 * (noise.style.square() - style.square()) + std.log()).sum(-1)
        one_hot = functional.one_hot(code.T, self.codes).to(style.dtype)
        parameters = self.decode(style.flatten(0, 1), one_hot.flatten(0, 1)).unflatten(0, noise.code.shape)
        likelihood = self.likelihood.log_prob(x.flatten(1), parameters)
        divergence = style_ratio - math.log(self.codes) - log_q_code
        return LogWeights(likelihood[:, None], divergence[:, None])

    def code_log_posterior(self, x: Tensor) -> Tensor:
        return self.encode(x).code_logits.log_softmax(1)

    def sample(self, n: int, code: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        device = self.decoder_input.weight.device
        style = torch.randn(n, self.style, generator=generator, device=device)
        chosen = torch.randint(self.codes, (n,), generator=generator, device=device)
        if code is not None:
            chosen.fill_(code)
        return self._image(self.decode(style, functional.one_hot(chosen, self.codes).to(style.dtype)))

    def reconstruct(self, x: Tensor) -> Tensor:
        mean, _, logits = self.encode(x)
        return self._image(self.decode(mean, functional.one_hot(logits.argmax(1), self.codes).to(mean.dtype)))

    def _image(self, parameters: Tensor) -> Tensor:
        image: Tensor = self.likelihood.mean(parameters).unflatten(1, self.image_shape)
        return image

    def grow(self, codes: int, init: torch.Generator | None = None) -> None:
        """Append codes. The layers on either side of the latent variables start anew (paper, section 7.2.3)."""
        if codes < 1:
            raise ValueError(f"grow appends at least one code, not {codes}")
        self.codes += codes
        device = self.decoder_input.weight.device
        width = self.decoder_input.out_features
        self.encoder_head = _linear(width, 2 * self.style + self.codes, init).to(device)
        self.decoder_input = _linear(self.style + self.codes, width, init).to(device)

    def reset_norm_statistics(self) -> None:
        """Forget the running means and variances of batch norm; keep its scales and shifts."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.reset_running_stats()


def _norm(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm1d(width), nn.ELU()


def _linear(inputs: int, outputs: int, init: torch.Generator | None) -> nn.Linear:
    """A layer with Glorot's uniform weights and zero bias, drawn from ``init`` alone."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=init)
    nn.init.zeros_(layer.bias)
    return layer
