"""Whether a model's values are bounds: the sum over all images of exp(−value) is at most 1 for a bound on −log p(x)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from ...contracts.images import Images
from ...contracts.model import GenerativeModel, importance_bound, negative_elbo
from ...contracts.registry import Entry
from ...contracts.stream import Stream
from ...seeds import Seeds
from ...training.method import Method
from .common import begun, small_stream
from .conflict import STEPS
from .findings import Finding, at, verdict

_PROMISE = "its values are bounds"
_DRAWS, _REPETITIONS = 10, 20
"""Draws for a bound on the toy, and sums that are averaged."""


def bounds(make: Callable[[], Method], entry: Entry, how: str) -> Iterator[Finding]:
    """Whether the values of a method's model are bounds, in expectation.

    Args:
        make: makes the method.
        entry: the method's entry.
        how: its options, in words to append to a finding.
    """
    stream = toy_stream()
    try:
        method = make()
        strategy, _ = begun(method, stream, Seeds(0))
        for experience in method.view(stream):
            strategy.train(experience, eval_streams=[])
    except (Exception, SystemExit) as error:
        yield Finding(_PROMISE, "skipped", seen=f"its model isn't made for 3 × 3 binary images: {at(error, entry)}")
        return
    if not strategy.model.track.startswith("bernoulli"):
        seen = f"its track is {strategy.model.track}; this check needs a Bernoulli likelihood"
        yield Finding(_PROMISE, "skipped", seen=seen)
        return
    for name, masses in toy_masses(strategy.model).items():
        limit = 1 + 3 * float(masses.std()) / math.sqrt(len(masses))
        mass = float(masses.mean())
        finding = verdict(
            f"{_PROMISE}: {name}",
            mass <= limit,
            f"on nine binary pixels, the sum of exp(−value) over all 512 images is at most 1, here up to {limit:.3f}",
            f"{name}: the sum is {mass:.3f}: not a bound on −log p(x)",
            "log_weights: log p(x | z), and log p(z) − log q(z | x) of the drawn z; log_prior of components",
        )
        yield finding._replace(seen=f"{finding.seen or f'the sum is {mass:.3f}'}{how}")


def toy_stream() -> Stream:
    """Binary images of nine pixels, so that all 512 can be summed over: two rows alike, then two columns alike."""

    def images(name: str, part: int, n: int) -> Images:
        x = torch.randint(0, 2, (n, 1, 3, 3), generator=torch.Generator().manual_seed(n))
        x[:, :, 0] = x[:, :, 1]
        turned = x.transpose(2, 3).contiguous() if name == "columns" else x
        return Images(turned.mul(255).to(torch.uint8), torch.zeros(n).long())

    visits = ["rows", "columns"]
    return small_stream(visits, images, sizes=(60, 8, 8), steps=2 * STEPS, track="bernoulli-binarised")


@torch.inference_mode()
def toy_masses(model: GenerativeModel) -> dict[str, Tensor]:
    """Σ over all images of :func:`toy_stream`'s space of exp(−value), for each bound and independent noise."""
    model = copy.deepcopy(model).eval()
    space = torch.tensor(list(product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
    generator = Seeds(0).generator("toy")
    sums: list[Tensor] = []
    for _ in range(_REPETITIONS):
        weights = model.log_weights(space, _DRAWS, generator)
        values = negative_elbo(weights, model.log_prior).value, importance_bound(weights, model.log_prior)
        sums.append(torch.stack([(-value).double().exp().sum() for value in values]))
    return dict(zip(("negative_elbo", "iwae_nll"), torch.stack(sums).T, strict=True))
