"""Counts of a strategy in training: images, steps, gradient norms, and the numbers that it keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor


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


class GradientNorms(SupervisedPlugin):
    """Records the norm of the whole gradient before the optimiser's step, at about fifty steps an interval, without
    waiting for the device."""

    capturable = True
    points = 50

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self._norms: list[Tensor] = []
        self._every = 1

    @property
    def values(self) -> list[float]:
        """Euclidean norms at :attr:`steps` of the last interval, in nats per unit of weight."""
        return [float(norm) for norm in self._norms]

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self.steps, self._norms = [], []
        self._every = max(1, interval_steps(strategy) // self.points)

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        step = strategy.clock.train_exp_iterations
        if step % self._every == 0:
            gradients = [p.grad for p in strategy.model.parameters() if p.grad is not None]
            self._norms.append(torch.nn.utils.get_total_norm(gradients))
            self.steps.append(step)
