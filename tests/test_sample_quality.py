"""Comparisons of features: closed forms, independent references, and the faults that such code usually has."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from lifegen.benchmark.measuring import sample_quality as quality


def normal(n: int, d: int = 8, seed: int = 0, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    draws = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean + scale * draws


def whitened(x: Tensor) -> Tensor:
    """The same points with mean 0 and covariance 1, exactly."""
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T


@pytest.fixture(scope="module")
def mixed() -> tuple[Tensor, Tensor]:
    """Correlated features of two unlike distributions, of different numbers."""
    mixing = normal(8, seed=5)
    return normal(300, seed=1) @ mixing, normal(200, seed=2, mean=0.3, scale=1.2) @ mixing.T


def test_the_frechet_distance_of_known_gaussians():
    """‖μ‖² + Σ_i (s_i − t_i)² for diagonal covariances s², t²; the points have these moments exactly."""
    s = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    t = torch.tensor([2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    shift = torch.tensor([1.0, 0.0, -2.0, 0.5], dtype=torch.float64)
    real, generated = whitened(normal(400, 4, 1)) * s, whitened(normal(500, 4, 2)) * t + shift
    wanted = float(shift.square().sum() + (s - t).square().sum())
    assert quality.frechet_distance(real, generated) == pytest.approx(wanted, rel=1e-9)
    assert quality.frechet_distance(generated, real) == pytest.approx(wanted, rel=1e-9)


def test_the_frechet_distance_is_that_of_a_matrix_root(mixed):
    real, generated = (x.numpy() for x in mixed)
    first, second = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    wanted = ((real.mean(0) - generated.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert quality.frechet_distance(*mixed) == pytest.approx(wanted, rel=1e-8)


def test_the_frechet_distance_of_samples_that_have_collapsed():
    """One image again and again: no complex number, no NaN."""
    real = whitened(normal(400, 4))
    assert quality.frechet_distance(real, torch.ones(400, 4, dtype=torch.float64)) == pytest.approx(4 + 4)
    assert quality.frechet_distance(real, real) == pytest.approx(0, abs=1e-12)


def test_too_few_images_for_a_frechet_distance_are_refused():
    with pytest.raises(ValueError, match="8 features needs 40 images; there are 39"):
        quality.frechet_distance(normal(100), normal(39))


def test_the_frechet_distance_is_biased_upwards_by_few_images():
    """So that the number of images belongs to a value."""
    few, many = (quality.frechet_distance(normal(n, seed=1), normal(n, seed=2)) for n in (60, 4000))
    assert few > 5 * many > 0


def brute_kernel_distance(real: np.ndarray, generated: np.ndarray) -> float:
    d = real.shape[1]

    def mean_over_pairs(a: np.ndarray, b: np.ndarray, others_only: bool) -> float:
        kernel = (a @ b.T / d + 1) ** 3
        return kernel[~np.eye(len(a), dtype=bool)].mean() if others_only else kernel.mean()

    return (
        mean_over_pairs(real, real, True)
        + mean_over_pairs(generated, generated, True)
        - 2 * mean_over_pairs(real, generated, False)
    )


def test_the_kernel_distance_over_all_pairs(mixed):
    real, generated = (x.numpy() for x in mixed)
    assert quality.kernel_distance(*mixed).value == pytest.approx(brute_kernel_distance(real, generated), rel=1e-10)


def test_the_error_of_the_kernel_distance_is_a_jackknife(mixed):
    real, generated = (x[:30].numpy() for x in mixed)

    def variance(values: list[float]) -> float:
        return (len(values) - 1) * float(np.var(values))

    without_real = [brute_kernel_distance(np.delete(real, i, 0), generated) for i in range(30)]
    without_generated = [brute_kernel_distance(real, np.delete(generated, i, 0)) for i in range(30)]
    wanted = math.sqrt(variance(without_real) + variance(without_generated))
    found = quality.kernel_distance(torch.from_numpy(real), torch.from_numpy(generated))
    assert found.error == pytest.approx(wanted, rel=1e-9)


def test_the_kernel_distance_is_unbiased_and_its_error_is_one():
    """Of equal distributions: 0 in the mean of 200 repetitions, which scatter by the printed error."""
    found = [quality.kernel_distance(normal(60, 4, 2 * i), normal(50, 4, 2 * i + 1)) for i in range(200)]
    values, errors = np.array(found).T
    assert abs(values.mean()) < 3.5 * values.std() / math.sqrt(200)
    assert values.min() < 0
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.35)


def brute_neighbours(real: np.ndarray, generated: np.ndarray) -> tuple[float, float, float, float]:
    """By the papers' formulas, one image at a time."""

    def radius(points: np.ndarray, i: int, k: int) -> float:
        return float(np.sort(np.linalg.norm(np.delete(points, i, 0) - points[i], axis=1))[k - 1])

    between = scipy.spatial.distance.cdist(real, generated)
    wide = np.array([radius(real, i, 5) for i in range(len(real))])
    close = np.array([radius(real, i, 3) for i in range(len(real))])
    around = np.array([radius(generated, j, 3) for j in range(len(generated))])
    return (
        float((between < wide[:, None]).sum() / (5 * len(generated))),
        float((between < wide[:, None]).any(1).mean()),
        float((between <= close[:, None]).any(0).mean()),
        float((between <= around[None]).any(1).mean()),
    )


def test_neighbours_by_the_papers_formulas(mixed):
    real, generated = mixed[0][:90], mixed[1][:70]
    wanted = brute_neighbours(real.numpy(), generated.numpy())
    assert tuple(quality.neighbours(real, generated)) == pytest.approx(wanted, abs=1e-12)


def test_neighbours_in_pieces_are_the_same(mixed, monkeypatch):
    whole = quality.neighbours(*mixed)
    monkeypatch.setattr(quality, "_CHUNK", 37)
    assert quality.neighbours(*mixed) == whole


def test_coverage_and_density_of_equal_distributions():
    """1 − Π_{i=1..5} (n − i) / (n + m − i), and 1, in the mean of 100 repetitions."""
    n, m = 60, 90
    found = np.array([quality.neighbours(normal(n, 3, 2 * i), normal(m, 3, 2 * i + 1))[:2] for i in range(100)])
    wanted = 1 - math.prod((n - i) / (n + m - i) for i in range(1, 6))
    error = found.std(0) / 10
    assert abs(found[:, 1].mean() - wanted) < 3.5 * error[1]
    assert abs(found[:, 0].mean() - 1) < 3.5 * error[0]


def test_a_forgotten_class_is_lost_coverage_and_a_blurred_one_lost_recall():
    real = torch.cat([normal(200, 4, 1), normal(200, 4, 2, mean=30)])
    forgetful = normal(400, 4, 3)
    blurred = torch.cat([normal(200, 4, 4, scale=0.2), normal(200, 4, 5, mean=30, scale=0.2)])
    assert quality.neighbours(real, forgetful).coverage == pytest.approx(0.5, abs=0.05)
    assert quality.neighbours(real, forgetful).precision > 0.8
    assert quality.neighbours(real, blurred).precision > 0.95
    assert quality.neighbours(real, blurred).recall < 0.1


def test_a_swap_of_real_and_generated_images_is_noticed(mixed):
    there, back = quality.neighbours(*mixed), quality.neighbours(mixed[1], mixed[0])
    assert there.precision == back.recall
    assert there.coverage != pytest.approx(back.coverage, abs=0.01)


def test_repeated_samples_cover_less():
    """Samples drawn with replacement from a few: coverage falls, where precision stays high."""
    real, few = normal(300, 4, 1), normal(300, 4, 1)[torch.arange(300) % 10]
    found = quality.neighbours(real, few)
    assert found.precision == 1
    assert found.coverage < 0.5


def test_precision_and_recall_of_distributions():
    real = torch.cat([normal(300, 2, 1, scale=0.01), normal(300, 2, 2, mean=9, scale=0.01)])
    lost = normal(600, 2, 3, scale=0.01)  # one of two clusters
    invented = torch.cat([real[::2], normal(300, 2, 4, mean=-9, scale=0.01)])  # half are of no real cluster

    def curve(samples: Tensor) -> quality.PrecisionRecall:
        return quality.precision_recall_of_distributions(real, samples, seed=1, clusters=3, runs=2)

    def largest_f(weight: float, points: list[tuple[float, float]]) -> float:
        return max((1 + weight**2) * p * r / (weight**2 * p + r) for p, r in points)

    equal = curve(real)
    assert equal == pytest.approx((1, 1), abs=1e-3)
    slopes = np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, 1001))
    # p = (½, ½), q = (1, 0): precision min(λ/2, 1), recall min(½, 1/λ)
    points = [(min(s / 2, 1), min(0.5, 1 / s)) for s in slopes]
    assert curve(lost).f8 == pytest.approx(largest_f(8, points), abs=0.02)
    assert curve(lost).f1_8 == pytest.approx(largest_f(1 / 8, points), abs=0.02)
    assert curve(lost).f8 < 0.6 < 0.9 < curve(lost).f1_8
    assert curve(invented).f1_8 < 0.6 < 0.9 < curve(invented).f8


def test_the_curve_is_the_mean_over_clusterings(mixed):
    """Sajjadi's code takes F of the mean curve, not the mean of the curves' F."""
    curves = []
    for seed in (7, 8, 9):
        clusters = MiniBatchKMeans(5, n_init=3, random_state=seed).fit_predict(torch.cat(mixed).numpy())
        p, q = (np.bincount(part, minlength=5) / len(part) for part in np.split(clusters, [len(mixed[0])]))
        slopes = np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, 101))
        curves.append([[np.minimum(s * p, q).sum() for s in slopes], [np.minimum(p, q / s).sum() for s in slopes]])
    precision, recall = np.mean(curves, axis=0)
    found = quality.precision_recall_of_distributions(*mixed, seed=7, clusters=5, runs=3, angles=101)
    for value, weight in ((found.f8, 8), (found.f1_8, 1 / 8)):
        assert value == pytest.approx(max((1 + weight**2) * precision * recall / (weight**2 * precision + recall)))


def test_the_curve_depends_on_its_seed_alone(mixed):
    curves = [quality.precision_recall_of_distributions(*mixed, seed=seed) for seed in (3, 3, 2**63 + 3)]
    assert curves[0] == curves[1]
    assert all(0 < value < 1 for curve in curves for value in curve)


def test_histograms_of_classes():
    real = torch.tensor([50.0, 50.0, 0.0, 100.0])
    assert quality.class_distance(real, 3 * real) == 0
    assert quality.class_distance(real, torch.tensor([0.0, 0.0, 7.0, 0.0])) == 1
    assert quality.class_distance(real, torch.tensor([200.0, 0.0, 0.0, 0.0])) == pytest.approx(0.75)
    # Class 0 has 3 of 100 samples, more than a tenth of its quarter; class 1 has 2; class 2 isn't real.
    assert quality.classes_covered(real, torch.tensor([3.0, 2.0, 5.0, 90.0])) == 2


def test_purity_and_information_of_codes():
    def both(table: list[list[float]]) -> tuple[float, float]:
        classes = torch.tensor(table, dtype=torch.float64)
        return quality.code_purity(classes), quality.code_class_information(classes)

    assert both([[100, 0], [0, 100]]) == pytest.approx((1, 1))
    assert both([[100, 0], [100, 0]]) == pytest.approx((1, 0))  # one class is left
    assert both([[50, 50], [50, 50]]) == pytest.approx((0.5, 0))
    # Entropies in bits: 1 of the classes, minus that of 3/4 and 1/4 given the code.
    left = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert both([[75, 25], [25, 75]]) == pytest.approx((0.75, 1 - left))
    # Three codes of two classes: their names and the number of codes a class has don't matter.
    assert both([[0, 10, 0], [10, 0, 0], [0, 10, 0]])[1] == pytest.approx(
        (math.log(3) - 2 / 3 * math.log(2)) / math.log(3)
    )


@given(st.integers(0, 2**32), st.integers(2, 6), st.floats(0.1, 10))
def test_distances_ignore_the_order_and_a_rotation(seed: int, d: int, scale: float):
    real, generated = normal(60, d, seed), normal(50, d, seed + 1, mean=0.5, scale=scale)
    rotation = torch.linalg.qr(normal(d, d, seed + 2)).Q
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    turned = real @ rotation, generated[order] @ rotation
    assert quality.frechet_distance(*turned) == pytest.approx(quality.frechet_distance(real, generated), rel=1e-6)
    assert quality.kernel_distance(*turned) == pytest.approx(
        quality.kernel_distance(real, generated), rel=1e-6, abs=1e-9
    )
    assert quality.neighbours(*turned) == pytest.approx(quality.neighbours(real, generated), abs=0.021)
