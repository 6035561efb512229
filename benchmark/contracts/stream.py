"""A stream of data distributions, for Avalanche and for the harness.

A :class:`Stream` is an Avalanche ``CLScenario`` over in-memory uint8 tensors. Its train stream has one experience an
interval; its valid and test streams have one experience a distribution, in the order in which they are first met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self

import torch
from avalanche.benchmarks import CLScenario, DatasetExperience, EagerCLStream
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import InputError, brief, not_a_name, unknown
from ..seeds import Seeds
from .images import Images, drawn, to_unit
from .options import Options, later


class ScenarioConfig(Options):
    """Options of every scenario."""

    steps: PositiveInt = 3000
    """Optimiser steps per interval: exactly so many, at least (random), or at most (early-stopping)."""
    interval_length: Literal["fixed", "random", "early-stopping"] = "fixed"
    """fixed; random: steps + a geometric number; early-stopping: until the validation negative ELBO stops falling."""
    extra_steps: Annotated[float, Field(gt=1)] = 1300
    """random: mean of the geometric number (LGM's code: 13 times the batch size)."""
    patience: PositiveInt = 500
    """early-stopping: steps without a lower validation value after which an interval ends; the best state is kept."""
    check_every: PositiveInt = 50
    """early-stopping: steps between two evaluations of the validation part."""
    stopping_on: Annotated[Literal["current", "seen"], later()] = "current"
    """early-stopping: validation images that decide: the current distribution's; or those of all distributions met so
    far, which no method could keep, so that an interval ends by what all of them gain."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of each distribution's training images that is held out; the last images are."""
    test_images: PositiveInt | None = None
    """Upper limit of test images and of validation images, each a fixed sample with equal shares of distributions;
    a distribution with fewer images gives all. null: all images."""
    track: Literal["bernoulli-grey", "bernoulli-binarised", "bernoulli-redrawn", "discretised-logistic"] = (
        "bernoulli-grey"
    )
    """Likelihood of the pixels: on grey levels, on images binarised once for all runs (binarised) or drawn anew at each
    read in training and once a run for tests (redrawn), or on 8-bit values."""
    importance_draws: PositiveInt = 500
    """Draws of the importance-weighted bound at the end."""
    importance_images: PositiveInt = 100
    """Number of test images of each distribution, the first ones, for this bound; all if there are fewer."""
    passes: Annotated[PositiveFloat | None, later()] = None
    """Length of an interval in passes over its training images, in place of steps; only images that are trained on
    count. null: steps."""
    sample_images: Annotated[Annotated[int, Field(ge=50)] | Literal["none"] | None, later()] = None
    """Images of a model that are compared with as many test images after each interval. null: 2,000, or as many as
    there are test images, and 10,000 at the end where there are so many. none: samples aren't measured."""
    replacement: Annotated[bool, later()] = False
    """Whether training images are drawn with replacement, so that a pass sees some 63 % of them."""

    @property
    def redraws(self) -> bool:
        """Whether pixels are drawn at each read."""
        return self.track == "bernoulli-redrawn"

    def lengths(self, intervals: int, seeds: Seeds) -> list[int]:
        """Return the steps of each interval, or their upper limits: the same for every method."""
        if self.interval_length != "random":
            return [self.steps] * intervals
        extra = torch.empty(intervals).geometric_(1 / self.extra_steps, generator=seeds.generator("interval-lengths"))
        if not (extra < 2**53).all():
            raise InputError(f"extra_steps={self.extra_steps:g} makes intervals that don't end")
        return [self.steps + int(n) for n in extra]

    @model_validator(mode="after")
    def _acts(self) -> Self:
        """Refuse options without effect, which would make a cell of their own."""
        for name, kind in (
            ("extra_steps", "random"),
            ("patience", "early-stopping"),
            ("check_every", "early-stopping"),
            ("stopping_on", "early-stopping"),
        ):
            if self.interval_length != kind and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has an effect with interval_length={kind} only")
        if self.passes is not None and self.interval_length != "fixed":
            raise ValueError(f"passes={self.passes:g} needs interval_length=fixed, not {self.interval_length}")
        if self.passes is not None and self.steps != type(self).model_fields["steps"].default:
            raise ValueError(
                f"give either steps={self.steps} or passes={self.passes:g}: both are lengths of an interval"
            )
        return self


class Parts(NamedTuple):
    """The three parts of one distribution."""

    train: Images
    valid: Images
    test: Images


class EarlyStopping(NamedTuple):
    """The rule by which an interval ends early."""

    valid: Images
    """Validation images of its distribution, or of all distributions met"""
    patience: int
    """Steps without a lower value"""
    check_every: int
    """Steps between two evaluations"""


class TensorImages(Dataset[tuple[Tensor, int]]):
    """Images as a torch data set for stock plugins; lifegen's own loader reads ``images``."""

    def __init__(self, images: Images, redrawn: bool = False) -> None:
        self.images = images
        self.redrawn = redrawn
        """Whether pixels are drawn at each read, here from torch's global generator."""

    def __len__(self) -> int:
        return len(self.images.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = to_unit(self.images.x[index])
        return drawn(x[None])[0] if self.redrawn else x, int(self.images.y[index])


def avalanche_dataset(images: Images, redrawn: bool = False) -> AvalancheDataset:
    """Make an Avalanche data set whose items are (image in [0, 1], label, task label 0)."""
    targets = DataAttribute(images.y.tolist(), "targets")
    task_labels = DataAttribute(ConstantSequence(0, len(images.x)), "targets_task_labels", use_in_getitem=True)
    return AvalancheDataset([TensorImages(images, redrawn)], data_attributes=[targets, task_labels])


def tensor_view(dataset: AvalancheDataset) -> Images | None:
    """Return the tensors behind an Avalanche data set; None if it isn't a plain view of one :class:`TensorImages`."""
    if (source := _source(dataset)) is None:
        return None
    indices = dataset._flat_data._indices
    return source.images if indices is None else source.images.select(torch.as_tensor(indices))


def is_redrawn(dataset: AvalancheDataset) -> bool:
    """Whether a data set draws its pixels at each read, so that its tensors are grey levels to draw from."""
    source = _source(dataset)
    return source is not None and source.redrawn


def _source(dataset: AvalancheDataset) -> TensorImages | None:
    """Return the images that an Avalanche data set is a plain view of, if it is."""
    flat = dataset._flat_data  # not public; avalanche-lib is pinned to 0.6.* and a test holds this in place
    groups = (flat._transform_groups, flat._frozen_transform_groups)
    if any(transform is not None for group in groups for transform in group.transform_groups.values()):
        return None
    if len(flat._datasets) != 1 or not isinstance(source := flat._datasets[0], TensorImages):
        return None
    return source


def images_of(dataset: AvalancheDataset, n: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Return images of any Avalanche data set, uint8, (n, channels, height, width): all, or at most n, evenly spaced.

    Args:
        dataset: the data set.
        n: most images.
        generator: source of the pixels on the CPU, where the track draws them at each read; None stands for torch's
            global generator.

    Raises:
        InputError: an item isn't an image in [0, 1].
    """
    index = torch.arange(n := min(n or len(dataset), len(dataset))) * len(dataset) // n
    if (images := tensor_view(dataset)) is None:
        x = torch.stack([dataset[i][0] for i in index.tolist()])
        if not ((x >= 0) & (x <= 1)).all():
            raise InputError(f"a data set's images must be in [0, 1]; found: {_pixels(x)}")
        return x.mul(255).round().byte()
    return redraw(images.x[index], generator) if is_redrawn(dataset) else images.x[index]


def redraw(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw binary images from grey ones, uint8 both; see :func:`drawn`."""
    return torch.cat([drawn(to_unit(piece), generator).mul_(255).byte() for piece in x.split(10_000)])


class Interval(DatasetExperience):
    """One stretch of the stream (Avalanche: an experience), in which data come from one distribution."""

    def __init__(
        self,
        images: Images,
        *,
        interval: int,
        distributions: tuple[str, ...],
        is_new: bool,
        steps: int | None,
        planned_steps: int | None = None,
        stopping: EarlyStopping | None = None,
        passes: float | None = None,
        replacement: bool = False,
        redrawn: bool = False,
    ) -> None:
        super().__init__(dataset=avalanche_dataset(images, redrawn), current_experience=interval)
        self.interval = interval
        """Position in the stream, from 0; in a valid or test stream, the interval of the first visit."""
        self.distributions = distributions
        """The distributions of its data: one, except in the joint interval of a batch method."""
        self.is_new = is_new
        """Whether its distribution comes for the first time."""
        self.steps = steps
        """Optimiser steps of training on it; the upper limit with early stopping; None if passes are its length."""
        self.planned_steps = steps if planned_steps is None else planned_steps
        """Steps that a schedule may count on, since a random length isn't known in advance."""
        self.stopping = stopping
        """The rule by which it ends early, if any."""
        self.passes = passes
        """Passes over its images, if they are its length."""
        self.replacement = replacement
        """Whether its images are drawn with replacement."""

    @property
    def length(self) -> float | None:
        """Its steps, or its passes."""
        return self.passes if self.steps is None else self.steps

    @property
    def distribution(self) -> str:
        return "+".join(self.distributions)


class Stream(CLScenario):
    """A scenario's stream. Build one with :func:`make_stream`."""

    train_stream: EagerCLStream
    valid_stream: EagerCLStream
    test_stream: EagerCLStream

    def __init__(
        self,
        train: list[Interval],
        valid: list[Interval],
        test: list[Interval],
        config: ScenarioConfig,
        whole_test: Mapping[str, Images] | None = None,
        tested: Mapping[str, Images] | None = None,
    ) -> None:
        super().__init__([EagerCLStream("train", train), EagerCLStream("valid", valid), EagerCLStream("test", test)])
        self.config = config
        self.track = config.track
        """Likelihood and preprocessing of its images; only bounds of one track can be compared."""
        self.distributions = tuple(experience.distribution for experience in test)
        """Names of the distributions that occur, in the order in which they are first met."""
        self.whole_test = whole_test or {name: self.images("test", name) for name in self.distributions}
        """Test images of each distribution before ``test_images`` limits them: samples are compared with these."""
        self._tested = tested or {}
        self.tested = tuple(self._tested) or self.distributions
        """Names of the distributions whose test images are the full test set. Some of them may never come; by default
        they are :attr:`distributions`."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images("test", self.distributions[0]).x.shape[1:]
        return channels, height, width

    def images(self, part: str, distribution: str) -> Images:
        """Return the images of one distribution.

        Args:
            part: "train", "valid" or "test".
            distribution: one of :attr:`distributions`; for "test" also one of :attr:`tested`.
        """
        for experience in self.streams[part]:
            if experience.distribution == distribution:
                images = tensor_view(experience.dataset)
                assert images is not None  # make_stream built it
                return images
        if part == "test":
            return self._tested[distribution]
        raise KeyError(distribution)

    def joint(self) -> list[Interval]:
        """Return the whole stream as one interval, number 0, with all its steps and the union of its distributions."""

        def union(part: str) -> Images:
            return _union([self.images(part, name) for name in self.distributions])

        experiences: list[Interval] = list(self.train_stream)
        first = experiences[0]
        experience = Interval(
            union("train"),
            interval=0,
            distributions=self.distributions,
            is_new=True,
            # Either all intervals have steps, or all have passes.
            steps=sum(interval.steps or 0 for interval in experiences) or None,
            planned_steps=sum(interval.planned_steps or 0 for interval in experiences) or None,
            stopping=first.stopping and first.stopping._replace(valid=union("valid")),
            # Each visit is as many passes over its distribution's images.
            passes=first.passes and first.passes * len(experiences) / len(self.distributions),
            replacement=first.replacement,
            redrawn=is_redrawn(first.dataset),
        )
        return list(EagerCLStream("train", [experience]))


def make_stream(
    distributions: Mapping[str, Parts],
    visits: Sequence[str],
    config: ScenarioConfig,
    seeds: Seeds,
    tested: Mapping[str, Images] | None = None,
) -> Stream:
    """Build a stream.

    Args:
        distributions: the parts of each distribution, by name.
        visits: the distribution of each interval; a distribution may come back.
        config: lengths of the intervals, test sample and track.
        seeds: the source of random lengths.
        tested: test images of the full test set by distribution, some of which may never come; by default the full
            test set has those of all visits. One that is visited has its own test images here.

    Raises:
        InputError: there is no interval, a distribution's name or images can't be used, or the test sample would leave
            a distribution without an image.
    """
    if not visits:
        raise InputError("the stream has no interval")
    names = list(dict.fromkeys(visits))
    for name in names:
        if name not in distributions:
            raise unknown("distribution", name, distributions)
    used = {name: distributions[name] for name in names}
    never = {name: images for name, images in (tested or {}).items() if name not in used}
    _check(used, never)
    whole_test = {name: parts.test for name, parts in used.items()}
    if config.test_images is not None:
        used, never = _sampled(used, never, config.test_images)
    if config.track == "bernoulli-binarised":
        used = {name: Parts(*(_binarised(part, name, i) for i, part in enumerate(used[name]))) for name in names}
        never = {name: _binarised(images, name, Parts._fields.index("test")) for name, images in never.items()}

    def rule(interval: int) -> EarlyStopping | None:
        if config.interval_length != "early-stopping":
            return None
        met = dict.fromkeys(visits[: interval + 1]) if config.stopping_on == "seen" else [visits[interval]]
        return EarlyStopping(_union([used[name].valid for name in met]), config.patience, config.check_every)

    stopping = [rule(interval) for interval in range(len(visits))]

    def experience(part: str, name: str, interval: int, steps: int) -> Interval:
        """Make a fresh experience for each visit: Avalanche writes the index on the object, so an experience listed
        twice would carry the last index. The tensors are shared."""
        return Interval(
            getattr(used[name], part),
            interval=interval,
            distributions=(name,),
            is_new=name not in visits[:interval],
            steps=None if config.passes else steps,
            planned_steps=None if config.passes else config.steps,
            stopping=stopping[interval],
            passes=config.passes,
            replacement=config.replacement,
            redrawn=config.redraws,
        )

    lengths = config.lengths(len(visits), seeds)
    visited = list(enumerate(zip(visits, lengths, strict=True)))
    train, valid, test = (
        [experience(part, name, i, n) for i, (name, n) in visited if part == "train" or name not in visits[:i]]
        for part in ("train", "valid", "test")
    )
    full_test = {name: used[name].test if name in used else never[name] for name in tested or ()}
    return Stream(train, valid, test, config, whole_test, full_test)


def _check(distributions: Mapping[str, Parts], tested: Mapping[str, Images]) -> None:
    """Check that distributions can be trained on, and others tested. Pixels of uint8 tensors aren't read, so this takes
    no time.

    Raises:
        InputError: a distribution can't be used; the text has its name, the part, what was found and what is expected.
    """
    shapes: dict[tuple[int, ...], str] = {}
    named = {name: parts._asdict() for name, parts in distributions.items()}
    for name, parts in (named | {name: {"test": images} for name, images in tested.items()}).items():
        if problem := not_a_name(name):
            raise InputError(f"distribution {brief(name)}: its name {problem}")
        for part, (x, y) in parts.items():
            of = f"distribution {name!r}, {part} part"
            if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
                raise InputError(
                    f"{of}: images and labels must be tensors; found: {type(x).__name__} and {type(y).__name__}"
                )
            if x.dtype != torch.uint8:
                raise InputError(
                    f"{of}: images must be uint8, 0 to 255; found: {_pixels(x)}. Convert images in [0, 1] by "
                    f"x.mul(255).round().byte()"
                )
            if x.ndim != 4 or not all(x.shape[1:]):
                raise InputError(
                    f"{of}: images must have the shape (n, channels, height, width); found: {tuple(x.shape)}"
                )
            if not len(x):
                raise InputError(
                    f"{of}: there are no images; choose another distribution, or other options of the scenario"
                )
            if y.dtype != torch.int64 or y.shape != x.shape[:1]:
                raise InputError(
                    f"{of}: labels must be int64, ({len(x)},), one for each image; found: "
                    f"{str(y.dtype).removeprefix('torch.')}, {tuple(y.shape)}"
                )
            if y.min() < 0:
                raise InputError(f"{of}: labels must be at least 0; found: {int(y.min())}")
            first = shapes.setdefault(tuple(x.shape[1:]), of)
            if len(shapes) > 1:
                other, there = next(iter(shapes.items()))
                raise InputError(
                    f"{first}: images are {'×'.join(map(str, x.shape[1:]))}, but {'×'.join(map(str, other))} in "
                    f"{there}; all images of a stream must have one shape"
                )


def _pixels(x: Tensor) -> str:
    """Describe the values of images that can't be used."""
    kind = str(x.dtype).removeprefix("torch.")
    if not x.is_floating_point():
        return kind
    finite = x[x.isfinite()]
    between = f", {finite.min():g} to {finite.max():g}" if len(finite) else ""
    wrong = x.numel() - len(finite)
    return kind + between + (f", {wrong:,} pixels that aren't finite" if wrong else "")


def _union(parts: Sequence[Images]) -> Images:
    """Put images together; one part stays as it is, in its memory."""
    first, *others = parts
    return Images(*map(torch.cat, zip(*parts, strict=True))) if others else first


def _sampled(
    distributions: Mapping[str, Parts], tested: Mapping[str, Images], n: int
) -> tuple[dict[str, Parts], dict[str, Images]]:
    """Keep n test images and n validation images in all, or as many as there are."""
    tests = {name: parts.test for name, parts in distributions.items()} | dict(tested)
    if n < len(tests):
        raise InputError(f"test_images={n} is less than one for each of {len(tests)} distributions")
    valid = _shares(n, [len(parts.valid.x) for parts in distributions.values()])
    shares = _shares(n, [len(images.x) for images in tests.values()])
    tests = {name: images.spread(share) for (name, images), share in zip(tests.items(), shares, strict=True)}
    return {
        name: Parts(parts.train, parts.valid.spread(v), tests[name])
        for (name, parts), v in zip(distributions.items(), valid, strict=True)
    }, {name: tests[name] for name in tested}


def _shares(n: int, sizes: Sequence[int]) -> list[int]:
    """Divide n images among parts: equally, with one more for the first parts if n can't be divided. A part with fewer
    images gives all it has, and the others share the rest: a rare distribution must not make the whole sample small.
    """
    shares = [0] * len(sizes)
    while n and (has_more := [i for i, size in enumerate(sizes) if shares[i] < size]):
        equal = max(1, n // len(has_more))
        for i in has_more:
            given = min(equal, sizes[i] - shares[i], n)
            shares[i] += given
            n -= given
    return shares


def _binarised(images: Images, distribution: str, part: int) -> Images:
    """Set each pixel to 255 with the probability of its grey level. It is drawn once: the same for every seed and
    method. The channels share their draws, so that grey stays grey."""
    return images._replace(x=redraw(images.x, Seeds(0).generator("binarisation", distribution, part)))
