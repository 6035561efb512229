"""Traces of training: the gradient's norm, the loss, its parts, and the terms that plugins add to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from ..errors import InputError
from .counting import interval_steps

PARTS = ("reconstruction", "divergence")
"""Attributes of a model's output that make up its negative ELBO, (n,) each."""
_TAKEN = {*PARTS, "other"}
_ROUNDING = 1e-5
"""Share of an interval's largest loss that sums of its terms in float32 may be away from it."""


def add_term(strategy: Any, name: str, value: Tensor) -> None:
    """Add a term to the loss of a step, and record it as the trace ``loss_NAME``.

    It works in any Avalanche strategy; only lifegen's template has traces.

    Args:
        strategy: the strategy, before the backward pass.
        name: lower-case words joined by underscores. Terms of one name are added up.
        value: a scalar, weight included, nats.

    Raises:
        InputError: the name can't be one of a trace.
    """
    strategy.loss = strategy.loss + value
    if traces := _traces_of(strategy, name):
        terms = traces.terms
        terms[name] = terms[name] + value.detach() if name in terms else value.detach()


def trace_term(strategy: Any, name: str, value: Callable[[], Tensor]) -> None:
    """Record a term whose gradient a plugin adds by itself, as the trace ``loss_NAME``.

    Args:
        strategy: the strategy, in the hook ``before_training_iteration``.
        name: as for :func:`add_term`.
        value: returns the term, a scalar; it is called at recorded steps only.

    Raises:
        InputError: the name can't be one of a trace.
    """
    traces = _traces_of(strategy, name)
    if traces and traces.is_due(strategy):
        with torch.no_grad():
            traces.record(strategy, f"loss_{name}", value())


def _traces_of(strategy: Any, name: str) -> Traces | None:
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) or name in _TAKEN:
        raise InputError(f"a term of the loss can't be called {name!r}: lower-case words joined by underscores, such as"
                         f" 'consistency', but none of {', '.join(sorted(_TAKEN))}")  # fmt: skip
    traces = getattr(strategy, "traces", None)
    return traces if isinstance(traces, Traces) else None


class Traces(SupervisedPlugin):
    """Records about fifty steps of each interval, without waiting for the device."""

    capturable = True
    points = 50

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, dict[int, float]] = {}
        """Values of the last interval, by name and step: ``gradient_norm``, ``loss``, ``loss_TERM``."""
        self.terms: dict[str, Tensor] = {}
        """Terms that were added to the loss of this step."""
        self._seen: tuple[Any, Tensor] | None = None
        """The model's output at this step, and the loss before any term was added."""
        self._recorded: dict[str, dict[int, Tensor]] = {}
        self._every = 1

    def is_due(self, strategy: Any) -> bool:
        """Whether the step under way is recorded."""
        return bool(strategy.clock.train_exp_iterations % self._every == 0)

    def record(self, strategy: Any, name: str, value: Tensor) -> None:
        """Record a scalar of the step under way, whose memory nobody else writes to."""
        self._recorded.setdefault(name, {})[strategy.clock.train_exp_iterations] = value

    @property
    def negative_elbo(self) -> Tensor | None:
        """The loss of this step before any term was added, where it is known."""
        return None if self._seen is None else self._seen[1]

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self.by_name, self.terms, self._seen, self._recorded = {}, {}, None, {}
        self._every = max(1, interval_steps(strategy) // self.points)

    def before_forward(self, strategy: Any, **_: Any) -> None:
        self.terms, self._seen = {}, None

    def see(self, output: Any, loss: Tensor) -> None:
        """Take note of a step's output and its loss without terms. A plugin may ask for the loss of others later."""
        self._seen = self._seen or (output, loss.detach())

    @torch.no_grad()
    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        if not self.is_due(strategy):
            return
        gradients = [p.grad for p in strategy.model.parameters() if p.grad is not None]
        self.record(strategy, "gradient_norm", torch.nn.utils.get_total_norm(gradients))
        # Copies, since a captured step writes its results to the same memory each time.
        self.record(strategy, "loss", strategy.loss.clone())
        for name, value in self.terms.items():
            self.record(strategy, f"loss_{name}", value.clone())
        if self._seen is None:
            return
        output, negative_elbo = self._seen
        for name in PARTS:
            if isinstance(part := getattr(output, name, None), Tensor):
                self.record(strategy, f"loss_{name}", part.mean())
        self.record(strategy, "loss_other", strategy.loss - negative_elbo - sum(self.terms.values()))

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        self.by_name = {
            name: dict(zip(trace, torch.cat([value.reshape(1) for value in trace.values()]).tolist(), strict=True))
            for name, trace in self._recorded.items()
        }
        largest = {name: max(map(abs, trace.values())) for name, trace in self.by_name.items()}
        if largest.get("loss_other", 0.0) <= _ROUNDING * largest.get("loss", 0.0):
            self.by_name.pop("loss_other", None)
        self.terms, self._seen, self._recorded = {}, None, {}
