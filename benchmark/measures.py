"""What is measured after every interval. Each metric is one registered function that yields rows.

All metrics of one interval share one :class:`Measurement`, which evaluates each image once.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .fingerprint import Fingerprint, Watch, fingerprint
from .images import to_unit
from .model import GenerativeModel, group_bounds, group_importance_bounds, importance_bound, negative_elbo
from .registry import METRICS, Entry, register_metric
from .rows import Row as Row  # plug-ins have it from here
from .rows import kept_rows
from .seeds import Seeds
from .stream import Interval, Stream
from .template import GenerativeTemplate

DRAWS = 10
"""S: draws per image in every bound, the same for every method."""
FLOOR_IMAGES = 100
"""Test images of each distribution on which the noise of an estimated code is measured."""
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


@dataclass
class Evaluator:
    """Measures a strategy after each interval, and remembers what a metric needs of the interval before."""

    stream: Stream
    seeds: Seeds
    view: Sequence[Interval]
    """The experiences that the method trains on, in order."""
    metrics: Sequence[Entry] = ()
    """What is measured beside lifegen's own."""
    previous_codes: dict[str, Tensor] = field(default_factory=dict)
    """log q(code | x) of each distribution's test images, (n, codes), after the interval before."""
    resident_images: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    """Images of a part and distribution on the device, as far as they have been asked for."""

    def images(self, part: str, distribution: str, device: torch.device) -> Tensor:
        """One distribution's "valid" or "test" images, uint8, kept on the device from the first use on."""
        key = (part, distribution)
        if key not in self.resident_images:
            self.resident_images[key] = self.stream.images(part, distribution).x.to(device)
        return self.resident_images[key]

    def measure(self, strategy: GenerativeTemplate, interval: int, train_seconds: float) -> list[dict[str, Any]]:
        """Run every metric that is measured.

        Returns:
            rows as in the store: interval, distribution, step, metric, value. Undefined values make no row.
        """
        measurement = Measurement(strategy, self, interval, train_seconds)
        measured = [entry for entry in (*own_metrics(), *self.metrics) if not entry.facts["derived"]]
        measured.sort(key=lambda entry: entry.name == "eval_seconds")  # the last, so that it sees the others' time
        training = strategy.model.training
        strategy.model.eval()
        with torch.inference_mode():
            values = _Values(measurement, is_watched=not all(map(_is_own, measured)))
            rows = [
                {"interval": interval, "metric": entry.name, **row._asdict()}
                for entry in measured
                for row in values.of(entry)
            ]
            self.previous_codes = measurement.codes
        strategy.model.train(training)
        for row in rows:
            if not math.isfinite(row["value"]):
                raise FloatingPointError(f"{row['metric']} is {row['value']} after interval {interval}")
        return rows


def own_metrics() -> list[Entry]:
    """Lifegen's own: others may be registered in this process, too, which not every run is to measure."""
    return list(filter(_is_own, METRICS))


def _is_own(entry: Entry) -> bool:
    return str(entry.target.__module__).startswith("lifegen.")


class _Values:
    """The rows of metrics. A metric that isn't lifegen's own is watched: what it changed would change later numbers."""

    def __init__(self, measurement: Measurement, is_watched: bool) -> None:
        self._measurement = measurement
        self._watch = Watch(measurement.fingerprint) if is_watched else None
        self._is_looked_at = False

    def of(self, entry: Entry) -> list[Row]:
        """The rows of one metric.

        Raises:
            RuntimeError: it changes something.
            InputError: it yields what isn't a row, or can't be kept.
        """
        m = self._measurement
        if _is_own(entry) or self._watch is None:
            return list(entry.target(m))
        if not self._is_looked_at:  # by lifegen's own metrics, which come first and change nothing
            self._watch.overlook()
            self._is_looked_at = True
        rows = kept_rows(entry.target(m), entry.name, m.interval, m.stream.distributions)
        if changed := self._watch.changes():
            raise RuntimeError(
                f"metric {entry.name} changes {' and '.join(changed)}: a metric may look, and draw from generators of"
                " its own; `lifegen check` says more"
            )
        return rows


class Measurement:
    """One strategy after one interval, as metrics see it. What several metrics need is computed once."""

    def __init__(self, strategy: GenerativeTemplate, evaluator: Evaluator, interval: int, train_seconds: float) -> None:
        self.strategy = strategy
        self.model: GenerativeModel = strategy.model
        self.stream = evaluator.stream
        self.interval = interval
        self.is_last = interval == len(evaluator.view) - 1
        self.previous_codes = evaluator.previous_codes
        self.train_seconds = train_seconds
        self._passes: dict[tuple[str, str], Pass] = {}
        self._evaluator = evaluator
        self._started = perf_counter()
        met = [set(experience.distributions) for experience in evaluator.view]
        self.seen = self._in_order(set().union(*met[: interval + 1]))
        """Distributions met so far."""
        self.past = self._in_order(set().union(*met[:interval]))
        """Distributions met before this interval."""

    def _in_order(self, distributions: set[str]) -> tuple[str, ...]:
        return tuple(name for name in self.stream.distributions if name in distributions)

    @property
    def eval_seconds(self) -> float:
        """Wall time since measuring this interval began."""
        return perf_counter() - self._started

    def union(self, part: str, distributions: Iterable[str]) -> Means:
        """Mean negative ELBO of the "valid" or "test" images of several distributions together."""
        parts = [self.bound(part, name) for name in distributions]
        n = sum(one.n for one in parts)
        value, reconstruction, divergence = (math.fsum(one[i] * one.n for one in parts) / n for i in range(3))
        return Means(value, reconstruction, divergence, n)

    def evaluate(self, part: str, distribution: str) -> Pass:
        """All that is known of one distribution's "valid" or "test" images from one set of log-weights."""
        key = (part, distribution)
        if key not in self._passes:
            self._passes[key] = self._evaluate(part, distribution)
        return self._passes[key]

    def _evaluate(self, part: str, distribution: str) -> Pass:
        images = self.images(part, distribution)
        # The noise depends on part and distribution alone: the same before and after an interval, and for all methods.
        generator = self._generator("evaluation", part, distribution)
        log_prior = self.model.log_prior
        totals = torch.zeros(3, dtype=torch.float64, device=self.strategy.device)
        groups = torch.zeros(len(log_prior), dtype=torch.float64, device=self.strategy.device)
        codes = []
        for x in self.batches(images, DRAWS):
            weights = self.model.log_weights(x, DRAWS, generator)
            bound = negative_elbo(weights, log_prior)
            totals += torch.stack([values.double().sum() for values in bound])
            groups += group_bounds(weights).double().sum(1)
            if part == "test":
                codes.append(self.model.code_log_posterior(x, weights))
        value, reconstruction, divergence = (totals / len(images)).tolist()
        means = Means(value, reconstruction, divergence, len(images))
        return Pass(means, torch.cat(codes) if codes else None, groups / len(images))

    def bound(self, part: str, distribution: str) -> Means:
        """Mean negative ELBO of one distribution's "valid" or "test" images."""
        return self.evaluate(part, distribution).means

    def images(self, part: str, distribution: str) -> Tensor:
        """One distribution's "valid" or "test" images on the device, uint8."""
        return self._evaluator.images(part, distribution, self.strategy.device)

    def fingerprint(self) -> Fingerprint:
        """What tells whether a metric has left everything as it was."""
        known = vars(self)
        shared = {f"m.{name}": known[name] for name in _SHARED if name in known}
        shared |= {f"m.evaluate{of}": found for of, found in self._passes.items()}
        return fingerprint(self.strategy, self.stream, self._evaluator.resident_images, shared)

    def _generator(self, *role: str | int) -> torch.Generator:
        return self._evaluator.seeds.generator(*role, device=self.strategy.device)

    @staticmethod
    def batches(images: Tensor, draws: int) -> Iterator[Tensor]:
        """Images in [0, 1], in batches that suit so many draws each."""
        return map(to_unit, images.split(max(1, _ROWS // draws)))

    @cached_property
    def codes(self) -> dict[str, Tensor]:
        """log q(code | x) of each distribution's test images, (n, codes)."""
        passes = {name: self.evaluate("test", name) for name in self.stream.distributions}
        return {name: one.codes for name, one in passes.items() if one.codes is not None}

    @cached_property
    def drift(self) -> _Drift | None:
        """How far the codes of past images moved in the interval; None in the first."""
        return _drift(self.previous_codes, self.codes, self.past) if self.previous_codes else None

    @cached_property
    def codes_twice(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The same model's codes from independent noise, of the first test images of each past distribution."""

        def once(i: int) -> dict[str, Tensor]:
            codes = {}
            for name in self.past:
                x = to_unit(self.images("test", name)[:FLOOR_IMAGES])
                weights = self.model.log_weights(x, DRAWS, self._generator("code-floor", name, i))
                codes[name] = self.model.code_log_posterior(x, weights)
            return codes

        return once(0), once(1)

    @cached_property
    def importance(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Importance-weighted bounds of the first test images of each distribution: of the model, (images,), and of
        each component alone, (images, components)."""
        config = self.stream.config
        log_prior = self.model.log_prior
        values = {}
        for name in self.stream.distributions:
            generator = self._generator("importance", name)
            bounds, alone = [], []
            for x in self.batches(self.images("test", name)[: config.importance_images], config.importance_draws):
                weights = self.model.log_weights(x, config.importance_draws, generator)
                bounds.append(importance_bound(weights, log_prior))
                alone.append(group_importance_bounds(weights).T)
            values[name] = torch.cat(bounds).double(), torch.cat(alone).double()
        return values


_SHARED = ("strategy", "model", "stream", "interval", "is_last", "seen", "past", "train_seconds", "previous_codes",
           "codes", "drift", "codes_twice", "importance")  # fmt: skip
"""Attributes of a measurement, which all metrics of an interval share; the last four are there once they are known."""


@register_metric("negative_elbo", version=1, unit="nats", better="lower")
def negative_elbo_test(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the full test set (the paper's metric); per distribution it is the matrix R[t, j]."""
    yield Row(m.union("test", m.stream.distributions).value)
    for name in m.stream.distributions:
        yield Row(m.bound("test", name).value, name)


@register_metric("negative_elbo_seen", version=1, unit="nats", better="lower")
def negative_elbo_seen(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the test sets of the distributions met so far."""
    yield Row(m.union("test", m.seen).value)


@register_metric("negative_elbo_valid", version=1, unit="nats", better="lower")
def negative_elbo_valid(m: Measurement) -> Iterator[Row]:
    """Negative ELBO per image on the validation parts met so far: for tuning only."""
    yield Row(m.union("valid", m.seen).value)


@register_metric("reconstruction", version=1, unit="nats", better="lower")
def reconstruction(m: Measurement) -> Iterator[Row]:
    """The part −log p(x|z) of negative_elbo, on the full test set."""
    yield Row(m.union("test", m.stream.distributions).reconstruction)


@register_metric("divergence", version=1, unit="nats")
def divergence(m: Measurement) -> Iterator[Row]:
    """The rest of negative_elbo: what the latent variables cost, on the full test set."""
    yield Row(m.union("test", m.stream.distributions).divergence)


@register_metric("negative_elbo_group", version=1, unit="nats")
def negative_elbo_group(m: Measurement) -> Iterator[Row]:
    """Negative ELBO given the most suitable component of each test set, as mixture papers report it: not a bound.

    The component is chosen at no cost, for a whole distribution's test images at once; the union is the mean over
    distributions. For a model of one component it is the mean of negative_elbo over distributions.
    """
    values = {name: float(m.evaluate("test", name).groups.min()) for name in m.stream.distributions}
    yield Row(math.fsum(values.values()) / len(values))
    for name, value in values.items():
        yield Row(value, name)


@register_metric("iwae_nll", version=1, unit="nats", better="lower")
def iwae_nll(m: Measurement) -> Iterator[Row]:
    """Importance-weighted bound on −log p(x) at the end: 500 draws, first 100 test images of each distribution.

    Both numbers are options of the scenario, ``importance_draws`` and ``importance_images``.
    """
    if m.is_last:
        yield Row(float(torch.cat([bounds for bounds, _ in m.importance.values()]).mean()))
        for name, (bounds, _) in m.importance.items():
            yield Row(float(bounds.mean()), name)


@register_metric("iwae_nll_group", version=1, unit="nats")
def iwae_nll_group(m: Measurement) -> Iterator[Row]:
    """iwae_nll given the most suitable component of each test set, chosen at no cost: not a bound."""
    if m.is_last:
        values = {name: float(alone.mean(0).min()) for name, (_, alone) in m.importance.items()}
        yield Row(math.fsum(values.values()) / len(values))
        for name, value in values.items():
            yield Row(value, name)


@register_metric("bits_per_dimension", version=1, unit="bits", better="lower")
def bits_per_dimension(m: Measurement) -> Iterator[Row]:
    """negative_elbo / (pixels · channels · log 2), where the likelihood is a density on 8-bit values."""
    if m.stream.track == "discretised-logistic":
        dimensions = math.prod(m.stream.image_shape)
        yield Row(m.union("test", m.stream.distributions).value / (dimensions * math.log(2)))


@register_metric("posterior_consistency", version=1, better="higher")
def posterior_consistency(m: Measurement) -> Iterator[Row]:
    """Share of the full test set whose most likely code is the same before and after the interval (paper, eq. 4)."""
    yield from _consistency(m, m.stream.distributions)


@register_metric("posterior_consistency_past", version=1, better="higher")
def posterior_consistency_past(m: Measurement) -> Iterator[Row]:
    """Posterior consistency on the distributions met before the interval."""
    yield from _consistency(m, m.past)


@register_metric("code_perplexity", version=1, unit="codes")
def code_perplexity(m: Measurement) -> Iterator[Row]:
    """Effective number of codes that are the most likely one of some test image: 1 means a collapsed code."""
    yield Row(_perplexity(torch.cat([m.codes[name] for name in m.stream.distributions])))


@register_metric("code_perplexity_past", version=1, unit="codes")
def code_perplexity_past(m: Measurement) -> Iterator[Row]:
    """Code perplexity on the distributions met before the interval."""
    if m.past:
        yield Row(_perplexity(torch.cat([m.codes[name] for name in m.past])))


@register_metric("code_information", version=1, unit="nats")
def code_information(m: Measurement) -> Iterator[Row]:
    """What two draws of the code before the interval say about each other, on past images: what can be retained."""
    if m.previous_codes:
        yield Row(_information(m.previous_codes, m.previous_codes, m.past))


@register_metric("code_retention", version=1, better="higher", most=1.0)
def code_retention(m: Measurement) -> Iterator[Row]:
    """Mutual information of the codes before and after the interval, over code_information.

    Safe under growth and relabelling; above 1 where the code has sharpened, which ranks as 1. No row where
    the code carries less than 0.05 nats: there is nothing to retain.
    """
    if m.previous_codes:
        own = _information(m.previous_codes, m.previous_codes, m.past)
        if own > 0.05:
            yield Row(_information(m.previous_codes, m.codes, m.past) / own)


@register_metric("code_retention_floor", version=1)
def code_retention_floor(m: Measurement) -> Iterator[Row]:
    """code_retention of a model with itself, from two seeds: its distance from 1 is the noise of an estimated code.

    Of the first hundred test images of each distribution, as code_drift_floor. The noise is independent here and common
    in code_retention and code_drift, so that these can lie closer to perfect than their floors.
    """
    if m.past:
        first, second = m.codes_twice if m.model.estimates_code else (m.codes, m.codes)
        own = _information(first, first, m.past)
        if own > 0.05:
            yield Row(_information(first, second, m.past) / own)


@register_metric("code_drift", version=1)
def code_drift(m: Measurement) -> Iterator[Row]:
    """Total variation between the codes before and after the interval, on past images: between 0 and 1.

    Both are estimated with the same noise. It ranks nothing: a code that says nothing doesn't drift.
    """
    if m.drift:
        yield Row(m.drift.total)


@register_metric("code_leak", version=1)
def code_leak(m: Measurement) -> Iterator[Row]:
    """The part of code_drift that went to codes which are new in the interval: their probability for past images."""
    if m.drift:
        yield Row(m.drift.leak)


@register_metric("code_core_drift", version=1)
def code_core_drift(m: Measurement) -> Iterator[Row]:
    """code_drift among the codes that were there before, their probabilities renormalised."""
    if m.drift:
        yield Row(m.drift.core)


@register_metric("code_drift_floor", version=1)
def code_drift_floor(m: Measurement) -> Iterator[Row]:
    """code_drift of a model with itself, from two seeds: the noise of an estimated code, 0 where it has none."""
    if m.past:
        yield Row(_drift(*m.codes_twice, m.past).total if m.model.estimates_code else 0.0)


@register_metric("components", version=1, unit="components")
def components(m: Measurement) -> Iterator[Row]:
    """Components of the model: 1 but for mixtures."""
    yield Row(len(m.model.log_prior))


@register_metric("real_samples", version=1, unit="images", over_intervals="sum")
def real_samples(m: Measurement) -> Iterator[Row]:
    """Real images that entered a training step of the interval."""
    yield Row(m.strategy.real_samples)


@register_metric("synthetic_samples", version=1, unit="images", over_intervals="sum")
def synthetic_samples(m: Measurement) -> Iterator[Row]:
    """Images drawn from a model of the past for training in the interval."""
    yield Row(m.strategy.synthetic_samples)


@register_metric("optimizer_steps", version=1, unit="steps", over_intervals="sum")
def optimizer_steps(m: Measurement) -> Iterator[Row]:
    """Optimiser steps of the interval."""
    yield Row(m.strategy.optimizer_steps)


@register_metric("gradient_norm", version=1)
def gradient_norm(m: Measurement) -> Iterator[Row]:
    """Euclidean norm of the whole gradient, at about fifty steps an interval."""
    norms = m.strategy.gradient_norms
    for step, value in zip(norms.steps, norms.values, strict=True):
        yield Row(value, step=step)


@register_metric("stored_parameters", version=1, unit="numbers", better="lower")
def stored_parameters(m: Measurement) -> Iterator[Row]:
    """Floating-point numbers kept: the model's and those of teachers, frozen parts and the like."""
    yield Row(m.strategy.stored_parameters)


@register_metric("stored_samples", version=1, unit="images", better="lower")
def stored_samples(m: Measurement) -> Iterator[Row]:
    """Real images of the past that are kept."""
    yield Row(m.strategy.stored_samples)


@register_metric("train_seconds", version=1, unit="s", better="lower", over_intervals="sum")
def train_seconds(m: Measurement) -> Iterator[Row]:
    """Wall time of training in the interval."""
    yield Row(m.train_seconds)


@register_metric("peak_memory_mb", version=1, unit="MB", better="lower", over_intervals="max")
def peak_memory_mb(m: Measurement) -> Iterator[Row]:
    """Most memory used so far: the accelerator's where there is one, else the process's."""
    if m.strategy.device.type == "cuda":
        yield Row(torch.cuda.max_memory_allocated(m.strategy.device) / 2**20)
    else:
        unit = 1 if sys.platform == "darwin" else 2**10
        yield Row(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


@register_metric("eval_seconds", version=1, unit="s", better="lower", over_intervals="sum")
def eval_seconds(m: Measurement) -> Iterator[Row]:
    """Wall time of measuring after the interval."""
    yield Row(m.eval_seconds)


def _consistency(m: Measurement, distributions: tuple[str, ...]) -> Iterator[Row]:
    if m.previous_codes and distributions:
        before = torch.cat([m.previous_codes[name].argmax(1) for name in distributions])
        after = torch.cat([m.codes[name].argmax(1) for name in distributions])
        yield Row(float((before == after).double().mean()))


def _perplexity(log_q: Tensor) -> float:
    share = torch.bincount(log_q.argmax(1), minlength=log_q.shape[1]).double() / len(log_q)
    return float(torch.special.entr(share).sum().exp())


def _information(before: dict[str, Tensor], after: dict[str, Tensor], distributions: tuple[str, ...]) -> float:
    """Mutual information of two codes of the same images, nats: of J(a, b) = mean P(a|x) Q(b|x), a mean in which each
    distribution has the same weight."""
    tables = [before[name].double().exp().T @ after[name].double().exp() / len(after[name]) for name in distributions]
    joint = torch.stack(tables).mean(0)
    product = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, product)).sum())


class _Drift(NamedTuple):
    """Means over images in which each distribution has the same weight."""

    total: float
    leak: float
    core: float


def _drift(before: dict[str, Tensor], after: dict[str, Tensor], distributions: tuple[str, ...]) -> _Drift:
    """How far codes moved: TV(P, Q) with P padded, Q(new codes), and TV(P, Q renormalised on the codes of P)."""
    rows = []
    for name in distributions:
        old, new = before[name].double(), after[name].double()
        known = old.shape[1]
        p, q, kept = old.exp(), new.exp(), new[:, :known].softmax(1)
        leak = q[:, known:].sum(1)
        total = 0.5 * ((p - q[:, :known]).abs().sum(1) + leak)
        core = 0.5 * (p - kept).abs().sum(1)
        rows.append(torch.stack([total.mean(), leak.mean(), core.mean()]))
    return _Drift(*torch.stack(rows).mean(0).tolist())
