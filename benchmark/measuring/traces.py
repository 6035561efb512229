"""Traces over the steps of an interval: the gradient's norm, the loss and its parts, about fifty steps each; and the
step from which a trace has reached its plateau."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean, stdev
from typing import Any

from ..contracts.registry import register_metric
from .measurement import Measurement
from .rows import Row

_WINDOW = 5
"""Recorded steps of a moving mean."""
_LEVEL = 10
"""Recorded steps at the end of an interval whose mean is a trace's final level: a fifth of them."""
_NEAR = 0.05
"""Share of a trace's total fall by which it may lie above its final level on its plateau."""


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


@register_metric("steps_to_plateau_loss", version=1, unit="steps")
def steps_to_plateau_loss(m: Measurement) -> Iterator[Row]:
    """First recorded step of the interval from which the loss stays within 5 % of its total fall of its final level.

    Formula: final level: mean of the last ten recorded steps; total fall: first recorded value − final level; the least
    step from which on the moving mean of five recorded steps is at most final level + 0.05 · total fall. There is no
    row where the standard error of such a mean, by the last ten steps, is more than 0.05 · total fall.

    It misleads between methods, since each is held against its own fall: who starts from a teacher's weights has little
    left to fall, and needs longer for 95 % of it than who starts anew. It says nothing about how good the plateau is.
    """
    yield from _plateau(m, "loss")


@register_metric("steps_to_plateau_gradient_norm", version=1, unit="steps")
def steps_to_plateau_gradient_norm(m: Measurement) -> Iterator[Row]:
    """First recorded step of the interval from which the gradient's norm stays near its final level.

    Formula: as steps_to_plateau_loss, of gradient_norm.

    It misleads by being absent: a norm that rises, or is as noisy as it falls, has no plateau.
    """
    yield from _plateau(m, "gradient_norm")


def _plateau(m: Measurement, name: str) -> Iterator[Row]:
    if (step := steps_to_plateau(m.strategy.traces.by_name.get(name, {}))) is not None:
        yield Row(float(step))


def steps_to_plateau(trace: Mapping[int, float]) -> int | None:
    """The first step of a trace from which its moving mean stays near its final level; None if it can't be told.

    Args:
        trace: values by step.
    """
    steps, values = sorted(trace), [trace[step] for step in sorted(trace)]
    if len(values) <= _LEVEL or not all(map(math.isfinite, values)):
        return None
    level, noise = fmean(values[-_LEVEL:]), stdev(values[-_LEVEL:]) / math.sqrt(_WINDOW)
    allowed = _NEAR * (values[0] - level)
    if allowed <= 0 or noise > allowed:
        return None
    half = _WINDOW // 2
    means = [fmean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    above = [i for i, mean in enumerate(means) if mean > level + allowed]
    first = above[-1] + 1 if above else 0
    return steps[first] if first < len(steps) else None


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
