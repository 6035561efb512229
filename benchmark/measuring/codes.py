"""Metrics of the code: its stability, and its information."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ..contracts.registry import register_metric
from .information import drift, information, information_on_distributions, perplexity
from .measurement import Measurement
from .rows import Row

LEAST_INFORMATION = 0.05
"""Information of a code, nats, below which it has nothing to keep: such a code is consistent for no merit."""


@register_metric("posterior_consistency", version=2, better="higher")
def posterior_consistency(m: Measurement) -> Iterator[Row]:
    """Share of the full test set whose most likely code is the same before and after the interval (paper, eq. 4).

    There is no row if the code before the interval carries less than 0.05 nats: a collapsed code is always the same.

    Formula: mean over images of [argmax P_before(code|x) = argmax P_after(code|x)].

    It misleads where the posterior is nearly flat, and where two codes exchange their names: nothing is lost, and
    it falls to 0.
    """
    yield from _consistency(m, m.tested)


@register_metric("posterior_consistency_mean", version=1, better="higher", over_intervals="mean")
def posterior_consistency_mean(m: Measurement) -> Iterator[Row]:
    """posterior_consistency, of which a cell's number is the mean over its intervals, as in the paper's figure 4b.

    Formula: as posterior_consistency; the mean over the intervals that have a value.

    It misleads as posterior_consistency does; intervals before which the code says nothing don't count.
    """
    yield from _consistency(m, m.tested)


@register_metric("posterior_consistency_past", version=2, better="higher")
def posterior_consistency_past(m: Measurement) -> Iterator[Row]:
    """Posterior consistency on the distributions met before the interval, where the code carries information there.

    Formula: as posterior_consistency.

    It misleads as posterior_consistency does; and each value is about one interval only.
    """
    yield from _consistency(m, m.past)


@register_metric("code_perplexity", version=1, unit="codes")
def code_perplexity(m: Measurement) -> Iterator[Row]:
    """Effective number of codes that are the most likely one of some test image: 1 means a collapsed code.

    Formula: exp of the entropy of the shares of images for which each code is the most likely one.

    It misleads as a measure of meaning: a high value doesn't say that codes mean anything.
    """
    yield Row(perplexity(torch.cat([m.codes[name] for name in m.tested])))


@register_metric("code_perplexity_past", version=1, unit="codes")
def code_perplexity_past(m: Measurement) -> Iterator[Row]:
    """Code perplexity on the distributions met before the interval.

    Formula: as code_perplexity.

    It misleads as code_perplexity does.
    """
    if m.past:
        yield Row(perplexity(torch.cat([m.codes[name] for name in m.past])))


@register_metric("code_information", version=1, unit="nats")
def code_information(m: Measurement) -> Iterator[Row]:
    """Mutual information of two draws of the code before the interval, on past images.

    Formula: mutual information of J(a, b) = mean of P(a|x) P(b|x), each distribution with the same weight.

    It misleads about meaning: it doesn't say what the code is about.
    """
    if m.previous_codes:
        yield Row(information(m.previous_codes, m.previous_codes, m.past))


@register_metric("code_distribution_information", version=1, better="higher")
def code_distribution_information(m: Measurement) -> Iterator[Row]:
    """Share of what there is to know about an image's distribution that its code says: 0 to 1, on distributions met.

    There is no row while one distribution is met: there is nothing to know.

    Formula: I(code; distribution) / log K on test images of the K distributions met so far, with the same weight for
    each; I = mean over distributions of KL[q(code|distribution) ‖ q(code)], q(code|distribution) the mean of P(code|x).

    It misleads about a code that is finer than the distributions, which isn't punished, and about one that groups like
    with like, such as shoes with sandals, which is. A model with fewer codes than distributions can't reach 1.
    """
    if len(m.seen) > 1:
        yield Row(information_on_distributions(m.codes, m.seen) / math.log(len(m.seen)))


@register_metric("code_retained", version=1, unit="nats", better="higher")
def code_retained(m: Measurement) -> Iterator[Row]:
    """Mutual information of the codes before and after the interval, on past images: 0 for a collapsed code.

    Formula: mutual information of J(a, b) = mean of P_before(a|x) P_after(b|x).

    It misleads by absence of a unit of comparison: it is at most the logarithm of the number of codes.
    """
    if m.previous_codes:
        yield Row(information(m.previous_codes, m.codes, m.past))


@register_metric("code_retention", version=1)
def code_retention(m: Measurement) -> Iterator[Row]:
    """code_retained over code_information.

    It isn't changed by growth or relabelling; above 1 if the code has sharpened. It isn't ranked, since a code that
    said little may have kept it all. There is no row if the code carries less than 0.05 nats.

    Formula: code_retained / code_information.

    It misleads by being absent: a code that collapsed in two of three seeds shows the third one.
    """
    if m.previous_codes:
        own = information(m.previous_codes, m.previous_codes, m.past)
        if own > LEAST_INFORMATION:
            yield Row(information(m.previous_codes, m.codes, m.past) / own)


@register_metric("code_retention_floor", version=1)
def code_retention_floor(m: Measurement) -> Iterator[Row]:
    """code_retention of a model with itself, from two seeds: its distance from 1 is the noise of an estimated code.

    Measured on the first hundred test images of each distribution, like code_drift_floor. The noise is independent here
    and common in code_retention and code_drift, so these can lie closer to perfect than their floors.

    Formula: code_retention of one model, from two draws of noise.
    """
    if m.past:
        first, second = m.codes_twice if m.model.estimates_code else (m.codes, m.codes)
        own = information(first, first, m.past)
        if own > LEAST_INFORMATION:
            yield Row(information(first, second, m.past) / own)


@register_metric("code_drift", version=1)
def code_drift(m: Measurement) -> Iterator[Row]:
    """Total variation between the codes before and after the interval, on past images: between 0 and 1.

    Both are estimated with the same noise. It isn't ranked: a code without information doesn't drift.

    Formula: ½ Σ |P_after − P_before| over codes, mean over images.

    It misleads as a virtue: a code without information doesn't drift.
    """
    if m.drift:
        yield Row(m.drift.total)


@register_metric("code_leak", version=1)
def code_leak(m: Measurement) -> Iterator[Row]:
    """The part of code_drift that goes to new codes of the interval: their probability for past images.

    Formula: the probability that moved to codes which the interval added.

    It misleads as code_drift does.
    """
    if m.drift:
        yield Row(m.drift.leak)


@register_metric("code_core_drift", version=1)
def code_core_drift(m: Measurement) -> Iterator[Row]:
    """code_drift among the codes from before the interval, with renormalised probabilities.

    Formula: ½ Σ |P_after − P_before| over the old codes, renormalised.

    It misleads as code_drift does.
    """
    if m.drift:
        yield Row(m.drift.core)


@register_metric("code_drift_floor", version=1)
def code_drift_floor(m: Measurement) -> Iterator[Row]:
    """code_drift of a model with itself, from two seeds: the noise of an estimated code, 0 where it has none.

    Formula: code_drift of one model, from two draws of noise.
    """
    if m.past:
        yield Row(drift(*m.codes_twice, m.past).total if m.model.estimates_code else 0.0)


def _consistency(m: Measurement, distributions: tuple[str, ...]) -> Iterator[Row]:
    if m.previous_codes and distributions:
        if information(m.previous_codes, m.previous_codes, distributions) <= LEAST_INFORMATION:
            return
        before = torch.cat([m.previous_codes[name].argmax(1) for name in distributions])
        after = torch.cat([m.codes[name].argmax(1) for name in distributions])
        yield Row(float((before == after).double().mean()))
