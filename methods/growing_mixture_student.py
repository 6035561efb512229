"""The compact student of a growing mixture: one VAE, distilled from the mixture's samples while the mixture learns.

Reference: Ye and Bors, Growing Mixture Model, equation 27, with their public code. With K components, a batch of the
student holds ⌊B/(K + 1)⌋ fresh samples of each component but the active one; images of the mixture's own batch fill it
up, at equal distances, so that replay has its share among them. There is no other distillation: the student forgets
whatever isn't in its batches. It shares the mixture's trunk and never changes it.

Memory: the mixture, since it goes on growing, and the student's head.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor

from lifegen.benchmark import GenerativeModel, LogWeights, Seeds, Stream, add_term, register_method

from .growing_mixture import GrowingMixture
from .models.mixture import VAEMixture
from .models.networks import norm_statistics_kept
from .models.plugins import replays_draws
from .models.vae import VAEOutput


class DistilledMixture(GenerativeModel):
    """A growing mixture and its student: ``forward`` trains the mixture, everything else is the student's."""

    def __init__(self, image_shape: tuple[int, int, int], init: torch.Generator | None = None, **mixture: Any) -> None:
        """Make the mixture and its student.

        Args:
            image_shape: channels, height, width.
            init: source of the initial weights.
            mixture: the other arguments of :class:`VAEMixture`.
        """
        super().__init__()
        self.mixture = VAEMixture(image_shape, init=init, **mixture)
        self.student = self.mixture.head(init)
        self.codes = self.student.codes
        self.track = self.student.track

    def recipe(self) -> dict[str, Any]:
        return self.mixture.recipe()

    def train(self, mode: bool = True) -> DistilledMixture:
        super().train(mode)
        self.mixture.train(mode)  # again: the call above has set the student, and with it the shared trunk
        return self

    def forward(self, x: Tensor) -> VAEOutput:
        self.mixture.generator, self.mixture.latent_noise = self.generator, self.latent_noise
        output: VAEOutput = self.mixture(x)
        return output

    def log_weights(self, x: Tensor, draws: int, generator: torch.Generator | None = None) -> LogWeights:
        return self.student.log_weights(x, draws, generator)

    def code_log_posterior(self, x: Tensor, weights: LogWeights | None = None) -> Tensor:
        return self.student.code_log_posterior(x, weights)

    def sample(self, n: int, code: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        return self.student.sample(n, code, generator)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.student.reconstruct(x)

    def reconstruct_drawn(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        return self.student.reconstruct_drawn(x, generator)

    def draw_style(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        return self.student.draw_style(x, generator)

    def style_grid(self, code: int, points: int) -> Tensor | None:
        return self.student.style_grid(code, points)


class StudentPlugin(SupervisedPlugin):
    """Adds the student's negative ELBO on its own batch."""

    def __init__(self, seeds: Seeds, draw: bool = False) -> None:
        """Make the plugin.

        Args:
            seeds: where samples and the student's latent noise come from.
            draw: whether samples are drawn from p(x | z) instead of being its means.
        """
        super().__init__()
        self.synthetic_samples = 0
        """Images drawn from components so far."""
        self._draw = draw
        self._noise = seeds.late_generator("student")
        self._mixture: VAEMixture | None = None

    @property
    def extra_rows(self) -> int:
        """Images that only the student was trained on."""
        return self.synthetic_samples

    def before_backward(self, strategy: Any, **_: Any) -> None:
        model: DistilledMixture = strategy.model
        mixture, x = model.mixture, strategy.mb_x
        self._mixture = mixture
        noise = self._noise.on(x.device)
        model.student.generator, model.student.latent_noise = noise, model.latent_noise
        share = len(x) // (mixture.codes + 1)
        others = _others(mixture)
        with torch.no_grad():
            drawn = [mixture.component_sample(k, share, noise, self._draw) for k in others]
        own = len(x) - share * len(others)
        batch = torch.cat([*drawn, x[torch.arange(own, device=x.device) * len(x) // own]])
        self.synthetic_samples += share * len(others)
        trunk = mixture.trunk()
        for module in trunk:  # in the first interval the trunk learns, but from the component alone
            module.requires_grad_(False)
        with norm_statistics_kept(trunk):
            loss = model.student(batch).negative_elbo().mean()
        for module in trunk:
            module.requires_grad_(not mixture.trunk_frozen)
        add_term(strategy, "student", loss)

    def replayed(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Return means of n images of the components but the active one, of each alike; None if it is the only one."""
        if self._mixture is None or not (others := _others(self._mixture)):
            return None
        sizes = [n * (i + 1) // len(others) - n * i // len(others) for i in range(len(others))]
        drawn = [
            self._mixture.component_sample(k, size, generator, False) for k, size in zip(others, sizes, strict=True)
        ]
        return torch.cat(drawn)


def _others(mixture: VAEMixture) -> list[int]:
    """The components but the active one."""
    return [k for k in range(mixture.codes) if k != mixture.active]


@register_method(
    "growing-mixture-student",
    version=2,
    uses=("boundaries",),
    differs_at_once="the student is measured, which learns beside the component that learns like naive",
    inert={"threshold": "inf"},  # the student of a single component
    look={"colour": "#882255", "marker": "o", "dash": "dashed"},
)
class GrowingMixtureStudent(GrowingMixture):
    """The growing mixture's student: one VAE, distilled from samples of the components."""

    class Config(GrowingMixture.Config):
        prior: Literal["data"] = "data"
        """Prior weights of the components, which the student doesn't see."""

    def model(self, stream: Stream, seeds: Seeds) -> GenerativeModel:
        return DistilledMixture(**self.mixture(stream, seeds, self.config.share == "frozen"))

    def plugins(self, stream: Stream, seeds: Seeds) -> list[SupervisedPlugin]:
        return [*super().plugins(stream, seeds), StudentPlugin(seeds, replays_draws(self.config.replay_images, stream))]
