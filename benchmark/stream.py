"""A stream of data distributions, as Avalanche sees it and as the harness does.

A :class:`Stream` is an Avalanche ``CLScenario`` over in-memory uint8 tensors. Its train stream has one experience an
interval; its valid and test streams have one experience a distribution, in the order in which they are first met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import torch
from avalanche.benchmarks import CLScenario, DatasetExperience, EagerCLStream
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.utils.data import Dataset

from .images import Images
from .options import Options


class ScenarioConfig(Options):
    """Options of every scenario."""

    steps: PositiveInt = 3000
    """Optimiser steps per interval."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of each distribution's training images that is held out, the last ones."""


class Parts(NamedTuple):
    """The three parts of one distribution."""

    train: Images
    valid: Images
    test: Images


class TensorImages(Dataset[tuple[Tensor, int]]):
    """Images as a torch data set, so that stock plugins can iterate over them; lifegen's loader reads ``images``."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images.x[index].float().div(255), int(self.images.y[index])


def avalanche_dataset(images: Images) -> AvalancheDataset:
    """Images as an Avalanche data set whose items are (image in [0, 1], label, task label 0)."""
    targets = DataAttribute(images.y.tolist(), "targets")
    task_labels = DataAttribute(ConstantSequence(0, len(images.x)), "targets_task_labels", use_in_getitem=True)
    return AvalancheDataset([TensorImages(images)], data_attributes=[targets, task_labels])


def tensor_view(dataset: AvalancheDataset) -> Images | None:
    """The tensors behind an Avalanche data set, or None if it isn't a plain view of one :class:`TensorImages`."""
    flat = dataset._flat_data  # no public way in; avalanche-lib is pinned to 0.6.* and a test holds this in place
    if len(flat._datasets) != 1 or not isinstance(source := flat._datasets[0], TensorImages):
        return None
    return source.images if flat._indices is None else source.images.select(torch.as_tensor(flat._indices))


class Interval(DatasetExperience):
    """One stretch of the stream (Avalanche: an experience), in which data come from one distribution."""

    def __init__(
        self, images: Images, *, interval: int, distributions: tuple[str, ...], is_new: bool, steps: int
    ) -> None:
        super().__init__(dataset=avalanche_dataset(images), current_experience=interval)
        self.interval = interval
        """Position in the stream, from 0. In a valid or test stream: the interval at which it is first met."""
        self.distributions = distributions
        """The distributions that its data come from: one, but for the joint interval of a batch method."""
        self.is_new = is_new
        """Whether a distribution is met for the first time."""
        self.steps = steps
        """Optimiser steps that training on it takes."""

    @property
    def distribution(self) -> str:
        return "+".join(self.distributions)


class Stream(CLScenario):
    """A scenario's stream. Build one with :func:`make_stream`."""

    train_stream: EagerCLStream
    valid_stream: EagerCLStream
    test_stream: EagerCLStream

    def __init__(self, train: list[Interval], valid: list[Interval], test: list[Interval]) -> None:
        super().__init__([EagerCLStream("train", train), EagerCLStream("valid", valid), EagerCLStream("test", test)])
        self.distributions = tuple(experience.distribution for experience in test)
        """Names of the distributions that occur, in the order in which they are first met."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images("test", self.distributions[0]).x.shape[1:]
        return channels, height, width

    def images(self, part: str, distribution: str) -> Images:
        """The images of one distribution.

        Args:
            part: "train", "valid" or "test".
            distribution: one of :attr:`distributions`.
        """
        for experience in self.streams[part]:
            if experience.distribution == distribution:
                images = tensor_view(experience.dataset)
                assert images is not None  # make_stream built it
                return images
        raise KeyError(distribution)

    def joint(self) -> list[Interval]:
        """The whole stream as one interval, number 0, with all its steps and the union of its distributions."""
        parts = [self.images("train", name) for name in self.distributions]
        union = Images(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))
        steps = sum(experience.steps for experience in self.train_stream)
        experience = Interval(union, interval=0, distributions=self.distributions, is_new=True, steps=steps)
        return list(EagerCLStream("train", [experience]))


def make_stream(distributions: Mapping[str, Parts], visits: Sequence[str], steps: Sequence[int]) -> Stream:
    """Build a stream.

    Args:
        distributions: the parts of each distribution, by name.
        visits: the distribution of each interval; one may come back.
        steps: optimiser steps of each interval.
    """
    # A fresh experience for each visit: Avalanche writes the index on the object, so one listed twice would carry
    # the second one's. The tensors are shared.
    train = [
        Interval(distributions[name].train, interval=i, distributions=(name,), is_new=name not in visits[:i], steps=n)
        for i, (name, n) in enumerate(zip(visits, steps, strict=True))
    ]
    met = [experience for experience in train if experience.is_new]

    def once(part: str) -> list[Interval]:
        return [
            Interval(
                getattr(distributions[experience.distribution], part),
                interval=experience.interval,
                distributions=experience.distributions,
                is_new=True,
                steps=experience.steps,
            )
            for experience in met
        ]

    return Stream(train, once("valid"), once("test"))
