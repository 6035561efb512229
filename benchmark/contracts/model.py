"""The interface of every generative model of lifegen, and the bounds that follow from it alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class TrainingOutput(Protocol):
    """The result of ``forward``. It carries its own input, so that the criterion needs nothing else."""

    @property
    def x(self) -> Tensor:
        """The input, (n, channels, height, width)."""
        ...

    def negative_elbo(self) -> Tensor:
        """Training loss of each image, nats, (n,)."""
        ...


class LogWeights(NamedTuple):
    """log p(x, z | k) − log q(z | x, k) in two parts, each (draws, components, n), in nats."""

    likelihood: Tensor
    """log p(x | z, k)"""
    divergence: Tensor
    """log p(z | k) − log q(z | x, k)"""
    code: Tensor | None = None
    """log q(code | x), (n, codes), if the model computes it along the way, so that no second pass is needed"""


class GenerativeModel(nn.Module, ABC):
    """A model of images with a code. Subclasses are learned by any method and measured by any metric."""

    codes: int
    """Number of codes."""

    track: str
    """Likelihood and preprocessing of its bounds, for example ``bernoulli-grey``; must equal the scenario's."""

    generator: torch.Generator | None = None
    """Source of the training noise; None stands for torch's global generator."""

    estimates_code: bool = False
    """Whether ``code_log_posterior`` is estimated from log-weights, so that it has noise of its own."""

    capturable: bool = False
    """Whether ``forward`` and its gradient are the same tensor operations at every step of an interval, without a
    Python number that changes, so that a GPU can replay them; see ``capture``."""

    latent_noise: bool = True
    """Whether ``forward`` samples its latent variables. Tests turn it off to compare methods weight by weight."""

    @abstractmethod
    def forward(self, x: Tensor) -> TrainingOutput:
        """Encode, sample and decode images in [0, 1], (n, channels, height, width), for training."""

    @abstractmethod
    def log_weights(self, x: Tensor, draws: int, generator: torch.Generator | None = None) -> LogWeights:
        """Monte-Carlo log-weights of images from sampled, hard codes, with the same noise for every component."""

    @abstractmethod
    def code_log_posterior(self, x: Tensor, weights: LogWeights | None = None) -> Tensor:
        """log q(code | x), (n, codes). A column keeps its meaning: codes are only ever appended.

        Args:
            x: images in [0, 1], (n, channels, height, width).
            weights: log-weights of x, from which the code is taken or estimated. None: the model encodes x itself, with
                the same draws each time.
        """

    @abstractmethod
    def sample(self, n: int, code: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Return means of p(x | z), in [0, 1], (n, channels, height, width), for z from the prior or from one code."""

    @torch.no_grad()
    def generate(self, n: int, condition: int | None = None) -> Tensor:
        """Call :meth:`sample` with torch's global generator: Avalanche's plugins know it by this name."""
        return self.sample(n, code=condition)

    @abstractmethod
    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images decoded from their most likely latent values, in [0, 1], shape of ``x``."""

    def reconstruct_drawn(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        """Return means of p(x | z) for one draw z of q(z | x) for each image, in [0, 1], shape of ``x``.

        None for a model that doesn't offer them.

        Args:
            x: images in [0, 1], (n, channels, height, width).
            generator: source of the draws.
        """
        return None

    def draw_style(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        """Return one draw of q(style | x) for each image, whose prior is N(0, I), (n, dimensions).

        None for a model without such a style, or with an encoder for each component.

        Args:
            x: images in [0, 1], (n, channels, height, width).
            generator: source of the draws.
        """
        return None

    def style_grid(self, code: int, points: int) -> Tensor | None:
        """Return one code's images for styles on a 2D grid, (points², channels, height, width), row by row.

        None if the style doesn't have two dimensions.
        """
        return None

    def recipe(self) -> dict[str, Any] | None:
        """Return the arguments, as JSON values, that make this model untrained; None if a store can't keep it."""
        return None

    @property
    def log_prior(self) -> Tensor:
        """log π of the components, (components,); one component unless the model is a mixture."""
        return torch.zeros(1, device=next(self.parameters()).device)


class Bound(NamedTuple):
    """A bound on −log p(x) per image, nats, (n,), and its two parts."""

    value: Tensor
    reconstruction: Tensor
    """−log p(x | z), averaged over draws, weighted by the components' responsibilities"""
    divergence: Tensor
    """value − reconstruction"""


def negative_elbo(weights: LogWeights, log_prior: Tensor) -> Bound:
    """Negative ELBO, −LSE_k(log π_k + mean_s l_sk): an upper bound on −log p(x) in expectation.

    By Jensen's inequality twice: the mean over draws of l_sk lies below the log of the mean of exp(l_sk), whose
    expectation is p_k(x), and the log of the sum over components is concave in those.
    """
    likelihood = weights.likelihood.mean(0)
    joint = log_prior[:, None] + likelihood + weights.divergence.mean(0)
    value = -joint.logsumexp(0)
    reconstruction = -(joint.softmax(0) * likelihood).sum(0)
    return Bound(value, reconstruction, value - reconstruction)


def responsibilities(weights: LogWeights, log_prior: Tensor) -> Tensor:
    """Log-posterior of the components, log r_k ∝ log π_k + mean_s l_sk, (n, components), estimated as in
    :func:`negative_elbo`."""
    joint = log_prior[:, None] + (weights.likelihood + weights.divergence).mean(0)
    return joint.log_softmax(0).T


def group_bounds(weights: LogWeights) -> Tensor:
    """Each component's own negative ELBO, −mean_s l_sk, (components, n).

    Papers on mixtures report its mean over a group of images, at the component with the least mean. That number
    presumes that a test image comes with its group, and isn't a bound on −log p(x).
    """
    return -(weights.likelihood + weights.divergence).mean(0)


def importance_bound(weights: LogWeights, log_prior: Tensor) -> Tensor:
    """Importance-weighted bound, −LSE_k(log π_k + LSE_s l_sk − log S), nats, (n,) (Burda et al. 2016, eq. 8)."""
    return -(log_prior[:, None] - group_importance_bounds(weights)).logsumexp(0)


def group_importance_bounds(weights: LogWeights) -> Tensor:
    """Each component's own importance-weighted bound, −(LSE_s l_sk − log S), (components, n); see
    :func:`group_bounds`."""
    total = weights.likelihood + weights.divergence
    return math.log(len(total)) - total.logsumexp(0)
