"""Metrics of samples: the scenario's expert looks at samples and at real test images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

from ..contracts.registry import register_metric
from . import sample_quality as quality
from .measurement import Measurement
from .rows import Row
from .samples import Comparison, Samples

Compare = Callable[[Comparison], float | None]

COMPARISONS: dict[str, Compare] = {}
"""Numbers that compare real with generated images, by name; None where one is undefined."""
_UNIONS: dict[str, tuple[str, Callable[[Measurement, Samples], Comparison | None]]] = {
    "": ("of all the stream's distributions", lambda m, samples: samples.of_all),
    "_seen": ("of the distributions met so far", lambda m, samples: samples.of_seen),
    "_replayed": ("of the distributions met before, beside replayed ones", lambda m, samples: samples.of_replay),
    "_10k": ("of all distributions, 10,000 of each kind, at the end",
             lambda m, samples: samples.at_the_end if m.is_last else None),
}  # fmt: skip
"""Endings of the metrics of a comparison, and the images that each compares."""


def _compares(name: str, better: Literal["lower", "higher"] | None = None) -> Callable[[Compare], Compare]:
    """Register a comparison as one metric for each of :data:`_UNIONS`."""

    def decorate(compare: Compare) -> Compare:
        COMPARISONS[name] = compare
        for ending, (images, compared) in _UNIONS.items():
            metric = _metric(compare, compared)
            summary, _, rest = (compare.__doc__ or "").partition("\n")
            metric.__doc__ = f"{summary} Images {images}.\n{rest}"
            metric.__qualname__ = f"{name}{ending}"
            register_metric(f"{name}{ending}", version=1, better=better, of_samples=True)(metric)
        return compare

    return decorate


def _metric(
    compare: Compare, compared: Callable[[Measurement, Samples], Comparison | None]
) -> Callable[[Measurement], Iterator[Row]]:
    def metric(m: Measurement) -> Iterator[Row]:
        if m.samples and (images := compared(m, m.samples)) and (value := compare(images)) is not None:
            yield Row(value)

    return metric


@_compares("frechet_distance", "lower")
def frechet_distance(images: Comparison) -> float | None:
    """Fréchet distance between features of real images and samples.

    Formula: ‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½).

    It misleads as one number for two faults: blurred samples and forgotten classes. Few images raise it, and it
    prefers varied samples of one class to typical ones of ten.
    """
    real, generated = images.features
    is_enough = min(len(real), len(generated)) >= quality.LEAST_PER_FEATURE * real.shape[1]
    return quality.frechet_distance(real, generated) if is_enough else None


@_compares("kernel_distance", "lower")
def kernel_distance(images: Comparison) -> float:
    """Kernel distance (squared maximum mean discrepancy) between features of real images and samples.

    Formula: mean over pairs of different images of the kernel (aᵀb / d + 1)³: within each set, minus twice between
    them.

    It misleads where its error is as large as the difference looked at; it may be negative.
    """
    return images.kernel.value


@_compares("kernel_distance_error")
def kernel_distance_error(images: Comparison) -> float:
    """Jackknife standard error of the kernel distance.

    Formula: jackknife over images.
    """
    return images.kernel.error


@_compares("density")
def density(images: Comparison) -> float:
    """Density of samples around real images; 1 for equal distributions.

    Formula: mean number of balls around real images (up to the fifth nearest other one) that hold a sample, over
    five.

    It misleads as a virtue: it is above 1 for a model that draws only typical images.
    """
    return images.neighbours.density


@_compares("coverage", "higher")
def coverage(images: Comparison) -> float:
    """Share of real images with a sample nearby.

    Formula: share of balls around real images (up to the fifth nearest other one) that hold a sample.

    It misleads at different numbers of samples, with which it grows.
    """
    return images.neighbours.coverage


@_compares("precision", "higher")
def precision(images: Comparison) -> float:
    """Share of samples near a real image.

    Formula: share of samples inside a ball around a real image (up to the third nearest other one).

    It misleads alone: a model that repeats one good image has 1.
    """
    return images.neighbours.precision


@_compares("recall", "higher")
def recall(images: Comparison) -> float:
    """Share of real images that lie between samples.

    Formula: share of real images inside a ball around a sample (up to the third nearest other one).

    It misleads alone: a few wild samples have large balls.
    """
    return images.neighbours.recall


@_compares("class_distance", "lower")
def class_distance(images: Comparison) -> float:
    """Total variation between the expert's classes of real images and of samples.

    Formula: ½ Σ |p − q| over the expert's classes.

    It misleads about samples that are no images of any class: the expert must choose one.
    """
    return quality.class_distance(*images.histograms)


@_compares("classes_covered", "higher")
def classes_covered(images: Comparison) -> float:
    """Classes of which samples have more than a tenth of the real images' share.

    It misleads about samples that are no images of any class: the expert must choose one.
    """
    return quality.classes_covered(*images.histograms)


@register_metric("code_purity", version=1, better="higher", of_samples=True)
def code_purity(m: Measurement) -> Iterator[Row]:
    """Share of a code's samples that are of its commonest class, mean over codes, at the end.

    There is no row for a model of one code.

    Formula: mean over codes of the largest share of a class, by the expert's word, among 100 samples of the code.

    It misleads about a model that draws one class whatever its code: it has 1. Read code_class_information beside it.
    """
    if m.samples and m.is_last and (classes := m.samples.classes_of_codes) is not None:
        yield Row(quality.code_purity(classes))


@register_metric("code_class_information", version=1, better="higher", of_samples=True)
def code_class_information(m: Measurement) -> Iterator[Row]:
    """Share of what there is to know about a sample's class that its code says: 0 to 1, at the end.

    There is no row for a model of one code.

    Formula: I(code; class) / log(classes of the expert), of 100 samples of each code.

    It misleads about a model with fewer codes than classes, which can't reach 1, and is a little too high: by about
    (codes − 1)(classes − 1) / (200 codes log classes) where the code says nothing.
    """
    if m.samples and m.is_last and (classes := m.samples.classes_of_codes) is not None:
        yield Row(quality.code_class_information(classes))


@register_metric("coverage_of_each", version=1, better="higher", of_samples=True)
def coverage_of_each(m: Measurement) -> Iterator[Row]:
    """Coverage of each distribution met so far by samples of the whole model, and its mean over them.

    For a distribution's n test images there are n samples for each distribution met: at a fixed number the coverage of
    each would fall without any forgetting.

    It misleads as coverage does.
    """
    yield from _of_each(m, lambda near: near.coverage)


@register_metric("recall_of_each", version=1, better="higher", of_samples=True)
def recall_of_each(m: Measurement) -> Iterator[Row]:
    """Recall of each distribution met so far by samples of the whole model, and its mean over them.

    It misleads as recall does.
    """
    yield from _of_each(m, lambda near: near.recall)


def _of_each(m: Measurement, number: Callable[[quality.Neighbours], float]) -> Iterator[Row]:
    if m.samples:
        values = {name: number(m.samples.of(name).neighbours) for name in m.seen}
        yield Row(math.fsum(values.values()) / len(values))
        yield from (Row(value, name) for name, value in values.items())


@register_metric("prd_f8", version=2, better="higher", of_samples=True)
def prd_f8(m: Measurement) -> Iterator[Row]:
    """Recall of distributions, F8 of their precision-recall curve (Sajjadi et al. 2018), at the end.

    Formula: (1 + 64) P R / (64 P + R) at its largest on the curve of shares of 20 clusters, mean of ten
    clusterings.

    It misleads about details within a cluster.
    """
    if m.samples and m.is_last:
        yield Row(m.samples.curve.f8)


@register_metric("prd_f1_8", version=2, better="higher", of_samples=True)
def prd_f1_8(m: Measurement) -> Iterator[Row]:
    """Precision of distributions, F1/8 of their precision-recall curve (Sajjadi et al. 2018), at the end.

    Formula: (1 + 1/64) P R / (P/64 + R) at its largest on the curve of shares of 20 clusters, mean of ten
    clusterings.

    It misleads about details within a cluster.
    """
    if m.samples and m.is_last:
        yield Row(m.samples.curve.f1_8)


@register_metric("fitting_capacity", version=1, better="higher", of_samples=True)
def fitting_capacity_of_samples(m: Measurement) -> Iterator[Row]:
    """Accuracy on real test images of a classifier that was trained on samples (Lesort et al. 2019), at the end.

    It misleads about diversity: a classifier can learn from a few typical images of each class.
    """
    if m.samples and m.is_last:
        yield Row(m.samples.fitting_capacity)
