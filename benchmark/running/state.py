"""The memory of a run as tensors and JSON, in one safetensors file. No pickle: reading a file runs no code from it.

A state is a graph of objects: numbers, texts, containers, tensors, modules, optimisers, generators, and plain objects
by their attributes. Each is written once, so that shared objects stay shared. The file names classes, which are looked
up among the modules already imported; nothing is imported and no constructor called. Only harmless classes are made:
none of Python's library, none with a finaliser. An object of another kind, such as a live iterator, is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..contracts.images import Images
from ..contracts.options import Options
from ..contracts.registry import METHODS
from ..contracts.stream import TensorImages, avalanche_dataset
from ..errors import InputError
from ..files import NotAFileError, read, texts_in, write_atomically
from ..measuring.fingerprint import bytes_of

FORMAT = 2
"""Raised when classes move: a state names them by their modules."""
_RENAMED = {"lifegen.benchmark.training.counting:GradientNorms": "lifegen.benchmark.training.traces:Traces"}
"""Classes of given objects that have another name in older states of this format."""
_ACCELERATOR_ERRORS = (torch.OutOfMemoryError, torch.AcceleratorError)
_MAPPINGS: dict[str, Any] = {"dict": dict, "ordered": OrderedDict, "defaultdict": defaultdict}
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "size": torch.Size}
_VALUES = (bool, int, float, str, object)
_NAMES = {kind: name for name, kind in (_MAPPINGS | _SEQUENCES).items()}


class UnstatableError(Exception):
    """An object can't be written as tensors and JSON; the text says which and where it is."""


_BITS = (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)


class State(NamedTuple):
    """The content of a file."""

    facts: dict[str, Any]
    """JSON values that were written beside the objects."""
    nodes: list[Any]
    tensors: dict[str, Tensor]


def write_state(file: Path, facts: Mapping[str, Any], objects: Mapping[str, Any], known: Iterable[Any] = ()) -> int:
    """Write the state of objects into a file, which is replaced as a whole.

    Args:
        file: the file to write.
        facts: JSON values.
        objects: the objects, by name.
        known: objects that the reader of the file has as well; references to them are written, their content isn't.

    Returns:
        bytes written.

    Raises:
        UnstatableError: an object can't be written as tensors and JSON.
        OSError: the file can't be written.
    """
    writer = _Writer(known)
    try:
        writer.state(objects)
        tensors = writer.tensors()
        text = json.dumps({"facts": facts, "nodes": writer.nodes}, allow_nan=False)
        header = {"format": str(FORMAT), "content": text, "digest": _digest(text, tensors)}
        content = save_tensors(tensors, header)
    except _ACCELERATOR_ERRORS:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        raise UnstatableError(f"{writer.where}: {type(error).__name__}: {error}"[:500]) from None
    write_atomically(file, content)
    return len(content)


def read_state(file: Path | str) -> State:
    """Read and verify a file.

    Raises:
        InputError: it is missing, or has changed since it was written.
        OSError: it can't be read now.
    """
    try:
        content = read(file)
        tensors = load_tensors(content)
        header = texts_in(content)
        if header["format"] != str(FORMAT):
            raise ValueError(f"its format is {header['format']}, not {FORMAT}")
        if header["digest"] != _digest(header["content"], tensors):
            raise ValueError("its content has changed since it was written")
        stated = json.loads(header["content"])
        return State(stated["facts"], stated["nodes"], tensors)
    except (
        FileNotFoundError,
        NotAFileError,
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(f"{file} isn't a state that lifegen can read: {error}") from None


def restore(state: State, objects: Mapping[str, Any], known: Iterable[Any], device: torch.device) -> dict[str, Any]:
    """Bring objects to a state.

    Args:
        state: the content of the file.
        objects: objects that get their written attributes, by name. They were made as the written ones were.
        known: as in :func:`write_state`, in the same order.
        device: where tensors go that weren't on the CPU.

    Returns:
        all written objects, by name: the given ones, and the others made anew.

    Raises:
        InputError: the state doesn't fit.
    """
    try:
        return _Reader(state, objects, known, device).objects()
    except _ACCELERATOR_ERRORS:  # a passing fault; the state is still good
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"the state doesn't fit the objects to restore: {error}") from None


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def _is_plain(kind: Any) -> bool:
    """Whether objects of a class are wholly in their ``__dict__``: without state in C, as lists have, and without their
    own way of being copied."""
    standard = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    own = kind.__getstate__ is not object.__getstate__
    slots = any(vars(parent).get("__slots__") for parent in kind.__mro__)
    return standard and not own and not slots and kind.__basicsize__ == _Plain.__basicsize__


class _Plain:
    """Its size is that of an object with nothing but a ``__dict__``."""


def _global_name(value: Any) -> str | None:
    """The name of a class or function that may stand in a state, under which it is found again."""
    # torch's own functions don't say their module.
    names = [_own_name(value), f"torch:{getattr(value, '__name__', '')}"]
    return next((name for name in names if _in_module(name) is value and _is_harmless(name, value)), None)


def _own_name(value: Any) -> str:
    """The name that a class or function gives itself."""
    return f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', '')}"


def _is_harmless(name: str, value: Any) -> bool:
    module = name.partition(":")[0]
    root = module.partition(".")[0]
    if isinstance(value, type):
        # A temporary file that goes is deleted, a process waited for: such an object in a state would do that at will.
        return value in _NAMES or value in _VALUES or not (root in sys.stdlib_module_names or hasattr(value, "__del__"))
    methods = {entry.target.__module__.partition(".")[0] for entry in METHODS}
    computes = module in ("torch.nn.functional", "torch.nn.init") or isinstance(value, BuiltinFunctionType)
    return (root == "torch" and computes) or root in methods


def _in_module(name: str) -> Any:
    """The object of a name in an imported module. The look-up imports and computes nothing."""
    module, _, qualified = name.partition(":")
    value: Any = sys.modules.get(module)
    for part in qualified.split("."):
        value = vars(value).get(part) if isinstance(value, ModuleType | type) else None
    return value


def _found(name: str) -> Any:
    """The class or function of a name that stands in a state."""
    value = _in_module(name)
    if not isinstance(value, type | FunctionType | BuiltinFunctionType) or _global_name(value) != name:
        raise ValueError(f"{name} is missing here, or a state may not name it")
    return value


def _images_behind(dataset: AvalancheDataset) -> Images:
    """The images of a data set that is made of nothing but :class:`TensorImages`."""
    flat: Any = dataset._flat_data
    everything = Images(*(torch.cat(part) for part in zip(*(source.images for source in flat._datasets), strict=True)))
    return everything if flat._indices is None else everything.select(torch.as_tensor(flat._indices))


def _class(name: str, kind: type = object) -> Any:
    value = _found(name)
    if not (isinstance(value, type) and issubclass(value, kind)) or (kind is object and not _is_plain(value)):
        raise ValueError(f"{name} isn't a class of the kind that the state names")
    return value


_HOOKS = vars(nn.Module()).keys() - {"training"}
"""Attributes that every module has, and that are mostly empty."""


class _Writer:
    def __init__(self, known: Iterable[Any]) -> None:
        self.nodes: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # keeps objects alive, so that their ids stay theirs
        self._known = {id(value): i for i, value in enumerate(known)}
        self._tensors: list[tuple[dict[str, Any], Tensor]] = []
        self._where: list[str] = []
        self._first: set[int] = set()

    @property
    def where(self) -> str:
        """The path to the object being written; only its beginning if it is long."""
        return ".".join(self._where[:20]) or "the state"

    def state(self, objects: Mapping[str, Any]) -> None:
        self.nodes.append({})
        self._first = {id(value) for value in objects.values()}
        # The recursion is as deep as objects are nested, which is not deep.
        self.nodes[0] = {name: self._part(name, value) for name, value in objects.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to save: each storage once; of a storage with a single tensor only that tensor."""
        groups: dict[tuple[Any, ...], list[tuple[dict[str, Any], Tensor]]] = {}
        for i, (node, tensor) in enumerate(self._tensors):
            storage = tensor.untyped_storage()
            key = (str(tensor.device), storage.data_ptr()) if storage.nbytes() else (i,)
            groups.setdefault(key, []).append((node, tensor))
        saved: dict[str, Tensor] = {}
        for i, group in enumerate(groups.values()):
            ((node, tensor), *others) = group
            if not others and tensor.stride() == torch.empty(tensor.shape, device="meta").stride():
                saved[str(i)] = tensor.cpu().clone()
                node |= {"in": str(i)}
                continue
            saved[str(i)] = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage()).cpu()
            for node, tensor in group:
                view = [list(tensor.shape), list(tensor.stride()), tensor.storage_offset()]
                node |= {"in": str(i), "dtype": str(tensor.dtype).removeprefix("torch."), "view": view}
        return saved

    def _part(self, name: object, value: Any) -> Any:
        self._where.append(str(name))
        stated = self._value(value)
        self._where.pop()
        return stated

    def _value(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if (number := self._known.get(id(value))) is not None:
            return {"known": number}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            if name := _global_name(value):
                return {"global": name}
            raise self._unstatable(value)
        if id(value) not in self._numbers:
            number = self._numbers[id(value)] = len(self.nodes)
            self._alive.append(value)
            self.nodes.append(None)
            self.nodes[number] = self._node(value)
        return {"node": self._numbers[id(value)]}

    def _node(self, value: Any) -> dict[str, Any]:
        kind: Any = type(value)
        if kind in _SEQUENCES.values():
            return {"kind": _NAMES[kind], "values": [self._part(i, item) for i, item in enumerate(value)]}
        if kind in _MAPPINGS.values():
            pairs = [[self._part("a key", key), self._part(key, item)] for key, item in value.items()]
            node = {"kind": _NAMES[kind], "pairs": pairs}
            return node | ({"factory": self._value(value.default_factory)} if kind is defaultdict else {})
        if isinstance(value, Tensor):
            return self._tensor(value)
        if kind is np.ndarray or (isinstance(value, np.generic) and value.dtype.kind in "biuf"):
            array = torch.from_numpy(np.array(value))
            return {"kind": "numpy", "tensor": self._value(array), "scalar": isinstance(value, np.generic)}
        if isinstance(value, torch.Generator):
            return {"kind": "generator", "state": self._value(value.get_state()), "device": str(value.device)}
        if kind is random.Random:
            return {"kind": "random", "state": self._value(value.getstate())}
        if kind is np.random.Generator:
            name, state = type(value.bit_generator).__name__, value.bit_generator.state
            return {"kind": "numpy-generator", "bits": name, "state": self._value(state)}
        if isinstance(value, tuple) and hasattr(kind, "_fields") and not getattr(value, "__dict__", None):
            return {"kind": "named", "class": self._class_of(value), "values": [self._value(item) for item in value]}
        if isinstance(value, Enum):
            return {"kind": "enum", "class": self._class_of(value), "name": value.name}
        if isinstance(value, Options):
            return {"kind": "options", "class": self._class_of(value), "values": value.model_dump(mode="json")}
        if isinstance(value, AvalancheDataset):
            return self._dataset(value)
        if isinstance(value, torch.optim.Optimizer):
            parts = {name: getattr(value, name) for name in ("defaults", "state", "param_groups")}
            return {"kind": "optimizer", "class": self._class_of(value), "attributes": self._attributes(parts)}
        if isinstance(value, nn.Module):
            parts = {key: item for key, item in vars(value).items() if key not in _HOOKS or item}
            return {"kind": "module", "class": self._class_of(value), "attributes": self._attributes(parts)}
        if _is_plain(kind):
            return {"kind": "object", "class": self._class_of(value), "attributes": self._attributes(vars(value))}
        raise self._unstatable(value)

    def _attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._part(name, value) for name, value in attributes.items()}

    def _class_of(self, value: Any) -> str:
        if id(value) in self._first:  # the reader has an object of this class, so it needn't find the class
            return _own_name(type(value))
        if name := _global_name(type(value)):
            return name
        raise self._unstatable(value)

    def _tensor(self, value: Tensor) -> dict[str, Any]:
        is_whole = value.layout is torch.strided and not (value.is_conj() or value.is_neg() or vars(value))
        if not is_whole or type(value) not in (Tensor, nn.Parameter, nn.Buffer):
            raise self._unstatable(value)
        node = {
            "kind": "parameter" if isinstance(value, nn.Parameter) else "tensor",
            "device": value.device.type,
            "grad": value.requires_grad,
        }
        self._tensors.append((node, value.detach()))
        return node

    def _dataset(self, value: AvalancheDataset) -> dict[str, Any]:
        flat: Any = value._flat_data
        groups = (flat._transform_groups, flat._frozen_transform_groups)
        if (
            type(value) is not AvalancheDataset
            or not all(type(part) is TensorImages for part in flat._datasets)
            or any(transform is not None for part in groups for transform in part.transform_groups.values())
            or value._data_attributes.keys() - {"targets", "targets_task_labels"}
        ):
            raise self._unstatable(value)
        return {"kind": "dataset", "images": [self._value(_images_behind(value))] if len(value) else []}

    def _unstatable(self, value: Any) -> UnstatableError:
        return UnstatableError(f"{self.where} is a {type(value).__qualname__}")


class _Reader:
    def __init__(self, state: State, given: Mapping[str, Any], known: Iterable[Any], device: torch.device) -> None:
        self._nodes = state.nodes
        self._saved = state.tensors
        self._known = list(known)
        self._device = device
        self._made: dict[int, Any] = {}
        self._storages: dict[str, Tensor] = {}
        self._given = given

    def objects(self) -> dict[str, Any]:
        names = self._nodes[0]
        for name, value in self._given.items():  # first, since other objects refer to them
            stated = self._nodes[names[name]["node"]]["class"]
            if _RENAMED.get(stated, stated) != _own_name(type(value)):
                raise TypeError(f"{name} is a {type(value).__qualname__} here")
            self._made[names[name]["node"]] = value
        for name in self._given:
            self._fill(names[name]["node"])
        return {name: self._value(value) for name, value in names.items()}

    def _value(self, stated: Any) -> Any:
        if not isinstance(stated, dict):
            return stated
        ((kind, value),) = stated.items()
        if kind == "node":
            return self._made[value] if value in self._made else self._make(value)
        if kind == "known":
            return self._known[value]
        if kind == "float":
            return float(value)
        if kind == "dtype":
            return _dtype(value)
        if kind == "device":
            return self._place(torch.device(value).type)
        if kind == "global":
            return _found(value)
        raise ValueError(f"{kind} is unknown")

    def _make(self, number: int) -> Any:
        node = self._nodes[number]
        kind = node["kind"]
        if kind in ("tuple", "set", "frozenset", "size"):
            value: Any = _SEQUENCES[kind](map(self._value, node["values"]))
        elif kind == "named":
            cls = _class(node["class"], tuple)
            value = tuple.__new__(cls, map(self._value, node["values"]))
        elif kind in ("tensor", "parameter"):
            value = self._tensor(node)
        elif kind == "numpy":
            value = self._value(node["tensor"]).numpy()
            value = value[()] if node["scalar"] else value
        elif kind == "generator":
            value = torch.Generator(self._place(torch.device(node["device"]).type))
            value.set_state(self._value(node["state"]).cpu())
        elif kind == "random":
            value = random.Random()
            value.setstate(self._value(node["state"]))
        elif kind == "numpy-generator":
            value = np.random.Generator({bits.__name__: bits for bits in _BITS}[node["bits"]]())
            value.bit_generator.state = self._value(node["state"])
        elif kind == "enum":
            value = _class(node["class"], Enum)[node["name"]]
        elif kind == "options":
            value = _class(node["class"], Options).model_validate(node["values"])
        elif kind == "dataset":
            value = avalanche_dataset(self._value(node["images"][0])) if node["images"] else AvalancheDataset([])
        else:
            return self._make_before_its_parts(number)
        self._made[number] = value
        return value

    def _make_before_its_parts(self, number: int) -> Any:
        """Make an object that may hold itself through others."""
        node = self._nodes[number]
        kind = node["kind"]
        if kind in ("list", *_MAPPINGS):
            value: Any = [] if kind == "list" else _MAPPINGS[kind]()
        else:
            bases = {"module": nn.Module, "optimizer": torch.optim.Optimizer, "object": object}
            cls = _class(node["class"], bases[kind])
            value = object.__new__(cls)
            if kind == "module":
                nn.Module.__init__(value)
        self._made[number] = value
        self._fill(number)
        return value

    def _fill(self, number: int) -> None:
        node, target = self._nodes[number], self._made[number]
        kind = node["kind"]
        if kind == "list":
            target.extend(map(self._value, node["values"]))
            return
        if kind in _MAPPINGS:
            if kind == "defaultdict":
                target.default_factory = self._value(node["factory"])
            target.update((self._value(key), self._value(value)) for key, value in node["pairs"])
            return
        attributes = {name: self._value(value) for name, value in node["attributes"].items()}
        if kind == "optimizer":
            target.__setstate__(attributes)
            return
        vars(target).clear()
        vars(target).update((vars(nn.Module()) if kind == "module" else {}) | attributes)

    def _tensor(self, node: Mapping[str, Any]) -> Tensor:
        name = node["in"]
        if name not in self._storages:  # copied, since arithmetic may depend on where in memory numbers begin
            self._storages[name] = self._saved[name].to(self._place(node["device"]), copy=True)
        tensor = self._storages[name]
        if "view" in node:
            shape, stride, offset = node["view"]
            empty = torch.empty(0, dtype=_dtype(node["dtype"]), device=tensor.device)
            tensor = empty.set_(tensor.untyped_storage(), offset, shape, stride)
        if node["kind"] == "parameter":
            return nn.Parameter(tensor, requires_grad=node["grad"])
        return tensor.requires_grad_(node["grad"])

    def _place(self, kind: str) -> torch.device:
        return torch.device("cpu") if kind == "cpu" else self._device


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{name} isn't a dtype")
    return dtype
