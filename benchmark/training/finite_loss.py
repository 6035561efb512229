"""The end of a cell whose loss isn't finite: the error says at which step, and has the parts of the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

_PARTS = ("reconstruction", "divergence")


class DivergedError(FloatingPointError):
    """The training loss isn't finite."""


class FiniteLossPlugin(SupervisedPlugin):
    """Stops training at a loss that is infinite or not a number.

    On a CPU each step's loss is checked at once. An accelerator isn't waited for: the last losses are kept on it and
    read now and then; the step reported is still the first bad one.
    """

    capturable = True

    def __init__(self, every: int = 100) -> None:
        """Make the plugin.

        Args:
            every: steps between two readings of the losses that are kept on an accelerator.
        """
        super().__init__()
        self._every = every
        self._taken = 0
        self._kept: Tensor | None = None
        """Loss and parts of captured steps, (every, 4), which the graph writes to."""
        self._row: Tensor | None = None
        """Row of the next captured step, (1,)."""
        self._eager: list[list[Tensor]] = []
        """Loss and parts of other steps, as they were: computing anything is dear where launches are."""

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._taken, self._kept, self._row, self._eager = 0, None, None, []

    def after_backward(self, strategy: Any, **_: Any) -> None:
        if getattr(strategy, "is_captured", False):
            self._write(strategy)
        elif self._waits(strategy):
            if not math.isfinite(strategy.loss.item()):
                raise _diverged(strategy, strategy.clock.train_exp_iterations, _means(_of_step(strategy)).tolist())
        else:
            self._eager.append(_of_step(strategy))

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self._taken += 1
        if self._taken % self._every == 0:
            self._look(strategy)

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        self._look(strategy)

    def _waits(self, strategy: Any) -> bool:
        """Whether reading a loss costs nothing."""
        return bool(strategy.loss.device.type == "cpu")

    def _write(self, strategy: Any) -> None:
        row = _means(_of_step(strategy))
        if self._kept is None or self._row is None:
            self._kept = row.new_zeros(self._every, len(row))
            self._row = torch.zeros(1, dtype=torch.int64, device=row.device)
        self._kept.index_copy_(0, self._row, row[None])
        self._row.add_(1)

    def _look(self, strategy: Any) -> None:
        """Read the steps since the last look: first the captured ones, after which there may be eager ones."""
        rows: list[list[float]] = []
        if self._kept is not None and self._row is not None:
            rows = self._kept[: int(self._row)].tolist()
            self._row.zero_()
        if self._eager:
            rows += torch.stack([step[0].reshape(1) for step in self._eager]).tolist()
        for i, row in enumerate(rows):
            if not math.isfinite(row[0]):
                whole = row if len(row) > 1 else _means(self._eager[i - len(rows)]).tolist()
                raise _diverged(strategy, self._taken - len(rows) + i, whole)
        self._eager = []


def _of_step(strategy: Any) -> list[Tensor]:
    """The loss of a step, its negative ELBO and the parts of that, of any shape; NaN where the output has none."""
    output, traces = strategy.mb_output, getattr(strategy, "traces", None)
    elbo = getattr(traces, "negative_elbo", None)
    if elbo is None and hasattr(output, "negative_elbo"):
        elbo = output.negative_elbo()
    values = [strategy.loss, elbo, *(getattr(output, name, None) for name in _PARTS)]
    return [value.detach() if isinstance(value, Tensor) else strategy.loss.new_full((), math.nan) for value in values]


def _means(values: Sequence[Tensor]) -> Tensor:
    """The means of a step's values, (4,)."""
    return torch.stack([(value.mean() if value.numel() > 1 else value.reshape(())).float() for value in values])


def _diverged(strategy: Any, step: int, row: list[float]) -> DivergedError:
    loss, elbo, reconstruction, divergence = row
    where = f"at step {step} of interval {strategy.clock.train_exp_counter} (both from 0)"
    parts = f"negative ELBO {elbo:.5g} (reconstruction {reconstruction:.5g}, divergence {divergence:.5g})"
    return DivergedError(f"the loss is {loss:.5g} {where}: {parts}, other terms {loss - elbo:.5g}")
