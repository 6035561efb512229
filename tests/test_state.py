"""What is stated is restored as it was, what can't be is named, and a file from elsewhere can do nothing."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from lifegen.benchmark.contracts.options import Options
from lifegen.benchmark.contracts.stream import tensor_view
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.running.state import FORMAT, State, UnstatableError, _digest, read_state, restore, write_state

from .conftest import tiny

CPU = torch.device("cpu")


class Mood(Enum):
    GOOD = 1
    BAD = "b"


class Pair(NamedTuple):
    left: object
    right: object


class Choices(Options):
    strength: float = 1.0


class Thing:
    """A plug-in's helper."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


class Listlike(list):  # type: ignore[type-arg]
    pass


class Slotted:
    __slots__ = ("x",)


class Goes:
    """Does something when it goes."""

    gone: ClassVar[list[str]] = []

    def __del__(self) -> None:
        Goes.gone.append("gone")


def again(tmp: Path, value: object, known: tuple[object, ...] = ()) -> Any:
    """What comes back."""
    file = tmp / "state.safetensors"
    write_state(file, {"fact": 1}, {"value": value}, known)
    state = read_state(file)
    assert state.facts == {"fact": 1}
    return restore(state, {}, known, CPU)["value"]


def as_bytes(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8)


def same(one: Any, other: Any) -> bool:
    """Equal in value and type, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        bits = [torch.view_as_real(x) if x.is_complex() else x for x in (one, other)]
        return (one.dtype, one.shape, one.stride(), one.requires_grad) == (
            other.dtype, other.shape, other.stride(), other.requires_grad,
        ) and torch.equal(*(as_bytes(x.detach()) for x in bits))  # fmt: skip
    if isinstance(one, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Thing):
        return same(vars(one), vars(other))
    return bool(one == other)


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    tensor = (torch.rand(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9)))) * 9).to(
        draw(st.sampled_from(DTYPES))
    )
    if tensor.ndim > 1 and draw(st.booleans()):
        tensor = tensor.transpose(0, 1)
    if tensor.ndim and draw(st.booleans()):
        tensor = tensor[: draw(st.integers(0, 3))]
    if tensor.is_floating_point() and draw(st.booleans()):
        tensor = nn.Parameter(tensor, requires_grad=draw(st.booleans()))
    return tensor


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*Mood, *DTYPES, CPU, list])
)
arrays = st.builds(
    lambda n, kind: np.arange(n).astype(kind), st.integers(0, 4), st.sampled_from(["f4", "f8", "i2", "u1", "?"])
)
keys = st.text() | st.integers() | st.booleans() | st.tuples(st.integers(), st.text())
anything = st.recursive(
    scalars | tensors() | arrays | st.builds(np.float64, st.floats()) | st.builds(Choices, strength=st.floats(0, 1)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=3).map(OrderedDict)
        | st.dictionaries(keys, inner, max_size=3).map(lambda x: defaultdict(list, x))
        | st.builds(Pair, inner, inner)
        | st.builds(Thing, a=inner, b=inner)
        | st.sets(keys, max_size=3)
        | st.frozensets(keys, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=anything)
@example(value=torch.tensor([[4.5, 0.0]])[:, ::2])  # one value with a stride of 2
def test_what_is_stated_comes_back_as_it_was(tmp_path_factory, value):
    assert same(again(tmp_path_factory.mktemp("s"), value), value)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_shared_stays_shared(tmp_path_factory, data):
    """Views of one storage, and objects that are met in several places."""
    base = torch.arange(24.0)
    cuts = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 3))
    views = [base[low : low + n : step] for low, n, step in data.draw(st.lists(cuts, min_size=2, max_size=5))]
    thing = Thing(views=views, itself=None)
    thing.itself = thing
    back = again(tmp_path_factory.mktemp("s"), {"base": base, "one": thing, "two": [thing, views]})
    assert back["one"] is back["two"][0] is back["one"].itself
    assert back["two"][1] is back["one"].views
    back["base"].add_(100)
    assert all(map(torch.equal, back["one"].views, [view + 100 for view in views]))


def test_generators_go_on(tmp_path):
    made: dict[str, Any] = {
        "torch": torch.Generator().manual_seed(3),
        "python": random.Random(4),
        "numpy": np.random.default_rng(5),
        "philox": np.random.Generator(np.random.Philox(6)),
    }

    def drawn(generators: dict[str, Any]) -> list[object]:
        return [
            torch.rand(2, generator=generators["torch"]).tolist(),
            *(generators[name].random() for name in ("python", "numpy", "philox")),
            generators["python"].gauss(0, 1),
        ]

    drawn(made)
    back = again(tmp_path, made)
    assert drawn(back) == drawn(made)


def test_modules_and_optimisers_go_on(tmp_path):
    """Also where modules share a parameter and are made anew."""

    def made() -> tuple[nn.Sequential, torch.optim.Adam]:
        torch.manual_seed(0)
        first = nn.Linear(3, 3)
        model = nn.Sequential(first, nn.BatchNorm1d(3), nn.Sequential(first, nn.Dropout(0.5)))
        return model, torch.optim.Adam(model.parameters(), fused=True)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.manual_seed(1)
        model(torch.rand(4, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = made()
    step(model, optimizer)
    model[0].weight.requires_grad_(False)
    model.eval()
    live, others = {"model": model, "optimizer": optimizer}, {"teacher": model[2]}
    write_state(tmp_path / "s", {}, live | others)
    fresh = dict(zip(("model", "optimizer"), made(), strict=True))
    found = restore(read_state(tmp_path / "s"), fresh, (), CPU)
    again_model, again_optimizer = fresh.values()
    assert found["model"] is again_model
    assert found["teacher"] is again_model[2]
    assert again_model[0] is again_model[2][0]
    assert not again_model.training
    assert not again_model[0].weight.requires_grad
    assert {id(p) for p in again_optimizer.state} <= {id(p) for p in again_model.parameters()}
    for pair in ((model, optimizer), (again_model, again_optimizer)):
        pair[0].train()
        step(*pair)
    assert all(map(torch.equal, model.state_dict().values(), again_model.state_dict().values()))


def test_data_sets_of_images_come_back(tmp_path):
    stream = tiny("ab")
    one, two = (experience.dataset for experience in stream.train_stream)
    mixed = one.subset([3, 1]).concat(two.subset([0]))
    back, empty = again(tmp_path, [mixed, one.subset([])])
    assert len(empty) == 0
    assert [back[i][1:] for i in range(3)] == [mixed[i][1:] for i in range(3)]
    assert all(torch.equal(back[i][0], mixed[i][0]) for i in range(3))
    assert list(back.targets) == list(mixed.targets)
    assert tensor_view(back) is not None


def test_what_is_known_is_named_and_never_written(tmp_path):
    stream = tiny("ab")
    back = again(tmp_path, {"of": stream, "x": [stream]}, known=(1, stream))
    assert back["of"] is back["x"][0] is stream
    assert (tmp_path / "state.safetensors").stat().st_size < 1000


def tagged() -> Tensor:
    tensor = torch.zeros(2)
    tensor.tag = "x"  # type: ignore[attr-defined]
    return tensor


def deep() -> list[object]:
    inner: list[object] = []
    for _ in range(5000):
        inner = [inner]
    return inner


UNSTATABLE: dict[str, Callable[[], object]] = {
    "a live iterator": lambda: iter([1, 2]),
    "a generator": lambda: (i for i in range(3)),
    "a local function": lambda: lambda: 1,
    "a bound method": lambda: [].append,
    "a lock": threading.Lock,
    "bytes": lambda: b"x",
    "a complex number": lambda: 1j,
    "a slice": lambda: slice(2),
    "a deque": lambda: deque([1]),
    "a counter": lambda: Counter("ab"),
    "a list of its own class": lambda: Listlike([1]),
    "slots": Slotted,
    "an open file": lambda: sys.__stdout__,
    "a function of Python's library": lambda: subprocess.run,
    "a built-in function": lambda: eval,
    "a class of Python's library": lambda: subprocess.Popen,
    "a module": lambda: json,
    "what acts when it goes": Goes,
    "sparse numbers": lambda: torch.eye(2).to_sparse(),
    "a conjugated view": lambda: torch.ones(2, dtype=torch.complex64).conj(),
    "a tensor with attributes": tagged,
    "texts in an array": lambda: np.array(["a"]),
    "objects in an array": lambda: np.array([object()]),
    "long floats": lambda: np.zeros(2, np.longdouble),
    "a number of 5,000 digits": lambda: 10**5000,
    "lists in lists without end": deep,
    "a data set with transforms": lambda: tiny("a").train_stream[0].dataset.replace_current_transform_group(abs),
}


@pytest.mark.parametrize("what", UNSTATABLE)
def test_what_cannot_be_stated_is_named_with_its_place(what, tmp_path):
    holder = Thing(parts={"left": [0, UNSTATABLE[what]()]})
    with pytest.raises(UnstatableError, match=r"value\.parts\.left\.1|(?i:digits)"):
        write_state(tmp_path / "s", {}, {"value": holder})
    assert not list(tmp_path.iterdir())


# Files from elsewhere


def crafted(file: Path, *nodes: object, **facts: object) -> State:
    """A state as lifegen would read it, with any nodes."""
    text = json.dumps({"facts": facts, "nodes": [{"value": {"node": 1}}, *nodes]})
    file.write_bytes(save({}, {"format": str(FORMAT), "content": text, "digest": _digest(text, {})}))
    return read_state(file)


HARMFUL: dict[str, list[object]] = {
    "a function of the system": [{"kind": "list", "values": [{"global": "os:system"}]}],
    "by its true name": [{"kind": "list", "values": [{"global": "posix:system"}]}],
    "by way of another module": [{"kind": "list", "values": [{"global": "torch:os.system"}]}],
    "what a dictionary calls": [{"kind": "defaultdict", "pairs": [], "factory": {"global": "os:getcwd"}}],
    "built-in": [{"kind": "list", "values": [{"global": "builtins:eval"}]}],
    "a function that unpickles": [{"kind": "list", "values": [{"global": "torch.serialization:load"}]}],
    "one of torch's other names": [{"kind": "list", "values": [{"global": "torch:load"}]}],
    "a process": [{"kind": "object", "class": "subprocess:Popen", "attributes": {"_child_created": True}}],
    "a file that is deleted when it goes": [
        {"kind": "object", "class": "tempfile:_TemporaryFileCloser", "attributes": {"delete": True, "name": "x"}}
    ],
    "what acts when it goes": [{"kind": "object", "class": f"{__name__}:Goes", "attributes": {}}],
    "a constructor by way of a tuple": [{"kind": "named", "class": "subprocess:Popen", "values": ["true"]}],
    "a constructor by way of a generator": [{"kind": "numpy-generator", "bits": "RandomState", "state": {}}],
    "options of no such class": [{"kind": "options", "class": "subprocess:Popen", "values": {"args": "true"}}],
    "a module that isn't one": [{"kind": "module", "class": "subprocess:Popen", "attributes": {}}],
    "something that isn't imported": [{"kind": "object", "class": "antigravity:x", "attributes": {}}],
    "a kind that isn't": [{"kind": "call", "class": "os:system", "values": ["true"]}],
    "nothing": [],
    "numbers beyond measure": [
        {"kind": "tensor", "in": "0", "device": "cpu", "grad": False, "view": [[2**80], [1], 0]}
    ],
}


@pytest.mark.parametrize("what", HARMFUL)
def test_a_file_from_elsewhere_can_name_nothing_that_does_harm(what, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *_, **__: pytest.fail("it was called"))
    Goes.gone.clear()
    state = crafted(tmp_path / "s", *HARMFUL[what])
    with pytest.raises(InputError, match="the state doesn't fit"):
        restore(state, {}, (), CPU)
    assert Goes.gone == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_never_read(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("s") / "s"
    write_state(file, {"n": 1}, {"value": [torch.arange(5), {"a": (1, 2.5, None)}]})
    whole = file.read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 255)), max_size=3)):
        if place < len(damaged):
            damaged[place] = value
    file.write_bytes(damaged)
    try:
        state = read_state(file)
    except InputError:
        return
    # Such as a space more in safetensors' own header: what is read is what was written.
    assert same(restore(state, {}, (), CPU)["value"], [torch.arange(5), {"a": (1, 2.5, None)}])
    assert state.facts == {"n": 1}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KINDS = ["list", "dict", "tuple", "set", "tensor", "numpy", "generator", "random", "numpy-generator", "named", "enum",
         "options", "dataset", "object", "module", "optimizer", "defaultdict", "size"]  # fmt: skip
FIELDS = ["values", "pairs", "class", "attributes", "state", "tensor", "in", "view", "dtype", "device", "name", "bits",
          "images", "factory", "grad", "scalar"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(KINDS), fields=st.dictionaries(st.sampled_from(FIELDS), json_like))
def test_whatever_a_state_says_it_is_read_or_refused(kind, fields):
    state = State({}, [{"value": {"node": 1}}, {"kind": kind, **fields}], {"0": torch.zeros(2)})
    try:
        restore(state, {}, (), CPU)
    except InputError:
        return
