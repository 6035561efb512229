"""Likelihoods of pixels: densities where they say so, and drawn as they are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic

from lifegen.benchmark.contracts.model import importance_bound, negative_elbo
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.likelihoods import LIKELIHOODS, DiscretisedLogistic
from lifegen.methods.models.vae import CodeStyleVAE

LEVELS = torch.arange(256, dtype=torch.float64)[:, None] / 255


@settings(max_examples=100, deadline=None)
@given(st.floats(-20, 20), st.floats(-7, 3))
def test_the_discretised_logistic_is_a_density_over_256_values(logit, log_scale):
    parameters = torch.tensor([[logit, log_scale]], dtype=torch.float64).expand(256, 2)
    total = DiscretisedLogistic().log_prob(LEVELS, parameters).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-9)


def test_the_discretised_logistic_is_a_difference_of_distribution_functions():
    logit, log_scale = 0.3, -2.0
    parameters = torch.tensor([[logit, log_scale]], dtype=torch.float64).expand(256, 2)
    cdf = logistic(1 / (1 + math.exp(-logit)), math.exp(log_scale)).cdf
    ours = DiscretisedLogistic().log_prob(LEVELS, parameters).exp()
    assert ours[100].item() == pytest.approx(cdf(100.5 / 255) - cdf(99.5 / 255))
    assert ours[0].item() == pytest.approx(cdf(0.5 / 255))
    assert ours[255].item() == pytest.approx(1 - cdf(254.5 / 255))


def test_the_discretised_logistic_is_finite_far_from_its_mean():
    parameters = torch.tensor([[30.0, -50.0]], requires_grad=True)
    value = DiscretisedLogistic().log_prob(torch.zeros(1, 1), parameters)
    value.sum().backward()
    assert value.isfinite().all()
    assert parameters.grad.isfinite().all()


@pytest.mark.parametrize("track", LIKELIHOODS)
def test_draws_have_the_frequencies_of_the_density(track):
    likelihood = LIKELIHOODS[track]()
    parameters = torch.tensor([[0.4, -2.0][: likelihood.parameters_per_pixel]]).expand(40_000, -1)
    drawn = likelihood.draw(parameters, Seeds(0).generator("draws"))[:, 0]
    levels = LEVELS.float() if track == "discretised-logistic" else torch.tensor([[0.0], [1.0]])
    expected = likelihood.log_prob(levels, parameters[: len(levels)]).exp()
    observed = torch.stack([(drawn == level).float().mean() for level in levels[:, 0]])
    assert observed.sum() == pytest.approx(1)  # nothing between the levels
    assert (observed - expected).abs().max() < 5 * math.sqrt(0.25 / 40_000)
    mean = likelihood.mean(parameters)[0, 0].item()
    assert mean == pytest.approx(1 / (1 + math.exp(-0.4)))


@pytest.mark.parametrize("bound", ["elbo", "importance"])
def test_a_model_of_8_bit_values_leaves_the_mass_of_a_density(bound):
    """The toy test on one pixel of 256 values."""
    seeds = Seeds(1)
    model = CodeStyleVAE((1, 1, 1), codes=2, style=1, width=8, track="discretised-logistic", init=seeds.generator("i"))
    model.generator = seeds.generator("noise")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    data = LEVELS.float()[60:200].view(-1, 1, 1, 1)
    for _ in range(100):
        optimizer.zero_grad()
        model(data).negative_elbo().mean().backward()
        optimizer.step()
    model.eval()
    generator = seeds.generator("mass")
    totals = []
    with torch.inference_mode():
        for _ in range(100):
            weights = model.log_weights(LEVELS.float().view(-1, 1, 1, 1), 10, generator)
            value = negative_elbo(weights, model.log_prior).value if bound == "elbo" else importance_bound(
                weights, model.log_prior)  # fmt: skip
            totals.append((-value).double().exp().sum())
    total = torch.stack(totals)
    error = 3 * total.std() / math.sqrt(len(total))
    assert total.mean() <= 1 + error
    if bound == "importance":
        assert total.mean() >= 1 - error


def test_bits_per_dimension_exist_where_they_mean_something(tmp_path):
    from lifegen.benchmark.measuring.evaluator import Evaluator
    from lifegen.methods.naive import Naive

    from .conftest import tiny

    for track, there in (("discretised-logistic", True), ("bernoulli-grey", False)):
        stream = tiny("ab", track=track)
        strategy = Naive({"width": 8, "style": 2}).strategy(stream, Seeds(0))
        view = list(stream.train_stream)
        strategy.train(view[0], eval_streams=[])
        rows = Evaluator(stream, Seeds(0), view).measure(strategy, 0, 1.0)
        values = {row["metric"]: row["value"] for row in rows if row["distribution"] is None}
        assert ("bits_per_dimension" in values) == there
        if there:
            assert values["bits_per_dimension"] == pytest.approx(values["negative_elbo"] / 16 / math.log(2))
