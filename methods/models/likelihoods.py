"""Likelihoods p(x | parameters) of images, with parameters straight from a decoder."""

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
