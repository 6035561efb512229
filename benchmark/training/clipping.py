"""Gradients of bounded elements."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.core import SupervisedPlugin


class ClippingPlugin(SupervisedPlugin):
    """Clips each element of the gradient to [−limit, limit] before the optimiser's step."""

    capturable = True

    def __init__(self, limit: float) -> None:
        super().__init__()
        self._limit = limit

    def before_update(self, strategy: Any, **_: Any) -> None:
        torch.nn.utils.clip_grad_value_(strategy.model.parameters(), self._limit)
