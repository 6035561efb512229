"""Memories of an aggregate posterior q(z), the mean of q(z | x) over images: what a teacher may be asked to decode in
place of draws from its prior.

Each is made at an interval's end from the posteriors of its last images, and takes some thousand numbers.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple, Protocol

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional

from lifegen.benchmark import count_state

from .networks import linear
from .vae import CodeStyleVAE, Posterior, one_hot

_LEAST_VARIANCE = 1e-4
"""Added to the variances of fitted Gaussians, so that few points can't make one singular."""
_STEPS = 500
"""Optimiser steps for pseudo-inputs, and for an acceptance network."""
_UNITS = 64
"""Units in each of the two hidden layers of an acceptance network."""


class LatentMemory(Protocol):
    """A density over styles and codes that can be drawn from."""

    @property
    def numbers(self) -> int:
        """Floating-point numbers that it keeps."""
        ...

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw styles, (n, style), and their codes, (n,)."""
        ...


class Gaussians(NamedTuple):
    """Gaussians of the style, each with a code: posteriors of images, or components of fitted mixtures."""

    mean: Tensor
    """(n, style)"""
    scale: Tensor
    """Deviations, (n, style), or lower triangular factors of covariances, (n, style, style)"""
    code: Tensor
    """int64, (n,)"""
    weight: Tensor | None = None
    """Probabilities, (n,); None: equal"""

    @property
    def numbers(self) -> int:
        size = self.mean.shape[1]
        of_scale = size if self.scale.ndim == 2 else size * (size + 1) // 2
        return len(self.mean) * (size + of_scale + 1 + (self.weight is not None))

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = self.mean.device
        if self.weight is None:
            chosen = torch.randint(len(self.mean), (n,), generator=generator, device=device)
        else:  # torch draws at least one
            chosen = torch.multinomial(self.weight, max(n, 1), replacement=True, generator=generator)[:n]
        noise = torch.randn(n, self.mean.shape[1], generator=generator, device=device)
        scale = self.scale[chosen]
        moved = scale * noise if scale.ndim == 2 else (scale @ noise[:, :, None])[:, :, 0]
        return self.mean[chosen] + moved, self.code[chosen]

    def joined(self, new: Gaussians, parts: int, most: int | None, generator: torch.Generator) -> Gaussians:
        """These Gaussians and new ones, which are drawn with probability 1 / parts.

        Args:
            new: those of the latest distribution.
            parts: the number of distributions, the latest included.
            most: Gaussians that are kept in all, chosen at random, one part of them new; None: all.
            generator: source of the choice, on the CPU.
        """
        old = self
        if most is not None:
            new = new._some(max(1, most // parts), generator)
            old = self._some(most - len(new.mean), generator)
        of_old, of_new = old._weights(), new._weights()
        weight = torch.cat([of_old / of_old.sum() * (1 - 1 / parts), of_new / of_new.sum() / parts])
        mean, scale, code = map(torch.cat, zip(old[:3], new[:3], strict=True))
        return Gaussians(mean, scale, code, weight)

    def _some(self, n: int, generator: torch.Generator) -> Gaussians:
        if n >= len(self.mean):
            return self
        chosen = torch.randperm(len(self.mean), generator=generator)[:n].to(self.mean.device)
        mean, scale, code = (part[chosen] for part in self[:3])
        return Gaussians(mean, scale, code, None if self.weight is None else self.weight[chosen])

    def _weights(self) -> Tensor:
        return self.mean.new_ones(len(self.mean)) if self.weight is None else self.weight

    def balanced(self) -> Gaussians:
        """The same Gaussians with such weights that each code that occurs is drawn equally often."""
        weight = self._weights()
        of_code = weight.new_zeros(int(self.code.max()) + 1).index_add_(0, self.code, weight)
        weight = weight / of_code[self.code]
        return self._replace(weight=weight / weight.sum())


def posteriors(q: Posterior) -> Gaussians:
    """Return the posteriors of single images, each with its most likely code."""
    return Gaussians(q.mean, q.std, q.code_logits.argmax(1))


def mixture(q: Posterior, components: int, generator: torch.Generator) -> Gaussians:
    """Fit a mixture of Gaussians with full covariances to draws from the posteriors of each code.

    Args:
        q: the posteriors of images; each is drawn from five times.
        components: Gaussians a code, at most one for 2F images.
        generator: source of the draws and of the fit's start, on the CPU.

    Returns:
        the mixtures of all codes that an image has, weighted by the images.
    """
    size = q.mean.shape[1]
    of = posteriors(q)
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for code in of.code.unique().tolist():
        chosen = of.code == code
        mean, std = (part[chosen].cpu().double() for part in of[:2])
        draws = mean + std * torch.randn(5, *mean.shape, generator=generator, dtype=torch.float64)
        number = max(1, min(components, len(mean) // (2 * size)))
        start = int(torch.randint(2**31, (), generator=generator))
        fit = GaussianMixture(number, reg_covar=_LEAST_VARIANCE, random_state=start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a rough fit is better than the prior, too
            fit.fit(draws.flatten(0, 1).numpy())
        scale = torch.linalg.cholesky(torch.from_numpy(fit.covariances_))
        weight = torch.from_numpy(fit.weights_) * len(mean) / len(of.code)
        parts.append((torch.from_numpy(fit.means_), scale, torch.full((number,), code), weight))
    like = of.mean
    mean, scale, code, weight = (torch.cat(part) for part in zip(*parts, strict=True))
    return Gaussians(mean.to(like), scale.to(like), code.to(like.device), weight.to(like))


def pseudo_inputs(
    model: CodeStyleVAE, images: Tensor, q: Posterior, number: int, generator: torch.Generator
) -> Gaussians:
    """Fit pseudo-inputs u, images whose posteriors together are near the aggregate posterior (Tomczak and Welling,
    VampPrior, arXiv 1705.07120; Kuzina et al., BooVAE, arXiv 1908.11853).

    They start at some of the images, and maximise the mean of log (1/K) Σ q(z | u) over draws z from all posteriors by
    Adam. What is kept is their posteriors: the model is frozen from here on, so that a pseudo-input says no more.

    Args:
        model: the encoder, in evaluation mode.
        images: images in [0, 1], (n, channels, height, width).
        q: their posteriors.
        number: K, at most n.
        generator: source of the choice and the draws, on the CPU.
    """
    start = torch.randperm(len(images), generator=generator)[:number].to(images.device)
    with torch.enable_grad():
        logits = images[start].logit(0.01).requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=0.05)
        code = q.code_logits.argmax(1)
        for _ in range(_STEPS):
            chosen = torch.randint(len(images), (min(len(images), 500),), generator=generator).to(images.device)
            noise = torch.randn(len(chosen), q.mean.shape[1], generator=generator).to(q.mean)
            style = q.mean[chosen] + q.std[chosen] * noise
            mean, std, code_logits = model.encode(logits.sigmoid())
            log_style = -0.5 * ((style[:, None] - mean) / std).square().sum(2) - std.log().sum(1)
            log_code = code_logits.log_softmax(1).T[code[chosen]]
            loss = -(log_style + log_code).logsumexp(1).mean()
            (logits.grad,) = torch.autograd.grad(loss, logits)
            optimizer.step()
    with torch.no_grad():
        return posteriors(model.encode(logits.sigmoid()))


class Resampled(nn.Module):
    """The prior, resampled by a network that tells draws of the aggregate posterior from the prior's (Bauer and Mnih,
    Resampled priors, arXiv 1810.11428; here by importance: of C candidates one is chosen with probability ∝ its ratio).
    """

    _CANDIDATES = 32

    def __init__(self, codes: int, size: int, init: torch.Generator) -> None:
        """Make an untrained one.

        Args:
            codes: the model's codes.
            size: dimensions of its style.
            init: source of the network's weights.
        """
        super().__init__()
        self.codes = codes
        self.size = size
        sizes = (size + codes, _UNITS, _UNITS, 1)
        layers = [layer for i in range(3) for layer in (linear(sizes[i], sizes[i + 1], init), nn.ELU())]
        self.log_ratio = nn.Sequential(*layers[:-1])

    @property
    def numbers(self) -> int:
        """Floating-point numbers that it keeps."""
        return count_state(self)

    def fit(self, q: Posterior, generator: torch.Generator) -> Resampled:
        """Train the network on draws from posteriors and from the prior.

        Args:
            q: the posteriors of images.
            generator: source of the draws, on the CPU.
        """
        code = q.code_logits.argmax(1)
        with torch.enable_grad():
            optimizer = torch.optim.Adam(self.parameters(), lr=3e-3)
            for _ in range(_STEPS):
                chosen = torch.randint(len(code), (500,), generator=generator).to(code.device)
                noise = torch.randn(2, 500, self.size, generator=generator).to(q.mean)
                style = torch.cat([q.mean[chosen] + q.std[chosen] * noise[0], noise[1]])
                prior = torch.randint(self.codes, (500,), generator=generator).to(code.device)
                logits = self._log_ratio(style, torch.cat([code[chosen], prior]))
                is_posterior = torch.arange(1000, device=logits.device) < 500
                loss = functional.binary_cross_entropy_with_logits(logits, is_posterior.to(logits))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return self.requires_grad_(False)

    def _log_ratio(self, style: Tensor, code: Tensor) -> Tensor:
        logits: Tensor = self.log_ratio(torch.cat([style, one_hot(code, style, self.codes)], 1))
        return logits[:, 0]

    @torch.no_grad()
    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw styles, (n, style), and their codes, (n,)."""
        many, device = n * self._CANDIDATES, next(self.parameters()).device
        style = torch.randn(many, self.size, generator=generator, device=device)
        code = torch.randint(self.codes, (many,), generator=generator, device=device)
        log_ratio = self._log_ratio(style, code).view(n, self._CANDIDATES)
        # The largest of log-ratios with Gumbel noise: a draw with probabilities ∝ the ratios.
        gumbel = -torch.empty_like(log_ratio).exponential_(generator=generator).log()
        chosen = (log_ratio + gumbel).argmax(1) + torch.arange(n, device=device) * self._CANDIDATES
        return style[chosen], code[chosen]
