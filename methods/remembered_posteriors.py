"""Replay from remembered posteriors: the teacher decodes latent variables that it has seen, in place of its prior's.

A VAE is trained to decode z ~ q(z | x) of the images of its past. Replay decodes z ~ p(z). The two differ: the
aggregate posterior q(z), the mean of q(z | x) over images, doesn't fill the prior, and in its holes the decoder was
never trained. The next student learns such images as if they were the past, and its own aggregate posterior is that of
a worse past: the error grows from teacher to student. Here the holes aren't decoded. At an interval's end the last
images that were trained on, real and replayed alike, are encoded, and q(z) is kept in one of two forms:

- ``posteriors``: the posteriors of single images, that is a sample of the terms of q(z). An image isn't kept, but its
  posterior is a lossy code of one, from which the decoder makes it again, more or less. Who may keep nothing of single
  images mustn't use this form.
- ``mixture``: for each code a mixture of Gaussians that is fitted to them by scikit-learn. This keeps a density alone,
  as the paper of the lifelong VAE promises.

The images of replayed distributions are those that the teacher decoded from its own memory, so that no more of the past
comes in. Batches hold the distributions in equal shares, and so does the memory.

What isn't new: that the aggregate posterior differs from the prior (Rosca et al., arXiv 1802.06847) and makes a better
prior (VampPrior, arXiv 1705.07120; resampled priors, arXiv 1810.11428); to fit a density to codes after training
(two-stage VAE, arXiv 1903.05789; Ghosh et al., arXiv 1903.12436); to replay codes instead of images (latent replay,
arXiv 1912.01100, which trains a classifier's upper layers on codes of real images). BooVAE (arXiv 1908.11853) is the
closest: it approximates each task's aggregate posterior by a mixture at trained pseudo-inputs, makes it the model's
prior, and holds the old components in place by a penalty, in one network. Here the prior of the bound stays N(0, I) and
nothing is trained: the memory only says where the teacher of the next interval may be asked.

Memory: the student's state and the teacher's, and 2F + 1 numbers a posterior, F the style's size, or 2 + F + F(F+1)/2
numbers a Gaussian, twice at an interval's end, for the teacher and for the next one; no image of the past.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat, PositiveInt, model_validator
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lifegen.benchmark import Seeds, Stream, register_method

from .generative_replay import GenerativeReplay, ReplayOptions, TeacherPlugin
from .lifelong_vae import ConsistencyPlugin
from .models.method import acts
from .models.vae import CodeStyleVAE

_LEAST_VARIANCE = 1e-4
"""Added to the variances of fitted Gaussians, so that few points can't make one singular."""


class Memory(NamedTuple):
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
        """Numbers that it takes."""
        size = self.mean.shape[1]
        of_scale = size if self.scale.ndim == 2 else size * (size + 1) // 2
        return len(self.mean) * (size + of_scale + 1 + (self.weight is not None))

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw styles, (n, style), and their codes, (n,)."""
        device = self.mean.device
        if self.weight is None:
            chosen = torch.randint(len(self.mean), (n,), generator=generator, device=device)
        else:  # torch draws at least one
            chosen = torch.multinomial(self.weight, max(n, 1), replacement=True, generator=generator)[:n]
        noise = torch.randn(n, self.mean.shape[1], generator=generator, device=device)
        scale = self.scale[chosen]
        moved = scale * noise if scale.ndim == 2 else (scale @ noise[:, :, None])[:, :, 0]
        return self.mean[chosen] + moved, self.code[chosen]


class MemoryOptions(ReplayOptions):
    """Options of a teacher with a memory."""

    memory: Literal["posteriors", "mixture"] = "posteriors"
    """Whether posteriors of single images are kept, or a mixture of Gaussians fitted to them for each code."""
    remembered: PositiveInt = 2000
    """Images, the last ones that an interval trains on, whose posteriors are kept or fitted."""
    components: PositiveInt = 10
    """mixture: Gaussians a code, at most one for twice as many images as the style has dimensions."""


class RememberingTeacherPlugin(TeacherPlugin):
    """A teacher that replays from a memory of its aggregate posterior; otherwise as its base."""

    options: MemoryOptions

    def __init__(self, seeds: Seeds, options: MemoryOptions | None = None, **named: Any) -> None:
        """Make the plugin; arguments as for its base."""
        super().__init__(seeds, options or MemoryOptions(**named))
        self.memory: Memory | None = None
        """What is replayed in this interval, of the one before; None in the first."""
        self.next_memory: Memory | None = None
        """What the next interval will replay."""
        self._fit = seeds.generator("memory")
        self._last: Tensor | None = None
        """The last images that were trained on, in a ring, (remembered, channels, height, width)."""
        self._seen = 0

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers that the teacher and its memory keep, and those of the next one's."""
        return super().stored_parameters + sum(one.numbers for one in (self.memory, self.next_memory) if one)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        super().before_train_dataset_adaptation(strategy)
        self.memory, self.next_memory = self.next_memory, None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._last, self._seen = None, 0

    @torch.no_grad()
    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        x: Tensor = strategy.mb_x[-self.options.remembered :]
        if self._last is None:
            self._last = x.new_zeros(self.options.remembered, *x.shape[1:])
        at = self._seen % len(self._last)
        first = x[: len(self._last) - at]
        self._last[at : at + len(first)] = first
        self._last[: len(x) - len(first)] = x[len(first) :]
        self._seen += len(x)

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        model: CodeStyleVAE = strategy.model
        assert self._last is not None
        was_training = model.training
        model.eval()
        parts = [model.encode(x) for x in self._last[: self._seen].split(500)]
        model.train(was_training)
        mean, std, logits = (torch.cat(part) for part in zip(*parts, strict=True))
        self.next_memory = Memory(mean, std, logits.argmax(1))
        if self.options.memory == "mixture":
            self.next_memory = fitted(self.next_memory, self.options.components, self._fit)
        self._last = None

    def _images(self, n: int, generator: torch.Generator, draw: bool) -> Tensor:
        assert self.memory is not None
        assert self.teacher is not None
        style, code = self.memory.draw(n, generator)
        return self.teacher.decoded(style, code, generator, draw)


def fitted(posteriors: Memory, components: int, generator: torch.Generator) -> Memory:
    """Fit a mixture of Gaussians with full covariances to draws from the posteriors of each code.

    Args:
        posteriors: the posteriors of images; each is drawn from five times.
        components: Gaussians a code, at most one for 2F images.
        generator: source of the draws and of the fit's start.

    Returns:
        the mixtures of all codes that an image has, weighted by the images.
    """
    size = posteriors.mean.shape[1]
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for code in posteriors.code.unique().tolist():
        chosen = posteriors.code == code
        mean, std = (part[chosen].cpu().double() for part in posteriors[:2])
        draws = mean + std * torch.randn(5, *mean.shape, generator=generator, dtype=torch.float64)
        number = max(1, min(components, len(mean) // (2 * size)))
        start = int(torch.randint(2**31, (), generator=generator))
        mixture = GaussianMixture(number, reg_covar=_LEAST_VARIANCE, random_state=start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a rough fit is better than the prior, too
            mixture.fit(draws.flatten(0, 1).numpy())
        scale = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_))
        weight = torch.from_numpy(mixture.weights_) * len(mean) / len(posteriors.code)
        parts.append((torch.from_numpy(mixture.means_), scale, torch.full((number,), code), weight))
    like = posteriors.mean
    mean, scale, code, weight = (torch.cat(part) for part in zip(*parts, strict=True))
    return Memory(mean.to(like), scale.to(like), code.to(like.device), weight.to(like))


@register_method("remembered-posteriors", version=1, uses=("boundaries",), look={"colour": "#de8f05", "marker": "o"})
class RememberedPosteriors(GenerativeReplay):
    """Teacher and student, with replay from the teacher's aggregate posterior instead of its prior."""

    class Config(MemoryOptions, GenerativeReplay.Config):
        consistency_weight: NonNegativeFloat = 0.0
        """γ, weight of the consistency of codes with the teacher's, as in lifelong-vae."""

        @model_validator(mode="after")
        def _remembers(self) -> Any:
            acts(self, False, "replay from the prior, which this method doesn't do,", "replay_prior")
            return acts(self, self.memory == "mixture", "memory=mixture", "components")

    teacher = RememberingTeacherPlugin

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        plugins = super().plugins(stream, seeds)
        if gamma := self.config.consistency_weight:
            plugins.append(ConsistencyPlugin(plugins[-1], gamma))
        return plugins
