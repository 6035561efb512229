"""A training step as one CUDA graph: small networks on a GPU wait for its launches, not for its arithmetic.

The graph holds everything from the hook ``before_forward`` to ``after_update``, inclusive: forward pass, loss,
gradients, optimiser. The hooks around a step, the clock and the counts run outside, at every step.

A plugin that has a hook in or around the step must say ``capturable = True``, which promises for an interval:

- hooks inside do the same tensor operations at every step, on tensors that are only ever changed in place (they may
  replace ``strategy.mbatch``), and draw random numbers, if at all, from the generators in the plugin's attribute
  ``generators``;
- hooks around it may change ``strategy.mbatch``, or tensors in place, but no Python number that the step reads, and
  they clone whatever they keep of ``strategy.loss`` or ``strategy.mb_output``.

A model's ``capturable`` promises the same of ``forward``. After an interval's last step no parameter has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval

from .hooks import HOOKS, acting
from .loader import TensorLoader

_WARM_UP = 3
"""Steps of an interval before its step is captured: they allocate the memory of the optimiser and the libraries."""


class Graph(Protocol):
    """A recorded step."""

    def warm_up(self, step: Callable[[], None]) -> None:
        """Take a step that isn't recorded."""

    def capture(self, step: Callable[[], None], generators: Iterable[torch.Generator]) -> None:
        """Record a step that draws from these generators, and take it once.

        Raises:
            RuntimeError: the step can't be recorded; nothing has changed.
        """

    def replay(self) -> None:
        """Take the recorded step on the present content of its tensors."""


class CUDAGraph:
    """The graph that CUDA records."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph = torch.cuda.CUDAGraph()
        # torch's notes on CUDA graphs forbid both warm-up and capture on the usual stream.
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, step: Callable[[], None]) -> None:
        with torch.cuda.device(self._device):
            usual = torch.cuda.current_stream()
            self._stream.wait_stream(usual)
            with torch.cuda.stream(self._stream):
                step()
            usual.wait_stream(self._stream)

    def capture(self, step: Callable[[], None], generators: Iterable[torch.Generator]) -> None:
        with torch.cuda.device(self._device):
            generators = list(generators)
            everyone = [torch.cuda.default_generators[torch.cuda.current_device()], *generators]
            kept = [(generator, generator.clone_state()) for generator in everyone]
            for generator in generators:
                self._graph.register_generator_state(generator)
            try:
                with torch.cuda.graph(self._graph, stream=self._stream):
                    step()
            except RuntimeError:
                for generator, state in kept:  # else they would wait for the capture's end for ever
                    generator.graphsafe_set_state(state)
                raise
        self.replay()  # capturing alone computes nothing

    def replay(self) -> None:
        self._graph.replay()


def obstacle(strategy: SupervisedTemplate) -> str | None:
    """Say why a strategy's next interval can't be captured; None if it can."""
    if not isinstance(strategy.dataloader, TensorLoader):
        return "a plugin brought its own loader"
    for plugin in strategy.plugins:
        if isinstance(plugin, EvaluationPlugin):
            return "an Avalanche evaluator looks at every step"
        acts = any(acting([plugin], hook) for hook in HOOKS) and not isinstance(plugin, Clock | PeriodicEval)
        if acts and not getattr(plugin, "capturable", False):
            return f"{type(plugin).__name__} doesn't say that it can be captured"
    if not _promises(type(strategy.model)):
        return f"{type(strategy.model).__name__} doesn't say that its forward can be captured"
    return None


def _promises(model: type) -> bool:
    """Whether a model's class promises that its own ``forward`` can be captured; a parent's promise holds for the
    parent's ``forward`` only."""
    for parent in model.__mro__:
        if "capturable" in vars(parent):
            return bool(vars(parent)["capturable"])
        if "forward" in vars(parent):
            return False
    return False


def captured_epoch(strategy: SupervisedTemplate, graph: Graph, **kwargs: Any) -> None:
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
    trained_on: list[torch.Tensor] = []
    counted = 0, 0
    strategy.execution = f"eager: no more than {_WARM_UP} steps"
    strategy.is_captured = True
    for taken, batch in enumerate(strategy.dataloader):
        if strategy._stop_training:
            break
        strategy.mbatch = batch
        strategy._unpack_minibatch()
        strategy._before_training_iteration(**kwargs)
        before = strategy.counts
        if not strategy.is_captured:
            step()
        elif taken < _WARM_UP:
            graph.warm_up(step)
        elif not inputs:
            inputs = strategy.mbatch = [tensor.clone() for tensor in strategy.mbatch]
            try:
                graph.capture(step, _generators(strategy))
            except RuntimeError as error:  # a plugin or the model promised too much
                strategy.is_captured, strategy.execution = False, f"eager: capturing failed: {_cause(error)}"
                strategy.mbatch, strategy.counts = inputs, before
                step()
            else:
                trained_on, strategy.execution = strategy.mbatch, "captured"
                counted = strategy.counts[0] - before[0], strategy.counts[1] - before[1]
        elif [new.shape for new in strategy.mbatch] != [kept.shape for kept in inputs]:
            strategy.is_captured, strategy.execution = False, "eager: a plugin changed the shape of batches"
            step()
        else:
            for kept, new in zip(inputs, strategy.mbatch, strict=True):
                kept.copy_(new)
            graph.replay()
            strategy.mbatch = trained_on  # a hook inside may have replaced images
            strategy.counts = before[0] + counted[0], before[1] + counted[1]
        strategy._after_training_iteration(**kwargs)
    strategy.optimizer.zero_grad()  # the gradients are the graph's memory


def _generators(strategy: SupervisedTemplate) -> list[torch.Generator]:
    of_plugins = [generator for plugin in strategy.plugins for generator in getattr(plugin, "generators", ())]
    return [generator for generator in (strategy.model.generator, *of_plugins) if generator is not None]


def _cause(error: BaseException) -> str:
    """Return the first error in one line: torch raises another one when it ends a broken capture."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
