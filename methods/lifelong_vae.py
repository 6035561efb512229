"""The lifelong VAE: teacher and student with replay, posterior consistency and mutual information.

Reference: Ramapuram, Gregorova, Kalousis, Lifelong Generative Modeling (arXiv 1705.09847): consistency, equation 3;
information term, section 4. Deliberate differences from the authors' public code, which has errors that change the
numbers: the teacher always normalises by its running statistics; its probabilities, not their logarithms, are padded
for new codes; the information term acts in every interval, with the code's marginal estimated on the batch. The
defaults suit short budgets; ``lgm.py`` has the paper's defaults and those of its code.

Memory: the student's state and the teacher's; no real image of the past.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat
from torch import Tensor

from lifegen.benchmark import Seeds, Stream, add_term, register_method, searched

from .generative_replay import GenerativeReplay, SyntheticTermPlugin, TeacherPlugin
from .models.divergences import entropy, gaussian, mutual_information, padded_forward_kl, padded_reverse_kl
from .models.networks import norm_statistics_kept
from .models.vae import CodeStyleVAE, Posterior, VAEOutput

Target = Literal["zd", "zc", "both"]
Direction = Literal["reverse", "forward"]
Estimator = Literal["batch-marginal", "prior-entropy", "infogan", "none"]


class ConsistencyPlugin(SyntheticTermPlugin):
    """Adds γ/B Σ KL[q_student(z | x̂) ‖ q_teacher(z | x̂)] over the batch's synthetic images x̂.

    On the code zd it is equation 3, on the style zc the closed form that equations 6 and 7 stand for.
    """

    term = "consistency"

    def __init__(
        self, teacher: TeacherPlugin, weight: float = 1.0, on: Target = "zd", direction: Direction = "reverse"
    ) -> None:
        """Make the plugin.

        Args:
            teacher: the plugin that replays; it must come first in the strategy's list.
            weight: γ.
            on: the latent variables that it acts on.
            direction: reverse has the student first (mode-seeking), forward the teacher (paper, section 7.3).
        """
        super().__init__(teacher, weight)
        self._on = on
        self._direction = direction

    def _term(self, model: CodeStyleVAE, teacher: CodeStyleVAE, output: VAEOutput, synthetic: slice) -> Tensor:
        with torch.no_grad():
            target = teacher.encode(output.x[synthetic])
        student = Posterior(*(part[synthetic] for part in output.posterior))
        each = torch.zeros((), device=output.x.device)
        if self._on != "zc":
            each = each + self._code_divergence(student.code_logits.log_softmax(1), target.code_logits.log_softmax(1))
        if self._on != "zd":
            each = each + self._style_divergence(student, target)
        return each

    def _code_divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (padded_reverse_kl if self._direction == "reverse" else padded_forward_kl)(student, teacher)

    def _style_divergence(self, student: Posterior, teacher: Posterior) -> Tensor:
        first, second = (student, teacher) if self._direction == "reverse" else (teacher, student)
        return gaussian(first.mean, first.std, second.mean, second.std)


class LikelihoodConsistencyPlugin(SyntheticTermPlugin):
    """Adds w/B Σ −log p_student(x' | z) over the synthetic images x̂, with x' the teacher's reconstruction of x̂ and z
    the student's latent draw for x̂. The term is in the authors' public PyTorch code, not in the paper."""

    term = "likelihood_consistency"

    def _term(self, model: CodeStyleVAE, teacher: CodeStyleVAE, output: VAEOutput, synthetic: slice) -> Tensor:
        with torch.no_grad():
            target = teacher.reconstruct(output.x[synthetic]).flatten(1)
        return -model.likelihood.log_prob(target, output.parameters[synthetic])


class MutualInformationPlugin(SupervisedPlugin):
    """Subtracts λ I(zd; x), estimated on the whole mixed batch.

    Estimators: ``batch-marginal``, H(mean q) − mean H(q), between 0 and log J; ``prior-entropy``, log J − mean H(q),
    which with λ = 1 cancels the code's divergence from its prior; ``infogan``, log J + mean log q(c | x'), with c the
    most likely code of the relaxed draw and x' the reconstruction, which costs a second pass of the encoder. It is a
    bound on I(zd; x') as long as codes are drawn uniformly (Chen et al., arXiv 1606.03657, equation 5). They are drawn
    from q(zd | x) here, so a code that is always the same scores log J, as it does with ``prior-entropy``: only
    ``batch-marginal`` sees a collapse.
    """

    capturable = True

    def __init__(self, weight: float, estimator: Estimator = "batch-marginal") -> None:
        """Make the plugin.

        Args:
            weight: λ.
            estimator: the estimator's name.
        """
        super().__init__()
        self._weight = weight
        self._estimator = estimator

    def before_backward(self, strategy: Any, **_: Any) -> None:
        add_term(strategy, "information", -self._weight * self._information(strategy.model, strategy.mb_output))

    def _information(self, model: CodeStyleVAE, output: VAEOutput) -> Tensor:
        log_q = output.posterior.code_logits.log_softmax(1)
        if self._estimator == "batch-marginal":
            return mutual_information(log_q)
        log_codes = math.log(log_q.shape[1])
        if self._estimator == "prior-entropy":
            return log_codes - entropy(log_q).mean()
        chosen = output.code.argmax(1, keepdim=True)
        with norm_statistics_kept([model]):  # evaluation encodes images, not reconstructions
            again = model.code_log_posterior(model.image(model.likelihood.mean(output.parameters)))
        return log_codes + again.gather(1, chosen).mean()


@register_method("lifelong-vae", version=2, uses=("boundaries",), look={"colour": "#0173b2", "marker": "o"})
class LifelongVAE(GenerativeReplay):
    """Teacher and student with replay, consistency and information terms: the paper's "with"."""

    class Config(GenerativeReplay.Config):
        consistency_weight: Annotated[NonNegativeFloat, searched(0.1, 10)] = 1.0
        """γ, weight of the consistency term."""
        consistency_on: Target = "zd"
        """The latent variables that the consistency term acts on."""
        consistency_direction: Direction = "reverse"
        """KL[student ‖ teacher] or KL[teacher ‖ student]."""
        likelihood_consistency_weight: NonNegativeFloat = 0.0
        """Weight of the likelihood of the teacher's reconstructions under the student (only in the 2019 code)."""
        mutual_information: Estimator = "batch-marginal"
        """Estimator of the mutual information between code and image."""
        mutual_information_weight: Annotated[NonNegativeFloat, searched(0.03, 3)] = 0.3
        """λ, weight of the mutual information."""

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        config = self.config
        plugins = super().plugins(stream, seeds)
        teacher = next(plugin for plugin in plugins if isinstance(plugin, TeacherPlugin))
        if gamma := config.consistency_weight:
            plugins.append(ConsistencyPlugin(teacher, gamma, config.consistency_on, config.consistency_direction))
        if config.mutual_information != "none" and config.mutual_information_weight:
            plugins.append(MutualInformationPlugin(config.mutual_information_weight, config.mutual_information))
        if config.likelihood_consistency_weight:
            plugins.append(LikelihoodConsistencyPlugin(teacher, config.likelihood_consistency_weight))
        return plugins
