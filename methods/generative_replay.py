"""Teacher and student with generative replay: Lifelong Generative Modeling's "without" arm.

Reference: Ramapuram, Gregorova, Kalousis, Lifelong Generative Modeling (arXiv 1705.09847): the student-teacher machine
of its section 4 without the consistency and information terms, so the loss is the plain ELBO on real and synthetic
images.

Memory: the student's state and the teacher's; no real image of the past.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal, Self

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Tensor

from lifegen.benchmark import Options, Seeds, Stream, count_state, register_method

from .models.method import VAEMethod, acts
from .models.plugins import RealShare, options_of, parts_of, real_parts, with_replay
from .models.vae import CodeStyleVAE


class ReplayOptions(Options):
    """Options of a teacher and its student."""

    growth: NonNegativeInt = 1
    """g, codes appended for each new distribution; 0 keeps the size."""
    latent_layers: Literal["reinitialise", "preserve"] = "preserve"
    """Whether growth starts the layers on either side of the latent variables anew or only adds to them."""
    weight_transfer: bool = True
    """Whether a student starts from its teacher's weights."""
    norm_reset: Literal["stats", "all", "none"] = "stats"
    """Parts of normalisation that a transition resets: running statistics, scales and shifts as well, or none. With
    batch norm at 1,000 steps no difference was seen."""
    mixing: Literal["fixed", "bernoulli"] = "fixed"
    """Whether a batch has a fixed number of real images, or each is real with that probability."""
    real_share: RealShare | Literal["none"] = "equal"
    """Real images of a batch: one part in K, the number of distributions met (the paper's rule); half of it; all of
    it, with as many replayed images added; or none from the second interval on."""
    replay_images: Literal["mean", "draw"] = "draw"
    """Images that the teacher replays: its decoder's means, or draws from its likelihood (the paper's text)."""
    replay_prior: Literal["uniform", "aggregate"] = "uniform"
    """Whether the teacher's codes are drawn uniformly, or as often as they are used."""


class TeacherPlugin(SupervisedPlugin):
    """At each transition freezes the model as the teacher and grows the student; then replays the teacher's samples.

    With K distributions met, the current one included, a batch of B images holds max(1, ⌊B/K⌋) real ones, the first of
    those drawn, and fresh samples of the teacher for the rest: each distribution has about the same share. With
    ``real_share=half``, half of it is real; with ``added``, B samples come beside B real images; with
    ``none``, all are samples.
    """

    def __init__(self, seeds: Seeds, options: ReplayOptions | None = None, **named: Any) -> None:
        """Make the plugin.

        Args:
            seeds: where the grown layers' weights, the mixture and the teacher's samples come from.
            options: all options, such as a method's ``Config``.
            named: single options by their names, instead; the others have their defaults.
        """
        super().__init__()
        self.options = options_of(ReplayOptions, options, named)
        self.teacher: CodeStyleVAE | None = None
        """The frozen model of everything before this interval; None in the first."""
        self.distributions = 0
        """K. A distribution that comes back is counted once."""
        self.real = 0
        """Real images in the current batch; they come first. Another number at every step, unless
        ``has_fixed_counts``."""
        self.synthetic_samples = 0
        """Images drawn from teachers so far."""
        self.has_fixed_counts = self.options.mixing == "fixed"
        """Whether every batch has the same number of real images."""
        self.capturable = self.options.replay_prior != "aggregate"  # it counts steps
        self._init = seeds.generator("growth")
        self._mixture = seeds.generator("mixture")
        self._replay = seeds.late_generator("replay")
        self._prior: Tensor | None = None
        self._usage: Tensor | None = None
        self._steps = 0

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers that the teacher keeps."""
        return 0 if self.teacher is None else count_state(self.teacher)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # The first hook of an interval: Avalanche hands the grown student's parameters to the optimiser afterwards.
        is_first = self.distributions == 0
        is_new = getattr(strategy.experience, "is_new", True)
        self.distributions += is_new
        if is_first:
            return
        # The teacher shares no tensor with the student, never learns, and normalises by its running statistics.
        self.teacher = deepcopy(strategy.model).eval().requires_grad_(False)
        self._prior, self._usage, self._steps = self._usage, None, 0
        student: CodeStyleVAE = strategy.model
        options = self.options
        if is_new and options.growth:
            student.grow(options.growth, self._init, options.latent_layers == "preserve")
        if not options.weight_transfer:
            student.reinitialise(self._init)
        if options.norm_reset != "none":
            student.reset_norm(affine=options.norm_reset == "all")

    @torch.no_grad()
    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.teacher is None:
            return
        x = strategy.mb_x
        self.real, replayed = self._parts(len(x))
        synthetic = self._images(replayed, self._replay.on(x.device), self.options.replay_images == "draw")
        strategy.mbatch = with_replay(strategy, synthetic, self.real)
        self.synthetic_samples += len(synthetic)

    def replayed(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Return means of n images that the teacher replayed in this interval; None in the first."""
        return None if self.teacher is None else self._images(n, generator, draw=False)

    def _images(self, n: int, generator: torch.Generator, draw: bool) -> Tensor:
        """Images of the teacher, draws from p(x | z) or its means."""
        assert self.teacher is not None
        return self.teacher.sample(n, generator=generator, prior=self._prior, draw=draw)

    def _parts(self, batch: int) -> tuple[int, int]:
        share = self.options.real_share
        if share == "none":
            return 0, batch
        if self.has_fixed_counts:
            return parts_of(batch, self.distributions, share)
        real = int((torch.rand(batch, generator=self._mixture) * real_parts(self.distributions, share) < 1).sum())
        return real, batch - real

    @torch.no_grad()
    def after_forward(self, strategy: Any, **_: Any) -> None:
        if self.options.replay_prior == "aggregate":
            # The mean over the interval's mixed batches, or over about the last hundred.
            now = strategy.mb_output.posterior.code_logits.softmax(1).mean(0)
            self._steps += 1
            self._usage = now if self._usage is None else self._usage.lerp(now, max(1 / self._steps, 0.01))


@register_method(
    "generative-replay", version=2, uses=("boundaries",), look={"colour": "#de8f05", "marker": "s", "dash": "dashed"}
)
class GenerativeReplay(VAEMethod):
    """Teacher and student with replay and the plain ELBO: the paper's "without"."""

    class Config(ReplayOptions, VAEMethod.Config):
        codes: PositiveInt = 1
        """Size J of the code at the start."""

        @model_validator(mode="after")
        def _resets(self) -> Self:
            acts(self, self.real_share != "none", "real images in batches: real_share=equal, half or added", "mixing")
            return acts(self, self.norm != "none", "norm=batch or norm=group", "norm_reset")

    restarts_temperature = True

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), TeacherPlugin(seeds, self.config)]
