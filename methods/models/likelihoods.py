"""Likelihoods p(x | parameters) of images, with parameters straight from a decoder; one for each track."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Likelihood(Protocol):
    """A family of densities over flattened images."""

    track: str
    """Likelihood and preprocessing: numbers of different tracks are never compared."""

    parameters_per_pixel: int
    """Decoder outputs per pixel."""

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x | parameters), nats.

        Args:
            x: images in [0, 1], (n, pixels).
            parameters: decoder outputs, (..., n, pixels × parameters_per_pixel).

        Returns:
            (..., n)
        """
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean images in [0, 1], (..., n, pixels)."""
        ...

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Drawn images in [0, 1], (..., n, pixels)."""
        ...


class BernoulliGrey:
    """Bernoulli with logits, on grey levels: Σ x·l − softplus(l).

    On a grey image this is the expected log-likelihood of its binarisation by Bernoulli draws, so its bound is a bound
    on that expectation; it isn't a density over grey images.
    """

    track = "bernoulli-grey"
    parameters_per_pixel = 1

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        if x.shape == parameters.shape:  # training: one kernel, one for its gradient
            return -functional.binary_cross_entropy_with_logits(parameters, x, reduction="none").sum(-1)
        # many draws of each image: x isn't copied for every draw
        return torch.einsum("np,...np->...n", x, parameters) - functional.softplus(parameters).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(parameters.sigmoid(), generator=generator)


class BernoulliBinarised(BernoulliGrey):
    """Bernoulli with logits, on binary images: a density."""

    track = "bernoulli-binarised"


class BernoulliRedrawn(BernoulliGrey):
    """Bernoulli with logits, on binary images that are drawn anew at each read: a density."""

    track = "bernoulli-redrawn"


class DiscretisedLogistic:
    """A logistic density around each mean, integrated over the 256 intervals of an 8-bit pixel: a density.

    The first and last interval reach to ∓∞, so that the probabilities of the 256 values sum to 1 (Salimans et al.,
    PixelCNN++, arXiv 1701.05517, section 2.1, with one component; its lower limit on the logarithm of the scale, −7 for
    pixels in [−1, 1], is −7.7 for pixels in [0, 1]).
    """

    track = "discretised-logistic"
    parameters_per_pixel = 2
    """Logits of the means, then logarithms of the scales."""

    _HALF = 0.5 / 255
    _LEAST_LOG_SCALE = -7.7

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        logits, log_scale = parameters.chunk(2, -1)
        inverse = log_scale.clamp(min=self._LEAST_LOG_SCALE).neg().exp()
        offset = x - logits.sigmoid()
        above, below = (offset + self._HALF) * inverse, (offset - self._HALF) * inverse
        # log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − exp(b − a)), which loses no digits in the tails
        first, last = functional.logsigmoid(above), functional.logsigmoid(-below)
        inner = first + last + (-torch.expm1(-2 * self._HALF * inverse)).log()
        inner = torch.where(x < self._HALF, first, torch.where(x > 1 - self._HALF, last, inner))
        return inner.sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.chunk(2, -1)[0].sigmoid()

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits, log_scale = parameters.chunk(2, -1)
        uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
        drawn = logits.sigmoid() + log_scale.clamp(min=self._LEAST_LOG_SCALE).exp() * uniform.logit(1e-6)
        return drawn.clamp(0, 1).mul(255).round().div(255)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    likelihood.track: likelihood
    for likelihood in (BernoulliGrey, BernoulliBinarised, BernoulliRedrawn, DiscretisedLogistic)
}
"""Classes of likelihoods, by track."""
