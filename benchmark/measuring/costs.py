"""Metrics of cost: images, steps, numbers kept, time and memory."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator

import torch

from ..contracts.registry import register_metric
from .measurement import Measurement
from .rows import Row


@register_metric("components", version=1, unit="components")
def components(m: Measurement) -> Iterator[Row]:
    """Components of the model: 1 unless it is a mixture.

    It misleads as a measure of quality: neither more nor fewer is better.
    """
    yield Row(len(m.model.log_prior))


@register_metric("real_samples", version=1, unit="images", over_intervals="sum")
def real_samples(m: Measurement) -> Iterator[Row]:
    """Real images that entered a training step of the interval.

    Formula: counted where images enter a step; an image that comes twice counts twice.

    It misleads under a fixed number of steps, where it is a property of the mix.
    """
    yield Row(m.strategy.real_samples)


@register_metric("synthetic_samples", version=1, unit="images", over_intervals="sum")
def synthetic_samples(m: Measurement) -> Iterator[Row]:
    """Images drawn from a model of the past for training in the interval.

    Formula: counted where images are drawn.

    It misleads under a fixed number of steps, where it is a property of the mix.
    """
    yield Row(m.strategy.synthetic_samples)


@register_metric("optimizer_steps", version=1, unit="steps", over_intervals="sum")
def optimizer_steps(m: Measurement) -> Iterator[Row]:
    """Optimiser steps of the interval.

    It misleads as a measure of compute: a step of a mixture costs many times a step of naive.
    """
    yield Row(m.strategy.optimizer_steps)


@register_metric("stored_parameters", version=1, unit="numbers", better="lower")
def stored_parameters(m: Measurement) -> Iterator[Row]:
    """Floating-point numbers kept: the model's and those of teachers, frozen parts and the like.

    It misleads where a plugin states no numbers: it looks free. The optimiser's state isn't counted.
    """
    yield Row(m.strategy.stored_parameters)


@register_metric("stored_samples", version=1, unit="images", better="lower")
def stored_samples(m: Measurement) -> Iterator[Row]:
    """Real images of the past that are kept."""
    yield Row(m.strategy.stored_samples)


@register_metric("stored_mb", version=1, unit="MB", better="lower")
def stored_mb(m: Measurement) -> Iterator[Row]:
    """Megabytes kept: numbers and real images of the past on one scale.

    Formula: (4 bytes · stored_parameters + one byte a pixel and channel · stored_samples) / 10⁶.

    It misleads where a plugin states no numbers, and about images that would be compressed.
    """
    image = math.prod(m.stream.image_shape)
    yield Row((4 * m.strategy.stored_parameters + image * m.strategy.stored_samples) / 1e6)


@register_metric("train_cpu_seconds", version=1, unit="s", better="lower", over_intervals="sum", over_seeds="median")
def train_cpu_seconds(m: Measurement) -> Iterator[Row]:
    """Processor time of training in the interval; none on a GPU.

    It misleads between kinds of processors, and grows on cores that share caches with other work.
    """
    if m.train_cpu_seconds is not None:
        yield Row(m.train_cpu_seconds)


@register_metric("train_seconds", version=1, unit="s", better="lower", over_intervals="sum", over_seeds="median")
def train_seconds(m: Measurement) -> Iterator[Row]:
    """Wall time of training in the interval.

    It misleads on shared cores, and between machines.
    """
    yield Row(m.train_seconds)


@register_metric("peak_memory_mb", version=1, unit="MB", better="lower", over_intervals="max")
def peak_memory_mb(m: Measurement) -> Iterator[Row]:
    """Most memory used so far: the accelerator's where there is one, else the process's.

    It misleads on a CPU, where libraries take most of it.
    """
    if m.strategy.device.type == "cuda":
        yield Row(torch.cuda.max_memory_allocated(m.strategy.device) / 2**20)
    else:
        unit = 1 if sys.platform == "darwin" else 2**10
        yield Row(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


@register_metric("eval_seconds", version=1, unit="s", better="lower", over_intervals="sum", over_seeds="median")
def eval_seconds(m: Measurement) -> Iterator[Row]:
    """Wall time of measuring after the interval.

    It misleads on shared cores, and between machines.
    """
    yield Row(m.eval_seconds)
