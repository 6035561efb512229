"""One strategy after one interval, for metrics: each image is evaluated once for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from ..contracts.images import to_unit
from ..contracts.model import GenerativeModel, group_bounds, group_importance_bounds, importance_bound, negative_elbo
from ..contracts.stream import Interval, Stream, redraw
from ..seeds import Seeds
from ..training.template import GenerativeTemplate
from .fingerprint import Fingerprint, fingerprint
from .information import Drift, drift
from .samples import Gallery, Samples, replays_of

DRAWS = 10
"""S: draws per image in every bound, the same for every method."""
FLOOR_IMAGES = 100
"""Test images of each distribution for measuring the noise of an estimated code."""
_ROWS = 5000
"""Decoded images per pass: enough to be fast, few enough to stay in the processor's cache."""


class Means(NamedTuple):
    """Mean bound over some images, nats per image."""

    value: float
    reconstruction: float
    divergence: float
    n: int


class Pass(NamedTuple):
    """One pass over some images."""

    means: Means
    codes: Tensor | None
    """log q(code | x) of test images, (n, codes)"""
    groups: Tensor
    """mean of each component's own negative ELBO, nats per image, (components,)"""
    values: Tensor
    """negative ELBO of each image, nats, (n,)"""


@dataclass
class EvaluatorState:
    """The state that all measurements of a run share."""

    stream: Stream
    seeds: Seeds
    view: Sequence[Interval]
    """The experiences that the method trains on, in order."""
    previous_codes: dict[str, Tensor] = field(default_factory=dict, kw_only=True)
    """log q(code | x) of each distribution's test images, (n, codes), after the interval before."""
    gallery: Gallery | None = field(default=None, kw_only=True)
    """Real images for metrics of samples; None where samples aren't measured."""
    resident_images: dict[tuple[str, str], Tensor] = field(default_factory=dict, kw_only=True)
    """Images on the device, by part and distribution, from their first use on."""

    def images(self, part: str, distribution: str, device: torch.device) -> Tensor:
        """Return one distribution's "valid" or "test" images, uint8, kept on the device from the first use on.

        Pixels that the track draws at each read are drawn once a run, the same for all methods: between two draws of an
        image its code moves, too.
        """
        key = (part, distribution)
        if key not in self.resident_images:
            x = self.stream.images(part, distribution).x
            if self.stream.config.redraws:
                x = redraw(x, self.seeds.generator("pixels", part, distribution))
            self.resident_images[key] = x.to(device)
        return self.resident_images[key]


class Measurement:
    """One strategy after one interval, for metrics. Results that several metrics need are computed once."""

    def __init__(
        self,
        strategy: GenerativeTemplate,
        state: EvaluatorState,
        interval: int,
        train_seconds: float,
        train_cpu_seconds: float | None = None,
    ) -> None:
        self.strategy = strategy
        self.model: GenerativeModel = strategy.model
        self.stream = state.stream
        self.interval = interval
        self.is_last = interval == len(state.view) - 1
        self.previous_codes = state.previous_codes
        self.train_seconds = train_seconds
        self.train_cpu_seconds = train_cpu_seconds
        self._passes: dict[tuple[str, str], Pass] = {}
        self._state = state
        self._started = perf_counter()
        met = [set(experience.distributions) for experience in state.view]
        self.seen = self._in_order(set().union(*met[: interval + 1]))
        """Distributions met so far."""
        self.past = self._in_order(set().union(*met[:interval]))
        """Distributions met before this interval."""
        self.tested = state.stream.tested
        """Distributions of the full test set; by default all of the stream's."""
        self.samples = self._samples(state) if state.gallery else None
        """Samples of the model, and their comparisons with real images; None where they aren't measured."""

    def _samples(self, state: EvaluatorState) -> Samples:
        assert state.gallery is not None
        replays = replays_of(self.strategy.plugins)
        return Samples(self.model, state.gallery, state.seeds, self.seen, self.past, replays)

    @property
    def _all(self) -> tuple[str, ...]:
        """The stream's distributions, and others that are tested."""
        return tuple(dict.fromkeys((*self.stream.distributions, *self.tested)))

    def _in_order(self, distributions: set[str]) -> tuple[str, ...]:
        return tuple(name for name in self.stream.distributions if name in distributions)

    @property
    def eval_seconds(self) -> float:
        """Wall time since measuring this interval began."""
        return perf_counter() - self._started

    def union(self, part: str, distributions: Iterable[str]) -> Means:
        """Return the mean negative ELBO of several distributions' "valid" or "test" images together."""
        means = [self.bound(part, name) for name in distributions]
        n = sum(mean.n for mean in means)
        value, reconstruction, divergence = (math.fsum(mean[i] * mean.n for mean in means) / n for i in range(3))
        return Means(value, reconstruction, divergence, n)

    def evaluate(self, part: str, distribution: str) -> Pass:
        """Evaluate one distribution's "valid" or "test" images with one set of log-weights."""
        key = (part, distribution)
        if key not in self._passes:
            self._passes[key] = self._evaluate(part, distribution)
        return self._passes[key]

    def _evaluate(self, part: str, distribution: str) -> Pass:
        images = self.images(part, distribution)
        # The noise depends on part and distribution alone: the same before and after an interval, and for all methods.
        generator = self.generator("evaluation", part, distribution)
        log_prior = self.model.log_prior
        totals = torch.zeros(3, dtype=torch.float64, device=self.strategy.device)
        groups = torch.zeros(len(log_prior), dtype=torch.float64, device=self.strategy.device)
        codes, of_images = [], []
        for x in self.batches(images, DRAWS):
            weights = self.model.log_weights(x, DRAWS, generator)
            bound = negative_elbo(weights, log_prior)
            of_images.append(bound.value)
            totals += torch.stack([values.double().sum() for values in bound])
            groups += group_bounds(weights).double().sum(1)
            if part == "test":
                codes.append(self.model.code_log_posterior(x, weights))
        value, reconstruction, divergence = (totals / len(images)).tolist()
        means = Means(value, reconstruction, divergence, len(images))
        return Pass(means, torch.cat(codes) if codes else None, groups / len(images), torch.cat(of_images))

    def bound(self, part: str, distribution: str) -> Means:
        """Return the mean negative ELBO of one distribution's "valid" or "test" images."""
        return self.evaluate(part, distribution).means

    def images(self, part: str, distribution: str) -> Tensor:
        """Return one distribution's "valid" or "test" images on the device, uint8."""
        return self._state.images(part, distribution, self.strategy.device)

    def fingerprint(self) -> Fingerprint:
        """Take a fingerprint, to notice whether a metric changes anything."""
        attributes = vars(self)
        shared = {f"m.{name}": attributes[name] for name in _SHARED if name in attributes}
        shared |= {f"m.evaluate{key}": result for key, result in self._passes.items()}
        if self.samples:
            shared |= {f"m.samples {number}": piece for number, piece in enumerate(self.samples.drawn)}
        return fingerprint(self.strategy, self.stream, self._state.resident_images, shared)

    def generator(self, *role: str | int) -> torch.Generator:
        """Make a generator on the device whose draws depend on the seed and a role alone."""
        return self._state.seeds.generator(*role, device=self.strategy.device)

    @staticmethod
    def batches(images: Tensor, draws: int) -> Iterator[Tensor]:
        """Split images, as [0, 1] floats, into batches whose size suits the number of draws."""
        return map(to_unit, images.split(max(1, _ROWS // draws)))

    @cached_property
    def codes(self) -> dict[str, Tensor]:
        """log q(code | x) of each distribution's test images, (n, codes)."""
        passes = {name: self.evaluate("test", name) for name in self._all}
        return {name: result.codes for name, result in passes.items() if result.codes is not None}

    @cached_property
    def drift(self) -> Drift | None:
        """Movement of the codes of past images in the interval; None in the first."""
        return drift(self.previous_codes, self.codes, self.past) if self.previous_codes else None

    @cached_property
    def codes_twice(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The same model's codes from independent noise, of the first test images of each past distribution."""

        def once(i: int) -> dict[str, Tensor]:
            codes = {}
            for name in self.past:
                x = to_unit(self.images("test", name)[:FLOOR_IMAGES])
                weights = self.model.log_weights(x, DRAWS, self.generator("code-floor", name, i))
                codes[name] = self.model.code_log_posterior(x, weights)
            return codes

        return once(0), once(1)

    @cached_property
    def importance(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Importance-weighted bounds of each distribution's first test images, for the model, (images,), and for each
        component alone, (images, components)."""
        config = self.stream.config
        log_prior = self.model.log_prior
        values = {}
        for name in self._all:
            generator = self.generator("importance", name)
            bounds, alone = [], []
            for x in self.batches(self.images("test", name)[: config.importance_images], config.importance_draws):
                weights = self.model.log_weights(x, config.importance_draws, generator)
                bounds.append(importance_bound(weights, log_prior))
                alone.append(group_importance_bounds(weights).T)
            values[name] = torch.cat(bounds).double(), torch.cat(alone).double()
        return values


_SHARED = ("strategy", "model", "stream", "interval", "is_last", "seen", "past", "tested", "train_seconds",
           "train_cpu_seconds", "previous_codes", "codes", "drift", "codes_twice", "importance")  # fmt: skip
"""Attributes of a measurement that all metrics of an interval share; the last four exist once they are computed."""
