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
    """Negative ELBO per image on the full test set (the paper's metric); per distribution it is the matrix R[t, j]."""
    yield Row(m.union("test", m.stream.distributions).value)
    for name in m.stream.distributions:
        yield Row(m.bound("test", name).value, name)


@register_metric("negative_elbo_seen", version=1, unit="nats", better="lower")
def negative_elbo_seen(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the test sets of the distributions met so far."""
    yield Row(m.union("test", m.seen).value)


@register_metric("negative_elbo_valid", version=1, unit="nats", better="lower")
def negative_elbo_valid(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the validation parts met so far: for tuning only."""
    yield Row(m.union("valid", m.seen).value)


@register_metric("reconstruction", version=1, unit="nats", better="lower")
def reconstruction(m: Measurement) -> Iterator[Row]:
    """The part −log p(x|z) of negative_elbo, on the full test set."""
    yield Row(m.union("test", m.stream.distributions).reconstruction)


@register_metric("divergence", version=1, unit="nats")
def divergence(m: Measurement) -> Iterator[Row]:
    """The other part of negative_elbo, the cost of the latent variables, on the full test set."""
    yield Row(m.union("test", m.stream.distributions).divergence)


@register_metric("negative_elbo_group", version=1, unit="nats")
def negative_elbo_group(m: Measurement) -> Iterator[Row]:
    """Negative ELBO given the most suitable component of each test set, as mixture papers report it: not a bound.

    The component is chosen at no cost, for a whole distribution's test images at once; the union is the mean over
    distributions. For a model of one component it is the mean of negative_elbo over distributions.
    """
    values = {name: float(m.evaluate("test", name).groups.min()) for name in m.stream.distributions}
    yield Row(math.fsum(values.values()) / len(values))
    for name, value in values.items():
        yield Row(value, name)


@register_metric("iwae_nll", version=1, unit="nats", better="lower")
def iwae_nll(m: Measurement) -> Iterator[Row]:
    """Importance-weighted bound on −log p(x) at the end: 500 draws, first 100 test images of each distribution.

    Both numbers are options of the scenario, ``importance_draws`` and ``importance_images``.
    """
    if m.is_last:
        yield Row(float(torch.cat([bounds for bounds, _ in m.importance.values()]).mean()))
        for name, (bounds, _) in m.importance.items():
            yield Row(float(bounds.mean()), name)


@register_metric("iwae_nll_group", version=1, unit="nats")
def iwae_nll_group(m: Measurement) -> Iterator[Row]:
    """iwae_nll given the most suitable component of each test set, chosen at no cost: not a bound."""
    if m.is_last:
        values = {name: float(alone.mean(0).min()) for name, (_, alone) in m.importance.items()}
        yield Row(math.fsum(values.values()) / len(values))
        for name, value in values.items():
            yield Row(value, name)


@register_metric("bits_per_dimension", version=1, unit="bits", better="lower")
def bits_per_dimension(m: Measurement) -> Iterator[Row]:
    """negative_elbo / (pixels · channels · log 2), where the likelihood is a density on 8-bit values."""
    if m.stream.track == "discretised-logistic":
        dimensions = math.prod(m.stream.image_shape)
        yield Row(m.union("test", m.stream.distributions).value / (dimensions * math.log(2)))
