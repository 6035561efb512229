"""Metrics of the latent variables that an encoder draws, beside those that the prior draws."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from ..contracts.registry import register_metric
from .measurement import Measurement
from .rows import Row

_IMAGES = 2000
"""Test images, half of them to fit a density and half to judge it."""
_LEAST_PER_DIMENSION = 2
"""Images for each dimension of the style below which half of them say too little."""
_COMPONENTS = 10
"""Gaussians of the density, at most one for four times as many images as there are dimensions."""
_LEAST_VARIANCE = 1e-4
"""Added to the variances of fitted Gaussians, so that few points can't make one singular."""


@register_metric("marginal_divergence", version=1, unit="nats")
def marginal_divergence(m: Measurement) -> Iterator[Row]:
    """Divergence of the style's aggregate posterior from its prior, a lower bound: how much of what the prior draws was
    never encoded (Hoffman and Johnson 2016, "ELBO surgery").

    Measured on test images of the distributions met so far. There is no row for a model without a style whose prior is
    N(0, I), or with several encoders, or where half of the images are
    fewer than two a dimension.

    Formula: mean of log f(z) − log p(z) for one draw z of q(z|x) of each of 1,000 images, f a mixture of ten Gaussians
    fitted to draws of 1,000 others. KL[q(z) ‖ p(z)], q(z) the mean of q(z|x), is at least as large for any f.

    It misleads where there are few images: the density fits badly, and the value is too low, even negative.
    """
    images = _spread([m.images("test", name) for name in m.seen], _IMAGES)
    generator = m.generator("aggregate-posterior")
    drawn = [m.model.draw_style(x, generator) for x in m.batches(images, draws=1)]
    if styles := [style for style in drawn if style is not None]:
        z = torch.cat(styles).double().cpu()
        if len(z) // 2 >= _LEAST_PER_DIMENSION * z.shape[1]:
            yield Row(lower_bound(z[::2], z[1::2]))


def _spread(parts: Sequence[Tensor], most: int) -> Tensor:
    """At most so many images, evenly spread over those of several distributions."""
    total = sum(map(len, parts))
    n = min(total, most)
    chosen = torch.arange(n, device=parts[0].device) * total // n
    ends = list(accumulate(map(len, parts)))
    return torch.cat([
        part[chosen[(chosen >= end - len(part)) & (chosen < end)] - (end - len(part))]
        for part, end in zip(parts, ends, strict=True)
    ])  # fmt: skip


def lower_bound(for_fit: Tensor, for_test: Tensor) -> float:
    """Return a lower bound, in expectation, on KL[q ‖ N(0, I)], nats, from draws of q.

    Args:
        for_fit: draws that a mixture of Gaussians with full covariances is fitted to, float64, (n, d).
        for_test: further draws, float64, (m, d).
    """
    d = for_fit.shape[1]
    components = max(1, min(_COMPONENTS, len(for_fit) // (4 * d)))
    density = GaussianMixture(components, reg_covar=_LEAST_VARIANCE, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any density gives a bound
        density.fit(for_fit.numpy())
    log_prior = -0.5 * (for_test.square().sum(1) + d * math.log(2 * math.pi))
    return float((torch.from_numpy(density.score_samples(for_test.numpy())) - log_prior).mean())
