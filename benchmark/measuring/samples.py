"""Samples of a model beside real images, as the scenario's expert sees both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from ..contracts.images import Images
from ..contracts.model import GenerativeModel
from ..contracts.stream import Stream, redraw
from ..errors import InputError
from ..seeds import Seeds
from . import sample_quality as quality
from .expert_training import fitting_capacity
from .experts import Expert, Seen

_MOST = 2000
"""Images after an interval, where there are so many test images."""
_AT_THE_END = 10_000
"""Images at the end, where there are so many test images."""
_OF_ONE = 400
"""Most test images of a single distribution."""
FOR_FITTING = 5
"""Samples for the fitting capacity, as a multiple of the images after an interval."""
_STEP = 50
"""The number of images is a multiple of this one."""
_OF_A_CODE = 100
"""Samples of each code."""
_CHUNK = 500
"""Samples at a time: the noise of the first ones is the same, however many follow."""


def too_few(stream: Stream) -> str:
    """Say which distribution has too few images for metrics of samples; empty if there are enough."""
    least = quality.K_OF_COVERAGE + 1
    for name in stream.distributions:
        for part, images in (("training", stream.images("train", name)), ("test", stream.whole_test[name])):
            if len(images.y) < least:
                return f"distribution {name!r} has {len(images.y)} {part} images; {least} are needed"
    return ""


class Comparison:
    """Real and generated images beside each other, as an expert sees them."""

    def __init__(self, real: Seen, generated: Seen, classes: int) -> None:
        self._real = real
        self._generated = generated
        self._classes = classes

    @property
    def features(self) -> tuple[Tensor, Tensor]:
        """Features of real and of generated images, (n, features) and (m, features)."""
        return self._real.features, self._generated.features

    @property
    def histograms(self) -> tuple[Tensor, Tensor]:
        """Numbers of real and of generated images in each class, by the expert's word, (classes,) each."""
        real, generated = (
            seen.labels.bincount(minlength=self._classes).double() for seen in (self._real, self._generated)
        )
        return real, generated

    @cached_property
    def kernel(self) -> quality.KernelDistance:
        """The kernel distance of the features."""
        return quality.kernel_distance(*self.features)

    @cached_property
    def neighbours(self) -> quality.Neighbours:
        """Comparisons by nearest neighbours among the features."""
        return quality.neighbours(*self.features)


Replays = Callable[[int, torch.Generator], Tensor | None]
"""A plugin's ``replayed``: draws images, in [0, 1], (n, channels, height, width)."""


def replays_of(plugins: Iterable[object]) -> Replays | None:
    """Return the first ``replayed`` of a strategy's plugins; None if no plugin replays."""
    return next((found for one in plugins if callable(found := getattr(one, "replayed", None))), None)


class Gallery:
    """The real images of a stream, as its expert sees them: looked at once a run."""

    def __init__(self, stream: Stream, expert: Expert) -> None:
        """Make the gallery.

        Args:
            stream: the stream.
            expert: its expert, on the device of the models.

        Raises:
            InputError: the expert knows images of another size, or other labels.
        """
        self.expert = expert
        self._stream = stream
        self.device = expert.mean.device
        facts = expert.facts
        expert.check(stream.image_shape)
        for name, images in stream.whole_test.items():
            if (label := int(images.y.max())) >= facts.classes:
                raise InputError(
                    f"the expert {facts.name} knows the labels 0 to {facts.classes - 1}; {name!r} has {label}"
                )
        sizes = [len(images.y) for images in stream.whole_test.values()]
        asked = stream.config.sample_images
        most = min(sum(sizes), asked if isinstance(asked, int) else _MOST)
        self.n = most // _STEP * _STEP or most
        """Images of the union after each interval."""
        self.n_seen = min(self.n, *sizes)
        """Images of the distributions met so far: equal after all intervals, since distances depend on it."""
        self.n_of_one = min(self.n_seen, _OF_ONE)
        """Test images of a single distribution."""
        self.n_at_the_end = _AT_THE_END if asked is None and sum(sizes) >= _AT_THE_END else None
        """Images of the union at the end; None where there are fewer test images."""

    def images(self, part: Literal["train", "test"]) -> dict[str, Images]:
        """Return all training or test images of each distribution, on the device, as the expert knows them."""
        found = self._stream.whole_test
        if part == "train":
            found = {name: self._stream.images("train", name) for name in sorted(self._stream.distributions)}
        return {
            name: Images(self.pixels(x, self._pixel_source(part, name)).to(self.device), y.to(self.device))
            for name, (x, y) in found.items()
        }

    def pixels(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw black and white pixels if the expert knows such, with the grey levels of bytes as probabilities."""
        return redraw(images, generator) if self.expert.facts.binary else images

    @staticmethod
    def _pixel_source(part: str, distribution: str) -> torch.Generator:
        # On the CPU, so that real images are the same on all devices.
        return Seeds(0).generator("measured-pixels", part, distribution)

    @cached_property
    def _test(self) -> dict[str, Seen]:
        """All test images, by distribution."""
        return {name: self.expert.look(images.x) for name, images in self.images("test").items()}

    def real(self, distributions: Iterable[str], n: int) -> Seen:
        """Return n test images, spread evenly over the union of some distributions."""
        seen = [self._test[name] for name in distributions]
        features, labels = (torch.cat(tensors) for tensors in zip(*seen, strict=True))
        index = torch.arange(n, device=labels.device) * len(labels) // n
        return Seen(features[index], labels[index])

    def compared(self, distributions: Iterable[str], n: int, generated: Seen) -> Comparison:
        """Return n test images of some distributions beside generated ones."""
        return Comparison(self.real(distributions, n), generated, self.expert.facts.classes)

    def fitting_capacity(self, images: Tensor, seen: Seen, seeds: Seeds) -> float:
        """Return the accuracy on all test images of a classifier that was trained on samples; see
        :func:`expert_training.fitting_capacity`.

        Args:
            images: the samples, uint8, (n, channels, height, width), on the device.
            seen: the same as the expert sees them.
            seeds: the source of the classifier's weights and order.
        """
        test = Images(*(torch.cat(tensors) for tensors in zip(*self.images("test").values(), strict=True)))
        generator = seeds.generator("measured-samples", "classifier", device=self.device)
        return fitting_capacity(images, seen, test, self.expert.facts.classes, generator)

    @cached_property
    def floor(self) -> Comparison:
        """Training images in place of samples, as many as after an interval if there are so many: about what a perfect
        model reaches.

        They are drawn at random, the same for all seeds, as samples would be: images spread over the distributions are
        more like the test images than independent draws.
        """
        training = torch.cat([images.x for images in self.images("train").values()])
        chosen = torch.randperm(len(training), generator=Seeds(0).generator("floor"))[: self.n]
        return self.compared(self._test, self.n, self.expert.look(training[chosen]))

    @property
    def distributions(self) -> tuple[str, ...]:
        """The stream's distributions."""
        return self._stream.distributions

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for a cell's record: the expert, the digest of its file, and the numbers of images."""
        return {
            "expert": self.expert.facts.name,
            "digest": self.expert.digest,
            "images": self.n,
            "images_seen": self.n_seen,
            "images_of_one": self.n_of_one,
        }


class Samples:
    """Samples of a model after one interval, compared with real images.

    They have generators of their own, which give the same noise after each interval.
    """

    def __init__(
        self,
        model: GenerativeModel,
        gallery: Gallery,
        seeds: Seeds,
        seen: tuple[str, ...],
        past: tuple[str, ...] = (),
        replays: Replays | None = None,
    ) -> None:
        """Make the samples; they are drawn when they are needed.

        Args:
            model: the model, on the gallery's device.
            gallery: the real images.
            seeds: the cell's seeds.
            seen: the distributions met so far.
            past: those met before the interval.
            replays: draws images of the kind that the interval replayed.
        """
        self._model = model
        self._gallery = gallery
        self._seeds = seeds
        self._met = seen
        self._past = past
        self._replays = replays
        self._images: list[Tensor] = []
        self._seen: list[Seen] = []
        self._comparisons: dict[str, Comparison] = {}

    @property
    def drawn(self) -> list[tuple[Tensor, Seen]]:
        """The samples that were drawn so far, uint8, and as the expert sees them, in pieces."""
        return list(zip(self._images, self._seen, strict=True))

    @property
    def of_all(self) -> Comparison:
        """Images of all the stream's distributions."""
        return self._compared("all", self._gallery.distributions, self._gallery.n)

    @property
    def of_seen(self) -> Comparison:
        """Images of the distributions met so far."""
        return self._compared("seen", self._met, self._gallery.n_seen)

    @cached_property
    def of_replay(self) -> Comparison | None:
        """Images that were replayed in the interval beside those of the distributions met before it; None where nothing
        was."""
        n, gallery = self._gallery.n_seen, self._gallery
        if self._replays is None or not self._past:
            return None
        generator = self._seeds.generator("measured-samples", "replayed", device=gallery.device)
        with torch.no_grad():
            images = self._replays(n, generator)
        if images is None:
            return None
        images = gallery.pixels(in_bytes(images, "replayed"), self._pixel_source("replayed"))
        return gallery.compared(self._past, n, gallery.expert.look(images))

    @property
    def at_the_end(self) -> Comparison | None:
        """More images of all distributions; None where there are too few test images."""
        n = self._gallery.n_at_the_end
        return None if n is None else self._compared("end", self._gallery.distributions, n)

    def of(self, distribution: str) -> Comparison:
        """Test images of one distribution beside as many samples for each distribution met so far."""
        n = self._gallery.n_of_one
        return self._compared(f"one {distribution}", (distribution,), n, n * len(self._met))

    @cached_property
    def classes_of_codes(self) -> Tensor | None:
        """Samples of each code in each class, by the expert's word, (codes, classes); None for a model of one code."""
        if self._model.codes == 1:
            return None
        counts = [
            self._sampled(_OF_A_CODE, ("code", code), code)[1].labels.bincount(
                minlength=self._gallery.expert.facts.classes
            )
            for code in range(self._model.codes)
        ]
        return torch.stack(counts).double()

    @cached_property
    def curve(self) -> quality.PrecisionRecall:
        """The precision and recall of distributions, of the larger comparison."""
        features = (self.at_the_end or self.of_all).features
        return quality.precision_recall_of_distributions(*features, seed=self._seeds.of("measured-samples", "clusters"))

    @cached_property
    def fitting_capacity(self) -> float:
        """The accuracy of a classifier that was trained on samples; see :meth:`Gallery.fitting_capacity`."""
        n = FOR_FITTING * self._gallery.n
        seen = self._first(n)
        return self._gallery.fitting_capacity(torch.cat(self._images)[:n], seen, self._seeds)

    def _pixel_source(self, *of: str | int) -> torch.Generator:
        """The noise of drawn pixels, which is the same for all methods, however much of theirs these take."""
        return self._seeds.generator("measured-samples", "pixels", *of, device=self._gallery.device)

    def _compared(self, name: str, distributions: Iterable[str], n: int, samples: int | None = None) -> Comparison:
        if name not in self._comparisons:
            self._comparisons[name] = self._gallery.compared(distributions, n, self._first(samples or n))
        return self._comparisons[name]

    @torch.no_grad()
    def _sampled(self, n: int, role: tuple[str | int, ...], code: int | None = None) -> tuple[Tensor, Seen]:
        """Samples of the model, uint8, and as the expert sees them, with the noise of a role."""
        generator = self._seeds.generator("measured-samples", *role, device=self._gallery.device)
        means = in_bytes(self._model.sample(n, code, generator), f"{type(self._model).__name__}.sample")
        images = self._gallery.pixels(means, self._pixel_source(*role))
        return images, self._gallery.expert.look(images)

    def _first(self, n: int) -> Seen:
        """The first n samples, as the expert sees them."""
        while len(self._images) * _CHUNK < n:
            images, seen = self._sampled(_CHUNK, (len(self._images),))
            self._images.append(images)
            self._seen.append(seen)
        features, labels = (torch.cat(tensors) for tensors in zip(*self._seen, strict=True))
        return Seen(features[:n], labels[:n])


def in_bytes(images: Tensor, function: str) -> Tensor:
    """Round a model's images to bytes, as real images and picture files have them.

    Raises:
        ValueError: they aren't in [0, 1].
    """
    low, high = float(images.min()), float(images.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # false for NaN
        raise ValueError(f"{function} returns values from {low:g} to {high:g}: images are in [0, 1]")
    return images.mul(255).round().clamp(0, 255).byte()
