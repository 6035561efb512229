"""Distances between real and generated images, from their features alone.

Every function takes features of real and of generated images, float64, (n, d) and (m, d), and calculates in float64:
in float32 the trace of a product of covariances loses its digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .information import mutual_information

LEAST_PER_FEATURE = 5
"""Images for each feature below which a covariance says too little for a Fréchet distance."""
_CHUNK = 1000
"""Rows of a matrix of distances at a time."""


def frechet_distance(real: Tensor, generated: Tensor, per_feature: int = LEAST_PER_FEATURE) -> float:
    """Fréchet distance between Gaussians fitted to features, ‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½) (Heusel et al. 2017).

    It is biased upwards by the number of images: compare only values of equal numbers.

    Args:
        real: features, (n, d).
        generated: features, (m, d).
        per_feature: fewest images a feature.

    Raises:
        ValueError: there are fewer images.
    """
    least = per_feature * real.shape[1]
    if (fewest := min(len(real), len(generated))) < least:
        raise ValueError(f"a Fréchet distance of {real.shape[1]} features needs {least} images; there are {fewest}")
    root = _root(real.T.cov())
    # Σ Σ' has the eigenvalues of the symmetric Σ^½ Σ' Σ^½, whose square roots are real.
    of_product = torch.linalg.eigvalsh(root @ generated.T.cov() @ root).clamp(min=0).sqrt().sum()
    means = (real.mean(0) - generated.mean(0)).square().sum()
    return max(0.0, float(means + root.square().sum() + generated.var(0).sum() - 2 * of_product))


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


class KernelDistance(NamedTuple):
    """A kernel distance and its error."""

    value: float
    error: float
    """jackknife standard error"""


def kernel_distance(real: Tensor, generated: Tensor) -> KernelDistance:
    """Squared maximum mean discrepancy with the kernel (aᵀb / d + 1)³ (Bińkowski et al. 2018), over all pairs.

    The estimate is unbiased, so that it may be negative, and doesn't depend on the number of images but in its error.
    """
    n, m = len(real), len(generated)
    # Sums over an image's pairs with all others: a jackknife leaves out one image at a time.
    of_real, of_generated = (_kernel_sums(x, x) - _kernel(x, x) for x in (real, generated))
    to_generated, to_real = _kernel_sums(real, generated), _kernel_sums(generated, real)
    total_real, total_generated, total_between = of_real.sum(), of_generated.sum(), to_real.sum()

    def squared(real_pairs: Tensor, generated_pairs: Tensor, mixed: Tensor, n: int, m: int) -> Tensor:
        return real_pairs / (n * (n - 1)) + generated_pairs / (m * (m - 1)) - 2 * mixed / (n * m)

    value = squared(total_real, total_generated, total_between, n, m)
    without_real = squared(total_real - 2 * of_real, total_generated, total_between - to_generated, n - 1, m)
    without_generated = squared(total_real, total_generated - 2 * of_generated, total_between - to_real, n, m - 1)
    variance = _jackknife(without_real) + _jackknife(without_generated)
    return KernelDistance(float(value), float(variance.sqrt()))


def _kernel_sums(a: Tensor, b: Tensor) -> Tensor:
    """Sums of the kernel of each row of a with all rows of b."""
    return torch.cat([_cubed(piece @ b.T / b.shape[1]).sum(1) for piece in a.split(_CHUNK)])


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """The kernel of each row of a with the same row of b."""
    return _cubed((a * b).mean(1))


def _cubed(products: Tensor) -> Tensor:
    shifted = products + 1
    return shifted * shifted * shifted


def _jackknife(values: Tensor) -> Tensor:
    """The variance of an estimate from its values without one of the images each."""
    return (len(values) - 1) * values.var(correction=0)


class Neighbours(NamedTuple):
    """Comparisons by nearest neighbours. A ball reaches from an image to its k-th nearest other image of its kind."""

    density: float
    """mean number of real balls that a generated image lies in, over k (Naeem et al. 2020, eq. 4): 1 in expectation if
    both are of one distribution, and more where generated images lie close to the middle"""
    coverage: float
    """share of real images whose ball holds a generated image (eq. 5); if n real and m generated images are of one
    distribution, 1 − Π_{i=1..k} (n − i) / (n + m − i) in expectation"""
    precision: float
    """share of generated images in the ball of a real one (Kynkäänniemi et al. 2019, eq. 1)"""
    recall: float
    """share of real images in the ball of a generated one (eq. 1)"""


K_OF_COVERAGE = 5
"""k of density and coverage, whose balls have no border, as Naeem et al. have it."""
K_OF_PRECISION = 3
"""k of precision and recall, whose balls have one, as Kynkäänniemi et al. have it."""


def neighbours(real: Tensor, generated: Tensor) -> Neighbours:
    """Compare real and generated images by their nearest neighbours."""
    wide, close = _radii(real, K_OF_COVERAGE, K_OF_PRECISION)
    (around_generated,) = _radii(generated, K_OF_PRECISION)
    in_balls, precise = 0, 0
    is_covered, is_recalled = (torch.zeros(len(real), dtype=torch.bool, device=real.device) for _ in range(2))
    for piece, radii in zip(generated.split(_CHUNK), around_generated.split(_CHUNK), strict=True):
        distances = torch.cdist(piece, real)
        is_inside = distances < wide
        in_balls += int(is_inside.sum())
        is_covered |= is_inside.any(0)
        precise += int((distances <= close).any(1).sum())
        is_recalled |= (distances <= radii[:, None]).any(0)
    density, precision = in_balls / (K_OF_COVERAGE * len(generated)), precise / len(generated)
    return Neighbours(density, float(is_covered.double().mean()), precision, float(is_recalled.double().mean()))


def _radii(x: Tensor, *numbers: int) -> list[Tensor]:
    """Distances of each row to its k-th nearest other row, (n,) for each k."""
    # The nearest row is the row itself.
    nearest = torch.cat(
        [torch.cdist(piece, x).topk(max(numbers) + 1, largest=False).values for piece in x.split(_CHUNK)]
    )
    return [nearest[:, k] for k in numbers]


class PrecisionRecall(NamedTuple):
    """Two numbers of the precision-recall curve of distributions."""

    f8: float
    """recall-like: largest F with weight 8"""
    f1_8: float
    """precision-like: largest F with weight 1/8"""


def precision_recall_of_distributions(
    real: Tensor, generated: Tensor, seed: int, clusters: int = 20, runs: int = 10, angles: int = 1001
) -> PrecisionRecall:
    """Largest F8 and F1/8 of the curve of Sajjadi et al. (2018).

    Real and generated features are clustered together; with p and q, their shares of the clusters, a slope λ gives the
    precision Σ min(λ p, q) and the recall Σ min(p, q / λ). As in the paper's code, the curve is the mean over several
    clusterings.

    Args:
        real: features, (n, d).
        generated: features, (n, d): both as many, or the clusters lean to one side.
        seed: seed of the clusterings.
        clusters: clusters of each.
        runs: clusterings.
        angles: slopes, at equal angles between 0 and 90 degrees.
    """
    from sklearn.cluster import MiniBatchKMeans

    both = torch.cat([real, generated]).cpu().numpy()
    clusters = min(clusters, len(both))
    slopes = np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, angles))[:, None]
    exact, complete = np.zeros(angles), np.zeros(angles)
    for run in range(runs):
        clustering = MiniBatchKMeans(clusters, n_init=3, random_state=(seed + run) % 2**32)
        labels = clustering.fit_predict(both)
        p, q = (np.bincount(part, minlength=clusters) / len(part) for part in np.split(labels, [len(real)]))
        exact += np.minimum(slopes * p, q).sum(1) / runs
        complete += np.minimum(p, q / slopes).sum(1) / runs
    return PrecisionRecall(*(_largest_f(exact, complete, weight) for weight in (8, 1 / 8)))


def _largest_f(exact: np.ndarray, complete: np.ndarray, weight: float) -> float:
    bottom = weight**2 * exact + complete
    return float(((1 + weight**2) * exact * complete / np.where(bottom > 0, bottom, 1)).max())


def class_distance(real: Tensor, generated: Tensor) -> float:
    """Total variation between two histograms of classes, half of Σ |p − q|, from 0 to 1.

    Args:
        real: images of each class, (classes,).
        generated: the same of generated images.
    """
    return float((real / real.sum() - generated / generated.sum()).abs().sum() / 2)


def code_purity(classes: Tensor) -> float:
    """Mean over codes of the share of a code's commonest class, from 1 / classes to 1.

    Args:
        classes: generated images of each code in each class, (codes, classes).
    """
    return float((classes.amax(1) / classes.sum(1)).mean())


def code_class_information(classes: Tensor) -> float:
    """Mutual information of code and class over the logarithm of the number of classes, from 0 to 1.

    Args:
        classes: generated images of each code in each class, (codes, classes), as many of each code.
    """
    return mutual_information(classes / classes.sum()) / math.log(classes.shape[1])


def classes_covered(real: Tensor, generated: Tensor, least: float = 0.1) -> int:
    """Number of real classes of which there are more generated images than a tenth of the class's share.

    Args:
        real: images of each class, (classes,).
        generated: the same of generated images.
        least: part of its share that a class needs.
    """
    shares = real / real.sum()
    return int(((generated / generated.sum() > least * shares) & (shares > 0)).sum())
