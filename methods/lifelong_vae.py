"""The lifelong VAE: teacher and student with replay, posterior consistency and mutual information.

Reference: Ramapuram, Gregorova, Kalousis, Lifelong Generative Modeling (arXiv 1705.09847): consistency, equation 3;
information term, section 4. Deliberate differences from the authors' public code, which has errors that change the
numbers: the teacher always normalises by its running statistics; its probabilities, not their logarithms, are padded
for new codes; the information term acts in every interval, with the code's marginal estimated on the batch.

Memory: the student's state and the teacher's; no real image of the past.
"""

from __future__ import annotations

from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat

from lifegen.benchmark.registry import register_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.stream import Stream

from .generative_replay import GenerativeReplay, TeacherPlugin
from .models.divergences import mutual_information, padded_reverse_kl


class ConsistencyPlugin(SupervisedPlugin):
    """Adds γ/B Σ KL[q_student(zd | x̂) ‖ q_teacher(zd | x̂)] over the batch's synthetic images x̂ (equation 3).

    The sum is divided by the whole batch's size B: real images contribute nothing.
    """

    def __init__(self, teacher: TeacherPlugin, weight: float = 1.0) -> None:
        """Make the plugin.

        Args:
            teacher: the plugin that replays; it must come first in the strategy's list.
            weight: γ.
        """
        super().__init__()
        self._teacher = teacher
        self._weight = weight

    def before_backward(self, strategy: Any, **_: Any) -> None:
        if self._teacher.teacher is None:
            return
        synthetic = slice(self._teacher.real, None)
        output = strategy.mb_output
        with torch.no_grad():
            target = self._teacher.teacher.code_log_posterior(output.x[synthetic])
        student = output.posterior.code_logits[synthetic].log_softmax(1)
        strategy.loss = strategy.loss + self._weight * padded_reverse_kl(student, target).sum() / len(output.x)


class MutualInformationPlugin(SupervisedPlugin):
    """Subtracts λ I(zd; x), with the code's marginal estimated on the whole mixed batch."""

    def __init__(self, weight: float) -> None:
        """Make the plugin.

        Args:
            weight: λ.
        """
        super().__init__()
        self._weight = weight

    def before_backward(self, strategy: Any, **_: Any) -> None:
        log_q = strategy.mb_output.posterior.code_logits.log_softmax(1)
        strategy.loss = strategy.loss - self._weight * mutual_information(log_q)


@register_method("lifelong-vae", version=1, uses=("boundaries",))
class LifelongVAE(GenerativeReplay):
    """Teacher and student with replay, consistency and information terms: the paper's "with"."""

    class Config(GenerativeReplay.Config):
        consistency_weight: NonNegativeFloat = 1.0
        """γ, weight of the consistency term."""
        mutual_information_weight: NonNegativeFloat = 0.3
        """λ, weight of the mutual information between code and image."""

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        plugins = super().plugins(stream, seeds)
        teacher = next(plugin for plugin in plugins if isinstance(plugin, TeacherPlugin))
        return [
            *plugins,
            ConsistencyPlugin(teacher, self.config.consistency_weight),
            MutualInformationPlugin(self.config.mutual_information_weight),
        ]
