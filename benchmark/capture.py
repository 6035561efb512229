"""A training step as one CUDA graph: small networks on a GPU wait for its launches, not for its arithmetic.

Captured is what lies between the hooks ``before_forward`` and ``after_update``, both included: forward pass, loss,
gradients, optimiser. The other hooks, the clock and the counts run outside, at every step. A plugin that has hooks in
between must say ``capturable = True``: within an interval they do the same tensor operations at every step, change no
Python number, and draw random numbers, if at all, from the generators in the plugin's attribute ``generators``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin

if TYPE_CHECKING:
    from .template import GenerativeTemplate

_WARM_UP = 3
"""Steps of an interval before its step is captured: they allocate what the optimiser and the libraries keep."""
_CAPTURED_HOOKS = (
    "before_forward", "after_forward", "before_backward", "after_backward", "before_update", "after_update",
)  # fmt: skip


class Graph(Protocol):
    """A recorded step."""

    def warm_up(self, step: Callable[[], None]) -> None:
        """Take a step that isn't recorded."""

    def capture(self, step: Callable[[], None], generators: Iterable[torch.Generator]) -> None:
        """Record a step that draws from these generators, and take it once."""

    def replay(self) -> None:
        """Take the recorded step on what its tensors hold now."""


class CUDAGraph:
    """The graph that CUDA records."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, step: Callable[[], None]) -> None:
        # On a stream of its own, as torch's notes on CUDA graphs ask for.
        with torch.cuda.device(self._device):
            side, current = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                step()
            current.wait_stream(side)

    def capture(self, step: Callable[[], None], generators: Iterable[torch.Generator]) -> None:
        for generator in generators:
            self._graph.register_generator_state(generator)
        with torch.cuda.device(self._device), torch.cuda.graph(self._graph):
            step()
        self.replay()  # capturing alone computes nothing

    def replay(self) -> None:
        self._graph.replay()


def obstacle(strategy: GenerativeTemplate) -> str | None:
    """Why a strategy's next interval can't be captured, in words; None if it can."""
    from .template import TensorLoader

    if not isinstance(strategy.dataloader, TensorLoader):
        return "a plugin brought its own loader"
    for plugin in strategy.plugins:
        if isinstance(plugin, EvaluationPlugin):
            return "an Avalanche evaluator looks at every step"
        if not getattr(plugin, "capturable", False) and any(_has(plugin, hook) for hook in _CAPTURED_HOOKS):
            return f"{type(plugin).__name__} doesn't say that it can be captured"
    if not getattr(strategy.model, "capturable", False):
        return f"{type(strategy.model).__name__} doesn't say that it can be captured"
    return None


def _has(plugin: object, hook: str) -> bool:
    """Whether a plugin does anything at a hook."""
    inherited = getattr(SupervisedPlugin, hook, None)
    return getattr(type(plugin), hook, inherited) is not inherited


def captured_epoch(strategy: GenerativeTemplate, graph: Graph, **kwargs: Any) -> None:
    """Avalanche's ``training_epoch``, with the inner part of each step replayed from a graph after a few steps."""

    def step() -> None:
        strategy.optimizer.zero_grad()
        strategy.loss = strategy._make_empty_loss()
        strategy._before_forward(**kwargs)
        strategy.mb_output = strategy.forward()
        strategy._after_forward(**kwargs)
        strategy.loss += strategy.criterion()
        strategy._before_backward(**kwargs)
        strategy.backward()
        strategy._after_backward(**kwargs)
        strategy._before_update(**kwargs)
        strategy.optimizer_step()
        strategy._after_update(**kwargs)

    inputs: list[torch.Tensor] = []
    counted = 0, 0
    for taken, batch in enumerate(strategy.dataloader):
        if strategy._stop_training:
            break
        strategy.mbatch = batch
        strategy._unpack_minibatch()
        strategy._before_training_iteration(**kwargs)
        if inputs:
            for kept, new in zip(inputs, strategy.mbatch, strict=True):
                if kept.shape != new.shape:
                    raise RuntimeError(f"captured steps have batches of {tuple(kept.shape)}, not {tuple(new.shape)}")
                kept.copy_(new)
            strategy.mbatch = inputs
            graph.replay()
            strategy.counts = _sum(strategy.counts, counted)
        elif taken == _WARM_UP:
            before = strategy.counts
            strategy.mbatch = [tensor.clone() for tensor in strategy.mbatch]
            try:
                graph.capture(step, _generators(strategy))
                inputs, counted = strategy.mbatch, _sum(strategy.counts, before, -1)
            except RuntimeError as error:  # a plugin promised too much
                strategy.execution = f"eager: capturing failed: {error}"
                strategy.counts = before
                step()
        else:
            graph.warm_up(step)
        strategy._after_training_iteration(**kwargs)
    strategy.optimizer.zero_grad()  # the gradients are the graph's memory


def _sum(first: tuple[int, int], second: tuple[int, int], sign: int = 1) -> tuple[int, int]:
    return first[0] + sign * second[0], first[1] + sign * second[1]


def _generators(strategy: GenerativeTemplate) -> list[torch.Generator]:
    found = [
        strategy.model.generator,
        *(one for plugin in strategy.plugins for one in getattr(plugin, "generators", ())),
    ]
    return [generator for generator in found if generator is not None]
