"""The training loop: Avalanche's supervised template, with batches from one tensor and a budget in optimiser steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, islice, repeat
from typing import Any

import torch
from avalanche.core import BasePlugin, SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from ..contracts.images import to_unit
from ..contracts.model import GenerativeModel, TrainingOutput
from ..contracts.stream import is_redrawn, redraw, tensor_view
from ..seeds import Seeds
from .capture import CUDAGraph, Graph, captured_epoch, obstacle
from .counting import count_state, extra_rows, interval_steps, synthetic_samples, total  # noqa: F401
from .early_stopping import EarlyStoppingPlugin
from .finite_loss import FiniteLossPlugin
from .hooks import HOOKS, acting
from .loader import TensorLoader
from .precision import denormals_flushed, products_in
from .traces import Traces


def negative_elbo_loss(output: TrainingOutput, _: Any = None) -> Tensor:
    """Mean training loss. A criterion that needs the output alone, so stock plugins that call it directly work."""
    return output.negative_elbo().mean()


class GenerativeTemplate(SupervisedTemplate):
    """Trains a generative model on one interval after another.

    An experience with an attribute ``steps`` gets exactly that many optimiser steps, or fewer with early stopping; one
    with ``passes`` gets as many as its images last; any other Avalanche experience gets ``train_epochs`` epochs.

    A plugin states what it keeps and draws in the attributes ``stored_parameters`` and ``stored_samples`` (now), and
    ``synthetic_samples`` and ``extra_rows`` (so far: images drawn from a model of the past for training, and images of
    any kind that were trained on beside the batches that ``forward`` sees). A missing attribute counts as 0.
    """

    def __init__(
        self,
        *,
        model: GenerativeModel,
        optimizer: torch.optim.Optimizer,
        plugins: Sequence[BasePlugin] = (),
        train_mb_size: int = 100,
        train_epochs: int = 1,
        eval_mb_size: int = 500,
        device: torch.device | str = "cpu",
        evaluator: EvaluationPlugin | None = None,
        seeds: Seeds | None = None,
    ) -> None:
        """Make the strategy.

        Args:
            model: the model to train.
            optimizer: the optimiser of the model's parameters.
            plugins: the plugins of the method.
            train_mb_size: images per optimiser step.
            train_epochs: passes over an experience without ``steps``.
            eval_mb_size: images per batch in ``eval``.
            device: the device of model and data.
            evaluator: Avalanche's metrics and loggers; none by default, since lifegen's harness measures by itself.
            seeds: the source of the batch order.
        """
        self.counts = (0, 0)
        """Rows that ``forward`` saw in training and optimiser steps, both of the current interval"""
        self.precision = "float32"
        """Precision of matrix products in training steps; see ``precision``."""
        self.graph: Callable[[torch.device], Graph] | None = CUDAGraph if torch.device(device).type == "cuda" else None
        """Makes the graph that captures training steps where possible; None: steps are never captured."""
        self.is_captured = False
        """Whether a step's tensors are those of a graph, which the next step overwrites; warm-up steps count."""
        self.execution = "eager"
        """Execution of the last interval's steps: "captured", or "eager" with the reason"""
        self._acting: dict[str, list[Callable[..., Any]]] = {}
        """Functions of the plugins at each hook of a step, during an epoch."""
        self._synthetic_before = 0
        self._extra_before = 0
        self.seeds = seeds or Seeds(0)
        self.traces = Traces()
        super().__init__(
            model=model,
            optimizer=optimizer,
            criterion=negative_elbo_loss,
            # Early stopping comes first, so that the method's plugins see the best state at the end of an interval.
            plugins=[EarlyStoppingPlugin(self.seeds), *plugins, self.traces, FiniteLossPlugin()],
            train_mb_size=train_mb_size,
            train_epochs=train_epochs,
            eval_mb_size=eval_mb_size,
            device=device,
            evaluator=evaluator or _NoEvaluator(),
        )

    # Counts of the current (or, between intervals, the last) interval

    @property
    def optimizer_steps(self) -> int:
        return self.counts[1]

    @property
    def synthetic_samples(self) -> int:
        """Images drawn from a model of the past, as counted by the plugins that draw them."""
        return synthetic_samples(self) - self._synthetic_before

    @property
    def real_samples(self) -> int:
        """All other images that entered a training step, in the batch or beside it."""
        return self.counts[0] + extra_rows(self) - self._extra_before - self.synthetic_samples

    # Memory

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers kept: the model's state and, for example, a teacher in a plugin."""
        return count_state(self.model) + total(self.plugins, "stored_parameters")

    @property
    def stored_samples(self) -> int:
        """Real images of the past that plugins keep."""
        return total(self.plugins, "stored_samples")

    # Avalanche's hooks

    def make_train_dataloader(self, **kwargs: Any) -> None:
        images = tensor_view(self.adapted_dataset)
        if images is None:  # a plugin replaced the data
            super().make_train_dataloader(**kwargs)
            return
        interval = self.clock.train_exp_counter
        redrawn = is_redrawn(self.adapted_dataset)
        self.dataloader: Any = TensorLoader(
            images,
            self.train_mb_size,
            batches=self._steps(len(images.x)),
            generator=self.seeds.generator("data-order", interval),
            device=self.device,
            reads=self._reads(len(images.x)),
            replacement=getattr(self.experience, "replacement", False),
            pixels=self.seeds.generator("pixels", interval, device=self.device) if redrawn else None,
        )

    def _steps(self, images: int) -> int:
        """Optimiser steps of the experience, with full batches of its own images."""
        steps = getattr(self.experience, "steps", None)
        if steps is not None:
            return int(steps)
        batch, reads = int(self.train_mb_size), self._reads(images)
        return -(-images // batch) if reads is None else max(1, reads // batch)

    def _reads(self, images: int) -> int | None:
        """Images that the experience trains on, of so many; None if passes aren't its length."""
        passes = getattr(self.experience, "passes", None)
        return None if passes is None else max(1, int(passes * images))

    def make_eval_dataloader(self, **kwargs: Any) -> None:
        images = tensor_view(self.adapted_dataset)
        if images is None:
            super().make_eval_dataloader(**kwargs)
            return
        if is_redrawn(self.adapted_dataset):
            images = images._replace(x=redraw(images.x, self.seeds.generator("pixels", "eval")))
        chunks = zip(images.x.split(self.eval_mb_size), images.y.split(self.eval_mb_size), strict=True)
        self.dataloader = [[to_unit(x.to(self.device)), y, torch.zeros_like(y)] for x, y in chunks]

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        self.counts = (0, 0)
        self._stop_training = False  # Avalanche leaves it set after the last epoch: the next interval would not begin
        self._synthetic_before = synthetic_samples(self)
        self._extra_before = extra_rows(self)
        has_length = any(getattr(experience, key, None) is not None for key in ("steps", "passes"))
        if has_length and self.train_epochs != 1:
            raise ValueError("an experience with steps or passes is one epoch; leave train_epochs at 1")
        if has_length and not isinstance(self.dataloader, TensorLoader):
            # A plugin brought its own loader, whose epochs have their own length: repeat it up to the budget.
            steps = self._steps(len(experience.dataset))
            self.dataloader = islice(chain.from_iterable(repeat(self.dataloader)), steps)
        super()._train_exp(experience, eval_streams, **kwargs)

    def training_epoch(self, **kwargs: Any) -> None:
        why_not = obstacle(self) if self.graph else None
        self._acting = {hook: acting(self.plugins, hook) for hook in HOOKS}
        with products_in(self.precision, self.device), denormals_flushed():
            if self.graph is None or why_not:
                self.execution = f"eager: {why_not}" if why_not else "eager"
                super().training_epoch(**kwargs)
            else:
                captured_epoch(self, self.graph(self.device), **kwargs)
        self._acting, self.is_captured = {}, False

    def forward(self) -> Any:
        if self.is_training:
            rows, steps = self.counts
            self.counts = (rows + len(self.mb_x), steps)
        return super().forward()

    def criterion(self) -> Tensor:
        loss: Tensor = super().criterion()
        if self.is_training:
            self.traces.see(self.mb_output, loss)
        return loss

    def _make_empty_loss(self) -> Any:
        return _NoLoss()

    def optimizer_step(self) -> None:
        rows, steps = self.counts
        self.counts = (rows, steps + 1)
        super().optimizer_step()


def _calling(hook: str) -> Callable[..., None]:
    """A strategy's method that calls a hook of a step. Avalanche's asks each plugin at each step, which costs small
    networks a tenth of their time."""

    def call(strategy: GenerativeTemplate, **kwargs: Any) -> None:
        for function in strategy._acting[hook]:
            function(strategy, **kwargs)

    return call


for _hook in HOOKS:
    setattr(GenerativeTemplate, f"_{_hook}", _calling(_hook))


class _NoLoss(float):
    """A step's loss before its first term, 0. Avalanche's is a tensor, whose sum with that term takes three kernels."""

    def __add__(self, term: Any) -> Any:
        return term.clone()  # plugins add to it in place


class _NoEvaluator(SupervisedPlugin):
    """Replaces Avalanche's evaluator, which copies the experience at nine hooks of every step."""

    def get_last_metrics(self) -> dict[str, Any]:
        return {}
