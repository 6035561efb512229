"""The memory of a plugin that doesn't say what it keeps: everything that it holds is looked at and counted."""

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

_OF_A_STEP: Mapping[type, tuple[str, ...]] = {
    stock.AGEMPlugin: ("reference_gradients",),
    stock.GEMPlugin: ("G",),
}
"""Attributes that a plugin makes anew at each step: they are no memory."""


class MemoryPlugin(SupervisedPlugin):
    """Counts the numbers and images that another plugin keeps, if that plugin doesn't say so itself.

    Floating-point tensors and modules count as numbers; images, data sets and Avalanche's buffers as samples. The
    model that is trained doesn't count, nor does an optimiser, nor an attribute that is made anew at each step.
    """

    capturable = True

    def __init__(self, plugin: BasePlugin[Any], image_shape: tuple[int, int, int]) -> None:
        """Make the plugin.

        Args:
            plugin: the plugin whose memory is counted.
            image_shape: channels, height and width, which tell images from other tensors.
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
        trained = set() if self._model is None else {_storage(tensor) for tensor in self._model.state_dict().values()}
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
                own = [each for each in tensors if each.is_floating_point() and _storage(each) not in trained]
                numbers |= {each.data_ptr(): each.numel() for each in own}
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
        """Whether an object is the model that is trained, or the strategy that trains it."""
        trains_it = isinstance(value, BaseTemplate) and value.model is self._model
        return trains_it or value is self._model


def _parts(value: Any) -> Iterable[Any]:
    """The objects that an object holds and may keep for later."""
    if isinstance(value, np.ndarray):
        return [torch.from_numpy(value)] if value.dtype.kind in "biuf" else []
    if isinstance(value, DatasetExperience):
        return [value.dataset]  # not its stream
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
