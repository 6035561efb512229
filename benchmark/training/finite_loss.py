"""The end of a cell whose loss isn't finite: the error says at which step, and has the parts of the loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

_PARTS = ("negative_elbo", "reconstruction", "divergence")


class DivergedError(FloatingPointError):
    """The training loss isn't finite."""


class FiniteLossPlugin(SupervisedPlugin):
    """Stops training at a loss that is infinite or not a number.

    On a CPU each step's loss is checked at once. An accelerator isn't waited for: it keeps the last losses, which are
    read now and then; the step reported is still the first bad one.
    """

    capturable = True

    def __init__(self, every: int = 100) -> None:
        """Make the plugin.

        Args:
            every: steps between two readings of the losses that an accelerator keeps.
        """
        super().__init__()
        self._every = every
        self._kept: Tensor | None = None
        """Loss and parts of the last steps, (every, 4), on an accelerator"""
        self._slot: Tensor | None = None
        """Row of the next step, (1,)"""
        self._taken = 0

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._kept, self._slot, self._taken = None, None, 0

    def after_backward(self, strategy: Any, **_: Any) -> None:
        loss: Tensor = strategy.loss.detach()
        if not self._keeps(strategy):
            if not math.isfinite(value := loss.item()):
                raise _diverged(strategy, strategy.clock.train_exp_iterations, [value, *_parts(strategy).tolist()])
            return
        if self._kept is None or self._slot is None:
            self._kept = torch.zeros(self._every, 1 + len(_PARTS), device=loss.device)
            self._slot = torch.zeros(1, dtype=torch.int64, device=loss.device)
        row = torch.cat([loss.reshape(1).float(), _parts(strategy)])
        self._kept.index_copy_(0, self._slot, row[None])
        self._slot.add_(1).remainder_(self._every)

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self._taken += 1
        if self._taken % self._every == 0:
            self._look(strategy, self._every)

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        self._look(strategy, self._taken % self._every)

    def _keeps(self, strategy: Any) -> bool:
        """Whether the loss is kept on the device: reading it would wait, or is impossible in a captured step."""
        return strategy.loss.device.type != "cpu" or getattr(strategy, "graph", None) is not None

    def _look(self, strategy: Any, steps: int) -> None:
        if self._kept is None:
            return
        rows = self._kept[:steps].tolist()
        for i, row in enumerate(rows):
            if not math.isfinite(row[0]):
                raise _diverged(strategy, self._taken - len(rows) + i, row)


def _parts(strategy: Any) -> Tensor:
    """Return the means of the parts of the loss, (3,); NaN for a part that the model's output lacks."""
    output = strategy.mb_output
    unknown = torch.full((), math.nan, device=strategy.loss.device)
    parts = (getattr(output, name, None) for name in _PARTS)
    values = (part() if callable(part) else part for part in parts)
    means = [value.detach().float().mean() if isinstance(value, Tensor) else unknown for value in values]
    return torch.stack(means)


def _diverged(strategy: Any, step: int, row: list[float]) -> DivergedError:
    loss, elbo, reconstruction, divergence = row
    where = f"at step {step} of interval {strategy.clock.train_exp_counter} (both from 0)"
    parts = f"negative ELBO {elbo:.5g} (reconstruction {reconstruction:.5g}, divergence {divergence:.5g})"
    return DivergedError(f"the loss is {loss:.5g} {where}: {parts}, other terms {loss - elbo:.5g}")
