"""Metrics of likelihood: negative ELBO, its parts, and importance-weighted bounds, nats per image."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ..contracts.registry import register_metric
from .measurement import Measurement
from .rows import Row


@register_metric("negative_elbo", version=1, unit="nats", better="lower")
def negative_elbo_test(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the full test set (the paper's metric); per distribution it is the matrix R[t, j].

    Formula: −LSE_k (log π_k + mean over draws s of ℓ_sk(x)), mean over images; codes are drawn hard.

    It misleads before the end of the stream, since it counts distributions still to come. It is a bound: a weak
    encoder looks like a weak decoder, and a lower value doesn't mean better samples.
    """
    yield Row(m.union("test", m.tested).value)
    for name in m.stream.distributions:
        yield Row(m.bound("test", name).value, name)


@register_metric("negative_elbo_seen", version=1, unit="nats", better="lower")
def negative_elbo_seen(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the test sets of the distributions met so far.

    Formula: as negative_elbo.

    It misleads between intervals, since the test set grows.
    """
    yield Row(m.union("test", m.seen).value)


@register_metric("negative_elbo_valid", version=1, unit="nats", better="lower")
def negative_elbo_valid(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the validation parts met so far: for tuning only.

    Formula: as negative_elbo.

    It misleads where early stopping looked at the same images; never report it.
    """
    yield Row(m.union("valid", m.seen).value)


@register_metric("reconstruction", version=1, unit="nats", better="lower")
def reconstruction(m: Measurement) -> Iterator[Row]:
    """The part −log p(x|z) of negative_elbo, on the full test set.

    Formula: mean of −log p(x|z), weighted by the components' responsibilities.

    It misleads alone: replay that blurs raises it and lowers the divergence.
    """
    yield Row(m.union("test", m.tested).reconstruction)


@register_metric("divergence", version=1, unit="nats")
def divergence(m: Measurement) -> Iterator[Row]:
    """The other part of negative_elbo, the cost of the latent variables, on the full test set.

    Formula: negative_elbo − reconstruction.

    It misleads as a measure of quality: it is 0 for a model that ignores its latent variables.
    """
    yield Row(m.union("test", m.tested).divergence)


@register_metric("negative_elbo_group", version=1, unit="nats")
def negative_elbo_group(m: Measurement) -> Iterator[Row]:
    """Negative ELBO given the most suitable component of each test set, as mixture papers report it: not a bound.

    The component is chosen at no cost, for a whole distribution's test images at once; the union is the mean over
    distributions. For a model of one component it is the mean of negative_elbo over distributions.

    Formula: min over components k of the mean over a distribution's images of −mean over draws of ℓ_sk(x).

    It misleads as a bound: a mixture of ten gains up to log 10 nats by it.
    """
    values = {name: float(m.evaluate("test", name).groups.min()) for name in m.stream.distributions}
    yield Row(math.fsum(values.values()) / len(values))
    for name, value in values.items():
        yield Row(value, name)


@register_metric("iwae_nll", version=1, unit="nats", better="lower")
def iwae_nll(m: Measurement) -> Iterator[Row]:
    """Importance-weighted bound on −log p(x) at the end: 500 draws, first 100 test images of each distribution.

    Both numbers are options of the scenario, ``importance_draws`` and ``importance_images``.

    Formula: −LSE_k (log π_k + LSE_s ℓ_sk(x) − log S), S draws, mean over images.

    It misleads where it lies far below negative_elbo: then S draws aren't enough either.
    """
    if m.is_last:
        yield Row(float(torch.cat([m.importance[name][0] for name in m.tested]).mean()))
        for name in m.stream.distributions:
            yield Row(float(m.importance[name][0].mean()), name)


@register_metric("iwae_nll_group", version=1, unit="nats")
def iwae_nll_group(m: Measurement) -> Iterator[Row]:
    """iwae_nll given the most suitable component of each test set, chosen at no cost: not a bound.

    Formula: as iwae_nll, of the best component of each distribution.

    It misleads as a bound: the component is chosen at no cost.
    """
    if m.is_last:
        values = {name: float(m.importance[name][1].mean(0).min()) for name in m.stream.distributions}
        yield Row(math.fsum(values.values()) / len(values))
        for name, value in values.items():
            yield Row(value, name)


@register_metric("bits_per_dimension", version=1, unit="bits", better="lower")
def bits_per_dimension(m: Measurement) -> Iterator[Row]:
    """negative_elbo / (pixels · channels · log 2), where the likelihood is a density on 8-bit values.

    Formula: negative_elbo / (pixels · channels · log 2).

    It misleads beside numbers of images of another size, or of another likelihood.
    """
    if m.stream.track == "discretised-logistic":
        dimensions = math.prod(m.stream.image_shape)
        yield Row(m.union("test", m.tested).value / (dimensions * math.log(2)))
