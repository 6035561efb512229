"""Traces over the steps of an interval: the gradient's norm, the loss and its parts, about fifty steps each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..contracts.registry import register_metric
from .measurement import Measurement
from .rows import Row


@register_metric("gradient_norm", version=1)
def gradient_norm(m: Measurement) -> Iterator[Row]:
    """Euclidean norm of the whole gradient, at about fifty steps an interval.

    Formula: ‖∇loss‖ as the optimiser gets it, penalties included.

    It misleads as a sign of convergence: it also falls when replayed images are smooth.
    """
    return _rows(m, "gradient_norm")


@register_metric("loss", version=1, unit="nats")
def loss(m: Measurement) -> Iterator[Row]:
    """Training loss of a batch with the terms that plugins add to it, at about fifty steps an interval.

    Formula: the sum of loss_reconstruction, loss_divergence and the terms, which stand as loss_TERM. Terms whose
    gradient a plugin adds by itself, such as loss_ewc, aren't in it.

    It misleads between methods: their batches hold other images, and their losses other terms. It is of relaxed codes,
    and isn't negative_elbo.
    """
    return _rows(m, "loss")


@register_metric("loss_reconstruction", version=1, unit="nats")
def loss_reconstruction(m: Measurement) -> Iterator[Row]:
    """Part of the training loss that says how well the batch's images are decoded.

    Formula: −log p(x | z) with one draw of z, mean over the batch, replayed images included.

    It misleads as loss does.
    """
    return _rows(m, "loss_reconstruction")


@register_metric("loss_divergence", version=1, unit="nats")
def loss_divergence(m: Measurement) -> Iterator[Row]:
    """Part of the training loss that says how far codes and styles are from their prior.

    Formula: KL[q(z | x) ‖ p(z)], mean over the batch, replayed images included.

    It misleads as loss does.
    """
    return _rows(m, "loss_divergence")


@register_metric("loss_other", version=1, unit="nats")
def loss_other(m: Measurement) -> Iterator[Row]:
    """Part of the training loss that plugins added without a name.

    Formula: loss − reconstruction − divergence − named terms; no value where that is rounding alone.

    It misleads where several plugins add something: it is their sum.
    """
    return _rows(m, "loss_other")


def _rows(m: Measurement, name: str) -> Iterator[Row]:
    """Rows of a trace. A gradient that isn't finite is an error; a term that isn't has no row."""
    for step, value in m.strategy.traces.by_name.get(name, {}).items():
        if name == "gradient_norm" or math.isfinite(value):
            yield Row(value, step=step)


def term_rows(m: Measurement, known: set[str]) -> Iterator[dict[str, Any]]:
    """Rows of the terms that plugins named, which no metric is registered for.

    Args:
        m: the measurement.
        known: names of registered metrics.
    """
    for name in m.strategy.traces.by_name:
        for row in () if name in known else _rows(m, name):
            yield {"interval": m.interval, "metric": name, **row._asdict()}
