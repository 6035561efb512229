"""Streams of one data set under fixed transformations: rotations and permutations of its pixels.

Each distribution is transformed once, as a whole tensor, when the stream is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from lifegen.benchmark import (
    Images,
    InputError,
    LabelledData,
    Parts,
    ScenarioConfig,
    Seeds,
    Stream,
    later,
    make_stream,
    register_scenario,
)

from .data_sets import source
from .holding_out import class_parts, held_out


class RotatedConfig(ScenarioConfig):
    angles: Annotated[tuple[float, ...], Field(min_length=1)] = (0, 30, 70, 130, 200, 250)
    """Angles in degrees, counter-clockwise: each class at each angle is a distribution."""
    intervals: PositiveInt = 70
    """Intervals: the distribution of each is drawn uniformly, so distributions come back."""
    test_images: PositiveInt | None = 10_000
    """Most test images: a fixed sample in which distributions have equal shares, but for those that have fewer images;
    of validation images likewise. null: all."""
    test_on: Annotated[Literal["drawn", "all", "unrotated"], later()] = "drawn"
    """Distributions of the full test set: those that the intervals draw; each class at each angle, 60 by default; or
    the images as they are, as in the authors' code. Values of a single distribution are of those drawn in any case."""


class RotatedDigitsConfig(RotatedConfig):
    steps: PositiveInt = 300
    """Optimiser steps per interval: exactly so many, at least (random), or at most (early-stopping)."""
    test_images: PositiveInt | None = None
    """Most test images: a fixed sample in which distributions have equal shares, but for those that have fewer images;
    of validation images likewise. null: all."""


class PermutedConfig(ScenarioConfig):
    permutations: PositiveInt = 10
    """Fixed permutations of the pixels, equal for all seeds, that follow the original."""
    test_images: PositiveInt | None = 10_000
    """Most test images: a fixed sample in which distributions have equal shares, but for those that have fewer images;
    of validation images likewise. null: all."""


class PermutedDigitsConfig(PermutedConfig):
    steps: PositiveInt = 300
    """Optimiser steps per interval: exactly so many, at least (random), or at most (early-stopping)."""
    test_images: PositiveInt | None = None
    """Most test images: a fixed sample in which distributions have equal shares, but for those that have fewer images;
    of validation images likewise. null: all."""


@register_scenario("rotated-mnist", version=1, config=RotatedConfig, data=("mnist",))
def rotated_mnist(config: RotatedConfig, seeds: Seeds, data_root: Path) -> Stream:
    """MNIST digits at six angles, drawn with replacement: 70 intervals in which distributions come back."""
    return _rotated(source("mnist").load(data_root), config, seeds)


@register_scenario("rotated-digits", version=1, config=RotatedDigitsConfig, data=("digits",))
def rotated_digits(config: RotatedConfig, seeds: Seeds, data_root: Path) -> Stream:
    """The embedded 8x8 digits at six angles, drawn with replacement."""
    return _rotated(source("digits").load(data_root), config, seeds)


@register_scenario("permuted-mnist", version=1, config=PermutedConfig, data=("mnist",))
def permuted_mnist(config: PermutedConfig, seeds: Seeds, data_root: Path) -> Stream:
    """MNIST as it is, then under ten fixed permutations of its pixels."""
    return _permuted(source("mnist").load(data_root), config, seeds)


@register_scenario("permuted-digits", version=1, config=PermutedDigitsConfig, data=("digits",))
def permuted_digits(config: PermutedConfig, seeds: Seeds, data_root: Path) -> Stream:
    """The embedded 8x8 digits as they are, then under ten fixed permutations of their pixels."""
    return _permuted(source("digits").load(data_root), config, seeds)


def _rotated(data: LabelledData, config: RotatedConfig, seeds: Seeds) -> Stream:
    kinds = [(label, angle) for label in range(len(data.classes)) for angle in config.angles]
    drawn = torch.randint(len(kinds), (config.intervals,), generator=seeds.generator("visits")).tolist()
    names = {kind: f"{data.classes[kind[0]]}@{kind[1]:g}" for kind in kinds}
    if len(set(names.values())) < len(kinds):
        raise InputError(f"angles {list(config.angles)} must differ in their first six digits: they name distributions")
    distributions = {
        names[label, angle]: Parts(*(_turned(part, angle) for part in class_parts(data, [label], config.validation)))
        for label, angle in sorted({kinds[i] for i in drawn})
    }
    upright = [(label, 0.0) for label in range(len(data.classes))]
    tests = {
        f"{data.classes[label]}@{angle:g}": _turned(data.test.select(data.test.y == label), angle)
        for label, angle in {"drawn": [], "all": kinds, "unrotated": upright}[config.test_on]
    }
    return make_stream(distributions, [names[kinds[i]] for i in drawn], config, seeds, tests)


def _turned(images: Images, angle: float) -> Images:
    if angle % 360 == 0:
        return images
    return images._replace(x=rotate(images.x, angle, interpolation=InterpolationMode.BILINEAR))


def _permuted(data: LabelledData, config: PermutedConfig, seeds: Seeds) -> Stream:
    whole = held_out(data.train, data.test, config.validation, "original")
    pixels = data.train.x[0].numel()
    distributions = {"original": whole}
    for i in range(1, config.permutations + 1):
        order = torch.randperm(pixels, generator=Seeds(0).generator("permutation", i))
        distributions[f"permutation-{i}"] = Parts(*(images._replace(x=_reordered(images.x, order)) for images in whole))
    return make_stream(distributions, list(distributions), config, seeds)


def _reordered(x: Tensor, order: Tensor) -> Tensor:
    return x.flatten(1)[:, order].view_as(x)
