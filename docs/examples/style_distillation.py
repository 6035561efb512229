"""Generative replay whose frozen teacher's styles are distilled on the images that it replays.

With R the replayed images of a batch of B, S the student, T the teacher, its frozen copy of the interval before, and
styles zc of F dimensions,

    loss = 1/|B| ( Σ_{x in B} −ELBO_S(x) + γ Σ_{x in R} KL[ q_T(zc | x) ‖ q_S(zc | x) ] ),

    KL[ N(μ_T, diag σ_T²) ‖ N(μ_S, diag σ_S²) ] = ½ Σ_f ( (σ_T² + (μ_T − μ_S)²) / σ_S² − 1 − log(σ_T² / σ_S²) )_f.

    lifegen run -s split-digits -m naive -m generative-replay -m docs/examples/style_distillation.py
"""

import torch
from avalanche.core import SupervisedPlugin
from pydantic import NonNegativeFloat

from lifegen.benchmark import add_term, register_method
from lifegen.methods.generative_replay import GenerativeReplay, TeacherPlugin


def gaussian_kl(mean, std, other_mean, other_std):
    """KL[N(mean, std²) ‖ N(other_mean, other_std²)] of each row."""
    ratio = (std / other_std).square()
    return 0.5 * (ratio + ((mean - other_mean) / other_std).square() - 1 - ratio.log()).sum(1)


class StyleDistillationPlugin(SupervisedPlugin):
    """Adds γ/B Σ KL[teacher's style ‖ student's style] over the batch's replayed images."""

    def __init__(self, replay, weight):
        super().__init__()
        self.replay = replay  # the plugin that has the teacher, and counts it as memory
        self.weight = weight

    def before_backward(self, strategy, **kwargs):
        if self.replay.teacher is None:  # the first interval
            return
        output, replayed = strategy.mb_output, slice(self.replay.real, None)  # real images come first
        with torch.no_grad():
            old = self.replay.teacher.encode(output.x[replayed])
        new = output.posterior
        each = gaussian_kl(old.mean, old.std, new.mean[replayed], new.std[replayed])
        add_term(strategy, "style", self.weight * each.sum() / len(output.x))


@register_method("style-distillation", version=1, uses=("boundaries",))
class StyleDistillation(GenerativeReplay):
    """Generative replay that distils the teacher's styles of replayed images."""

    class Config(GenerativeReplay.Config):
        style_weight: NonNegativeFloat = 1.0
        """γ, weight of the divergence between the styles of teacher and student."""

    def plugins(self, stream, seeds):
        plugins = super().plugins(stream, seeds)
        replay = next(plugin for plugin in plugins if isinstance(plugin, TeacherPlugin))
        return [*plugins, StyleDistillationPlugin(replay, self.config.style_weight)]
