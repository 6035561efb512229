"""Counts of a strategy in training: images, steps, and the numbers that it keeps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from avalanche.training.templates import SupervisedTemplate


def interval_steps(strategy: SupervisedTemplate) -> int:
    """Return the optimiser steps that a schedule may count on in the interval that ``strategy`` is about to train on;
    works outside lifegen's template, too."""
    steps = getattr(strategy.experience, "planned_steps", None)
    return int(steps) if steps is not None else strategy.train_epochs * len(strategy.dataloader)


def synthetic_samples(strategy: SupervisedTemplate) -> int:
    """Count the images that a strategy's plugins have drawn from models of the past so far."""
    return total(strategy.plugins, "synthetic_samples")


def extra_rows(strategy: SupervisedTemplate) -> int:
    """Count the images that a strategy's plugins have trained on beside its batches so far."""
    return total(strategy.plugins, "extra_rows")


def count_state(module: torch.nn.Module) -> int:
    """Count the floating-point numbers in a module's state, buffers included. Shared tensors count once."""
    state = {value.data_ptr(): value for value in module.state_dict().values() if value.is_floating_point()}
    return sum(value.numel() for value in state.values())


def total(plugins: Iterable[object], attribute: str) -> int:
    return sum(getattr(plugin, attribute, 0) for plugin in plugins)
