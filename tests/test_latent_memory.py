"""Memories of an aggregate posterior: what is drawn from them, and what it takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.latent_memory import Gaussians, Resampled, mixture, posteriors, pseudo_inputs
from lifegen.methods.models.vae import CodeStyleVAE, Posterior


def moments(style: Tensor) -> tuple[Tensor, Tensor]:
    return style.mean(0), torch.cov(style.T)


def test_draws_have_the_moments_of_what_is_remembered():
    generator = Seeds(0).generator("memory")
    mean = torch.tensor([[0.0, 0.0], [3.0, -1.0]])
    factor = torch.tensor([[[1.0, 0.0], [0.5, 0.3]], [[0.2, 0.0], [0.0, 2.0]]])
    memory = Gaussians(mean, factor, torch.tensor([4, 7]), torch.tensor([0.25, 0.75]))
    style, code = memory.draw(40_000, generator)
    assert (code == 7).float().mean() == pytest.approx(0.75, abs=0.01)
    for i, which in enumerate((4, 7)):
        middle, covariance = moments(style[code == which])
        torch.testing.assert_close(middle, mean[i], atol=0.06, rtol=0.0)
        torch.testing.assert_close(covariance, factor[i] @ factor[i].T, atol=0.1, rtol=0.05)
    single = Gaussians(mean, torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([0, 1]))
    style, code = single.draw(40_000, generator)
    assert code.float().mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(style[code == 1].std(0), torch.tensor([0.3, 0.4]), atol=0.01, rtol=0.0)


def test_a_fitted_mixture_has_the_moments_of_the_aggregate_posterior():
    """Of each code, as every step of expectation maximisation has; several Gaussians see what one doesn't."""
    generator = Seeds(0).generator("posteriors")
    far = torch.where(torch.rand(600, 1, generator=generator) < 0.5, -3.0, 3.0)
    mean = torch.cat([far, torch.randn(600, 1, generator=generator)], 1)
    which_code = torch.arange(600) % 3
    of = Posterior(mean, torch.full((600, 2), 0.2), 9.0 * torch.eye(3)[which_code])
    memory = mixture(of, 2, Seeds(1).generator("fit"))
    assert memory.code.tolist() == [0, 0, 1, 1, 2, 2]
    assert memory.weight.sum().item() == pytest.approx(1)
    style, code = memory.draw(60_000, generator)
    for which in range(3):
        middle, covariance = moments(mean[which_code == which])
        found, spread = moments(style[code == which])
        torch.testing.assert_close(found, middle, atol=0.08, rtol=0.0)
        torch.testing.assert_close(spread, covariance + 0.04 * torch.eye(2), atol=0.15, rtol=0.05)
    assert ((style[:, 0].abs() - 3).abs() < 1).float().mean() > 0.99  # nothing lies between the two heaps
    assert len(mixture(of, 1000, Seeds(1).generator("fit")).mean) == 3 * 50  # 4 images a Gaussian


@pytest.mark.parametrize("most", [None, 2000])  # a choice at random has shares at random
def test_a_joined_memory_draws_the_new_part_as_often_as_each_old_one(most):
    generator = Seeds(0).generator("memory")

    def heap(code: int, n: int) -> Gaussians:
        return Gaussians(torch.full((n, 2), float(code)), torch.zeros(n, 2), torch.full((n,), code))

    memory = heap(0, 3000)
    for code, n in ((1, 400), (2, 5000)):
        memory = memory.joined(heap(code, n), code + 1, most, generator)
    assert len(memory.mean) == (most or 3000 + 400 + 5000)
    style, code = memory.draw(30_000, generator)
    torch.testing.assert_close(code.bincount() / len(code), torch.full((3,), 1 / 3), atol=0.05, rtol=0.0)
    assert (code == 2).float().mean().item() == pytest.approx(1 / 3, abs=0.015)
    assert torch.equal(style[:, 0], code.float())


def test_numbers_are_those_of_means_scales_codes_and_weights():
    codes = torch.zeros(3, dtype=torch.int64)
    assert Gaussians(torch.zeros(3, 2), torch.zeros(3, 2), codes).numbers == 3 * (2 + 2 + 1)
    assert Gaussians(torch.zeros(3, 2), torch.zeros(3, 2, 2), codes, torch.ones(3)).numbers == 3 * (2 + 3 + 1 + 1)
    resampled = Resampled(codes=3, size=2, init=Seeds(0).generator("init"))
    assert resampled.numbers == (5 * 64 + 64) + (64 * 64 + 64) + (64 + 1)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.1, 0.3, 0.2, 0.4])])
def test_balanced_weights_keep_shares_within_a_code(weight):
    memory = Gaussians(torch.zeros(4, 2), torch.ones(4, 2), torch.tensor([0, 0, 0, 3]), weight).balanced()
    of_first = torch.ones(3) / 3 if weight is None else weight[:3] / weight[:3].sum()
    torch.testing.assert_close(memory.weight, torch.cat([of_first / 2, torch.tensor([0.5])]))


def log_density(memory: Gaussians, style: Tensor, code: Tensor) -> float:
    """Mean log of an equal mixture with hard codes, up to a constant."""
    each = -0.5 * ((style[:, None] - memory.mean) / memory.scale).square().sum(2) - memory.scale.log().sum(1)
    each = each.masked_fill(code[:, None] != memory.code, -50.0)
    return float(each.logsumexp(1).mean())


def test_pseudo_inputs_come_near_the_aggregate_posterior():
    generator = Seeds(0).generator("test")
    model = CodeStyleVAE((1, 4, 4), codes=2, style=2, width=16, norm="none", init=generator).eval()
    with torch.no_grad():
        model.encoder_head.weight.mul_(4)  # posteriors that tell images from each other
        images = torch.rand(300, 1, 4, 4, generator=generator).round()
        q = model.encode(images)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    memory = pseudo_inputs(model, images, q, 8, Seeds(1).generator("fit"))
    assert len(memory.mean) == 8
    start = torch.randperm(300, generator=Seeds(1).generator("fit"))[:8]
    unfitted = posteriors(Posterior(*(part[start] for part in q)))
    style, code = posteriors(q).draw(4000, generator)
    assert log_density(memory, style, code) > log_density(unfitted, style, code) + 0.3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weights.grad is None for weights in model.parameters())


def test_a_resampled_prior_draws_what_was_encoded():
    generator = Seeds(0).generator("test")
    far = torch.where(torch.rand(500, 1, generator=generator) < 0.5, -1.0, 1.0)
    of = Posterior(
        far.expand(500, 2), torch.full((500, 2), 0.3), 9.0 * torch.eye(3)[torch.ones(500, dtype=torch.int64)]
    )
    memory = Resampled(3, 2, Seeds(1).generator("init")).fit(of, Seeds(2).generator("fit"))
    style, code = memory.draw(5000, generator)
    assert (code == 1).float().mean() > 0.95
    assert ((style - style.sign()).abs() < 1).all(1).float().mean() > 0.9
    assert (style[:, 0].sign() == style[:, 1].sign()).float().mean() > 0.9  # the other two corners are holes
    assert style[:, 0].sign().mean().abs() < 0.2
    assert memory.draw(0, generator)[0].shape == (0, 2)


def test_a_prior_that_was_encoded_whole_stays_the_prior():
    of = Posterior(torch.zeros(500, 2), torch.ones(500, 2), torch.eye(2).repeat(250, 1) * 9)
    memory = Resampled(2, 2, Seeds(1).generator("init")).fit(of, Seeds(2).generator("fit"))
    style, code = memory.draw(20_000, Seeds(3).generator("draws"))
    middle, covariance = moments(style)
    torch.testing.assert_close(middle, torch.zeros(2), atol=0.2, rtol=0.0)
    torch.testing.assert_close(covariance, torch.eye(2), atol=0.25, rtol=0.0)
    assert code.float().mean() == pytest.approx(0.5, abs=0.1)
