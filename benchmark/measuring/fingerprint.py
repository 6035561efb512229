"""Fingerprints of everything that a metric can reach and that later numbers depend on, to notice changes.

A metric gets the strategy itself, since a copy would take as much memory again. Accidental changes would silently
change all later numbers, so a fingerprint is taken before and after.
"""

from __future__ import annotations

import random
import sys
import zlib
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from enum import Enum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from types import MethodType
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import CLExperience, CLScenario, CLStream
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.templates.base import BaseTemplate
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from ..contracts.stream import Stream, TensorImages, tensor_view
from ..seeds import global_states

Places = dict[str, Hashable]
"""Comparable values, by their place in an object."""
Fingerprint = dict[str, Places]
"""The places of each object, by its name in messages."""

SETTINGS = "global settings"
"""The name of the settings that all arithmetic of the process depends on."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, np.generic, torch.dtype, torch.device, torch.Size)
_ELSEWHERE = (BaseTemplate, CLScenario, CLStream, CLExperience)
"""Objects that plugins refer to without owning them."""
_INTERVAL = ("interval", "distributions", "is_new", "steps", "planned_steps", "stopping", "passes", "replacement")
_OF_EVERY_MODULE = vars(nn.Module()).keys()
_GONE = object()


class Watch:
    """Notices changes from one look to the next."""

    def __init__(self, look: Callable[[], Fingerprint]) -> None:
        """Look for the first time.

        Args:
            look: takes a fingerprint.
        """
        self._look = look
        self._before = look()
        self._overlooked: set[tuple[str, str]] = set()

    def overlook(self) -> None:
        """Look, and from now on ignore the places that have changed: they change by being looked at."""
        self._overlooked |= self._differences()

    def changes(self) -> list[str]:
        """Describe the changes since the last look."""
        changed = self._differences() - self._overlooked
        return [_in_words(of, sorted(place for other, place in changed if other == of))
                for of in self._before if any(other == of for other, _ in changed)]  # fmt: skip

    def _differences(self) -> set[tuple[str, str]]:
        """Return the places of the last look whose values differ. A new place is no change: shared results of metrics
        are computed at the first request."""
        before, self._before = self._before, self._look()
        return {
            (of, place)
            for of, places in before.items()
            for place, value in places.items()
            if self._before.get(of, {}).get(place, _GONE) != value
        }


def _in_words(of: str, places: list[str]) -> str:
    named = list(filter(None, places))
    return f"{of} ({', '.join(named[:2])}{', …' * (len(named) > 2)})" if named else of


def fingerprint(
    strategy: Any, stream: Stream, images: Mapping[Any, Tensor], results: Mapping[str, object]
) -> Fingerprint:
    """Take the fingerprint of everything that a metric can reach.

    Args:
        strategy: the measured strategy.
        stream: its stream.
        images: copies of the stream's images, by part and distribution.
        results: shared results of metrics, by the name that metrics use.
    """
    walk = _Walk([strategy.model, *strategy.plugins])
    return {
        **walk.model(strategy.model),  # first, since others refer to its weights
        "the optimiser": walk.places(strategy.optimizer),
        "the method's plugins": walk.plugins(strategy.plugins),
        "the strategy": walk.strategy(strategy),
        "the stream's images or labels": walk.images(stream, images),
        "the stream's intervals": walk.intervals(stream),
        **{name: walk.places(value) for name, value in results.items()},
        **{f"the global generator of {name}": {"": state} for name, state in global_states().items()},
        SETTINGS: _settings(),
    }


class _Walk:
    """Walks through objects, each once: a shared object is reported for its first owner."""

    def __init__(self, owners: Iterable[object]) -> None:
        self._seen: dict[int, object] = {}  # keeps objects alive, so that ids stay unique
        # Objects of other libraries may change by themselves: only their identity counts.
        self._libraries = {"avalanche", "lifegen"} | {_library(owner) for owner in owners}

    def model(self, model: nn.Module) -> Fingerprint:
        weights: Places = {}
        modes: Places = {}
        trained: Places = {}
        gradients: Places = {}
        others: Places = {}
        generator = getattr(model, "generator", None)
        self._seen |= {id(owner): owner for owner in (model, generator)}
        for path, module in model.named_modules():
            modes[path] = module.training
            for name, tensor in _tensors(module):
                self._value(weights, _join(path, name), tensor)
            for name, tensor in module.named_parameters(path, recurse=False):
                trained[name] = id(tensor), tensor.requires_grad
                gradients[name] = None if tensor.grad is None else _checksum(tensor.grad)
            self._module_attributes(others, path, module)
        return {
            "the model's weights or buffers": weights,
            "the model's training mode": modes,
            "which weights are trained": trained,
            "the model's gradients": gradients,
            "m.model.generator, which is training's": {"": None if generator is None else _state(generator)},
            "the model's attributes": others,
        }

    def plugins(self, plugins: Iterable[object]) -> Places:
        places: Places = {}
        plugins = list(plugins)
        self._seen |= {id(plugin): plugin for plugin in plugins}
        for i, plugin in enumerate(plugins):
            name = type(plugin).__name__
            name = f"{name} {i}" if name in places else name
            places[name] = id(plugin)
            self._attributes(places, name, plugin)
        places["length"] = len(plugins)
        return places

    def strategy(self, strategy: Any) -> Places:
        """Its numbers and texts, and the identity of its parts; other attributes are remade at each step."""
        places: Places = {}
        for name, value in list(vars(strategy).items()):
            if isinstance(value, bool | int | float | str | tuple | torch.device):
                self._value(places, name, value)
        for name in ("model", "optimizer", "_criterion"):
            places[name] = id(getattr(strategy, name, None))
        for name in ("clock", "seeds", "optimized_param_id"):
            self._value(places, name, getattr(strategy, name, None))
        places["overrides"] = _overriding(strategy, vars(strategy))
        return places

    def images(self, stream: Stream, copies: Mapping[Any, Tensor]) -> Places:
        places: Places = {}
        for part, experiences in stream.streams.items():
            for i, experience in enumerate(experiences):
                self._value(places, f"{part} {i}", tensor_view(experience.dataset))
        for key, tensor in copies.items():
            self._value(places, f"copy of {' '.join(key)}", tensor)
        return places

    def intervals(self, stream: Stream) -> Places:
        places: Places = {}
        for part, experiences in stream.streams.items():
            for i, experience in enumerate(experiences):
                for name in _INTERVAL:
                    self._value(places, f"{part} {i}.{name}", getattr(experience, name, None))
        return places

    def places(self, value: object) -> Places:
        """The places of any object."""
        places: Places = {}
        self._value(places, "", value)
        return places

    def _value(self, places: Places, path: str, value: object) -> None:
        if isinstance(value, _PLAIN):
            places[path] = repr(value)  # as text, NaN equals itself, and 1 differs from True
        elif isinstance(value, tuple):  # tuples are compared by value
            self._items(places, path, value)
        elif id(value) in self._seen:
            places[path] = id(value)
        else:
            self._seen[id(value)] = value
            self._object(places, path, value)

    def _object(self, places: Places, path: str, value: Any) -> None:
        if isinstance(value, Tensor):
            places[path] = _checksum(value)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            places[path] = value.dtype.str, value.shape, zlib.crc32(np.ascontiguousarray(value).view(np.uint8).data)
        elif isinstance(value, torch.Generator | random.Random | np.random.Generator | np.random.RandomState):
            places[path] = _state(value)
        elif isinstance(value, Mapping):
            self._items(places, path, list(value.values()), list(value))
        elif isinstance(value, list | deque):
            self._items(places, path, list(value))
        elif isinstance(value, set | frozenset):
            places[path] = tuple(sorted(repr(item) if isinstance(item, _PLAIN) else str(id(item)) for item in value))
        elif isinstance(value, torch.optim.Optimizer):
            self._optimizer(places, path, value)
        elif isinstance(value, nn.Module):
            self._module(places, path, value)
        elif isinstance(value, AvalancheDataset):
            parts = [part.images for part in value._flat_data._datasets if isinstance(part, TensorImages)]
            self._items(places, path, parts)
        else:
            places[path] = id(value)
            is_own = isinstance(value, LRScheduler) or _library(value) in self._libraries
            if is_own and not isinstance(value, _ELSEWHERE):
                self._attributes(places, path, value)

    def _items(self, places: Places, path: str, values: Any, keys: Iterable[object] | None = None) -> None:
        if keys is None and all(isinstance(value, _PLAIN) for value in values):  # fast for thousands of indices
            places[path] = repr(values)
            return
        places[_join(path, "length")] = len(values)
        for i, (key, value) in enumerate(zip(range(len(values)) if keys is None else keys, values, strict=False)):
            self._value(places, _join(path, str(key if isinstance(key, _PLAIN) else i)), value)

    def _optimizer(self, places: Places, path: str, optimizer: torch.optim.Optimizer) -> None:
        places[_join(path, "overrides")] = _overriding(optimizer, vars(optimizer))
        places[_join(path, "hooks")] = _hooks(optimizer)
        self._value(places, _join(path, "defaults"), optimizer.defaults)
        for i, group in enumerate(optimizer.param_groups):
            options = {name: value for name, value in group.items() if name != "params"}
            self._value(places, _join(path, f"group {i}"), options)
            places[_join(path, f"group {i}.params")] = tuple(map(id, group["params"]))
        for i, weights in enumerate(chain.from_iterable(group["params"] for group in optimizer.param_groups)):
            self._value(places, _join(path, f"state {i}"), optimizer.state.get(weights))

    def _module(self, places: Places, path: str, module: nn.Module) -> None:
        places[_join(path, "training")] = module.training
        for name, tensor in _tensors(module):
            self._value(places, _join(path, name), tensor)
            places[_join(path, f"{name}.requires_grad")] = tensor.requires_grad
        for name, child in module._modules.items():
            self._value(places, _join(path, name), child)
        self._module_attributes(places, path, module)

    def _module_attributes(self, places: Places, path: str, module: nn.Module) -> None:
        places[_join(path, "hooks")] = _hooks(module)
        self._attributes(places, path, module, _OF_EVERY_MODULE)

    def _attributes(self, places: Places, path: str, value: object, but: Collection[str] = ()) -> None:
        kind = type(value)
        attributes = dict(getattr(value, "__dict__", {}))
        for slot in chain.from_iterable(vars(parent).get("__slots__", ()) for parent in kind.__mro__):
            attributes |= {slot: getattr(value, slot)} if hasattr(value, slot) else {}
        own = {
            name: one
            for name, one in attributes.items()
            if name not in but and not isinstance(getattr(kind, name, None), cached_property)
        }
        places[_join(path, "overrides")] = _overriding(value, own)
        for name, one in own.items():
            self._value(places, _join(path, name), one)


def _overriding(value: object, attributes: Mapping[str, object]) -> Hashable:
    """Which of an object's own attributes hide others of its class: a new one does nothing unless it does that.

    The class's own method does nothing either: who hid it for a moment has put it back.
    """
    kind = type(value)
    hidden = [(name, one, getattr(kind, name)) for name, one in attributes.items() if hasattr(kind, name)]
    return tuple(
        sorted(
            name
            for name, one, of_class in hidden
            if one is not of_class
            and not (isinstance(one, MethodType) and one.__func__ is of_class and one.__self__ is value)
        )
    )


def _hooks(value: object) -> int:
    """How many hooks a module or an optimiser has."""
    return sum(len(hooks) for name, hooks in vars(value).items() if name.endswith("_hooks") and hooks)


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    tensors = chain(module._parameters.items(), module._buffers.items())
    return [(name, tensor) for name, tensor in tensors if tensor is not None]


def _checksum(tensor: Tensor) -> Hashable:
    """32 bits are enough against accidents, and several times as fast as what withstands more."""
    facts = tensor.dtype, tuple(tensor.shape), str(tensor.device)
    if tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
        return facts
    return zlib.crc32(bytes_of(tensor.detach().cpu().resolve_conj().resolve_neg())), *facts


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor's values, on the CPU, in order."""
    # A tensor of at most one value counts as contiguous, whatever its strides are.
    flat = tensor.contiguous().as_strided((tensor.numel(),), (1,))
    data: memoryview = flat.view(torch.uint8).numpy().data
    return data


def _state(generator: Any) -> Hashable:
    if isinstance(generator, torch.Generator):
        return bytes(generator.get_state().numpy())
    if isinstance(generator, random.Random):
        return generator.getstate()
    state = generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state(False)
    return repr(state) + repr([part.tolist() for part in state["state"].values() if isinstance(part, np.ndarray)])


def _library(value: object) -> str:
    """The package or module of an object's class."""
    return type(value).__module__.partition(".")[0]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_BACKENDS = (
    "cuda.matmul.fp32_precision",
    "cudnn.conv.fp32_precision",
    "mkldnn.matmul.fp32_precision",
    "mkldnn.conv.fp32_precision",
    "mkldnn.enabled",
    "cudnn.enabled",
    "cudnn.benchmark",
    "cudnn.deterministic",
)


def _settings() -> Places:
    """Settings that change all arithmetic."""
    values = {
        "torch.default_dtype": torch.get_default_dtype(),
        "torch.default_device": torch.get_default_device(),
        "torch.num_threads": torch.get_num_threads(),
        "torch.grad_enabled": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch.anomaly_detection": torch.is_anomaly_enabled(),
        "torch.autocast": [
            (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")
        ],
        "torch.deterministic_algorithms": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        **{f"torch.backends.{name}": attrgetter(name)(torch.backends) for name in _BACKENDS},
        "flushed denormals": sys.float_info.min / 2 == 0,
        "numpy.errstate": np.geterr(),
    }
    return {name: repr(value) for name, value in values.items()}
