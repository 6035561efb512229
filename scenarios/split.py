"""Class-incremental streams: a labelled data set, split into distributions of one or more classes each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import PositiveInt

from lifegen.benchmark import InputError, LabelledData, ScenarioConfig, Seeds, Stream, make_stream, register_scenario

from .data_sets import source
from .holding_out import class_parts


class SplitConfig(ScenarioConfig):
    class_order: Literal["sorted", "random"] | tuple[int, ...] = "sorted"
    """Order in which the classes come: sorted, random (by seed), or a list of all or some labels."""
    classes_per_interval: PositiveInt = 1
    """Classes that make up one distribution."""


class SplitDigitsConfig(SplitConfig):
    steps: PositiveInt = 300
    """Optimiser steps per interval."""


@register_scenario("split-digits", version=1, config=SplitDigitsConfig, data=("digits",), expert="digits")
def split_digits(config: SplitDigitsConfig, seeds: Seeds, data_root: Path) -> Stream:
    """The embedded 8x8 digits, one class after another."""
    return _split(source("digits").load(data_root), config, seeds)


@register_scenario("split-mnist", version=1, config=SplitConfig, data=("mnist",), expert="mnist")
def split_mnist(config: SplitConfig, seeds: Seeds, data_root: Path) -> Stream:
    """MNIST, one digit after another."""
    return _split(source("mnist").load(data_root), config, seeds)


@register_scenario(
    "split-fashion-mnist", version=1, config=SplitConfig, data=("fashion-mnist",), expert="fashion-mnist",
    title="Split Fashion-MNIST",
)  # fmt: skip
def split_fashion_mnist(config: SplitConfig, seeds: Seeds, data_root: Path) -> Stream:
    """Fashion-MNIST, one garment after another."""
    return _split(source("fashion-mnist").load(data_root), config, seeds)


def _split(data: LabelledData, config: SplitConfig, seeds: Seeds) -> Stream:
    order = _class_order(config, len(data.classes), seeds)
    size = config.classes_per_interval
    if len(order) % size:
        raise InputError(f"{len(order)} classes can't be split into intervals of {size}")
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    names = ["+".join(data.classes[label] for label in group) for group in groups]
    parts = [class_parts(data, group, config.validation) for group in groups]
    return make_stream(dict(zip(names, parts, strict=True)), names, config, seeds)


def _class_order(config: SplitConfig, classes: int, seeds: Seeds) -> list[int]:
    if config.class_order == "random":
        return torch.randperm(classes, generator=seeds.generator("class-order")).tolist()
    if config.class_order == "sorted":
        return list(range(classes))
    order = list(config.class_order)
    if len(set(order)) != len(order) or not set(order) <= set(range(classes)) or not order:
        raise InputError(f"class_order {order} must list different labels between 0 and {classes - 1}")
    return order
