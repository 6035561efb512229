"""Intervals that end when a validation value no longer falls."""

from __future__ import annotations

import math
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from ..contracts.images import drawn, to_unit
from ..contracts.model import GenerativeModel, negative_elbo
from ..contracts.stream import EarlyStopping, is_redrawn
from ..seeds import Seeds
from .precision import products_in

_ROWS = 500


class EarlyStoppingPlugin(SupervisedPlugin):
    """Ends an experience that carries an :class:`EarlyStopping` and brings back the model's best state.

    The value is the negative ELBO of the rule's validation images, one draw per image and the same noise each time. By
    default they are of the current distribution alone: older ones are memory of the past, which a method can't have.
    """

    capturable = True

    def __init__(self, seeds: Seeds) -> None:
        """Make the plugin.

        Args:
            seeds: the source of the validation value's noise.
        """
        super().__init__()
        self._seeds = seeds
        self._steps = 0
        self._best = math.inf
        self._best_step = 0
        self._best_state: dict[str, Tensor] | None = None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._steps, self._best, self._best_step, self._best_state = 0, math.inf, 0, None

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        stopping: EarlyStopping | None = getattr(strategy.experience, "stopping", None)
        if stopping is None:
            return
        self._steps += 1
        if self._steps % stopping.check_every and self._steps < strategy.experience.steps:
            return
        value = self._value(strategy, stopping)
        if value < self._best:
            self._best, self._best_step = value, self._steps
            self._best_state = {key: tensor.clone() for key, tensor in strategy.model.state_dict().items()}
        elif self._steps - self._best_step >= stopping.patience:
            strategy.stop_training()

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        if self._best_state is not None:
            strategy.model.load_state_dict(self._best_state)
            self._best_state = None

    @torch.no_grad()
    def _value(self, strategy: Any, stopping: EarlyStopping) -> float:
        model: GenerativeModel = strategy.model
        generator = self._seeds.generator("early-stopping", strategy.clock.train_exp_counter, device=strategy.device)
        model.eval()
        with products_in("float32", strategy.device):
            pieces = [to_unit(x.to(strategy.device)) for x in stopping.valid.x.split(_ROWS)]
            if is_redrawn(strategy.experience.dataset):
                pieces = [drawn(x, generator) for x in pieces]
            bounds = [negative_elbo(model.log_weights(x, 1, generator), model.log_prior).value for x in pieces]
        model.train()
        return float(torch.cat(bounds).mean())
