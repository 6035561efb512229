"""The divergence of an aggregate posterior from the prior, where it is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lifegen.benchmark.measuring.latents import _spread, lower_bound
from lifegen.methods.models.vae import CodeStyleVAE

from .test_measures import FLAT, Table, evaluator, strategy, values
from .test_measures import stream as of_pixels
from .test_samples import stream_of


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 5), st.floats(-2, 2), st.floats(0.3, 2))
def test_a_gaussian_has_its_closed_form(seed: int, d: int, mean: float, deviation: float):
    drawn = mean + deviation * normal(4000, d, seed)
    exact = d * 0.5 * (mean**2 + deviation**2 - 1 - 2 * math.log(deviation))
    assert lower_bound(drawn[::2], drawn[1::2]) == pytest.approx(exact, abs=0.15 + 0.1 * exact)


def test_two_clusters_leave_a_hole_between_them():
    # Far from each other, an equal mixture's entropy is a cluster's and log 2; each cluster has variance 0.01.
    sides = torch.where(normal(4000, 1, 1) > 0, 1.0, -1.0)
    drawn = sides + 0.1 * normal(4000, 1, 2)
    exact = 0.5 * (1 + 0.01) - 0.5 - math.log(0.1) - math.log(2)
    assert lower_bound(drawn[::2], drawn[1::2]) == pytest.approx(exact, abs=0.1)
    # No mean or variance tells it from the prior: both are nearly the prior's own.
    assert drawn.mean().abs() < 0.1
    assert drawn.var() == pytest.approx(1.01, abs=0.05)


def test_a_bound_never_says_much_about_the_prior_itself():
    drawn = normal(2000, 14, 3)
    assert -1.5 < lower_bound(drawn[::2], drawn[1::2]) < 0.1


def test_it_is_measured_on_distributions_met_where_there_are_images_enough():
    stream = stream_of("steps=1,sample_images=none")
    model = CodeStyleVAE((1, 8, 8), codes=2, style=14, width=8, init=torch.Generator().manual_seed(0)).eval()
    first, last = (evaluator(stream).measure(strategy(model), interval, 0.0) for interval in (0, 9))
    assert values(first, "marginal_divergence") == {}  # 35 test images, half of them to fit 14 dimensions
    value = values(last, "marginal_divergence")[None]
    assert value < values(last, "divergence")[None]
    model.encoder_head.bias.data[:14] += 1  # all posteriors move by 1
    moved = evaluator(stream).measure(strategy(model), 9, 0.0)
    assert values(moved, "marginal_divergence")[None] == pytest.approx(value + 7, abs=2)
    assert values(evaluator(of_pixels()).measure(strategy(Table(FLAT)), 1, 0.0), "marginal_divergence") == {}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 100))
def test_images_are_spread_over_the_union(sizes: list[int], most: int):
    whole = torch.arange(sum(sizes))
    found = _spread(whole.split(sizes), most)
    assert len(found) == min(most, len(whole))
    assert torch.equal(found, whole[torch.arange(len(found)) * len(whole) // len(found)])


def test_a_model_draws_from_its_encoder_alone():
    model = CodeStyleVAE((1, 8, 8), codes=2, style=3, width=8, init=torch.Generator().manual_seed(0)).eval()
    x = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    mean, std, _ = model.encode(x)
    noise = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model.draw_style(x, torch.Generator().manual_seed(2)), mean + std * noise)
