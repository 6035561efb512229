"""Any Avalanche benchmark as a scenario: one line in a file of yours.

    from avalanche.benchmarks.classic import SplitMNIST
    from lifegen.scenarios.from_avalanche import register_benchmark

    raw = {"train_transform": None, "eval_transform": None}
    register_benchmark("mnist-pairs", lambda data_root: SplitMNIST(5, seed=0, dataset_root=data_root, **raw), version=1)

Each train experience is an interval. Experiences with the same images, in training and test, are visits of one
distribution, whether or not they share a data set object. Distributions are named after their classes, such as "0+1",
if these names differ, and "experience-3" otherwise. The validation part is the last share of the training images, of
each class alike. The test part is the test experience at the same position, or the only test experience; images of
classes that the distribution isn't trained on are left out. Streams other than train and test aren't used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from inspect import Parameter, signature
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset
from torch import Tensor

from lifegen.benchmark import (
    Images,
    InputError,
    Parts,
    ScenarioConfig,
    Seeds,
    Stream,
    brief,
    images_of,
    make_stream,
    register_scenario,
)

from .holding_out import held_out

B = TypeVar("B", bound=Callable[..., Any])

_GIVEN = ("config", "seeds", "data_root")
_LONGEST = 60
"""Characters of a name made of classes."""
_TRANSFORMS = (
    "give the benchmark transforms that make tensors in [0, 1] and don't normalise: train_transform=ToTensor(), "
    "eval_transform=ToTensor() of torchvision.transforms, or None for both if its images are such tensors already, as "
    "those of SplitMNIST"
)


@overload
def register_benchmark(
    name: str,
    build: None = None,
    *,
    version: int,
    config: type[ScenarioConfig] = ...,
    data: Any = ...,
    summary: str = ...,
) -> Callable[[B], B]: ...


@overload
def register_benchmark(
    name: str, build: B, *, version: int, config: type[ScenarioConfig] = ..., data: Any = ..., summary: str = ...
) -> B: ...


def register_benchmark(
    name: str,
    build: Any = None,
    *,
    version: int,
    config: type[ScenarioConfig] = ScenarioConfig,
    data: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = (),
    summary: str = "",
) -> Any:
    """Register a function that builds an Avalanche benchmark as a scenario. Without the function it is a decorator.

    The function may have these parameters: ``config``, the scenario's options; ``seeds``, for whatever should differ
    from seed to seed; ``data_root``, the folder of the data sets. Its draws from global generators are the same at
    every seed, and the generators are left as they were.

    Args:
        name: lower-case words joined by hyphens.
        build: the function. It belongs to a module that worker processes can import, or to a plug-in file.
        version: raise it whenever the images or their order may change.
        config: class of the scenario's options.
        data: lifegen's names of data sets that the function reads below ``data_root``, such as "mnist": they are
            fetched before any process starts.
        summary: a line for ``lifegen list``; by default the first line of the function's docstring.

    Raises:
        InputError: the function asks for other parameters.
    """

    def decorate(build: B) -> B:
        parameters = _parameters_of(build)

        def scenario(config: ScenarioConfig, seeds: Seeds, data_root: Path) -> Stream:
            given = dict(zip(_GIVEN, (config, seeds, data_root), strict=True))
            with _global_generators_kept():
                benchmark = build(**{name: given[name] for name in parameters})
            return stream_of(benchmark, config, seeds)

        scenario.__module__ = build.__module__  # the module that worker processes import
        # All lambdas of a file have the same name.
        scenario.__qualname__ = name if build.__name__ == "<lambda>" else build.__qualname__
        scenario.__doc__ = summary or build.__doc__ or "An Avalanche benchmark."
        register_scenario(name, version=version, config=config, data=data)(scenario)
        return build

    return decorate if build is None else decorate(build)


def stream_of(benchmark: Any, config: ScenarioConfig, seeds: Seeds) -> Stream:
    """An Avalanche benchmark as lifegen's stream.

    Args:
        benchmark: a ``CLScenario``, or one of Avalanche's older ones. Its data sets are read once, with the transforms
            of their part.
        config: lengths of the intervals, validation share, test sample and track.
        seeds: where random lengths come from.

    Raises:
        InputError: its streams don't fit each other, or its images can't be used.
    """
    train, test = _experiences(benchmark)
    read = _Reader()
    distributions: dict[bytes, _Distribution] = {}
    visits = []
    for i, experience in enumerate(train):
        position = i if len(test) > 1 else 0
        distribution = _Distribution(i, read(experience, "train", i), read(test[position], "test", position))
        visits.append(key := distribution.digest())
        distributions.setdefault(key, distribution)
    names = dict(zip(distributions, _names(list(distributions.values())), strict=True))
    parts = {names[key]: each.parts(config.validation, names[key]) for key, each in distributions.items()}
    return make_stream(parts, [names[key] for key in visits], config, seeds)


def _parameters_of(build: Any) -> list[str]:
    """Names of the parameters that a function that builds a benchmark is called with."""
    if not (callable(build) and hasattr(build, "__qualname__")):
        raise InputError(
            f"a benchmark is built by a function of your own file; found: {brief(build)}. Put `lambda data_root:` "
            "before the call that makes it"
        )
    parameters = signature(build).parameters.values()
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    usable = [each.name for each in parameters if each.name in _GIVEN and each.kind in kinds]
    needed = [
        each.name
        for each in parameters
        if each.default is Parameter.empty and each.kind in (*kinds, Parameter.POSITIONAL_ONLY)
    ]
    if others := [name for name in needed if name not in usable]:
        raise InputError(
            f"{build.__qualname__} asks for {', '.join(others)}; a function that builds a benchmark can have the "
            f"parameters {', '.join(_GIVEN)}"
        )
    return usable


def _experiences(benchmark: Any) -> tuple[list[Any], list[Any]]:
    """The experiences of the train stream and of the test stream."""
    streams = getattr(benchmark, "streams", None)
    if not isinstance(streams, Mapping):
        raise InputError(f"an Avalanche benchmark has streams; found: {brief(benchmark)}")
    if not {"train", "test"} <= streams.keys():
        names = ", ".join(streams) or "none"
        raise InputError(f"a benchmark is to have a train and a test stream; its streams are: {names}")
    train, test = list(streams["train"]), list(streams["test"])
    if not train:
        raise InputError("the benchmark's train stream has no experience")
    if len(test) not in (1, len(train)):
        raise InputError(
            f"the benchmark has {len(train)} train and {len(test)} test experiences; there are to be as many, which "
            "are paired by position, or a single test experience, which all intervals share"
        )
    return train, test


class _Labelled(NamedTuple):
    """A data set's images."""

    images: Images
    has_labels: bool


class _Reader:
    """Reads each data set once, so that it has the same images at every visit, even if its transforms draw."""

    def __init__(self) -> None:
        self._read: dict[tuple[int, str], tuple[Any, _Labelled]] = {}

    def __call__(self, experience: Any, part: str, position: int) -> _Labelled:
        dataset = experience.dataset
        key = id(dataset), part
        if key not in self._read:
            self._read[key] = dataset, _labelled(dataset, part, f"{part} experience {position}")
        return self._read[key][1]


def _labelled(dataset: Any, part: str, of: str) -> _Labelled:
    if not isinstance(dataset, AvalancheDataset):
        raise InputError(
            f"{of}: its data set is a {type(dataset).__name__}; as_classification_dataset of "
            "avalanche.benchmarks.utils makes it one of Avalanche's"
        )
    if not len(dataset):
        raise InputError(f"{of}: there are no images")
    try:
        with _global_generators_kept():
            x = images_of(dataset.train() if part == "train" else dataset.eval())
    except InputError as error:
        raise InputError(f"{of}: {error}; {_TRANSFORMS}") from None
    except (TypeError, RuntimeError, AttributeError) as error:  # of torch.stack: no tensors, or of different shapes
        raise InputError(f"{of}: its images can't be put into one tensor: {error}; {_TRANSFORMS}") from None
    targets = getattr(dataset, "targets", None)
    if targets is None:
        return _Labelled(Images(x, torch.zeros(len(x), dtype=torch.int64)), False)
    try:
        y = torch.tensor([index(target) for target in targets])
    except TypeError:
        raise InputError(f"{of}: labels are to be integers; found: {brief(targets[0])}") from None
    return _Labelled(_mixed(Images(x, y)), True)


def _mixed(images: Images) -> Images:
    """Images in an order in which each class is spread evenly, and stays in its own order.

    Many benchmarks list one class after another; the last images are held out, and the first ones measured.
    """
    place = torch.empty(len(images.y), dtype=torch.float64)
    for label in images.y.unique():
        its = (images.y == label).nonzero()[:, 0]
        place[its] = (torch.arange(len(its), dtype=torch.float64) + 0.5) / len(its)
    return images.select(place.argsort(stable=True))


class _Distribution(NamedTuple):
    """The train and test images of one distribution."""

    position: int
    """Position of its first visit"""
    train: _Labelled
    test: _Labelled

    @property
    def classes(self) -> Tensor:
        classes: Tensor = self.train.images.y.unique()
        return classes

    def digest(self) -> bytes:
        """A digest of all its images, which tells distributions apart."""
        digest = blake2b()
        for x in (self.train.images.x, self.test.images.x):
            digest.update(f"{tuple(x.shape)}".encode() + x.contiguous().numpy().tobytes())
        return digest.digest()

    def parts(self, validation: float, name: str) -> Parts:
        train, test = self.train.images, self.test.images
        if self.train.has_labels and self.test.has_labels:
            of_its_classes = torch.isin(test.y, self.classes)
            if not of_its_classes.any():
                raise InputError(
                    f"train experience {self.position} has the classes {_listed(self.classes)}, and its test "
                    f"experience {_listed(test.y.unique())}; experiences are paired by position"
                )
            test = test.select(of_its_classes)
        return held_out(train, test, validation, name)


def _listed(classes: Tensor) -> str:
    return ", ".join(map(str, classes.tolist()))


def _names(distributions: Sequence[_Distribution]) -> list[str]:
    by_class = ["+".join(map(str, each.classes.tolist())) for each in distributions]
    have_labels = all(each.train.has_labels for each in distributions)
    if have_labels and len(set(by_class)) == len(by_class) and max(map(len, by_class)) <= _LONGEST:
        return by_class
    return [f"experience-{each.position}" for each in distributions]


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Seed the global generators with a fixed number, and afterwards leave them as they were.

    Benchmarks draw from them, and some seed them.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (benchmarks draw from it)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.default_generator.manual_seed(0)  # and no GPU's
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
