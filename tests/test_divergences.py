"""Closed forms against independent references and their own invariants."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Normal, kl_divergence

from lifegen.methods.models.divergences import (
    categorical_to_uniform,
    entropy,
    gaussian_to_standard,
    mutual_information,
    padded_reverse_kl,
)


def log_probabilities(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log_softmax(1)


logits = st.lists(st.floats(-8, 8), min_size=2, max_size=6)


def test_gaussian_kl_equals_torch_distributions():
    mean = torch.randn(5, 3, dtype=torch.float64)
    std = torch.rand(5, 3, dtype=torch.float64) + 0.1
    expected = kl_divergence(Normal(mean, std), Normal(torch.zeros_like(mean), torch.ones_like(std))).sum(1)
    torch.testing.assert_close(gaussian_to_standard(mean, std), expected)


def test_gaussian_kl_is_zero_at_the_prior_and_not_where_the_public_code_has_its_minimum():
    assert gaussian_to_standard(torch.zeros(1, 4), torch.ones(1, 4)).item() == 0
    # spec B1: a head called logvar that is used as a standard deviation puts the minimum at logvar = 1
    assert gaussian_to_standard(torch.zeros(1, 1), torch.tensor([[math.exp(-2)]])).item() == pytest.approx(
        1.51, abs=0.005
    )


@given(logits)
def test_categorical_forms_equal_torch_distributions(row):
    log_q = log_probabilities([row])
    q = Categorical(logits=log_q)
    uniform = Categorical(logits=torch.zeros_like(log_q))
    torch.testing.assert_close(entropy(log_q), q.entropy())
    torch.testing.assert_close(categorical_to_uniform(log_q), kl_divergence(q, uniform))


def test_one_code_costs_nothing_and_says_nothing():
    log_q = torch.zeros(7, 1)
    assert torch.equal(categorical_to_uniform(log_q), torch.zeros(7))
    assert mutual_information(log_q).item() == 0


@given(st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=1, max_size=8))
def test_mutual_information_lies_between_zero_and_log_codes(rows):
    value = mutual_information(log_probabilities(rows)).item()
    assert -1e-9 <= value <= math.log(3) + 1e-9


def test_mutual_information_of_pure_codes_is_log_codes_and_of_equal_posteriors_zero():
    pure = torch.eye(4, dtype=torch.float64).mul(60).log_softmax(1)
    assert mutual_information(pure).item() == pytest.approx(math.log(4))
    assert mutual_information(pure[:1].expand(9, 4)).item() == pytest.approx(0, abs=1e-12)


def test_mutual_information_and_prior_cost_add_up():
    """mean KL[q ‖ uniform] − I = KL[marginal ‖ uniform]: with λ = 1 only the marginal is held to the prior."""
    log_q = log_probabilities([[0.3, -1, 2], [1, 1, -2], [0, 0, 0]])
    marginal = log_q.exp().mean(0, keepdim=True).log()
    left = categorical_to_uniform(log_q).mean() - mutual_information(log_q)
    torch.testing.assert_close(left, categorical_to_uniform(marginal)[0])


@given(logits, logits)
def test_consistency_without_growth_is_the_plain_kl(a, b):
    k = min(len(a), len(b))
    log_q, log_p = log_probabilities([a[:k]]), log_probabilities([b[:k]])
    expected = (log_q.exp() * (log_q - log_p)).sum(1)
    torch.testing.assert_close(padded_reverse_kl(log_q, log_p, epsilon=1e-14), expected, atol=1e-7, rtol=1e-6)


@given(logits)
def test_consistency_is_zero_for_a_student_that_leaves_new_codes_alone(row):
    log_p = log_probabilities([row])
    student = torch.nn.functional.pad(log_p.exp(), (0, 2)).log()
    assert padded_reverse_kl(student, log_p).item() == pytest.approx(0, abs=1e-9)


def test_consistency_charges_a_move_to_a_new_code():
    """Spec B2: half the mass on the new code costs 6.2 nats; padding the logarithms would pay log 2 instead."""
    log_q = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    assert padded_reverse_kl(log_q, torch.zeros(1, 1, dtype=torch.float64)).item() == pytest.approx(6.2, abs=0.05)
    all_new = torch.tensor([[0.0, 1.0]], dtype=torch.float64).log()
    assert padded_reverse_kl(all_new, torch.zeros(1, 1, dtype=torch.float64)).item() == pytest.approx(
        -math.log(1e-6), abs=0.01
    )
