"""Avalanche plugins as methods, stock ones and those of one's own: what they keep is counted, and those that can't work
with a generative model are refused before anything is trained.

    @register_method("my-agem", version=1, uses=("boundaries", "past-data"), restarts="it holds a live iterator")
    class Mine(StockMethod):
        def plugin(self):
            return AGEMPlugin(200, 64)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sized
from math import prod
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import DatasetExperience
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.core import BasePlugin, SupervisedPlugin
from avalanche.training import plugins as stock
from avalanche.training.storage_policy import ExemplarsBuffer
from avalanche.training.templates.base import BaseTemplate
from torch import Tensor, nn
from torch.utils.data import Dataset

from lifegen.benchmark.errors import InputError, brief
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream

from .method import VAEMethod

_NO_CLASSES = "a generative model tells no classes apart"
_REFUSED: Mapping[type, tuple[str, str]] = {
    stock.BiCPlugin: (f"it corrects a classifier's bias among classes, and {_NO_CLASSES}", "avalanche-replay"),
    stock.CoPEPlugin: (
        f"it replaces the loss by one on a prototype of each class, and {_NO_CLASSES}",
        "avalanche-replay",
    ),
    stock.CWRStarPlugin: (f"it keeps a classifier's weights of each class, and {_NO_CLASSES}", "ewc"),
    stock.LwFPlugin: (f"it distils the classes' logits, and {_NO_CLASSES}", "lifelong-vae, which distils codes"),
    stock.FeatureDistillationPlugin: (
        "it distils model.features, which a generative model doesn't have",
        "lifelong-vae with consistency_on=both",
    ),
    stock.LFLPlugin: (
        "it distils model.get_features(x), which a generative model doesn't have",
        "lifelong-vae with consistency_on=both",
    ),
    stock.MASPlugin: (
        "its importances are of the norm of an output that is one tensor, which a generative model's isn't",
        "ewc or synaptic-intelligence",
    ),
    stock.MIRPlugin: (
        "it chooses images by a criterion with a `reduction`, which the negative ELBO doesn't have",
        "exact-replay or avalanche-replay",
    ),
    stock.RARPlugin: (
        f"it moves remembered images towards another class, and {_NO_CLASSES}",
        "exact-replay or avalanche-replay",
    ),
    stock.GSS_greedyPlugin: (
        "it takes gradients of single images in the midst of a step and leaves them in that step's gradient",
        "exact-replay or avalanche-replay",
    ),
    stock.SynapticIntelligencePlugin: (
        "on a CPU, what it takes for copies of the weights are the weights, so that it does nothing",
        "synaptic-intelligence, which is the same plugin repaired",
    ),
    stock.EarlyStoppingPlugin: (
        "it waits for a metric of Avalanche's evaluator, which doesn't run in lifegen's loop",
        "a scenario's interval_length=early-stopping",
    ),
    stock.TrainGeneratorAfterExpPlugin: (
        "it trains a generator beside a classifier, and here the model is the generator",
        "avalanche-generative-replay",
    ),
    **dict.fromkeys(
        (
            stock.CurrentDataNCMUpdate,
            stock.MemoryNCMUpdate,
            stock.NCMOracle,
            stock.CurrentDataFeCAMUpdate,
            stock.MemoryFeCAMUpdate,
            stock.FeCAMOracle,
        ),
        (f"it updates a classifier's statistics of each class, and {_NO_CLASSES}", "avalanche-replay"),
    ),
}
"""Why each can't be a method, and what to use instead. As they ship: a subclass is its author's."""


class StockMethod(VAEMethod):
    """A plugin of Avalanche's, or of one's own, on the code/style VAE, whose code keeps its size."""

    def __init__(self, config: Any = None) -> None:
        """Make the method.

        Args:
            config: a ``Config``, a mapping of its fields, or None for the defaults.

        Raises:
            pydantic.ValidationError: an unknown field, or a value that its field can't take.
            InputError: its plugin can't work with a generative model.
        """
        super().__init__(config)
        _check(self.plugin(), getattr(self.config, "norm", "none"))

    def plugin(self) -> BasePlugin[Any]:
        """A new plugin, with the method's options."""
        raise NotImplementedError

    def plugins(self, stream: Stream, seeds: Seeds) -> list[Any]:
        plugin = self.plugin()
        # A subclass that changes no arithmetic: an object's class may be replaced by one of the same layout.
        plugin.__class__ = _COUNTING.get(type(plugin), type(plugin))
        return [*super().plugins(stream, seeds), plugin, MemoryPlugin(plugin, stream.image_shape)]


def _check(plugin: object, norm: str) -> None:
    if not isinstance(plugin, BasePlugin):
        raise InputError(f"plugin() is to return an Avalanche plugin; found: {brief(plugin)}")
    name = type(plugin).__name__
    if type(plugin) in _REFUSED:
        why, instead = _REFUSED[type(plugin)]
        raise InputError(f"Avalanche's {name} can't be a method: {why}; use {instead} instead")
    if type(plugin) is stock.RWalkPlugin and norm == "batch":
        raise InputError(
            f"Avalanche's {name} can't be a method with norm=batch: it leaves the model in evaluation mode, where "
            "batch norm ignores the batch; use norm=group or norm=none"
        )


class MemoryPlugin(SupervisedPlugin):
    """Counts what another plugin keeps, where that doesn't say it: by looking at all it holds.

    Floating-point tensors and modules count as numbers; images, data sets and Avalanche's buffers as samples. The
    model that is trained doesn't count, nor do optimisers, nor what is only of a step.
    """

    capturable = True

    def __init__(self, plugin: BasePlugin[Any], image_shape: tuple[int, int, int]) -> None:
        """Make the plugin.

        Args:
            plugin: the other one.
            image_shape: channels, height, width: what tells images from other tensors.
        """
        super().__init__()
        self._plugin = plugin
        self._image_shape = image_shape
        self._model: nn.Module | None = None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._model = strategy.model

    @property
    def stored_parameters(self) -> int:
        return 0 if hasattr(self._plugin, "stored_parameters") else self._kept()[0]

    @property
    def stored_samples(self) -> int:
        return 0 if hasattr(self._plugin, "stored_samples") else self._kept()[1]

    def _kept(self) -> tuple[int, int]:
        """Numbers and images that the plugin keeps."""
        trained = set() if self._model is None else {_storage(one) for one in self._model.state_dict().values()}
        of_a_step = {name for kind, names in _OF_A_STEP.items() if isinstance(self._plugin, kind) for name in names}
        waiting = [value for name, value in vars(self._plugin).items() if name not in of_a_step]
        seen: dict[int, Any] = {id(self._plugin): self._plugin}  # ids are of living objects
        numbers: dict[int, int] = {}
        samples = 0
        while waiting:
            value = waiting.pop()
            if id(value) in seen or self._is_trained(value):
                continue
            seen[id(value)] = value
            if isinstance(value, ExemplarsBuffer):
                samples += len(value.buffer)
            elif isinstance(value, AvalancheDataset | Dataset) and isinstance(value, Sized):
                samples += len(value)
            elif isinstance(value, Tensor) and (images := self._images_in(value)):
                samples += images
            elif isinstance(value, Tensor | nn.Module):
                tensors = [value] if isinstance(value, Tensor) else value.state_dict().values()
                kept = [one for one in tensors if one.is_floating_point() and _storage(one) not in trained]
                numbers |= {one.data_ptr(): one.numel() for one in kept}
            else:
                waiting += _parts(value)
        return sum(numbers.values()), samples

    def _images_in(self, tensor: Tensor) -> int:
        if tensor.shape[-3:] == self._image_shape:
            return tensor.shape[:-3].numel()
        is_flat = (
            tensor.dtype == torch.uint8 and tensor.ndim > 1 and tensor.shape[1:].numel() == prod(self._image_shape)
        )
        return len(tensor) if is_flat else 0

    def _is_trained(self, value: object) -> bool:
        """Whether something is the model that is trained, or the strategy that trains it."""
        strategy = isinstance(value, BaseTemplate) and value.model is self._model
        return strategy or value is self._model


def _parts(value: Any) -> Iterable[Any]:
    """What an object is made of, as far as it may be kept for later."""
    if isinstance(value, np.ndarray):
        return [torch.from_numpy(value)] if value.dtype.kind in "biuf" else []
    if isinstance(value, DatasetExperience):
        return [value.dataset]  # not the stream that it is of
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, type | torch.optim.Optimizer):
        return []
    attributes: Mapping[str, Any] = getattr(value, "__dict__", {})
    return attributes.values()


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


_OF_A_STEP: Mapping[type, tuple[str, ...]] = {
    stock.AGEMPlugin: ("reference_gradients",),
    stock.GEMPlugin: ("G",),
}
"""What plugins make anew at each step: no memory."""

# What stock plugins pass through the model beside the batch, or put into it, counted


class CountingAGEM(stock.AGEMPlugin):
    """A-GEM that counts the remembered images that it takes gradients of, and passes over a sample of one image, the
    rest of a memory that its size doesn't divide: batch norm needs two."""

    extra_rows = 0

    def sample_from_memory(self) -> Any:
        batch = super().sample_from_memory()
        if len(batch[0]) < 2:
            batch = super().sample_from_memory()
        self.extra_rows += len(batch[0])
        return batch


class CountingGEM(stock.GEMPlugin):
    """GEM that counts the remembered images that it takes gradients of."""

    extra_rows = 0

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_iteration(strategy, **kwargs)
        self.extra_rows += sum(map(len, self.memory_x.values()))


class CountingGenerativeReplay(stock.GenerativeReplayPlugin):
    """Generative replay that counts the images that it draws, in the batch or beside it."""

    synthetic_samples = 0

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        before = len(strategy.mb_x)
        super().before_training_iteration(strategy, **kwargs)
        self.synthetic_samples += len(strategy.mb_x) - before

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        before, _ = strategy.counts
        super().before_backward(strategy, *args, **kwargs)
        self.synthetic_samples += strategy.counts[0] - before


_COUNTING: Mapping[type, type] = {
    stock.AGEMPlugin: CountingAGEM,
    stock.GEMPlugin: CountingGEM,
    stock.GenerativeReplayPlugin: CountingGenerativeReplay,
}
