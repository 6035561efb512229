"""The bounds: valid on a model whose whole space can be summed, and equal to their definitions."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from lifegen.benchmark.contracts.model import LogWeights, importance_bound, negative_elbo
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.vae import CodeStyleVAE, Noise

PIXELS = 8


@pytest.fixture(scope="module")
def toy() -> CodeStyleVAE:
    """A model of eight binary pixels, trained a little, so that posterior and prior differ."""
    seeds = Seeds(1)
    model = CodeStyleVAE((1, 2, 4), codes=3, style=2, width=16, init=seeds.generator("init"))
    model.generator = seeds.generator("noise")
    data = torch.rand(200, 1, 2, 4, generator=seeds.generator("data")).round()
    data[:, :, 0] = data[:, :, 1]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        model(data).negative_elbo().mean().backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def space() -> Tensor:
    """Every image there is."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=PIXELS))).view(-1, 1, 2, 4)


def mass(model: CodeStyleVAE, space: Tensor, draws: int, bound: str, repetitions: int) -> Tensor:
    """Σ over all images of exp(−value), for independent noise."""
    generator = Seeds(2).generator("mass", bound, draws)
    values = []
    with torch.inference_mode():
        for _ in range(repetitions):
            weights = model.log_weights(space, draws, generator)
            value = (
                negative_elbo(weights, model.log_prior).value
                if bound == "elbo"
                else importance_bound(weights, model.log_prior)
            )
            values.append((-value).double().exp().sum())
    return torch.stack(values)


@pytest.mark.parametrize("draws", [1, 10])
def test_negative_elbo_leaves_at_most_the_mass_of_a_density(toy, space, draws):
    total = mass(toy, space, draws, "elbo", 60)
    assert total.mean() <= 1 + 3 * total.std() / math.sqrt(len(total))


@pytest.mark.parametrize("draws", [1, 10, 100])
def test_importance_bound_has_exactly_the_mass_of_a_density(toy, space, draws):
    total = mass(toy, space, draws, "importance", 200)
    assert abs(total.mean() - 1) <= 3 * total.std() / math.sqrt(len(total))


def test_the_toy_test_has_teeth(toy, space):
    """Reconstruction without the latent variables' cost isn't a bound, and fails."""
    with torch.inference_mode():
        weights = toy.log_weights(space, 10, Seeds(3).generator("teeth"))
        free = LogWeights(weights.likelihood, torch.zeros_like(weights.divergence))
        assert (-negative_elbo(free, toy.log_prior).value).exp().sum() > 1.5


def test_more_draws_tighten_the_importance_bound(toy, space):
    with torch.inference_mode():
        loose, tight = (
            importance_bound(toy.log_weights(space, s, Seeds(4).generator(s)), toy.log_prior).mean() for s in (2, 500)
        )
        elbo = negative_elbo(toy.log_weights(space, 500, Seeds(4).generator("elbo")), toy.log_prior).value.mean()
    assert tight < loose
    assert tight < elbo


def test_log_weights_average_to_the_analytic_divergence(toy, space):
    """E[log p(z) − log q(z | x)] = −KL[q(zc | x) ‖ N(0, I)] − KL[q(zd | x) ‖ uniform], which training uses."""
    draws = 4000
    with torch.inference_mode():
        weights = toy.log_weights(space[:6], draws, Seeds(5).generator("mean"))
        expected = -toy(space[:6]).divergence
    sampled = weights.divergence[:, 0]
    error = (sampled.mean(0) - expected).abs()
    assert (error <= 5 * sampled.std(0) / math.sqrt(draws)).all()


def test_an_image_has_the_same_value_alone_and_in_a_batch(toy, space):
    noise = Noise(torch.randn(5, 16, 2), torch.rand(5, 16))
    with torch.inference_mode():
        together = negative_elbo(toy.log_weights_given(space[:16], noise), toy.log_prior).value
        alone = [
            negative_elbo(
                toy.log_weights_given(space[i : i + 1], Noise(noise.style[:, i : i + 1], noise.code[:, i : i + 1])),
                toy.log_prior,
            ).value
            for i in range(16)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_codes_are_drawn_from_their_posterior(toy, space):
    """The hard code of a uniform draw u is the first whose cumulative probability exceeds u."""
    with torch.inference_mode():
        log_q = toy.code_log_posterior(space[:1])
        grid = torch.linspace(0, 1, 2001)[:-1, None]
        noise = Noise(torch.zeros(2000, 1, 2), grid)
        divergence = toy.log_weights_given(space[:1], noise).divergence[:, 0, 0]
        style = toy.log_weights_given(space[:1], Noise(torch.zeros(1, 1, 2), torch.zeros(1, 1))).divergence.item()
        style += math.log(3) + log_q[0, 0].item()  # the code drawn at u = 0 is the first
        drawn = style - math.log(3) - divergence  # log q of the drawn code
        shares = torch.stack([(drawn - value).abs().lt(1e-4).double().mean() for value in log_q[0]])
    torch.testing.assert_close(shares, log_q[0].exp().double(), atol=2e-3, rtol=0)


def test_a_code_of_probability_zero_is_never_drawn(toy, space):
    with torch.no_grad():
        model = copy.deepcopy(toy)
        model.encoder_head.bias[-3:] = torch.tensor([-200.0, 0.0, -200.0])
        noise = Noise(torch.zeros(2, 4, 2), torch.tensor([0.0, 1 - 2**-24])[:, None].expand(2, 4))
        divergence = model.log_weights_given(space[:4], noise).divergence
    assert divergence.max() < 50  # the second code, of probability 1; another would be paid 200 nats


def random_weights(draws: int, components: int, n: int) -> LogWeights:
    generator = Seeds(6).generator("weights")
    make = lambda: torch.randn(draws, components, n, generator=generator, dtype=torch.float64) * 3  # noqa: E731
    return LogWeights(make(), make())


def test_bounds_equal_their_definitions():
    weights = random_weights(4, 2, 3)
    prior = torch.tensor([0.3, 0.7], dtype=torch.float64)
    bound = negative_elbo(weights, prior.log())
    importance = importance_bound(weights, prior.log())
    for i in range(3):
        total = (weights.likelihood + weights.divergence)[:, :, i]
        elbo = [prior[k].item() * math.exp(total[:, k].mean().item()) for k in range(2)]
        assert bound.value[i].item() == pytest.approx(-math.log(sum(elbo)))
        shares = [value / sum(elbo) for value in elbo]
        expected = -sum(share * weights.likelihood[:, k, i].mean().item() for k, share in enumerate(shares))
        assert bound.reconstruction[i].item() == pytest.approx(expected)
        marginal = sum(prior[k].item() * total[:, k].exp().mean().item() for k in range(2))
        assert importance[i].item() == pytest.approx(-math.log(marginal))
    torch.testing.assert_close(bound.reconstruction + bound.divergence, bound.value)


def test_a_component_written_twice_changes_nothing():
    weights = random_weights(4, 1, 5)
    twice = LogWeights(*(part.expand(-1, 2, -1) for part in weights[:2]))
    one, half = torch.zeros(1, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64).log()
    torch.testing.assert_close(negative_elbo(weights, one).value, negative_elbo(twice, half).value)
    torch.testing.assert_close(importance_bound(weights, one), importance_bound(twice, half))
