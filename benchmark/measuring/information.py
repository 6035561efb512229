"""Effective number, mutual information and drift of codes, from tables of log q(code | x)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def perplexity(log_q: Tensor) -> float:
    """Effective number of codes among the most likely ones of some images, from log q(code | x), (n, codes)."""
    share = torch.bincount(log_q.argmax(1), minlength=log_q.shape[1]).double() / len(log_q)
    return float(torch.special.entr(share).sum().exp())


def information(before: dict[str, Tensor], after: dict[str, Tensor], distributions: tuple[str, ...]) -> float:
    """Mutual information of two codes of the same images, nats, from J(a, b) = mean P(a|x) Q(b|x), with the same weight
    for each distribution."""
    tables = [before[name].double().exp().T @ after[name].double().exp() / len(after[name]) for name in distributions]
    return mutual_information(torch.stack(tables).mean(0))


def mutual_information(joint: Tensor) -> float:
    """Mutual information of two variables, nats, from their joint probabilities, (values of one, of the other)."""
    product = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((torch.special.xlogy(joint, joint) - torch.special.xlogy(joint, product)).sum())


def information_on_distributions(log_q: dict[str, Tensor], distributions: tuple[str, ...]) -> float:
    """Mutual information of an image's code and its distribution, nats, from log q(code | x), (n, codes), of images of
    each distribution, with the same weight for each: the mean of KL[q(code | distribution) ‖ q(code)]."""
    shares = torch.stack([log_q[name].double().exp().mean(0) for name in distributions])
    return float((torch.special.xlogy(shares, shares) - torch.special.xlogy(shares, shares.mean(0))).sum(1).mean())


class Drift(NamedTuple):
    """Means over images, with the same weight for each distribution."""

    total: float
    leak: float
    core: float


def drift(before: dict[str, Tensor], after: dict[str, Tensor], distributions: tuple[str, ...]) -> Drift:
    """Movement of codes: TV(P, Q) with P padded, Q(new codes), and TV(P, Q renormalised on the codes of P)."""
    rows = []
    for name in distributions:
        old, new = before[name].double(), after[name].double()
        n = old.shape[1]
        p, q, q_old = old.exp(), new.exp(), new[:, :n].softmax(1)
        leak = q[:, n:].sum(1)
        total = 0.5 * ((p - q[:, :n]).abs().sum(1) + leak)
        core = 0.5 * (p - q_old).abs().sum(1)
        rows.append(torch.stack([total.mean(), leak.mean(), core.mean()]))
    return Drift(*torch.stack(rows).mean(0).tolist())
