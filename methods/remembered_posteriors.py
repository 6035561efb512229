"""Replay from remembered posteriors: the teacher decodes latent variables that it has seen, in place of its prior's.

A VAE is trained to decode z ~ q(z | x) of the images of its past. Replay decodes z ~ p(z). The two differ: the
aggregate posterior q(z), the mean of q(z | x) over images, doesn't fill the prior, and in its holes the decoder was
never trained. The next student learns such images as if they were the past, and its own aggregate posterior is that of
a worse past: the error grows from teacher to student. Here the holes aren't decoded. At an interval's end the last
images that were trained on, real and replayed alike, are encoded, and q(z) is kept in one of these forms:

- ``posteriors``: the posteriors of single images, that is a sample of the terms of q(z). An image isn't kept, but its
  posterior is a lossy code of one, from which the decoder makes it again, more or less. Who may keep nothing of single
  images mustn't use this form.
- ``mixture``: for each code a mixture of Gaussians that is fitted to them by scikit-learn. This keeps a density alone,
  as the paper of the lifelong VAE promises.
- ``pseudo-inputs``: the posteriors of a few trained images, as in VampPrior and BooVAE; a rival.
- ``resampling``: a small network that accepts or rejects draws from the prior; a rival that keeps the prior's codes.

The images of replayed distributions are those that the teacher decoded from its own memory, so that no more of the past
comes in. The memory holds the distributions in the shares of the batches: equal ones by default. With
``real_share=half`` half of it is the latest distribution, unless it is kept.

A memory that is encoded anew at each interval's end loses something each time. With ``memory_of_past=kept`` it isn't:
posteriors of real images join it, and ``replay_alignment`` holds the student's decoder to the teacher's at what is
decoded, so that they keep their meaning. Such a memory holds equal shares whatever batches hold, so that half of each
batch can be real. Alignment without a memory holds the decoder in the prior's holes, too.

What isn't new: that the aggregate posterior differs from the prior (Rosca et al., arXiv 1802.06847) and makes a better
prior (VampPrior, arXiv 1705.07120; resampled priors, arXiv 1810.11428); to fit a density to codes after training
(two-stage VAE, arXiv 1903.05789; Ghosh et al., arXiv 1903.12436); to replay codes instead of images (latent replay,
arXiv 1912.01100, which trains a classifier's upper layers on codes of real images), or to decode codes of past images,
or centroids and covariances of these, for a classifier (Scalable Recollections, arXiv 1711.06761; EEC, arXiv
2101.04904). BooVAE (arXiv 1908.11853) is the
closest: it approximates each task's aggregate posterior by a mixture at trained pseudo-inputs, makes it the model's
prior, and holds the old components in place by a penalty, in one network. Here the prior of the bound stays N(0, I) and
nothing is trained: the memory only says where the teacher of the next interval may be asked. Holding a generator to its
predecessor at equal latent variables is replay alignment (Memory Replay GANs, arXiv 1809.02058) and the second phase of
Multiband VAE (arXiv 2106.12196), both at draws from the prior.

Memory: the student's state and the teacher's, and 2F + 1 numbers a posterior, F the style's size, 2 + F + F(F+1)/2
numbers a Gaussian, or the network's weights; twice at an interval's end, for the teacher and for the next one. No image
of the past.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from lifegen.benchmark import Seeds, Stream, later, register_method

from .generative_replay import GenerativeReplay, ReplayOptions, TeacherPlugin
from .lifelong_vae import ConsistencyPlugin
from .models.latent_memory import Gaussians, LatentMemory, Resampled, mixture, posteriors, pseudo_inputs
from .models.method import acts
from .models.vae import CodeStyleVAE, Posterior


class MemoryOptions(ReplayOptions):
    """Options of a teacher with a memory."""

    memory: Literal["posteriors", "mixture", "pseudo-inputs", "resampling"] = "posteriors"
    """Posteriors of single images, a mixture of Gaussians fitted to them for each code, those of trained pseudo-inputs,
    or a network that resamples the prior."""
    remembered: PositiveInt = 2000
    """Images, the last ones that an interval trains on, whose posteriors are kept or fitted."""
    components: PositiveInt = 10
    """mixture: Gaussians a code, at most one for twice as many images as the style has dimensions."""
    pseudo_inputs: Annotated[PositiveInt, later()] = 200
    """pseudo-inputs: how many."""
    memory_of_past: Annotated[Literal["encoded", "kept"], later()] = "encoded"
    """What an interval remembers of the distributions before it: posteriors of the replayed images that it trained on;
    or its teacher's memory as it is, which stays right as far as replay_alignment holds the decoder. A mixture that is
    kept grows with each interval."""
    memory_style: Annotated[Literal["draws", "means"], later()] = "draws"
    """Whether draws of the Gaussians are decoded, or their means."""
    memory_code: Annotated[Literal["kept", "prior"], later()] = "kept"
    """Whether a style is decoded with the code that it is kept with, or with one of the prior's."""
    memory_balance: Annotated[Literal["images", "codes"], later()] = "images"
    """Whether codes are drawn as often as the remembered images have them, or all of these equally often."""


class RememberingTeacherPlugin(TeacherPlugin):
    """A teacher that replays from a memory of its aggregate posterior; otherwise as its base."""

    options: MemoryOptions

    def __init__(self, seeds: Seeds, options: MemoryOptions | None = None, **named: Any) -> None:
        """Make the plugin; arguments as for its base."""
        super().__init__(seeds, options or MemoryOptions(**named))
        self.memory: LatentMemory | None = None
        """What is replayed in this interval, of the one before; None in the first."""
        self.next_memory: LatentMemory | None = None
        """What the next interval will replay."""
        self._fit = seeds.generator("memory")
        self._last: Tensor | None = None
        """The last images that were trained on, in a ring, (remembered, channels, height, width)."""
        self._seen = 0

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers that the teacher and its memory keep, and those of the next one's."""
        return super().stored_parameters + sum(
            one.numbers for one in (self.memory, self.next_memory) if one is not None
        )

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        super().before_train_dataset_adaptation(strategy)
        self.memory, self.next_memory = self.next_memory, None

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        super().before_training_exp(strategy)
        self._last, self._seen = None, 0

    @torch.no_grad()
    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        super().after_training_iteration(strategy)
        x: Tensor = strategy.mb_x
        if self._keeps_past:
            x = x[: self.real]
        x = x[-self.options.remembered :]
        if self._last is None:
            self._last = x.new_zeros(self.options.remembered, *x.shape[1:])
        at = self._seen % len(self._last)
        first = x[: len(self._last) - at]
        self._last[at : at + len(first)] = first
        self._last[: len(x) - len(first)] = x[len(first) :]
        self._seen += len(x)

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        super().after_training_exp(strategy)
        assert self._last is not None
        images, self._last = self._last[: self._seen], None
        if not len(images):  # with real_share=none nothing joins a memory that is kept
            self.next_memory = self.memory
            return
        model = self.next_teacher(strategy).eval().requires_grad_(False)
        parts = [model.encode(x) for x in images.split(500)]
        q = Posterior(*(torch.cat(part) for part in zip(*parts, strict=True)))
        memory = self._remember(model, images, q)
        if self._keeps_past:
            assert isinstance(self.memory, Gaussians)
            assert isinstance(memory, Gaussians)
            most = self.options.remembered if self.options.memory == "posteriors" else None
            memory = self.memory.joined(memory, self.distributions, most, self._fit)
        self.next_memory = memory

    @property
    def _keeps_past(self) -> bool:
        return self.options.memory_of_past == "kept" and self.memory is not None

    def _remember(self, model: CodeStyleVAE, images: Tensor, q: Posterior) -> LatentMemory:
        options = self.options
        if options.memory == "resampling":
            return Resampled(model.codes, model.style, self._fit).to(images.device).fit(q, self._fit)
        if options.memory == "mixture":
            kept = mixture(q, options.components, self._fit)
        elif options.memory == "pseudo-inputs":
            kept = pseudo_inputs(model, images, q, options.pseudo_inputs, self._fit)
        else:
            kept = posteriors(q)
        if options.memory_style == "means":
            kept = kept._replace(scale=torch.zeros_like(kept.scale))
        return kept.balanced() if options.memory_balance == "codes" else kept

    def _latents(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        assert self.memory is not None
        style, code = self.memory.draw(n, generator)
        if self.options.memory_code == "prior":
            assert self.teacher is not None
            code = torch.randint(self.teacher.codes, (n,), generator=generator, device=code.device)
        return style, code


@register_method("remembered-posteriors", version=1, uses=("boundaries",), look={"colour": "#de8f05", "marker": "o"})
class RememberedPosteriors(GenerativeReplay):
    """Teacher and student, with replay from the teacher's aggregate posterior instead of its prior."""

    class Config(MemoryOptions, GenerativeReplay.Config):
        consistency_weight: NonNegativeFloat = 0.0
        """γ, weight of the consistency of codes with the teacher's, as in lifelong-vae."""

        @model_validator(mode="after")
        def _remembers(self) -> Any:
            acts(self, False, "replay from the prior, which this method doesn't do,", "replay_prior")
            acts(self, self.memory == "pseudo-inputs", "memory=pseudo-inputs", "pseudo_inputs")
            acts(self, self.memory in ("posteriors", "mixture"), "memory=posteriors or mixture", "memory_of_past")
            is_density = self.memory != "resampling"
            on = "memory=posteriors, mixture or pseudo-inputs"
            acts(self, is_density, on, "memory_style", "memory_code")
            is_balanced = is_density and self.memory_of_past == "encoded" and self.memory_code == "kept"
            acts(self, is_balanced, f"{on}, memory_of_past=encoded and memory_code=kept", "memory_balance")
            return acts(self, self.memory == "mixture", "memory=mixture", "components")

    teacher = RememberingTeacherPlugin

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        plugins = super().plugins(stream, seeds)
        if gamma := self.config.consistency_weight:
            teacher = next(plugin for plugin in plugins if isinstance(plugin, TeacherPlugin))
            plugins.append(ConsistencyPlugin(teacher, gamma))
        return plugins
