"""Teacher and student with generative replay: Lifelong Generative Modeling's "without" arm.

Reference: Ramapuram, Gregorova, Kalousis, Lifelong Generative Modeling (arXiv 1705.09847): the student-teacher machine
of its section 4 without the consistency and information terms, so the loss is the plain ELBO on real and synthetic
images.

Memory: the student's state and the teacher's; no real image of the past.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import PositiveInt

from lifegen.benchmark.registry import register_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream
from lifegen.benchmark.template import count_state

from .models.method import VAEMethod
from .models.plugins import ResetOptimizerPlugin
from .models.vae import CodeStyleVAE


class TeacherPlugin(SupervisedPlugin):
    """At each transition freezes the model as the teacher and grows the student; then replays the teacher's samples.

    With K distributions met, the current one included, a batch of B images holds max(1, ⌊B/K⌋) real ones, the first of
    those drawn, and fresh samples of the teacher for the rest: each distribution has about the same share.
    """

    def __init__(self, seeds: Seeds) -> None:
        """Make the plugin.

        Args:
            seeds: where the grown layers' weights and the teacher's samples come from.
        """
        super().__init__()
        self.teacher: CodeStyleVAE | None = None
        """The frozen model of everything before this interval; none in the first."""
        self.distributions = 0
        """K. A distribution that comes back is counted once."""
        self.real = 0
        """Real images in the current batch; they come first."""
        self.synthetic_samples = 0
        """Images drawn from teachers so far."""
        self._seeds = seeds
        self._init = seeds.generator("growth")
        self._replay: torch.Generator | None = None

    @property
    def stored_parameters(self) -> int:
        """Floating-point numbers that the teacher keeps."""
        return 0 if self.teacher is None else count_state(self.teacher)

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        # The first hook of an interval: what grows here, Avalanche hands to the optimiser afterwards.
        is_first = self.distributions == 0
        is_new = getattr(strategy.experience, "is_new", True)
        self.distributions += is_new
        if is_first:
            return
        # It shares no tensor with the student, never learns, and always normalises by its running statistics.
        self.teacher = deepcopy(strategy.model).eval().requires_grad_(False)
        if is_new:
            strategy.model.grow(1, self._init)
        strategy.model.reset_norm_statistics()

    @torch.no_grad()
    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.teacher is None:
            return
        x, y, *rest = strategy.mbatch
        self.real = max(1, len(x) // self.distributions)
        if self._replay is None:  # on the model's device, which is known only now
            self._replay = self._seeds.generator("replay", device=x.device)
        synthetic = self.teacher.sample(len(x) - self.real, generator=self._replay)
        unlabelled = torch.full_like(y[self.real :], -1)
        strategy.mbatch = [torch.cat([x[: self.real], synthetic]), torch.cat([y[: self.real], unlabelled]), *rest]
        self.synthetic_samples += len(synthetic)


@register_method("generative-replay", version=1, uses=("boundaries",))
class GenerativeReplay(VAEMethod):
    """Teacher and student with replay and the plain ELBO: the paper's "without"."""

    class Config(VAEMethod.Config):
        codes: PositiveInt = 1
        """Size J of the code at the start; it grows by one with each new distribution."""

    restarts_temperature = True

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), TeacherPlugin(seeds), ResetOptimizerPlugin()]
