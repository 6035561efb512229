"""Closed forms for the latent variables. All in nats; categorical arguments are log-probabilities, (n, codes)."""

import math

import torch
from torch import Tensor


def gaussian_to_standard(mean: Tensor, std: Tensor) -> Tensor:
    """KL[N(mean, std²) ‖ N(0, I)] = ½ Σ (σ² + μ² − 1 − log σ²), (n,), of (n, dimensions)."""
    return 0.5 * (std.square() + mean.square() - 1 - 2 * std.log()).sum(-1)


def gaussian(mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """KL[N(mean, std²) ‖ N(other_mean, other_std²)] = ½ Σ (σ² + (μ − μ')²) / σ'² − 1 − log σ² / σ'², (n,).

    The last step of the paper's equations 6 and 7 adds a volume term that isn't there.
    """
    variance_ratio = (std / other_std).square()
    distance = ((mean - other_mean) / other_std).square()
    return 0.5 * (variance_ratio + distance - 1 - variance_ratio.log()).sum(-1)


def entropy(log_q: Tensor) -> Tensor:
    """H(q) = −Σ q log q, (n,)."""
    return -(log_q.exp() * log_q).sum(-1)


def categorical_to_uniform(log_q: Tensor) -> Tensor:
    """KL[q ‖ uniform] = log J − H(q), (n,)."""
    return math.log(log_q.shape[-1]) - entropy(log_q)


def mutual_information(log_q: Tensor) -> Tensor:
    """I(code; x) over a batch, H(mean q) − mean H(q): a number between 0 and log J.

    The plug-in estimate of the marginal is biased; keep the batch much larger than the number of codes.
    """
    marginal = log_q.logsumexp(0).log_softmax(0)  # the mean of q: the division by n is in the normalisation
    return entropy(marginal) - entropy(log_q).mean()


def padded_reverse_kl(log_q: Tensor, log_p: Tensor, epsilon: float = 1e-6) -> Tensor:
    """KL[q ‖ p] where q has codes that p doesn't know yet, (n,).

    p's probabilities (not their logs: that would reward the new codes) are padded with zeros; then both get ε added and
    are renormalised. Moving a sample to a new code so costs about −log ε nats.

    Args:
        log_q: the student's, (n, codes).
        log_p: the teacher's, (n, fewer or equal codes).
        epsilon: added to every probability.
    """
    q = log_q.exp()
    p = torch.nn.functional.pad(log_p.exp(), (0, log_q.shape[-1] - log_p.shape[-1]))
    log_q, log_p = (((a + epsilon) / (1 + a.shape[-1] * epsilon)).log() for a in (q, p))
    return (log_q.exp() * (log_q - log_p)).sum(-1)


def padded_forward_kl(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL[p ‖ q] where q has codes that p doesn't know yet, (n,): exact, since 0 log 0 = 0.

    Args:
        log_q: the student's, (n, codes).
        log_p: the teacher's, (n, fewer or equal codes).
    """
    return (log_p.exp() * (log_p - log_q[:, : log_p.shape[-1]])).sum(-1)
